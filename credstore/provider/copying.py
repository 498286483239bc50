"""Copy and move: one complete object at every moment, pinned to the version that was looked at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from credstore.driver.contract import Driver, TaggedDriver
from credstore.driver.reader import ObjectReader
from credstore.driver.refusals import TAGS_OF_SOURCE, no_encryption_of_source
from credstore.driver.values import NO_HEADERS, CopyRequest, ObjectInfo, PutRequest, PutResult, ReadOptions
from credstore.encryption import ClientSide, KmsKey, ServerEncryption
from credstore.errors import (
    StorageConflictError,
    StorageError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.model import NOTHING, StorageResult
from credstore.pipeline.pipeline import WRAPPED_KEY
from credstore.provider.bodies import IterableBody, settled
from credstore.provider.encryption import open_stream, sealed_body
from credstore.provider.proving import HashedBody, check_copy, is_usual
from credstore.provider.read import known_recipe

Copy = Callable[[CopyRequest], Awaitable[PutResult]]
"""Makes a copy."""
Url = Callable[[PutResult], str]
"""From a result to the public URL of its object."""
_PIECE = 1024 * 1024
"""Least bytes of a copy to read at a time."""


@dataclass(frozen=True, slots=True)
class Copier:
    """What makes a copy, and of what bytes.

    Attributes:
        make: The driver, inside the store, or what `sealed_copy` gives, through here.
        anew: The copy's bytes are not the source's: its result has the digest of those that were sent.
    """

    make: Copy
    anew: bool


def sealed_copy(
    driver: Driver, policy: ClientSide, spool: int, default: ServerEncryption | None, *, asked: bool
) -> Copier:
    """What copies an encrypted object: through here, for it is bound to its key and so is the copy.

    Bytes are decrypted and encrypted anew as they come, in bounded memory; headers, metadata, tags,
    storage class and encryption at rest are kept as `Driver.copy` keeps them.

    Args:
        driver: Of the store.
        policy: Its encryption.
        spool: Bytes up to which a body is kept in memory, so that it can be sent again.
        default: Encryption at rest where the source's is not told.
        asked: Whether somebody has asked for that default, so that it has to be confirmed.
    """

    async def copy(request: CopyRequest) -> PutResult:
        source, capabilities = request.source, driver.capabilities
        options = ReadOptions(
            if_match=source.etag, customer_key=request.source_customer_key, deadline=request.deadline
        )
        if source.tag_count and not capabilities.tags:  # Others have set them, past credstore.
            raise TAGS_OF_SOURCE.of(driver.name)
        tags = (
            await driver.get_tags(source.key, deadline=request.deadline)
            if capabilities.tags and isinstance(driver, TaggedDriver)
            else NOTHING
        )
        at_rest, by_default = _at_rest(request, default, driver.name, asked=asked)
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
            chosen = source.storage_class in capabilities.storage_classes
            hashed = HashedBody(sealed)
            result = await driver.put(
                PutRequest(
                    key=request.destination,
                    body=sealed if digest is not None else hashed,
                    write_id=request.write_id,
                    digest=digest,
                    headers=source.headers or NO_HEADERS,
                    metadata=source.metadata or NOTHING,
                    system=system,
                    precondition=request.precondition,
                    encryption=at_rest,
                    encryption_by_default=by_default,
                    # A class that only the provider itself has named is refused there, not left out.
                    storage_class=source.storage_class if chosen or not is_usual(source) else None,
                    tags=tags,
                    extras=source.extras,
                    deadline=request.deadline,
                )
            )
            return replace(result, digest=digest or hashed.digest)

    return Copier(copy, anew=True)


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


def _at_rest(
    request: CopyRequest, default: ServerEncryption | None, who: str, *, asked: bool
) -> tuple[ServerEncryption | None, bool]:
    """Encryption at rest of a copy, and whether nobody has asked for it.

    Raises:
        StorageUnsupportedError: The source's is of a kind that cannot be asked for.
    """
    kind = request.source.encryption
    if request.encryption is not None:
        return request.encryption, False
    if request.source_customer_key is not None:
        return request.source_customer_key, False
    if kind == "aws:kms":
        return KmsKey(request.source.kms_key_id), False
    if kind is not None and kind != "AES256":
        raise no_encryption_of_source(kind).of(who)
    return default, not asked


async def copied(driver: Driver, request: CopyRequest, copier: Copier, url: Url) -> StorageResult:
    """Copy and report; onto itself only another encryption at rest is a reason to do anything.

    Raises:
        StorageError: As `Driver.copy`.
    """
    same = request.encryption in {None, request.source_customer_key}
    if same and request.destination == request.source.key:
        return _result(driver, request.source, _as_it_is(request.source), url)
    return _result(driver, request.source, await copier.make(request), url)


async def move_object(
    driver: Driver, request: CopyRequest, copier: Copier, deadline: Callable[[], float | None], url: Url
) -> StorageResult:
    """Copy, prove the copy, and delete the version that was copied (P9).

    The copy is proved by its entity tag where that tells (`Capabilities.content_etags`), else it is read
    back, in bounded memory, and with it the source where that has no digest.

    Raises:
        StorageIntegrityError: The copy is not there or not what its source is; the source is kept, and a
            copy of other bytes is removed if it is still ours.
        StorageConflictError: The source was replaced meanwhile; its new version is kept.
        StorageError: As `Driver.copy` and `Driver.delete`.
    """
    source = request.source
    if request.destination == source.key:
        return _result(driver, source, _as_it_is(source), url)
    result = await copier.make(replace(request, provable=True))
    try:
        await check_copy(driver, request, result, deadline, anew=copier.anew)
        await _delete_source(driver, source, request, deadline)
    except StorageError as error:
        error.applied = "maybe"
        error.message += f" (the copy {request.destination!r} was made; the source may still be there)"
        raise
    return _result(driver, source, result, url)


async def _delete_source(
    driver: Driver, source: ObjectInfo, request: CopyRequest, deadline: Callable[[], float | None]
) -> None:
    try:
        if driver.capabilities.conditional_delete and source.etag is not None:
            try:
                await driver.delete(source.key, if_match=source.etag, deadline=deadline())
            except StoragePreconditionFailedError:  # It is another version, or gone.
                if not await _is_gone(driver, request, deadline()):
                    raise _replaced() from None
            return
        now = await driver.head(source.key, _looking(request, deadline()))
        if (now.etag, now.write_id, now.size) != (source.etag, source.write_id, source.size):
            raise _replaced()
        await driver.delete(source.key, deadline=deadline())
    except StorageObjectNotFoundError:
        return  # Somebody removed it first: that is what a move wants.


async def _is_gone(driver: Driver, request: CopyRequest, deadline: float | None) -> bool:
    try:
        await driver.head(request.source.key, _looking(request, deadline))
    except StorageObjectNotFoundError:
        return True
    except StorageError:
        return False  # Another version may need another key.
    return False


def _looking(request: CopyRequest, deadline: float | None) -> ReadOptions:
    return ReadOptions(customer_key=request.source_customer_key, deadline=deadline)


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
