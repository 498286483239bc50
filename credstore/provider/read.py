"""The read path: from stored bytes to plain, verified, in memory or as a stream.

Stored bytes are checked by the driver's reader (length, digest); what they decode to is checked
again against the size the object declares. A range of a compressed object is found by decoding from
the start, because its stored form has no seams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from credstore.driver import ContentHeaders, ObjectInfo, StoredReader
from credstore.errors import StorageCodecError, StorageError, StorageInvalidRequestError
from credstore.model import NOTHING, Codec, Dictionary, StorageItem
from credstore.pipeline.pipeline import Decoding, Recipe, decode, recipe
from credstore.reader import ObjectReader

INLINE_STORED = 16 * 1024
INLINE_PLAIN = 256 * 1024
"""Stored and plain bytes up to which decoding stays on the event loop (under half a millisecond)."""
OVERHEAD = 64 * 1024
"""Bytes by which, with a sixteenth, what does not compress may be larger stored than plain."""
PIECES = 1024 * 1024
"""Plain bytes collected in one visit to a thread."""
_NO_HEADERS = ContentHeaders()


def recipe_of(info: ObjectInfo) -> Recipe:
    """How the object's stored bytes become plain.

    Raises:
        StorageCodecError: Made with a codec this version does not know.
    """
    headers = info.headers or _NO_HEADERS
    return recipe(
        info.system or NOTHING,
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        stored_size=info.size,
        foreign=info.write_id is None,
    )


def compression_of(info: ObjectInfo) -> tuple[Codec | None, int | None]:
    """The object's codec and plain size, each None where it is not known: enough to speak of a copy."""
    try:
        found = recipe_of(info)
    except StorageCodecError:
        return None, None
    return found.codec, found.plain_size


def raw_recipe(info: ObjectInfo) -> Recipe:
    """The recipe that leaves the stored bytes as they are."""
    content_type = info.headers.content_type if info.headers else None
    return Recipe(None, info.size, content_type, opaque=False)


def item_of(info: ObjectInfo, provider: str, found: Recipe | None = None) -> StorageItem:
    """What users see of an object.

    Args:
        info: From the driver; of a listing, where its headers are None.
        provider: Label for `served_by` where the driver gives none.
        found: The recipe, where it is known.
    """
    headers = info.headers or _NO_HEADERS
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
        digest=info.digest,
        version_id=info.version_id,
        served_by=info.served_by or provider,
        degraded=info.degraded,
    )


async def read_all(
    reader: StoredReader, found: Recipe, max_size: int, dictionary: Dictionary | None = None
) -> bytes:
    """All plain bytes of an object; closes the reader.

    Args:
        reader: Of the stored bytes.
        found: Their recipe.
        max_size: Most plain bytes.
        dictionary: That of the recipe's name.

    Raises:
        StorageInvalidRequestError: More than `max_size` bytes (code "TOO_LARGE").
        StorageIntegrityError: What came is not what was stored.
        StorageCodecError: It does not decode.
    """
    async with reader:
        if found.plain_size is not None and found.plain_size > max_size:
            raise StorageInvalidRequestError(
                f"the object has {found.plain_size} bytes, more than the {max_size} that may be retrieved "
                "at once; stream it with open() or raise max_size",
                code="TOO_LARGE",
            )
        stored = await reader.read(max_size if found.codec is None else max_size + max_size // 16 + OVERHEAD)
    if found.codec is None:
        return stored
    small = len(stored) <= INLINE_STORED and (found.plain_size or INLINE_PLAIN + 1) <= INLINE_PLAIN
    if small:
        return decode(found, stored, max_size=max_size, dictionary=dictionary)
    return await asyncio.to_thread(decode, found, stored, max_size=max_size, dictionary=dictionary)


def decoded_reader(
    stored: StoredReader,
    found: Recipe,
    item: StorageItem,
    span: tuple[int, int | None],
    explain: Callable[[StorageError], object],
    *,
    dictionary: Dictionary | None = None,
) -> ObjectReader[StorageItem]:
    """A reader of the plain bytes `span` (start, end) over a reader of the stored ones.

    The stored reader must begin at the object's first byte where `found.codec` is not None, and at
    `start` otherwise.
    """
    if found.codec is None:
        return ObjectReader(item, stored, length=stored.length, close=stored.aclose, explain=explain)
    start, end = span
    length = None
    if found.plain_size is not None:
        stop = found.plain_size if end is None else min(end, found.plain_size)
        length = max(0, stop - start)
    chunks = _decoded(stored, Decoding(found.codec, found.plain_size, None, dictionary), start, end)
    return ObjectReader(item, chunks, length=length, close=stored.aclose, explain=explain)


async def _decoded(
    stored: StoredReader, decoding: Decoding, start: int, end: int | None
) -> AsyncIterator[bytes]:
    position = 0
    async for chunk in stored:
        pieces = decoding.feed(chunk)
        while plain := await asyncio.to_thread(_collect, pieces):
            begin, position = position, position + len(plain)
            wanted = plain[max(0, start - begin) : None if end is None else max(0, end - begin)]
            if wanted:
                yield wanted
            if end is not None and position >= end:
                return
    decoding.finish()
    if 0 < position <= start:
        raise StorageInvalidRequestError(
            f"the range starts at byte {start} of an object of {position}", code="INVALID_RANGE"
        )


def _collect(pieces: Iterator[bytes]) -> bytes:
    collected: list[bytes] = []
    size = 0
    for piece in pieces:
        collected.append(piece)
        size += len(piece)
        if size >= PIECES:
            break
    return b"".join(collected)
