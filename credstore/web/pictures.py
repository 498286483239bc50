"""Where the picture of a proof may be. What is there counts only if its digest is the proof's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from credstore.arguments import typed_class
from credstore.concurrency import in_thread
from credstore.errors import StorageError
from credstore.proofs.format.record import AssetDigest, ProofRecord
from credstore.proofs.media_types import HEAD, media_type_of
from credstore.provider.provider import StorageProvider
from credstore.provider.validation import check_prefix

ENDS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif",
}
"""Types of pictures that browsers show, none of which can have scripts, with the end of their names."""
LARGEST_PICTURE = 64 * 1024 * 1024
_MOST_REMEMBERED = 1000


@runtime_checkable
class Pictures(Protocol):
    """Finds the picture of a proof."""

    async def find(self, record: ProofRecord) -> str | None:
        """The end of its name, such as ".png"; None where there is no such picture."""
        ...

    async def read(self, record: ProofRecord) -> bytes | None:
        """Its bytes, which are those that the proof is about; None where there are none."""
        ...


def picture_end(data: bytes, record: ProofRecord) -> str | None:
    """The end of a picture's name, if the bytes are a picture and exactly those that a proof is about."""
    measured = AssetDigest.of(data)
    if (measured.sha256, measured.size) != (record.asset.sha256, record.asset.size):
        return None
    return ENDS.get(media_type_of(data[:HEAD]) or "")


@typed_class
class StoredPictures(Pictures):
    """Pictures in a store: where a proof's `uri` is the key, or the SHA-256 in hex is the name."""

    def __init__(self, provider: StorageProvider, prefix: str) -> None:
        """Look below a prefix, and nowhere else.

        Args:
            provider: Where they are; not closed here.
            prefix: What their keys start with.

        Raises:
            StorageInvalidRequestError: Not a prefix of keys.
        """
        check_prefix(prefix, provider.capabilities.max_key_size)
        self._provider = provider
        self._prefix = prefix
        self._known: OrderedDict[tuple[str, str, bytes], str | None] = OrderedDict()

    async def find(self, record: ProofRecord) -> str | None:
        """See `Pictures`; a picture is read once for each of its entity tags.

        Raises:
            StorageError: The store failed.
        """
        for key in self._keys(record):
            item = await self._provider.get_metadata(key)
            if item is None:
                continue
            known = (key, item.etag or "", record.asset.sha256)
            if not item.etag or known not in self._known:
                data = await self._read(key, record)
                self._known[known] = None if data is None else picture_end(data, record)
                if len(self._known) > _MOST_REMEMBERED:
                    self._known.popitem(last=False)
            if (end := self._known[known]) is not None:
                return end
        return None

    async def read(self, record: ProofRecord) -> bytes | None:
        """See `Pictures`.

        Raises:
            StorageError: The store failed.
        """
        for key in self._keys(record):
            data = await self._read(key, record)
            if data is not None and picture_end(data, record) is not None:
                return data
        return None

    def _keys(self, record: ProofRecord) -> list[str]:
        if record.asset.size > LARGEST_PICTURE:
            return []
        keys = [self._prefix + record.asset.sha256.hex()]
        if record.uri is not None and record.uri.startswith(self._prefix):
            keys.insert(0, record.uri)
        return keys

    async def _read(self, key: str, record: ProofRecord) -> bytes | None:
        try:
            return await self._provider.retrieve(key, max_size=record.asset.size)
        except StorageError as error:
            if error.retryable:
                raise
            return None  # Larger, encrypted for others, or not a key: it is not this picture.


@typed_class
class GivenPictures(Pictures):
    """Pictures in files of this machine, found by their digests."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Measure these files, in turn, when the first picture is asked for."""
        self._files = tuple(files)
        self._measured: dict[bytes, Path] | None = None

    async def find(self, record: ProofRecord) -> str | None:
        """See `Pictures`.

        Raises:
            OSError: A file cannot be read.
        """
        data = await self.read(record)
        return None if data is None else picture_end(data, record)

    async def read(self, record: ProofRecord) -> bytes | None:
        """See `Pictures`.

        Raises:
            OSError: A file cannot be read.
        """
        if self._measured is None:
            self._measured = await in_thread(self._measure)
        path = self._measured.get(record.asset.sha256)
        data = None if path is None else await in_thread(path.read_bytes)
        return data if data is not None and picture_end(data, record) is not None else None

    def _measure(self) -> dict[bytes, Path]:
        return {AssetDigest.of(path.read_bytes()).sha256: path for path in self._files}
