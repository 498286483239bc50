"""What became of an unclear write to a bucket; how that is found out is in `unclear.py`."""

from __future__ import annotations

from credstore.driver import unclear
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo, PutResult, ReadOptions
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.reading import head
from credstore.drivers.gcs.resources import Resource, written_info
from credstore.errors import StorageError


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
