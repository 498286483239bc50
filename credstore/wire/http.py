"""One HTTP exchange at a time.

Rules of this file: one `send` is at most one request on the wire; no redirect is followed, nothing is sent
again, nothing is decompressed, no header is added that was not requested (P25). Whether a byte was handed to
a connected socket is always known (P0). Every wait is bounded. Errors that leave this module contain neither
URL nor header, and nor do their chains.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from functools import lru_cache

from credstore import forks
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.wire.bandwidth import Bandwidth
from credstore.wire.connecting import USER_AGENT, Connector, forwarded
from credstore.wire.connection import Answer, Connection, Throttle
from credstore.wire.pool import Pool
from credstore.wire.proxy import NO_PROXIES, ProxyRules
from credstore.wire.transport import HttpRequest, StreamBody, Transport, WireError
from credstore.wire.upload import send_body

_SMALL = 64 * 1024
"""Bytes of a body that asyncio accepts at once (its high-water mark), so that sending them never waits and
only the response needs a time limit."""
_clock, _sleep = time.monotonic, asyncio.sleep
_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
_COMMON = f" HTTP/1.1\r\nuser-agent: {USER_AGENT}\r\n"


class HttpClient(Transport):
    """A pool of connections that belongs to one event loop and one process.

    Cancellation: at once; the connection of the request is dropped.
    """

    def __init__(
        self,
        *,
        max_connections: int = 64,
        connect_timeout: float = 10.0,
        idle_timeout: float = 30.0,
        ca_file: str | None = None,
        bandwidth: int | None = None,
        proxies: ProxyRules = NO_PROXIES,
    ) -> None:
        """Open nothing yet.

        Args:
            max_connections: Maximum number of open connections; further requests wait for one.
            connect_timeout: Seconds for the name lookup, and again for the connection with its TLS.
            idle_timeout: Seconds without progress in either direction.
            ca_file: PEM file of certificate authorities to trust besides the system's.
            bandwidth: Bytes per second of bodies in each direction, or None for no limit.
            proxies: Which proxy each origin is reached through; fixed for the lifetime of a client.
        """
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._ca_file = ca_file
        self._proxies = proxies
        self._up = None if bandwidth is None else _throttle(Bandwidth(bandwidth))
        self._down = None if bandwidth is None else _throttle(Bandwidth(bandwidth))
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = 0
        self._closed = False

    def trust(self, ca_file: str | None) -> None:
        """Trust these authorities, before anything has been sent; for what is found out only then.

        Args:
            ca_file: As for the constructor.
        """
        self._ca_file = ca_file

    async def send(self, request: HttpRequest, *, deadline: float | None) -> Answer:
        """Send one request once; see `Transport.send`.

        Raises:
            WireError: No response arrived.
            StorageInvalidRequestError: A header cannot be sent over HTTP, or the client is closed or belongs
                to another loop or process; nothing was sent.
            StorageConfigurationError: `ca_file` or a proxy's URL cannot be used; nothing was sent.
            Exception: Whatever the body's source raised.
        """
        loop = asyncio.get_running_loop()
        pool = self._opened(loop)
        now = loop.time()
        end = None if deadline is None else now + deadline - time.monotonic()
        if end is not None and end <= now:
            raise WireError("timeout", sent=False)
        method, body = request.method, request.body
        origin, head = _head(request)
        if not head:
            raise StorageInvalidRequestError("a header contains a character that HTTP cannot carry")
        connection = pool.take(origin, now)
        if connection is None:
            del head  # It contains tokens, which must not appear in an error's traceback.
            connection = await pool.get(origin, end)
            _, head = _head(request)
            now = loop.time()
        if connection.proxy is not None:
            head = forwarded(head, origin, connection.proxy)
        if body is None or (isinstance(body, bytes) and len(body) <= _SMALL and self._up is None):
            answer = connection.start(
                method, head if body is None else head + body, end, self._idle_timeout, more=False
            )
            del head
            try:
                await answer.waiter(self._until(now, end))
                answer.check()
            except BaseException:
                answer.cut()  # Not the connection, which another request may be using already.
                raise
            finally:
                answer.unwatch()
        else:
            answer = connection.start(method, head, end, self._idle_timeout, more=True)
            del head
            await self._send_long(connection, answer, body, end)
        if self._down is not None:
            answer.throttled(self._down)
        return answer

    async def warm(self, origin: str, connections: int, *, deadline: float | None) -> None:
        """Open connections to an origin until there are as many; see `Transport.warm`.

        Raises:
            WireError: One could not be made; nothing was sent.
            StorageInvalidRequestError: The client is closed or belongs to another loop or process.
            StorageConfigurationError: `ca_file` or a proxy's URL cannot be used.
        """
        loop = asyncio.get_running_loop()
        end = None if deadline is None else loop.time() + deadline - time.monotonic()
        await self._opened(loop).warm(origin, connections, end)

    async def _send_long(
        self, connection: Connection, answer: Answer, body: bytes | StreamBody, end: float | None
    ) -> None:
        """Send a slow body while listening for a response that arrives before its end."""
        idle = self._idle_timeout
        stream = body if isinstance(body, StreamBody) else StreamBody(len(body), lambda: _one_chunk(body))
        sending = connection.loop.create_task(
            send_body(connection, answer, stream.open(), length=stream.length, idle=idle, throttle=self._up)
        )
        try:
            await answer.head(end)
            if not answer.status:  # The body has been sent.
                await answer.head(self._until(connection.now(), end))
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
        except BaseException:
            await answer.aclose()
            sending.cancel()
            await asyncio.wait([sending])
            raise

    def _until(self, now: float, end: float | None) -> float:
        until = now + self._idle_timeout
        return until if end is None or until < end else end

    def _opened(self, loop: asyncio.AbstractEventLoop) -> Pool:
        if self._closed:
            raise StorageInvalidRequestError("this client is closed; open a new one", code=ErrorCode.CLOSED)
        if self._pool is None:
            self._loop, self._forks = loop, forks.count
            connector = Connector(
                loop, timeout=self._connect_timeout, ca_file=self._ca_file, proxies=self._proxies
            )
            self._pool = Pool(loop, connector, limit=self._max_connections)
        elif self._loop is not loop or self._forks != forks.count:
            raise StorageInvalidRequestError(
                "this store was opened in another event loop or process; open one in each",
                code=ErrorCode.WRONG_LOOP,
            )
        return self._pool

    async def aclose(self) -> None:
        """Close all connections; safe to call again."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()


def _head(request: HttpRequest) -> tuple[str, bytes]:
    """Origin and head of a request; no head if a header or the target cannot be sent over HTTP."""
    method, url, headers, body = request.method, request.url, request.headers, request.body
    slash = url.find("/", url.find("://") + 3)
    origin, target = (url, "/") if slash < 0 else (url[:slash], url[slash:])
    lines, breaks = _form(tuple(headers))
    more = ""
    if "host" not in headers:
        more = f"host: {origin.partition('://')[2]}\r\n"
        breaks += 1
    if isinstance(body, StreamBody):
        length = "transfer-encoding: chunked" if body.length is None else f"content-length: {body.length}"
        more += f"{length}\r\n"
        breaks += 1
    elif body is not None or method in _WITH_BODY:
        more += f"content-length: {len(body or b'')}\r\n"
        breaks += 1
    text = f"{method} {target}{_COMMON}{lines % tuple(headers.values())}{more}\r\n"
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        return origin, b""
    return origin, text.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=256)
def _form(names: tuple[str, ...]) -> tuple[str, int]:
    """What is the same for all requests with these headers: lines with gaps, and their breaks."""
    lines = [f"{name.replace('%', '%%')}: %s\r\n" for name in names]
    if "accept-encoding" not in names:
        lines.append("accept-encoding: identity\r\n")
    return "".join(lines), len(lines) + 3


def _throttle(bandwidth: Bandwidth) -> Throttle:
    async def throttle(size: int) -> None:
        seconds = bandwidth.delay(_clock(), size)
        if seconds:
            await _sleep(seconds)

    return throttle


async def _one_chunk(data: bytes) -> AsyncGenerator[bytes, None]:
    """A source of bytes that are in memory."""
    yield data
