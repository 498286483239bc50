"""Chunks in packs: what is written one after the other into one object, and got back out of it. Pure.

A chunk is compressed on its own (Zstandard, RFC 8878) where that makes it smaller, so that a range of a pack
is enough to read it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import zstandard

from credstore.artifacts.index import Chunk
from credstore.artifacts.layout import pack_id
from credstore.errors import ErrorCode, StorageIntegrityError

LARGEST_PACK = 16 * 1024 * 1024
"""Bytes of one object: 60 requests for each GB, and some of them are held in memory while they are sent."""
_LEVEL = 3
_WORTH = 0.95
"""Compression that saves less is not worth the decompression."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A full pack.

    Attributes:
        name: Its name.
        data: Its bytes.
    """

    name: str
    data: bytes


class Packer:
    """Fills packs of one save, one after the other."""

    def __init__(self, session: str, largest: int = LARGEST_PACK) -> None:
        """Start with an empty pack.

        Args:
            session: The save's name.
            largest: Bytes of a pack.
        """
        self._session = session
        self._largest = largest
        self._number = 0
        self._filling = bytearray()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.stored = 0

    def add(self, digest: bytes, data: bytes, *, squeeze: bool = True) -> tuple[Chunk, Pack | None]:
        """Where the chunk will be, and the pack that was full before it; `squeeze` tries to compress it."""
        packed = self._compressor.compress(data) if squeeze else data
        if len(packed) > len(data) * _WORTH:
            packed = data
        full = self.take() if len(self._filling) + len(packed) > self._largest else None
        name = pack_id(self._session, self._number)
        chunk = Chunk(digest, name, len(self._filling), len(packed), len(data))
        self._filling += packed
        self.stored += len(packed)
        return chunk, full

    def take(self) -> Pack | None:
        """What is in the pack that is being filled; the next one is started."""
        if not self._filling:
            return None
        pack = Pack(pack_id(self._session, self._number), bytes(self._filling))
        self._number += 1
        self._filling.clear()
        return pack


def unpack(chunk: Chunk, packed: bytes) -> bytes:
    """The bytes of a chunk, verified.

    Raises:
        StorageIntegrityError: They are not those that were saved (code "DIGEST_MISMATCH").
    """
    data = packed
    if chunk.stored < chunk.size:
        try:
            # What a damaged frame says about its size is not what memory is taken for.
            size = zstandard.get_frame_parameters(packed).content_size
            data = zstandard.ZstdDecompressor().decompress(packed) if size == chunk.size else b""
        except zstandard.ZstdError:
            data = b""
    if hashlib.sha256(data).digest() != chunk.digest:
        raise StorageIntegrityError(
            f"a chunk in pack {chunk.pack} at byte {chunk.offset} is not what was saved",
            code=ErrorCode.DIGEST_MISMATCH,
        )
    return data
