"""What became of an unclear write to a bucket; how that is found out is in `unclear.py`."""

from __future__ import annotations

from credstore.driver import unclear
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo, PutResult, ReadOptions
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.encryption import unconfirmed
from credstore.drivers.gcs.reading import head
from credstore.drivers.gcs.requests import delete_object
from credstore.drivers.gcs.resources import Resource, written_info
from credstore.encryption import ServerEncryption
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError


async def settle_write(
    bucket: Bucket, write: Write, error: StorageError, *, of_copy: bool = False
) -> ObjectInfo:
    """The object, if a failed write happened after all; see `unclear.settle_write`."""

    async def look(key: str, deadline: float | None) -> ObjectInfo:
        return await head(bucket, key, ReadOptions(deadline=deadline))

    return await unclear.settle_write(look, bucket, write, error, of_copy=of_copy)


def result_of(
    bucket: Bucket,
    made: Resource | ObjectInfo,
    *,
    size: int,
    digest: bytes | None,
    request_id: str | None = None,
) -> PutResult:
    """The result of a write, from what its response or a HEAD says.

    Raises:
        StorageIntegrityError: It has another size (code "TRUNCATED", `applied` "yes").
    """
    if isinstance(made, ObjectInfo):
        info = made
    else:
        info = written_info(made, served_by=bucket.label, versioned=bucket.shows_versions)
    return unclear.result_of(bucket.label, info, size=size, digest=digest, request_id=request_id)


async def check_encrypted(
    bucket: Bucket,
    asked: ServerEncryption | None,
    said: Resource | ObjectInfo,
    result: PutResult,
    deadline: float | None,
) -> None:
    """Check how what was written is encrypted, and remove it if it is not as requested and still ours.

    Raises:
        StorageIntegrityError: It is not (code "NOT_ENCRYPTED", `applied` "yes").
    """
    why = unconfirmed(asked, said)
    if why is None:
        return
    done = "the object was removed"
    try:
        request = delete_object(result.key, bucket.able, if_match=result.etag, version_id=None)
        await bucket.call(request, deadline=deadline)
    except StorageError as error:
        done = f"the object could not be removed ({error.code})"
    raise StorageIntegrityError(f"{why}; {done}", code=ErrorCode.NOT_ENCRYPTED, applied="yes")
