"""A request's body on its way out: in pieces, bounded in time, closed whatever happens.

Rules of this file: aiohttp bounds the time an answer may take but not the time a peer may take to
accept a body (N08), so each piece gets its own; the time the source takes to make a chunk is the
caller's and is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Self

_PIECE = 128 * 1024
"""Bytes that must leave within the idle time; more than a socket's buffers hold, so that waiting for
them is waiting for the peer."""


class Upload:
    """What aiohttp iterates over to send one body.

    Attributes:
        error: What the source raised, if that is why the body ended.
    """

    def __init__(
        self,
        start: Callable[[], AsyncIterator[bytes]],
        *,
        limit: asyncio.Timeout,
        idle: float,
    ) -> None:
        """Open nothing yet.

        Args:
            start: Opens the source.
            limit: Ends the request; moved forward while a piece waits to leave.
            idle: Seconds one piece may take.
        """
        self.error: Exception | None = None
        self._start = start
        self._source: AsyncIterator[bytes] | None = None
        self._rest = memoryview(b"")
        self._limit: asyncio.Timeout | None = limit
        self._deadline = limit.when()
        self._idle = idle
        self._pulling = asyncio.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        self._bound(None)
        async with self._pulling:
            try:
                while not self._rest:
                    self._rest = memoryview(await anext(self._opened()))
            except Exception as error:
                if not isinstance(error, StopAsyncIteration):
                    self.error = error
                raise
            piece, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
        self._bound(asyncio.get_running_loop().time() + self._idle)
        return piece

    def _opened(self) -> AsyncIterator[bytes]:
        if self._source is None:
            self._source = self._start()
        return self._source

    def _bound(self, when: float | None) -> None:
        if self._limit is None:
            return
        instants = [each for each in (when, self._deadline) if each is not None]
        self._limit.reschedule(min(instants, default=None))

    def answered(self) -> None:
        """The answer has begun: leave the limit alone from now on."""
        self._limit = None

    async def aclose(self) -> None:
        """Close the source; whoever pulls on it must have been stopped. Safe to call again."""
        self._limit = None
        source, self._source = self._source, None
        if isinstance(source, AsyncGenerator):
            async with self._pulling:
                await source.aclose()


async def one_chunk(data: bytes) -> AsyncGenerator[bytes, None]:
    """A source of bytes that are in memory."""
    yield data
