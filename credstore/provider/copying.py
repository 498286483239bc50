"""Copy and move: always one complete object, and the source is pinned to the version looked at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex

from credstore.causes import raise_explained
from credstore.driver.contract import Driver, RetainingDriver, TaggedDriver, VersionedDriver
from credstore.driver.pinning import get_same, is_same
from credstore.driver.reader import ObjectReader
from credstore.driver.refusals import TAGS_OF_SOURCE, no_encryption_of_source
from credstore.driver.retention import check_removable
from credstore.driver.values import NO_HEADERS, CopyRequest, ObjectInfo, PutRequest, PutResult, ReadOptions
from credstore.encryption import ClientSide, CustomerKey, KmsKey, ServerEncryption
from credstore.errors import (
    ErrorCode,
    ErrorFacts,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageRetainedError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING, LockOptions, StorageResult, strong_etag
from credstore.pipeline.pipeline import WRAPPED_KEY
from credstore.provider.bodies import settled
from credstore.provider.encryption import is_meant, open_stream, sealed_body
from credstore.provider.proving import HashedBody, check_copy, is_usual
from credstore.provider.read import known_recipe
from credstore.provider.retaining import copied_by_store, explained, lock_alone, written
from credstore.provider.session import Session
from credstore.provider.sources import IterableBody
from credstore.provider.terms import precondition_of
from credstore.provider.validation import check_flag, chosen_encryption

Copy = Callable[[CopyRequest], Awaitable[PutResult]]
"""Makes a copy."""
_NOT_FOUND = 404
_PIECE = 1024 * 1024
"""Minimum number of bytes of a copy to read at a time."""


@dataclass(frozen=True, slots=True)
class Copier:
    """What makes a copy, and whether it has the source's bytes.

    Attributes:
        make: The driver, inside the store, or what `sealed_copy` returns, through this process.
        resealed: The copy's bytes are not the source's; its result has the digest of those that were sent.
    """

    make: Copy
    resealed: bool


async def plan_copy(
    session: Session,
    source: str,
    destination: str,
    *,
    encryption: bool | ServerEncryption | None = None,
    source_encryption: CustomerKey | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    if_absent: bool,
    server_side: bool,
    lock: LockOptions,
) -> tuple[CopyRequest, Copier]:
    """Check a copy, look at its source, and find what makes it.

    Raises:
        StorageAlreadyExistsError: `if_absent`, and source and destination are the same.
        StorageUnsupportedError: It has to pass through this process, and `server_side` forbids it.
        StorageError: A wrong argument, or the source cannot be read.
    """
    check_flag("server_side", server_side)
    session.check_key(source)
    session.check_key(destination)
    retention = lock_alone(lock, session)
    if retention is not None and source == destination:
        raise StorageInvalidRequestError(
            "a copy onto itself changes nothing; put the object under retention with retain, or under legal "
            "hold with hold"
        )
    condition = precondition_of(session.capabilities, session.name, if_absent=if_absent)
    chosen = (
        None
        if encryption is None
        else chosen_encryption(encryption, None, session.capabilities, session.name)
    )
    reading = session.reading(source_encryption, None, timeout)
    info = await session.driver.head(source, reading)
    if if_absent and source == destination:
        raise StorageAlreadyExistsError("source and destination are the same key, and it exists")
    request = CopyRequest(
        source=replace(info, key=source),
        destination=destination,
        write_id=token_hex(16),
        precondition=condition,
        encryption=reading.customer_key if chosen is None else chosen,
        source_customer_key=reading.customer_key,
        retention=retention,
        deadline=session.deadline(timeout, info.size),
    )
    return request, _copier_of(session, request, server_side=server_side)


def _copier_of(session: Session, request: CopyRequest, *, server_side: bool) -> Copier:
    """What makes this copy: the store, unless it has to pass through this process.

    Raises:
        StorageUnsupportedError: It has to pass through here, and `server_side` forbids it.
    """
    policy, found = session.policy, known_recipe(request.source)
    required = policy is not None and policy.required
    sealed = required or (found is not None and is_meant(policy, found))
    if request.destination == request.source.key or not sealed or policy is None:
        return Copier(partial(copied_by_store, session), resealed=False)
    if server_side:
        raise StorageUnsupportedError(
            "the object is encrypted for its key, so a copy has to be encrypted again and the store alone "
            "cannot make it; leave server_side out"
        )
    return _sealed_copy(session, policy)


def _sealed_copy(session: Session, policy: ClientSide) -> Copier:
    """What copies an encrypted object through this process, since each object is bound to its key.

    Bytes are decrypted and encrypted again as they arrive, in bounded memory; headers, metadata, tags,
    storage class and encryption at rest are kept as `Driver.copy` keeps them.

    Args:
        session: Of the store.
        policy: Its encryption.
    """
    driver, spool = session.driver, session.config.spool_size

    async def copy(request: CopyRequest) -> PutResult:
        source, capabilities = request.source, driver.capabilities
        options = ReadOptions(customer_key=request.source_customer_key, deadline=request.deadline)
        if source.tag_count and not capabilities.tags:  # Set by others, not through credstore.
            raise TAGS_OF_SOURCE.of(driver.name)
        tags = (
            await driver.get_tags(source.key, deadline=request.deadline)
            if capabilities.tags and isinstance(driver, TaggedDriver)
            else NOTHING
        )
        at_rest, by_default = _at_rest(session, request)
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
            result = await written(
                session,
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
                    # A class that only the provider itself has named is refused by the driver, not left out.
                    storage_class=source.storage_class if chosen or not is_usual(source) else None,
                    tags=tags,
                    retention=request.retention,
                    extras=source.extras,
                    deadline=request.deadline,
                ),
            )
            return replace(result, digest=digest or hashed.digest)

    return Copier(copy, resealed=True)


async def _pieces(
    driver: Driver, source: ObjectInfo, options: ReadOptions, spool: int
) -> AsyncGenerator[bytes, None]:
    """The stored bytes, piece by piece: while one is sent, no connection is held that sending may need."""
    size = max(spool, _PIECE)
    for start in range(0, source.size, size):
        part = replace(options, start=start, end=min(start + size, source.size))
        async with await get_same(driver, source.key, part, source) as stored:
            piece = await stored.read()
        yield piece


def _at_rest(session: Session, request: CopyRequest) -> tuple[ServerEncryption | None, bool]:
    """Encryption at rest of a copy, and whether it is only a default.

    Raises:
        StorageUnsupportedError: The source has a kind that cannot be requested.
    """
    kind = request.source.encryption
    if request.encryption is not None:
        return request.encryption, False
    if request.source_customer_key is not None:
        return request.source_customer_key, False
    if kind == "aws:kms":
        return KmsKey(request.source.kms_key_id), False
    if kind is not None and kind != "AES256":
        raise no_encryption_of_source(kind).of(session.name)
    return session.at_rest(), session.config.encryption is None


async def copied(session: Session, request: CopyRequest, copier: Copier) -> StorageResult:
    """Copy and report; a copy onto itself does nothing unless the encryption at rest changes.

    Raises:
        StorageError: As `Driver.copy`.
    """
    same = request.encryption in {None, request.source_customer_key}
    if same and request.destination == request.source.key:
        return result_of_copy(session, request.source, as_it_is(request.source))
    return result_of_copy(session, request.source, await copier.make(request))


async def move_object(
    session: Session, request: CopyRequest, copier: Copier, seconds: float | None
) -> StorageResult:
    """Copy, prove the copy, and delete the version that was copied (P9).

    The copy is proved by its entity tag where that is conclusive (`Capabilities.content_etags`); otherwise it
    is read back in bounded memory, and so is the source if it has no digest.

    Args:
        session: Of the store.
        request: What to copy.
        copier: What makes the copy.
        seconds: For each further request, instead of the configured number, or None.

    Raises:
        StorageIntegrityError: The copy is missing or differs from its source; the source is kept, and a copy
            with other bytes is removed if it is still ours.
        StorageConflictError: The source was replaced in the meantime; its new version is kept.
        StorageRetainedError: Something keeps the source or the destination.
        StorageUnavailableError: The provider did not delete the source, and shows it unchanged (code
            "NOT_DELETED").
        StorageError: As `Driver.copy` and `Driver.delete`.
    """
    source = request.source
    if request.destination == source.key:
        return result_of_copy(session, source, as_it_is(source))
    driver = session.driver
    if isinstance(driver, RetainingDriver) and not isinstance(driver, VersionedDriver):
        kept = await driver.get_retention(source.key, deadline=session.deadline(seconds))
        check_removable(kept, datetime.now(UTC))  # Better than two of them.
    result = await copier.make(replace(request, provable=True))
    try:
        await check_copy(session, request, result, seconds, resealed=copier.resealed)
        await _delete_source(session, source, request, seconds)
    except StorageError as error:
        error.applied = "maybe"
        error.message += f" (the copy {request.destination!r} was made; the source may still be there)"
        raise
    return result_of_copy(session, source, result)


async def _delete_source(
    session: Session, source: ObjectInfo, request: CopyRequest, seconds: float | None
) -> None:
    driver = session.driver
    try:
        etag = strong_etag(source.etag)
        if driver.capabilities.conditional_delete and etag is not None:
            try:
                await driver.delete(source.key, if_match=etag, deadline=session.deadline(seconds))
            except StoragePreconditionFailedError as error:  # It is a different version, or gone.
                await _explain_refusal(session, request, seconds, error)
                return
            except StorageUnsupportedError:
                pass  # The server at this endpoint has no such condition: the way of those without one.
            else:
                return
        now = await driver.head(source.key, _looking(session, request, seconds))
        if not is_same(now, source):
            raise _replaced()
        outcome = await driver.delete(source.key, deadline=session.deadline(seconds))
        if outcome.existed is False:  # It was there just now.
            await _explain_refusal(session, request, seconds, None)
    except StorageObjectNotFoundError:
        return  # Someone else removed it first, which is what a move wants anyway.
    except StorageRetainedError as error:
        raise_explained(await explained(session, error, source.key), error)


async def _explain_refusal(
    session: Session, request: CopyRequest, seconds: float | None, refusal: StorageError | None
) -> None:
    """Look at a source that is said to be gone, or a different version; return if it is gone.

    Args:
        session: Of the store.
        request: What was copied.
        seconds: For the request.
        refusal: What was said, if it was an error.

    Raises:
        StorageConflictError: It is a different version.
        StorageUnavailableError: It is what was copied, so neither was true (code "NOT_DELETED").
        StorageError: It cannot be looked at.
    """
    try:
        now = await session.driver.head(request.source.key, _looking(session, request, seconds))
    except StorageObjectNotFoundError:
        return
    except StorageError:
        if refusal is not None and refusal.status_code != _NOT_FOUND:
            raise _replaced() from None  # By a version that may need a different key.
        raise
    if not is_same(now, request.source):
        raise _replaced() from None
    facts: ErrorFacts = {} if refusal is None else refusal.facts()
    facts["code"], facts["retryable"] = ErrorCode.NOT_DELETED, True
    raise StorageUnavailableError(
        "the provider says that the source is gone or was replaced, and shows it unchanged, so it was not "
        "deleted; delete it, or move it again",
        **facts,
    ) from refusal


def _looking(session: Session, request: CopyRequest, seconds: float | None) -> ReadOptions:
    return ReadOptions(customer_key=request.source_customer_key, deadline=session.deadline(seconds))


def _replaced() -> StorageConflictError:
    return StorageConflictError("the source was replaced while it was being moved; the new version is kept")


def as_it_is(info: ObjectInfo) -> PutResult:
    """The result of a copy that had nothing to do."""
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


def result_of_copy(session: Session, source: ObjectInfo, result: PutResult) -> StorageResult:
    """What users hear of a copy of `source`."""
    found = known_recipe(source)
    served_by = result.served_by or session.name
    return StorageResult(
        key=result.key,
        url=session.url_of(result.key, result.served_by),
        etag=result.etag,
        version_id=result.version_id,
        size=result.size,
        timestamp=datetime.now(UTC),
        provider=session.name,
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
