"""One large object from several members at once: pieces of it, each from whoever is free.

Rules of this file: bytes are handed on in order, and at most `_AHEAD` pieces a member are held. The piece
that is wanted next is requested from a second member where one has nothing else to do, so a slow member does
not hold up the others. A member that fails is left out from then on. Every piece is of the version that was
found: reads have its etag for a condition; that all of it is right, the digest of the whole shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from credstore.concurrency import until_done
from credstore.errors import StorageError
from credstore.strategies.redundant.plan import View

PIECE = 4 * 1024 * 1024
"""Bytes of one piece."""
LEAST = 8 * PIECE
"""Bytes from which a read is divided."""
_AHEAD = 2

Fetch = Callable[[View, int, int], Awaitable[list[bytes]]]
"""The bytes of a member from an offset up to another one."""


async def striped(
    views: Sequence[View], start: int, end: int, fetch: Fetch, piece_size: int = PIECE
) -> AsyncGenerator[bytes, None]:
    """The bytes from `start` up to `end`, in order.

    Args:
        views: Members that have them, one or more; the first gets the first piece.
        start: First byte, 0-based.
        end: One past the last.
        fetch: Reads a piece, whole or not at all.
        piece_size: Bytes of one.

    Raises:
        StorageError: No member is left; what the first one to fail raised.
    """
    work = _Pieces(views, start, end, fetch, piece_size)
    try:
        while not work.ended:
            chunks = await work.next()
            while chunks:
                yield chunks.pop(0)
    finally:
        await work.aclose()


class _Pieces:
    """Pieces under way and done."""

    def __init__(self, views: Sequence[View], start: int, end: int, fetch: Fetch, piece_size: int) -> None:
        self._free = list(views)
        self._start, self._end = start, end
        self._fetch = fetch
        self._size = piece_size
        self._count = -(-(end - start) // piece_size)
        self._window = _AHEAD * len(views)
        self._head = 0
        self._next = 0
        self._again: list[int] = []
        self._done: dict[int, list[bytes]] = {}
        self._running: dict[asyncio.Future[list[bytes]], tuple[int, View]] = {}
        self._error: StorageError | None = None

    @property
    def ended(self) -> bool:
        """Whether all was handed on."""
        return self._head == self._count

    async def next(self) -> list[bytes]:
        """The next piece.

        Raises:
            StorageError: See `striped`.
        """
        while True:
            self._start_more()
            if self._head in self._done:
                chunks = self._done.pop(self._head)
                self._head += 1
                return chunks
            if not self._running:
                assert self._error is not None  # noqa: S101 - a member is only left out with an error
                raise self._error
            ended, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                self._take(task)

    def _start_more(self) -> None:
        """Give every free member something to do, as far as there is anything."""
        while self._free:
            number = self._wanted()
            if number is None:
                return
            view = self._free.pop(0)
            begin = self._start + number * self._size
            work = self._fetch(view, begin, min(begin + self._size, self._end))
            self._running[asyncio.ensure_future(work)] = number, view

    def _wanted(self) -> int | None:
        """The piece that a free member should fetch."""
        if self._again:
            return self._again.pop(0)
        if self._next < min(self._count, self._head + self._window):
            self._next += 1
            return self._next - 1
        at_head = sum(number == self._head for number, _ in self._running.values())
        return (
            self._head if self._head < self._next and self._head not in self._done and at_head == 1 else None
        )

    def _take(self, task: asyncio.Future[list[bytes]]) -> None:
        number, view = self._running.pop(task)
        others = any(number == each for each, _ in self._running.values())
        try:
            chunks = task.result()
        except StorageError as error:
            self._error = self._error or error
            if number >= self._head and number not in self._done and not others:
                self._again.append(number)
            return
        self._free.append(view)
        if number >= self._head and number not in self._done:
            self._done[number] = chunks

    async def aclose(self) -> None:
        """Cancel what is under way."""
        for task in self._running:
            task.cancel()
        cancelled = await until_done(self._running)
        for task in self._running:
            if not task.cancelled():
                task.exception()  # What was not waited for is not missed.
        if cancelled is not None:
            raise cancelled
