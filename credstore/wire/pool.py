"""Connections kept for the next request: at most so many, each for its own origin.

Rules of this file: whoever waits is served in turn and gets a connection or leave to make one from
hand to hand, so that nobody overtakes; a cancelled waiter passes on what it was given. A connection
that was idle for long, or whose peer has closed it, is not used again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from socket import AF_UNSPEC, SOCK_STREAM, gaierror
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohappyeyeballs

from credstore.errors import StorageConfigurationError
from credstore.wire.connection import READ_AHEAD, Connection, WireError

_KEPT = 15.0
"""Seconds a connection is kept without use; servers and middleboxes drop them soon after."""
_NEXT_ADDRESS = 0.25
"""Seconds before the next of a host's addresses is tried beside the first (RFC 8305 section 5)."""


class _Waiter(NamedTuple):
    origin: str
    turn: asyncio.Future[Connection | None]
    """Set to a connection, or to None, which is leave to make one."""


class Pool:
    """The connections of one client, on one event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, limit: int, connect_timeout: float, ca_file: str | None
    ) -> None:
        """Open nothing yet.

        Args:
            loop: That they run on.
            limit: Most connections at once.
            connect_timeout: Seconds for a name, and again for a connection with its TLS.
            ca_file: PEM file of certificate authorities to trust beside the system's.
        """
        self._loop = loop
        self._limit = limit
        self._connect_timeout = connect_timeout
        self._ca_file = ca_file
        self._buffer = memoryview(bytearray(READ_AHEAD))
        self._idle: dict[str, list[Connection]] = {}
        self._origins: dict[Connection, str] = {}
        self._leases = 0
        """Connections there are or are being made."""
        self._waiters: deque[_Waiter] = deque()
        self._trust: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closing = False
        self._gone = asyncio.Event()

    def take(self, origin: str) -> Connection | None:
        """A kept connection, if there is one and nobody waits for it."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.usable and self._loop.time() - connection.idle_since < _KEPT:
                return connection
            connection.abort()
        return None

    async def get(self, origin: str) -> Connection:
        """A connection to `origin`, a kept one or a new one; wait while there are too many.

        Raises:
            WireError: It could not be made; nothing was sent.
            StorageConfigurationError: `ca_file` cannot be used.
        """
        while True:
            connection = self.take(origin)
            if connection is None and not self._leave():
                connection = await self._turn(origin)
            if connection is None:
                return await self._connect(origin)
            if connection.usable:
                return connection

    def _leave(self) -> bool:
        """Leave to make a connection, if there is room."""
        if self._leases >= self._limit:
            return False
        self._leases += 1
        return True

    async def _turn(self, origin: str) -> Connection | None:
        for kept in self._idle.values():
            if kept:  # To another origin; it goes, and its end gives the leave on.
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

    async def _connect(self, origin: str) -> Connection:
        """Make the connection that there is leave for."""
        failure: WireError
        try:
            return await self._connected(origin)
        except BaseException as error:
            self._give_leave()
            if not isinstance(error, OSError):
                raise
            failure = _connect_error(error)
        raise failure  # Outside the handler, so that the system's error with its address is not in the chain.

    async def _connected(self, origin: str) -> Connection:
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        port = parts.port or (443 if secure else 80)
        if self._ca_file is not None or secure:
            self._trust = self._trust or await asyncio.to_thread(_trust, self._ca_file)
        async with asyncio.timeout(self._connect_timeout):
            found = await self._loop.getaddrinfo(host, port, family=AF_UNSPEC, type=SOCK_STREAM)
        async with asyncio.timeout(self._connect_timeout):
            raw = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType] - a bare tuple
                found, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=self._loop
            )
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self._buffer, free=self._free, lost=self._lost),
                    sock=raw,
                    ssl=self._trust if secure else None,
                    server_hostname=host if secure else None,
                )
            except BaseException:
                raw.close()
                raise
        if self._closing or not connection.usable:
            connection.abort()
            raise ConnectionAbortedError
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
                connection.abort()  # Its end gives the leave on.
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEPT, self._drop_old)

    def _drop_old(self) -> None:
        """End what has been idle for long, and look again as long as there is something."""
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
        """There is room for one connection more: let the next in line make it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return
        self._leases -= 1

    async def aclose(self) -> None:
        """End all connections, and return once they have ended; safe to call again."""
        self._closing = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._origins):
            connection.abort()
        if self._origins:
            await self._gone.wait()


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one too.
        reason = error.strerror or type(error).__name__
        raise StorageConfigurationError(
            f"`ca_file` {ca_file!r} is not a readable PEM file of certificates ({reason})"
        ) from error
    return context


def _connect_error(error: OSError) -> WireError:
    """Why there is no connection, in words of ours only."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return WireError("tls", sent=False, detail=error.verify_message)
    if isinstance(error, ssl.SSLError):
        return WireError("tls", sent=False, detail="the server does not speak TLS as it should")
    if isinstance(error, gaierror):
        return WireError("dns", sent=False)
    if isinstance(error, TimeoutError):
        return WireError("timeout", sent=False)
    return WireError("connect", sent=False)
