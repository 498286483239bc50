"""Connections kept for the next request: up to a limit, each for its own origin.

Rules of this file: waiters are served in turn and are handed a connection or a permit to make one directly,
so that none overtakes another; a cancelled waiter passes on what it was given. A connection that was idle for
long, or that its peer has closed, is not used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from credstore.concurrency import map_all
from credstore.wire.connecting import Connector
from credstore.wire.connection import AT_ONCE, Connection
from credstore.wire.transport import WireError

_KEPT = 15.0
"""Seconds that an idle connection is kept; servers and middleboxes drop them soon after."""


class _Waiter(NamedTuple):
    origin: str
    turn: asyncio.Future[Connection | None]
    """Set to a connection, or to None, which is a permit to make one."""


class Pool:
    """The connections of one client, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connector: Connector, *, limit: int) -> None:
        """Open nothing yet.

        Args:
            loop: That they run on.
            connector: Makes them; it always reaches an origin in the same way, through a proxy or directly.
            limit: Maximum number of connections at once.
        """
        self._loop = loop
        self._connector = connector
        self._limit = limit
        self._buffer = memoryview(bytearray(AT_ONCE))
        self._idle: dict[str, list[Connection]] = {}
        self._origins: dict[Connection, str] = {}
        self._leases = 0
        """Number of connections that exist or are being made."""
        self._waiters: deque[_Waiter] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closing = False
        self._gone = asyncio.Event()

    def take(self, origin: str, now: float) -> Connection | None:
        """A kept connection, if there is one and no request is waiting for it.

        Args:
            origin: `scheme://host[:port]`.
            now: By the loop's clock.
        """
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.usable and now - connection.idle_since < _KEPT:
                return connection
            connection.abort()
        return None

    async def get(self, origin: str, end: float | None) -> Connection:
        """A connection for requests to `origin`, a kept one or a new one; waits while there are too many.

        Args:
            origin: `scheme://host[:port]`.
            end: Instant of the loop's clock by which it must be there, or None.

        Raises:
            WireError: There is no connection; nothing was sent.
            StorageConfigurationError: `ca_file` or a proxy's URL cannot be used.
        """
        while True:
            connection = self.take(origin, self._loop.time())
            if connection is None and not self._leave():
                connection = await self._turn_in_time(origin, end)
            if connection is None:
                return await self._connect(origin, end)
            if connection.usable:
                return connection

    async def warm(self, origin: str, count: int, end: float | None) -> None:
        """Make connections to `origin` until there are `count`, or as many as there may be, and keep them.

        Raises:
            WireError: One of them could not be made; those that could are kept.
            StorageConfigurationError: `ca_file` or a proxy's URL cannot be used.
        """
        there = sum(1 for each in self._origins.values() if each == origin)
        wanted = range(min(count - there, self._limit - self._leases))
        await map_all(wanted, lambda _: self._make_ready(origin, end), at_once=self._limit)

    async def _make_ready(self, origin: str, end: float | None) -> None:
        if self._leave():
            self._free(await self._connect(origin, end))

    def _leave(self) -> bool:
        """Take a permit to make a connection, if there is room."""
        if self._leases >= self._limit:
            return False
        self._leases += 1
        return True

    async def _turn_in_time(self, origin: str, end: float | None) -> Connection | None:
        try:
            async with asyncio.timeout_at(end):
                return await self._turn(origin)
        except TimeoutError:
            pass
        raise WireError("timeout", sent=False)

    async def _turn(self, origin: str) -> Connection | None:
        for kept in self._idle.values():
            if kept:  # It leads to another origin: close it, and its end passes the permit on.
                kept.pop(0).abort()
                break
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(_Waiter(origin, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                given = turn.result()
                if given is None:
                    self._give_leave()
                else:
                    self._free(given)
            raise

    async def _connect(self, origin: str, end: float | None) -> Connection:
        """Make the connection that there is a permit for."""
        try:
            connection = await self._connector.connect(
                origin, end, lambda: Connection(self._loop, self._buffer, free=self._free, lost=self._lost)
            )
        except BaseException:
            self._give_leave()
            raise
        if self._closing or not connection.usable:
            connection.abort()
            self._give_leave()
            raise WireError("connect", sent=False)
        self._origins[connection] = origin
        return connection

    def _free(self, connection: Connection) -> None:
        """A connection can carry the next request: hand it on, or keep it."""
        origin = self._origins.get(connection)
        if origin is None:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.turn.done():
                continue
            if waiter.origin == origin:
                waiter.turn.set_result(connection)
            else:
                self._waiters.appendleft(waiter)
                connection.abort()  # Its end passes the permit on.
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEPT, self._drop_old)

    def _drop_old(self) -> None:
        """End connections that have been idle for long, and keep checking as long as there are any."""
        self._sweep = None
        now = self._loop.time()
        for kept in self._idle.values():
            while kept and (not kept[0].usable or now - kept[0].idle_since >= _KEPT):
                kept.pop(0).abort()
        oldest = min((kept[0].idle_since for kept in self._idle.values() if kept), default=None)
        if oldest is not None and not self._closing:
            self._sweep = self._loop.call_at(oldest + _KEPT, self._drop_old)

    def _lost(self, connection: Connection) -> None:
        """A connection has ended."""
        origin = self._origins.pop(connection, None)
        if origin is None:
            return
        kept = self._idle.get(origin)
        if kept and connection in kept:
            kept.remove(connection)
        self._give_leave()
        if self._closing and not self._origins:
            self._gone.set()

    def _give_leave(self) -> None:
        """There is room for one more connection: let the next in line make it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return
        self._leases -= 1

    async def aclose(self) -> None:
        """End all connections and return once they have ended; safe to call again."""
        self._closing = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._origins):
            connection.abort()
        if self._origins:
            await self._gone.wait()
