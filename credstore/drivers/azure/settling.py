"""What became of an unclear write to a container; how that is found out is in `unclear.py`."""

from __future__ import annotations

from collections.abc import Mapping

from credstore.driver import unclear
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo, PutResult, ReadOptions
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.encryption import unconfirmed
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import delete_blob
from credstore.encryption import CustomerKey, ServerEncryption
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError


async def settle_write(
    container: Container,
    write: Write,
    error: StorageError,
    *,
    asked: ServerEncryption | None,
    of_copy: bool = False,
) -> ObjectInfo:
    """The object, if a failed write happened after all; see `unclear.settle_write`.

    Args:
        container: Where it is.
        write: What was sent.
        error: How it failed.
        asked: The encryption that was requested; a customer-provided key is needed to look at it.
        of_copy: What it refuses may be about the source of a copy.
    """
    key = asked if isinstance(asked, CustomerKey) else None

    async def look(name: str, deadline: float | None) -> ObjectInfo:
        return await head(container, name, ReadOptions(customer_key=key, deadline=deadline))

    return await unclear.settle_write(look, container, write, error, of_copy=of_copy)


def result_of(
    container: Container,
    key: str,
    *,
    size: int,
    digest: bytes | None,
    etag: str | None,
    version_id: str | None,
    encryption: str | None,
    request_id: str | None = None,
    proved: bool = False,
) -> PutResult:
    """The result of a write that happened."""
    return PutResult(
        key=key,
        size=size,
        etag=etag,
        version_id=version_id,
        digest=digest,
        encryption=encryption,
        served_by=container.label,
        replicas=(container.label,),
        request_id=request_id,
        proved=proved,
    )


def seen_result(container: Container, info: ObjectInfo, size: int, digest: bytes | None) -> PutResult:
    """The result of a write that only a HEAD showed; see `unclear.result_of`."""
    return unclear.result_of(container.label, info, size=size, digest=digest)


async def check_encrypted(
    container: Container,
    asked: ServerEncryption | None,
    said: Mapping[str, str] | ObjectInfo,
    result: PutResult,
    deadline: float | None,
) -> PutResult:
    """The result of a write that is encrypted as requested; what is not is removed if it is still ours.

    Raises:
        StorageIntegrityError: It is not (code "NOT_ENCRYPTED", `applied` "yes").
    """
    why = unconfirmed(asked, said)
    if why is None:
        return result
    done = "the object was removed"
    try:
        request = delete_blob(result.key, container.able, if_match=result.etag, version_id=None)
        await container.call(request, deadline=deadline)
    except StorageError as error:
        done = f"the object could not be removed ({error.code})"
    raise StorageIntegrityError(f"{why}; {done}", code=ErrorCode.NOT_ENCRYPTED, applied="yes")
