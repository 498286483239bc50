"""How much of a body has left this machine, so that progress moves while a long request is under way.

Rules of this file: numbers only grow, whatever is sent again; all of it counts only once the store has it. A
callback that raises ends the request, as a source that fails does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from credstore.model import Progress
from credstore.wire.transport import StreamBody

PIECE = 256 * 1024
"""Bytes between two reports of one body."""


class Departure:
    """Counts the bytes of one write, in one request or in parts."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        """Start at nothing.

        Args:
            progress: Called with (bytes, total or None); None for a write that no one watches.
            total: Bytes of the write, or None.
        """
        self._progress = progress
        self._total = total
        self._left: dict[int, int] = {}
        self._best = 0

    def of_bytes(self, data: bytes) -> bytes | StreamBody:
        """The same bytes, counted where there are enough to watch."""
        if self._progress is None or len(data) <= PIECE:
            return data
        return self.of(len(data), lambda: _once(data))

    def of(
        self, length: int | None, source: Callable[[], AsyncIterator[bytes | memoryview]], number: int = 0
    ) -> StreamBody:
        """A body that is counted as it is sent.

        Args:
            length: As of `StreamBody`.
            source: As `StreamBody.open`.
            number: Of the part.
        """
        if self._progress is None:
            return StreamBody(length, source)
        return StreamBody(length, lambda: self._counted(source(), number))

    async def _counted(
        self, source: AsyncIterator[bytes | memoryview], number: int
    ) -> AsyncGenerator[bytes | memoryview, None]:
        self._left[number] = 0
        try:
            async for chunk in source:
                rest = memoryview(chunk)
                while rest:
                    piece, rest = rest[:PIECE], rest[PIECE:]
                    yield piece
                    self._left[number] += len(piece)
                    self._report()
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    def arrived(self, number: int, size: int) -> None:
        """The store has a part.

        Args:
            number: Of the part.
            size: Its bytes.
        """
        self._left[number] = size
        self._report(arrived=True)

    def settled(self, done: int) -> None:
        """The store has this many bytes, from the start on; the rest has not left.

        Args:
            done: Bytes.
        """
        self._left = {-1: done}
        self._report(arrived=True)

    def _report(self, *, arrived: bool = False) -> None:
        done = sum(self._left.values())
        if self._progress is None or done <= self._best:
            return
        if not arrived and self._total is not None and done >= self._total:
            return  # It has left, and is not there yet.
        self._best = done
        self._progress(done, self._total)


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data
