"""Copy and move: one complete object at every moment, pinned to the version that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from credstore.driver import CopyRequest, Driver, ObjectInfo, PutResult, ReadOptions
from credstore.errors import (
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.model import StorageResult
from credstore.provider.read import compression_of


async def copied(driver: Driver, request: CopyRequest) -> StorageResult:
    """Copy and report; onto itself only another encryption is a reason to do anything.

    Raises:
        StorageError: As `Driver.copy`.
    """
    same = request.encryption in {None, request.source_customer_key}
    if same and request.destination == request.source.key:
        return _result(driver, request.source, _as_it_is(request.source))
    return _result(driver, request.source, await driver.copy(request))


async def move_object(
    driver: Driver, request: CopyRequest, deadline: Callable[[], float | None]
) -> StorageResult:
    """Copy, look at the copy, and delete the version that was copied (P9).

    Raises:
        StorageIntegrityError: The copy is not there or not of the right size; the source is kept.
        StorageConflictError: The source was replaced meanwhile; its new version is kept.
        StorageError: As `Driver.copy` and `Driver.delete`.
    """
    source = request.source
    if request.destination == source.key:
        return _result(driver, source, _as_it_is(source))
    result = await driver.copy(request)
    try:
        await _check_copy(driver, request, deadline())
        await _delete_source(driver, source, request, deadline)
    except StorageError as error:
        error.applied = "maybe"
        error.message += f" (the copy {request.destination!r} was made; the source may still be there)"
        raise
    return _result(driver, source, result)


async def _check_copy(driver: Driver, request: CopyRequest, deadline: float | None) -> None:
    key = request.encryption if request.encryption is not None else request.source_customer_key
    options = ReadOptions(customer_key=key, deadline=deadline)
    try:
        seen = await driver.head(request.destination, options)
    except StorageNotFoundError:
        raise StorageIntegrityError(
            "the copy is not there although the provider acknowledged it", code="COPY_MISSING"
        ) from None
    if seen.write_id is not None and seen.write_id != request.write_id:
        raise StorageConflictError("another writer replaced the copy; the source is kept")
    if seen.size != request.source.size:
        raise StorageIntegrityError(
            f"the copy has {seen.size} bytes, its source {request.source.size}; the source is kept",
            code="COPY_DIFFERS",
        )


async def _delete_source(
    driver: Driver, source: ObjectInfo, request: CopyRequest, deadline: Callable[[], float | None]
) -> None:
    try:
        if driver.capabilities.conditional_delete and source.etag is not None:
            await driver.delete(source.key, if_match=source.etag, deadline=deadline())
            return
        options = ReadOptions(customer_key=request.source_customer_key, deadline=deadline())
        now = await driver.head(source.key, options)
        if (now.etag, now.write_id, now.size) != (source.etag, source.write_id, source.size):
            raise _replaced()
        await driver.delete(source.key, deadline=deadline())
    except StorageNotFoundError:
        return  # Somebody removed it first: that is what a move wants.
    except StoragePreconditionFailedError:
        raise _replaced() from None


def _replaced() -> StorageConflictError:
    return StorageConflictError("the source was replaced while it was moved; the new version is kept")


def _as_it_is(info: ObjectInfo) -> PutResult:
    return PutResult(
        key=info.key,
        size=info.size,
        etag=info.etag,
        version_id=info.version_id,
        digest=info.digest,
        encryption=info.encryption,
        location=info.location,
        served_by=info.served_by,
        degraded=info.degraded,
    )


def _result(driver: Driver, source: ObjectInfo, result: PutResult) -> StorageResult:
    codec, plain_size = compression_of(source)
    served_by = result.served_by or driver.name
    return StorageResult(
        key=result.key,
        url=result.location,
        etag=result.etag,
        version_id=result.version_id,
        size=result.size,
        timestamp=datetime.now(UTC),
        provider=driver.name,
        plain_size=plain_size,
        digest=result.digest,
        content_type=source.headers.content_type if source.headers else None,
        compression=codec,
        encryption=result.encryption,
        served_by=served_by,
        degraded=result.degraded,
        replicas=result.replicas or (served_by,),
    )
