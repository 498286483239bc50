"""Whether a copy is what its source is: asked before a source is deleted, over any driver (P9).

Rules of this file: nothing that a driver says of its own copy is believed but entity tags that are made
of the content; the bytes are read otherwise. What is known to be wrong is removed while it is ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict

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
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)
from credstore.hashing import hash_into, sha256_of
from credstore.model import NOTHING, strong_etag
from credstore.provider.session import Session


class HashedBody:
    """A body that knows the SHA-256 of what was sent of it.

    Attributes:
        digest: Of the last pass over all of it, or None before there was one.
    """

    def __init__(self, source: Body) -> None:
        """Watch `source`."""
        self.source = source
        self.digest: bytes | None = None

    @property
    def length(self) -> int | None:
        """As the source's."""
        return self.source.length

    @property
    def replayable(self) -> bool:
        """As the source is."""
        return self.source.replayable

    @property
    def data(self) -> bytes | None:
        """As the source's."""
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
    """Whether an object has the storage class that needs no naming."""
    return source.storage_class in {None, "STANDARD"}


async def check_copy(
    session: Session, request: CopyRequest, result: PutResult, seconds: float | None, *, anew: bool
) -> None:
    """Prove a copy, or raise and have it removed if it is ours.

    Args:
        session: Of the store.
        request: What was copied.
        result: What was told of the copy.
        seconds: Seconds of each request, in place of the configured, or None.
        anew: The copy's bytes are not the source's but those of `result.digest`.

    Raises:
        StorageConflictError: Another writer replaced the copy.
        StorageIntegrityError: It is not there (code "COPY_MISSING"), has other bytes ("COPY_DIFFERS") or
            lacks what the source has beside them ("COPY_INCOMPLETE").
        StorageError: It could not be read.

    Cost: 1 request, and as many more as reading the source takes where it has no digest.
    """
    source, tag = request.source, strong_etag(result.etag)
    key = request.encryption if request.encryption is not None else request.source_customer_key
    told = not anew and session.capabilities.content_etags and tag is not None and tag == source.etag
    seen: ObjectInfo | None = None
    try:
        if told:
            seen = await session.driver.head(
                request.destination, ReadOptions(customer_key=key, deadline=session.deadline(seconds))
            )
            _check_ours(seen, request, result.size)
        if seen is None or seen.etag != source.etag:
            seen = await _read_back(session, request, result, seconds, anew=anew)
    except StorageObjectNotFoundError:
        raise StorageIntegrityError(
            "the copy is not there although the provider acknowledged it", code=ErrorCode.COPY_MISSING
        ) from None
    lacks = [name for name, kept in _beside(source, seen).items() if not kept]
    if lacks:
        raise StorageIntegrityError(
            f"the copy lacks what its source has beside the bytes ({', '.join(lacks)}); the source is kept",
            code=ErrorCode.COPY_INCOMPLETE,
        )


def _check_ours(seen: ObjectInfo, request: CopyRequest, size: int) -> None:
    if seen.write_id is not None and seen.write_id != request.write_id:
        raise StorageConflictError("another writer replaced the copy; the source is kept")
    if seen.size != size:
        raise _differs(f"the copy has {seen.size} bytes where {size} were copied")


def _differs(how: str) -> StorageIntegrityError:
    return StorageIntegrityError(f"{how}; the source is kept", code=ErrorCode.COPY_DIFFERS)


def _beside(source: ObjectInfo, copy: ObjectInfo) -> dict[str, bool]:
    """Whether a copy has each of what its source tells of itself beside the bytes; more is no loss."""
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
    session: Session,
    request: CopyRequest,
    result: PutResult,
    seconds: float | None,
    *,
    anew: bool,
) -> ObjectInfo:
    """Read the copy, which its reader checks too, and compare it; what there is beside its bytes.

    Raises:
        StorageIntegrityError: It is not the source's bytes (code "COPY_DIFFERS"), and is gone if it is ours.
        StorageError: It could not be read, or nothing is known to compare it with.
    """
    expected = result.digest if anew else request.source.digest
    if expected is None:
        if anew:
            raise StorageIntegrityError(
                "the provider's driver did not send the copy, so nothing is known to compare it with; the "
                "source is kept",
                code=ErrorCode.COPY_DIFFERS,
            )
        expected = await _digest_of_source(session, request, seconds)
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


async def _digest_of_source(session: Session, request: CopyRequest, seconds: float | None) -> bytes:
    source = request.source
    options = ReadOptions(
        version_id=source.version_id,
        customer_key=request.source_customer_key,
        deadline=session.deadline(seconds),
    )
    async with await get_same(session.driver, source.key, options, source) as reader:
        return await sha256_of(reader)


async def _remove_copy(
    session: Session, request: CopyRequest, seen: ObjectInfo, seconds: float | None, error: StorageError
) -> None:
    """Remove a wrong copy that is ours; what becomes of it is told by `error`."""
    if seen.write_id != request.write_id:
        return
    bound = strong_etag(seen.etag) if session.capabilities.conditional_delete else None
    try:
        await session.driver.delete(request.destination, if_match=bound, deadline=session.deadline(seconds))
    except StorageError:
        error.message += "; the wrong copy could not be removed"
    else:
        error.message += "; the wrong copy was removed again"
