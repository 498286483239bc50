"""What `open` of a blocking store returns: the bytes of an object, checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from credstore.driver.reader import ObjectReader
from credstore.model import StorageItem
from credstore.provider.sources import ChunkSource
from credstore.sync.loop import LoopThread


class BlockingReader(ChunkSource):
    """The bytes of an object, to be iterated over or read at once; see `ObjectReader`.

    Attributes:
        info: What is known about the object.
        length: Bytes that it will yield, or None where that is only known at the end.
    """

    def __init__(self, thread: LoopThread, reader: ObjectReader[StorageItem]) -> None:
        """Take over an open reader."""
        self._thread = thread
        self._reader = reader
        self.info = reader.info
        self.length = reader.length

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it: it was read to its end, or closed."""
        return self._reader.ended

    def __iter__(self) -> Iterator[bytes]:
        """Chunks; raises unless every byte arrived and matches what was stored.

        Raises:
            StorageIntegrityError: The bytes are not those that were stored, or not all of them.
            StorageError: The store failed.
        """
        return self._thread.iterate(self._reader)

    def read(self, max_size: int | None = None) -> bytes:
        """All remaining bytes, checked; see `ObjectReader.read`.

        Args:
            max_size: Maximum number of bytes to accept, or None for any number.

        Raises:
            StorageIntegrityError: The length or the digest does not match.
            StorageInvalidRequestError: There are more than `max_size` bytes.
            StorageError: The store failed.
        """
        return self._thread.run(self._reader.read(max_size))


class BlockingOpening:
    """A context manager of a `BlockingReader`; leaving it releases the connection."""

    def __init__(
        self, thread: LoopThread, opening: AbstractAsyncContextManager[ObjectReader[StorageItem]]
    ) -> None:
        """Remember what to open; nothing happens until it is entered."""
        self._thread = thread
        self._opening = opening

    def __enter__(self) -> BlockingReader:
        """Open the object.

        Raises:
            StorageNotFoundError: There is no such object.
            StorageError: Anything else; see `StorageProvider.open`.
        """
        return BlockingReader(self._thread, self._thread.run(_entered(self._opening)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(_left(self._opening, kind, error, trace))

    def read(self) -> bytes:
        """All bytes at once, without a `with`.

        Raises:
            StorageError: As on entering, and as `BlockingReader.read`.
        """
        with self as reader:
            return reader.read()


async def _entered(
    opening: AbstractAsyncContextManager[ObjectReader[StorageItem]],
) -> ObjectReader[StorageItem]:
    return await opening.__aenter__()


async def _left(
    opening: AbstractAsyncContextManager[ObjectReader[StorageItem]],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    await opening.__aexit__(kind, error, trace)
