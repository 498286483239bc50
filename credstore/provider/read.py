"""The read path: from stored bytes to plain, verified, in memory or as a stream.

Stored bytes are checked by the driver's reader (length, digest); what they decode to is checked against the
size the object declares. A range of a compressed object is found by decoding from the start, because its
stored form has no points to start from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from credstore.driver.reader import ObjectReader
from credstore.driver.values import BODY, NO_HEADERS, ObjectInfo, ReadOptions, StoredReader, invalid_range
from credstore.encryption import ClientSide, CustomerKey
from credstore.errors import (
    ErrorCode,
    StorageCodecError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.model import NOTHING, Codec, Dictionary, StorageItem
from credstore.pipeline.header import MAX_HEADER, undecryptable
from credstore.pipeline.pipeline import Decoding, Recipe, decode, recipe
from credstore.provider.encryption import begins_sealed, is_meant, open_whole
from credstore.provider.session import Session
from credstore.provider.validation import check_count
from credstore.quick import made
from credstore.threads import in_pool

INLINE_STORED = 16 * 1024
INLINE_PLAIN = 256 * 1024
"""Number of stored and plain bytes decoded on the event loop: under half a millisecond."""
OVERHEAD = 64 * 1024
"""Number of bytes, besides a sixteenth, by which incompressible data may grow when stored."""
PIECES = 1024 * 1024
"""Number of plain bytes collected per visit to a thread."""


def recipe_of(info: ObjectInfo) -> Recipe:
    """How the object's stored bytes become plain.

    Raises:
        StorageCodecError: The object was made with a codec this version does not know.
    """
    if not info.system and info.write_id is not None:
        return raw_recipe(info)  # credstore has stored what it was given.
    headers = info.headers or NO_HEADERS
    if info.system is not None and BODY in info.system:
        raise StorageCodecError(
            "this object refers to a body that it shares with others; open the store with dedup=True"
        )
    return recipe(
        NOTHING if info.system is None else info.system,
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        stored_size=info.size,
        foreign=info.write_id is None,
    )


def known_recipe(info: ObjectInfo) -> Recipe | None:
    """The object's recipe, or None where this version does not know it: enough to describe a copy."""
    try:
        return recipe_of(info)
    except StorageCodecError:
        return None


def raw_recipe(info: ObjectInfo) -> Recipe:
    """The recipe that leaves the stored bytes as they are."""
    content_type = info.headers.content_type if info.headers else None
    fields = {"codec": None, "plain_size": info.size, "content_type": content_type, "opaque": False}
    return made(Recipe, fields)


def item_of(info: ObjectInfo, provider: str, found: Recipe | None = None) -> StorageItem:
    """What users see about an object.

    Args:
        info: From the driver; from a listing if its headers are None.
        provider: Label for `served_by` where the driver does not set it.
        found: The recipe, where it is known.
    """
    headers = info.headers or NO_HEADERS
    if info.headers is None and info.metadata is None and info.digest is None and info.encryption is None:
        return StorageItem.listed(
            key=info.key,
            size=info.size,
            last_modified=info.last_modified,
            etag=info.etag,
            storage_class=info.storage_class,
            version_id=info.version_id,
            served_by=info.served_by or provider,
            degraded=info.degraded,
        )
    return StorageItem(
        key=info.key,
        size=info.size,
        last_modified=info.last_modified,
        etag=info.etag,
        storage_class=info.storage_class,
        metadata=None if info.metadata is None else dict(info.metadata),
        content_type=found.content_type if found else headers.content_type,
        content_encoding=headers.content_encoding,
        cache_control=headers.cache_control,
        content_disposition=headers.content_disposition,
        content_language=headers.content_language,
        plain_size=found.plain_size if found else None,
        compression=found.codec if found else None,
        dictionary=found.dictionary if found else None,
        encryption=info.encryption,
        client_side=found.sealed if found else False,
        digest=info.digest,
        tag_count=info.tag_count,
        version_id=info.version_id,
        served_by=info.served_by or provider,
        degraded=info.degraded,
    )


class Reading:
    """How one object is read: decrypted, decoded, or as it is stored."""

    def __init__(
        self,
        session: Session,
        key: str,
        *,
        decode: bool,
        encryption: CustomerKey | ClientSide | None,
        version_id: str | None,
        timeout: float | None,
    ) -> None:
        """Decide nothing yet.

        Args:
            session: Of the store.
            key: Of the object.
            decode: False for the stored bytes.
            encryption: The call's, instead of the store's, or None.
            version_id: A kept version, or None.
            timeout: Seconds, instead of the configured number, or None.
        """
        self.session = session
        self.key = key
        self.decode = decode
        self.policy = session.policy_of(encryption, timeout)
        self._encryption = encryption
        self._version_id = version_id
        self._timeout = timeout

    def options(self) -> ReadOptions:
        """Options of a request that starts now.

        Raises:
            StorageInvalidRequestError: One of them is invalid.
        """
        return self.session.reading(self._encryption, self._version_id, self._timeout)

    def recipe(self, info: ObjectInfo) -> tuple[Recipe, ClientSide | None]:
        """What the object's metadata says, and what to decrypt it with if it is to be decrypted.

        Raises:
            StorageInvalidRequestError: Raw bytes were requested where only decrypted ones are returned, or
                there is no key ring for an encrypted object (code "ENCRYPTED").
            StorageCodecError: The object was made with a codec this version does not know.
        """
        if not self.decode:
            if self.policy is not None and self.policy.required:
                raise StorageInvalidRequestError(
                    "decode=False returns what is stored, encrypted or not, and this store's policy requires "
                    "encryption; read it through a provider without it"
                )
            return raw_recipe(info), None
        if self.policy is not None and self.policy.required:
            return known_recipe(info) or raw_recipe(info), self.policy  # Metadata decides nothing here.
        found = recipe_of(info)
        return found, self.policy if is_meant(self.policy, found) else None

    def whole(self, reader: StoredReader, max_size: int) -> Awaitable[tuple[bytes, Codec | None]]:
        """All plain bytes of an object, and what they were compressed with; closes the reader.

        Args:
            reader: Of all stored bytes.
            max_size: Maximum number of plain bytes.

        Raises:
            StorageInvalidRequestError: There are more than `max_size` bytes (code "TOO_LARGE"); see `recipe`.
            StorageDecryptionError: It does not decrypt.
            StorageIntegrityError: What arrived is not what was stored.
            StorageCodecError: It does not decode.
        """
        policy = self.policy
        if policy is not None and policy.required and self.decode:  # Metadata decides nothing here.
            return self._opened(policy, reader, max_size)
        return self._as_marked(reader, max_size)

    async def _as_marked(self, reader: StoredReader, max_size: int) -> tuple[bytes, Codec | None]:
        """See `whole`; for an object whose metadata says what it is."""
        try:
            found, policy = self.recipe(reader.info)
            if policy is not None:
                return await self._opened(policy, reader, max_size)
            name = found.dictionary
            dictionary = None if name is None else await self.session.dictionaries.get(name)
        except BaseException:
            await reader.aclose()
            raise
        if found.codec is None and (found.plain_size is None or found.plain_size <= max_size):
            plain = await reader.read(max_size)
        else:
            plain = await read_all(reader, found, max_size, dictionary)
        if self.policy is None or not self.decode or not begins_sealed(plain):
            return plain, found.codec
        # Encrypted but not marked as such: somebody removed the mark.
        return await self._opened(self.policy, reader, max_size, plain)

    async def _opened(
        self, policy: ClientSide, reader: StoredReader, max_size: int, stored: bytes | None = None
    ) -> tuple[bytes, Codec | None]:
        """See `whole`; for an encrypted object, of which `stored` are the bytes if they were read."""
        if stored is None:
            try:
                stored = await reader.read(max_size + max_size // 16 + OVERHEAD + MAX_HEADER)
            except StorageIntegrityError:
                raise undecryptable() from None
        opened, found = await open_whole(policy, reader.info, self.key, stored)
        if found is not None:
            return await decoded(found, opened, max_size), found.codec
        if len(opened) > max_size:
            raise _too_large(len(opened), max_size)
        return opened, None


async def read_all(
    reader: StoredReader, found: Recipe, max_size: int, dictionary: Dictionary | None = None
) -> bytes:
    """All plain bytes of an object; closes the reader.

    Args:
        reader: Of the stored bytes.
        found: Their recipe.
        max_size: Maximum number of plain bytes.
        dictionary: The dictionary that the recipe names.

    Raises:
        StorageInvalidRequestError: There are more than `max_size` bytes (code "TOO_LARGE").
        StorageIntegrityError: What arrived is not what was stored.
        StorageCodecError: It does not decode.
    """
    if found.plain_size is not None and found.plain_size > max_size:
        await reader.aclose()
        raise _too_large(found.plain_size, max_size)
    # Closes the reader in any case.
    stored = await reader.read(max_size if found.codec is None else max_size + max_size // 16 + OVERHEAD)
    return stored if found.codec is None else await decoded(found, stored, max_size, dictionary)


async def decoded(found: Recipe, stored: bytes, max_size: int, dictionary: Dictionary | None = None) -> bytes:
    """All plain bytes of what was stored or encrypted, decoded in a thread if there are many.

    Raises:
        StorageInvalidRequestError: There are more than `max_size` (code "TOO_LARGE").
        StorageIntegrityError: The number of bytes is not the one the object declares.
        StorageCodecError: It does not decode.
    """
    if found.codec is None:
        if len(stored) > max_size:
            raise _too_large(len(stored), max_size)
        return stored
    small = len(stored) <= INLINE_STORED and (found.plain_size or INLINE_PLAIN + 1) <= INLINE_PLAIN
    if small:
        return decode(found, stored, max_size=max_size, dictionary=dictionary)
    return await in_pool(decode, found, stored, max_size=max_size, dictionary=dictionary)


def _too_large(size: int, max_size: int) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        f"the object has {size} bytes, more than the {max_size} that may be retrieved "
        "at once; stream it with open() or raise max_size",
        code=ErrorCode.TOO_LARGE,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which plain bytes of an object are wanted.

    Attributes:
        start: The first, 0-based.
        end: One past the last, or None for the end.
        suffix: Number of bytes from the end, instead of both, or None.
        limit: Maximum number of bytes to hold in memory, where that is necessary.
    """

    start: int = 0
    end: int | None = None
    suffix: int | None = None
    limit: int = 0

    @property
    def whole(self) -> bool:
        """Whether all bytes are wanted."""
        return (self.start, self.end, self.suffix) == (0, None, None)

    def within(self, plain_size: int | None) -> Wanted:
        """The same range of an object of this size, as its start and end if the size is known."""
        if self.suffix is None or plain_size is None:
            return self
        return Wanted(max(0, plain_size - self.suffix), None)

    def check(self) -> None:
        """Refuse a range that is invalid for every object.

        Raises:
            StorageInvalidRequestError: The range is invalid (code "INVALID_RANGE").
        """
        for name, value in (("start", self.start), ("end", self.end), ("suffix", self.suffix)):
            if value is not None or name == "start":
                try:
                    check_count(name, value)
                except StorageInvalidRequestError as error:
                    error.code = ErrorCode.INVALID_RANGE
                    raise
        if self.end is not None and self.end < self.start:
            raise invalid_range(f"a range is 0 <= start <= end, not {self.start} to {self.end}")
        ReadOptions(start=self.start, end=self.end, suffix=self.suffix).check_range()


def decoded_reader(
    stored: StoredReader,
    found: Recipe,
    item: StorageItem,
    wanted: Wanted,
    explain: Callable[[StorageError], object],
    *,
    dictionary: Dictionary | None = None,
) -> ObjectReader[StorageItem]:
    """A reader of the wanted plain bytes, on top of a reader of the stored ones.

    The stored reader must start at the object's first byte if `found.codec` is not None, and yield exactly
    the wanted bytes otherwise.
    """
    if found.codec is None:
        return ObjectReader(item, stored, length=stored.length, close=stored.aclose, explain=explain)
    wanted = wanted.within(found.plain_size)
    decoding = Decoding(found.codec, found.plain_size, None, dictionary, several=found.several)
    if wanted.suffix is not None:
        last = _last(stored, decoding, wanted.suffix, wanted.limit)
        return ObjectReader(item, last, length=None, close=stored.aclose, explain=explain)
    start, end = wanted.start, wanted.end
    length = None
    if found.plain_size is not None:
        stop = found.plain_size if end is None else min(end, found.plain_size)
        length = max(0, stop - start)
    chunks = _decoded(stored, decoding, start, end)
    return ObjectReader(item, chunks, length=length, close=stored.aclose, explain=explain)


async def _decoded(
    stored: StoredReader, decoding: Decoding, start: int, end: int | None
) -> AsyncIterator[bytes]:
    position = 0
    async for chunk in stored:
        pieces = decoding.feed(chunk)
        while plain := await in_pool(_collect, pieces):
            begin, position = position, position + len(plain)
            wanted = plain[max(0, start - begin) : None if end is None else max(0, end - begin)]
            if wanted:
                yield wanted
            if end is not None and position >= end:
                return
    decoding.finish()
    if 0 < position <= start:
        raise StorageInvalidRequestError(
            f"the range starts at byte {start} of an object of {position}", code=ErrorCode.INVALID_RANGE
        )


async def _last(stored: StoredReader, decoding: Decoding, count: int, limit: int) -> AsyncIterator[bytes]:
    """The last plain bytes of an object whose length is unknown: they are held until its end is reached."""
    held: deque[bytes] = deque()
    size = 0
    async for chunk in stored:
        pieces = decoding.feed(chunk)
        while plain := await in_pool(_collect, pieces):
            held.append(plain)
            size += len(plain)
            while size - len(held[0]) >= count:
                size -= len(held.popleft())
            if size > max(limit, PIECES) and count > limit:
                raise StorageInvalidRequestError(
                    f"the object does not record its plain size, so its last {count} bytes have to be held "
                    f"in "
                    f"memory until its end, and that is more than the {limit} of max_retrieve_size",
                    code=ErrorCode.TOO_LARGE,
                )
    decoding.finish()
    surplus = size - count
    for plain in held:
        if surplus < len(plain):
            yield plain[max(0, surplus) :]
        surplus -= len(plain)


def _collect(pieces: Iterator[bytes]) -> bytes:
    collected: list[bytes] = []
    size = 0
    for piece in pieces:
        collected.append(piece)
        size += len(piece)
        if size >= PIECES:
            break
    return b"".join(collected)
