"""Whether a copy matches its source: checked before a source is deleted, over any driver (P9).

Rules of this file: nothing that a driver says about its own copy is trusted except entity tags derived from
the content, and a SHA-256 that the store itself computed; otherwise, the bytes are read. A copy known to be
wrong is removed if it is still ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from credstore.driver.contract import ReportsDigests
from credstore.driver.pinning import get_same
from credstore.driver.values import (
    NO_HEADERS,
    Body,
    ContentHeaders,
    CopyRequest,
    ObjectInfo,
    PutResult,
    ReadOptions,
)
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.hashing import hash_into, sha256_of
from credstore.model import NOTHING, strong_etag
from credstore.provider.session import Session

_READ_AT_ONCE = 1024 * 1024
"""Bytes that are read sooner than the store is asked about them, which takes two requests."""


class HashedBody:
    """A body that records the SHA-256 of what was sent of it.

    Attributes:
        digest: Of the last complete pass, or None before there was one.
    """

    def __init__(self, source: Body) -> None:
        """Watch `source`."""
        self.source = source
        self.digest: bytes | None = None

    @property
    def length(self) -> int | None:
        """The same as the source's."""
        return self.source.length

    @property
    def replayable(self) -> bool:
        """As the source is."""
        return self.source.replayable

    @property
    def data(self) -> bytes | None:
        """The same as the source's."""
        return self.source.data

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The source's bytes."""
        digest = hashlib.sha256()
        async for chunk in self.source.open(offset):
            await hash_into(digest, chunk)
            yield chunk
        if offset == 0:
            self.digest = digest.digest()


def is_usual(source: ObjectInfo) -> bool:
    """Whether an object has the default storage class."""
    return source.storage_class in {None, "STANDARD"}


async def check_copy(
    session: Session,
    request: CopyRequest,
    result: PutResult,
    seconds: float | None,
    *,
    resealed: bool,
    origin: Session | None = None,
) -> None:
    """Prove a copy, or remove it if it is ours and raise.

    Args:
        session: Of the store that has the copy.
        request: What was copied.
        result: What the driver reported about the copy.
        seconds: Seconds for each request, instead of the configured number, or None.
        resealed: The copy's bytes are not the source's but those that `result.digest` names.
        origin: Of the store that has the source, where it is another one.

    Raises:
        StorageConflictError: Another writer replaced the copy, or deleted it (code "COPY_MISSING").
        StorageIntegrityError: It has other bytes (code "COPY_DIFFERS") or lacks what the source has besides
            them ("COPY_INCOMPLETE").
        StorageError: It could not be read.

    Cost: 1 request, plus those for reading the source if it has no digest; 2 for a large copy of whose bytes
        the store says the SHA-256 (3 where that does not decide).
    """
    source, tag = request.source, strong_etag(result.etag)
    key = request.encryption if request.encryption is not None else request.source_customer_key
    told = not resealed and session.capabilities.content_etags and tag is not None and tag == source.etag
    seen: ObjectInfo | None = None
    try:
        if told:
            seen = await session.driver.head(
                request.destination, ReadOptions(customer_key=key, deadline=session.deadline(seconds))
            )
            _check_ours(seen, request, result.size)
        if seen is None or seen.etag != source.etag:
            seen = None if resealed else await _by_digest(session, request, result, key, seconds)
        if seen is None:
            expected = await _expected(origin or session, request, result, seconds, resealed=resealed)
            seen = await _read_back(session, request, result, seconds, expected)
        if seen.storage_class is None and source.storage_class is not None:
            seen = await _with_class(session, request, seen, key, seconds)
    except StorageObjectNotFoundError:
        # The provider has acknowledged it, and the strong consistency of all our stores would show it.
        raise StorageConflictError(
            "somebody else deleted the copy before it was compared; the source is kept",
            code=ErrorCode.COPY_MISSING,
        ) from None
    kept = {
        "write-id": seen.write_id == request.write_id,
        "digest": resealed or source.digest in {None, seen.digest},
        **_beside(source, seen),
    }
    lacks = [name for name, is_there in kept.items() if not is_there]
    if lacks:
        raise StorageIntegrityError(
            f"the copy lacks what its source keeps with its bytes ({', '.join(lacks)}); the source is kept",
            code=ErrorCode.COPY_INCOMPLETE,
        )


async def _by_digest(
    session: Session,
    request: CopyRequest,
    result: PutResult,
    key: ServerEncryption | None,
    seconds: float | None,
) -> ObjectInfo | None:
    """What is kept with a copy whose bytes have the source's digest, as the store says; None to read them.

    Only the same digest is taken: a different one may be of the parts, or of what was there before.

    Cost: 2 requests, none where the bytes come in one, or the store does not compute digests.
    """
    expected, driver = request.source.digest, session.driver
    if expected is None or result.size <= _READ_AT_ONCE or not driver.capabilities.copy_digests:
        return None
    if not isinstance(driver, ReportsDigests):
        return None
    options = ReadOptions(customer_key=key, deadline=session.deadline(seconds))
    seen = await driver.head(request.destination, options)
    _check_ours(seen, request, result.size)
    return seen if await driver.stored_digest(seen, options) == expected else None


async def _with_class(
    session: Session,
    request: CopyRequest,
    seen: ObjectInfo,
    key: ServerEncryption | None,
    seconds: float | None,
) -> ObjectInfo:
    """The copy with its storage class, which some stores, such as Azure, report to a HEAD only."""
    options = ReadOptions(
        if_match=strong_etag(seen.etag), customer_key=key, deadline=session.deadline(seconds)
    )
    found = await session.driver.head(request.destination, options)
    _check_ours(found, request, seen.size)
    return replace(seen, storage_class=found.storage_class, extras={**found.extras, **seen.extras})


def _check_ours(seen: ObjectInfo, request: CopyRequest, size: int) -> None:
    if seen.write_id not in {request.write_id, request.source.write_id, None}:
        raise StorageConflictError("another writer replaced the copy; the source is kept")
    if seen.size != size:
        raise _differs(f"the copy has {seen.size} bytes where {size} were copied")


def _differs(how: str) -> StorageIntegrityError:
    return StorageIntegrityError(f"{how}; the source is kept", code=ErrorCode.COPY_DIFFERS)


def _beside(source: ObjectInfo, copy: ObjectInfo) -> dict[str, bool]:
    """Whether a copy has everything its source keeps with its bytes; it may have more."""
    return {
        "content headers": _texts(source.headers).items() <= _texts(copy.headers).items(),
        "metadata": (source.metadata or NOTHING).items() <= (copy.metadata or NOTHING).items(),
        "further headers": source.extras.items() <= copy.extras.items(),
        "tags": not source.tag_count or source.tag_count == copy.tag_count,
        "storage class": is_usual(source) or source.storage_class == copy.storage_class,
        "encryption at rest": source.encryption is None or copy.encryption is not None,
    }


def _texts(headers: ContentHeaders | None) -> dict[str, str]:
    return {name: text for name, text in asdict(headers or NO_HEADERS).items() if text is not None}


async def _read_back(
    session: Session, request: CopyRequest, result: PutResult, seconds: float | None, expected: bytes
) -> ObjectInfo:
    """Read the copy, which its reader checks too, and compare it; return what is kept with its bytes.

    Raises:
        StorageIntegrityError: It does not have the source's bytes (code "COPY_DIFFERS"), and has been removed
            if it is ours.
        StorageError: It could not be read.
    """
    key = request.encryption if request.encryption is not None else request.source_customer_key
    async with await session.driver.get(
        request.destination, ReadOptions(customer_key=key, deadline=session.deadline(seconds))
    ) as copy:
        seen = copy.info
        _check_ours(seen, request, result.size)
        try:
            same = await sha256_of(copy) == expected
        except StorageIntegrityError as error:
            if error.code != ErrorCode.DIGEST_MISMATCH:
                raise
            same = False
    if not same:
        failure = _differs("the copy has other bytes than its source")
        await _remove_copy(session, request, seen, seconds, failure)
        raise failure
    return seen


async def _expected(
    origin: Session, request: CopyRequest, result: PutResult, seconds: float | None, *, resealed: bool
) -> bytes:
    """SHA-256 that the copy is to have.

    Raises:
        StorageIntegrityError: There is nothing to compare it with (code "COPY_DIFFERS").
        StorageError: The source could not be read.
    """
    known = result.digest if resealed else request.source.digest
    if known is not None:
        return known
    if resealed:
        raise StorageIntegrityError(
            "the provider's driver did not send the copy, so there is nothing to compare it with; the source "
            "is kept",
            code=ErrorCode.COPY_DIFFERS,
        )
    return await _digest_of_source(origin, request, seconds)


async def _digest_of_source(session: Session, request: CopyRequest, seconds: float | None) -> bytes:
    source = request.source
    options = ReadOptions(
        version_id=source.version_id,
        customer_key=request.source_customer_key,
        deadline=session.deadline(seconds),
    )
    try:
        async with await get_same(session.driver, source.key, options, source) as reader:
            return await sha256_of(reader)
    except StorageObjectNotFoundError:
        raise StorageConflictError(
            "somebody else deleted the source before its copy was compared with it; the copy is kept"
        ) from None


async def _remove_copy(
    session: Session, request: CopyRequest, seen: ObjectInfo, seconds: float | None, error: StorageError
) -> None:
    """Remove a wrong copy that is ours; `error` reports what became of it."""
    if seen.write_id != request.write_id:
        return
    bound = strong_etag(seen.etag) if session.capabilities.conditional_delete else None
    driver, key = session.driver, request.destination
    try:
        try:
            await driver.delete(key, if_match=bound, deadline=session.deadline(seconds))
        except StorageUnsupportedError:
            if bound is None:
                raise
            await driver.delete(key, deadline=session.deadline(seconds))
    except StorageError:
        error.message += "; the wrong copy could not be removed"
    else:
        error.message += "; the wrong copy was removed again"
