"""Copy and move: one complete object at every moment, pinned to the version that was looked at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from credstore.driver import (
    NO_HEADERS,
    CopyRequest,
    Driver,
    ObjectInfo,
    PutRequest,
    PutResult,
    ReadOptions,
    ReadsTags,
)
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.model import NOTHING, ClientSide, KmsKey, ServerEncryption, StorageResult
from credstore.pipeline.pipeline import WRAPPED_KEY
from credstore.provider.bodies import IterableBody, settled
from credstore.provider.read import known_recipe
from credstore.provider.sealing import open_stream, sealed_body
from credstore.reader import ObjectReader

Copy = Callable[[CopyRequest], Awaitable[PutResult]]
"""Makes the copy: the driver, inside the store, or `sealed_copy`, through here."""
Url = Callable[[PutResult], str]
"""From a result to the public URL of its object."""
_PIECE = 1024 * 1024
"""Least bytes of a copy to read at a time."""


def sealed_copy(driver: Driver, policy: ClientSide, spool: int, default: ServerEncryption | None) -> Copy:
    """What copies an encrypted object: through here, for it is bound to its key and so is the copy.

    Bytes are decrypted and encrypted anew as they come, in bounded memory; headers, metadata, tags,
    storage class and encryption at rest are kept as `Driver.copy` keeps them.

    Args:
        driver: Of the store.
        policy: Its encryption.
        spool: Bytes up to which a body is kept in memory, so that it can be sent again.
        default: Encryption at rest where the source's is not told.
    """

    async def copy(request: CopyRequest) -> PutResult:
        source, capabilities = request.source, driver.capabilities
        options = ReadOptions(
            if_match=source.etag, customer_key=request.source_customer_key, deadline=request.deadline
        )
        tags = (
            await driver.get_tags(source.key, deadline=request.deadline)
            if capabilities.tags and isinstance(driver, ReadsTags)
            else NOTHING
        )
        async with ObjectReader(
            source, _pieces(driver, source, options, spool), length=source.size, digest=source.digest
        ) as stored:
            opened, found = await open_stream(policy, stored, source.key)
            body = await settled(IterableBody(opened, opened.length), spool)
            place = (request.destination, request.write_id)
            sealed, digest = await sealed_body(policy, body, place, found.codec, found.plain_size)
            system = {
                name: value for name, value in (source.system or NOTHING).items() if name != WRAPPED_KEY
            }
            kept = source.storage_class in capabilities.storage_classes
            return await driver.put(
                PutRequest(
                    key=request.destination,
                    body=sealed,
                    write_id=request.write_id,
                    digest=digest,
                    headers=source.headers or NO_HEADERS,
                    metadata=source.metadata or NOTHING,
                    system=system,
                    precondition=request.precondition,
                    encryption=_at_rest(request, default),
                    storage_class=source.storage_class if kept else None,
                    tags=tags,
                    deadline=request.deadline,
                )
            )

    return copy


async def _pieces(
    driver: Driver, source: ObjectInfo, options: ReadOptions, spool: int
) -> AsyncGenerator[bytes, None]:
    """The stored bytes, some at a time: while these are sent no connection is held that sending may need."""
    size = max(spool, _PIECE)
    for start in range(0, source.size, size):
        part = replace(options, start=start, end=min(start + size, source.size))
        async with await driver.get(source.key, part) as stored:
            piece = await stored.read()
        yield piece


def _at_rest(request: CopyRequest, default: ServerEncryption | None) -> ServerEncryption | None:
    if request.encryption is not None:
        return request.encryption
    if request.source.encryption == "aws:kms":
        return KmsKey(request.source.kms_key_id)
    return request.source_customer_key or default


async def copied(driver: Driver, request: CopyRequest, copy: Copy, url: Url) -> StorageResult:
    """Copy and report; onto itself only another encryption at rest is a reason to do anything.

    Raises:
        StorageError: As `Driver.copy`.
    """
    same = request.encryption in {None, request.source_customer_key}
    if same and request.destination == request.source.key:
        return _result(driver, request.source, _as_it_is(request.source), url)
    return _result(driver, request.source, await copy(request), url)


async def move_object(
    driver: Driver, request: CopyRequest, copy: Copy, deadline: Callable[[], float | None], url: Url
) -> StorageResult:
    """Copy, look at the copy, and delete the version that was copied (P9).

    Raises:
        StorageIntegrityError: The copy is not there or not of the right size; the source is kept.
        StorageConflictError: The source was replaced meanwhile; its new version is kept.
        StorageError: As `Driver.copy` and `Driver.delete`.
    """
    source = request.source
    if request.destination == source.key:
        return _result(driver, source, _as_it_is(source), url)
    result = await copy(request)
    try:
        await _check_copy(driver, request, result.size, deadline())
        await _delete_source(driver, source, request, deadline)
    except StorageError as error:
        error.applied = "maybe"
        error.message += f" (the copy {request.destination!r} was made; the source may still be there)"
        raise
    return _result(driver, source, result, url)


async def _check_copy(driver: Driver, request: CopyRequest, size: int, deadline: float | None) -> None:
    key = request.encryption if request.encryption is not None else request.source_customer_key
    options = ReadOptions(customer_key=key, deadline=deadline)
    try:
        seen = await driver.head(request.destination, options)
    except StorageObjectNotFoundError:
        raise StorageIntegrityError(
            "the copy is not there although the provider acknowledged it", code=ErrorCode.COPY_MISSING
        ) from None
    if seen.write_id is not None and seen.write_id != request.write_id:
        raise StorageConflictError("another writer replaced the copy; the source is kept")
    if seen.size != size:
        raise StorageIntegrityError(
            f"the copy has {seen.size} bytes where {size} were copied; the source is kept",
            code=ErrorCode.COPY_DIFFERS,
        )


async def _delete_source(
    driver: Driver, source: ObjectInfo, request: CopyRequest, deadline: Callable[[], float | None]
) -> None:
    def looking() -> ReadOptions:
        return ReadOptions(customer_key=request.source_customer_key, deadline=deadline())

    try:
        if driver.capabilities.conditional_delete and source.etag is not None:
            try:
                await driver.delete(source.key, if_match=source.etag, deadline=deadline())
                return
            except StoragePreconditionFailedError:
                await driver.head(source.key, looking())  # Replaced, or gone?
                raise _replaced() from None
        now = await driver.head(source.key, looking())
        if (now.etag, now.write_id, now.size) != (source.etag, source.write_id, source.size):
            raise _replaced()
        await driver.delete(source.key, deadline=deadline())
    except StorageObjectNotFoundError:
        return  # Somebody removed it first: that is what a move wants.


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
        served_by=info.served_by,
        degraded=info.degraded,
    )


def _result(driver: Driver, source: ObjectInfo, result: PutResult, url: Url) -> StorageResult:
    found = known_recipe(source)
    served_by = result.served_by or driver.name
    return StorageResult(
        key=result.key,
        url=url(result),
        etag=result.etag,
        version_id=result.version_id,
        size=result.size,
        timestamp=datetime.now(UTC),
        provider=driver.name,
        plain_size=found.plain_size if found else None,
        digest=result.digest,
        content_type=source.headers.content_type if source.headers else None,
        compression=found.codec if found else None,
        encryption=result.encryption,
        client_side=found is not None and found.sealed,
        served_by=served_by,
        degraded=result.degraded,
        replicas=result.replicas or (served_by,),
    )
