"""One HTTP exchange at a time.

Rules of this file: one `send` is at most one request on the wire; no redirect is followed, nothing
is sent again, nothing is decompressed, no header is added that was not asked for (P25). Whether a
byte was handed to a connected socket is always known (P0). Every wait is bounded. What leaves this
module as an error has neither URL nor header in it, nor does its chain.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.wire.bandwidth import Bandwidth
from credstore.wire.connection import Connection, HttpResponse, Throttle, WireError
from credstore.wire.pool import Pool
from credstore.wire.upload import send_body

USER_AGENT = f"credstore/{version('credstore')}"
_SMALL = 64 * 1024
"""Bytes of a body that asyncio takes at once (its high-water mark), so that nobody waits while they leave
and only the answer needs a bound on time."""
_clock, _sleep = time.monotonic, asyncio.sleep
_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
_COMMON = f" HTTP/1.1\r\nuser-agent: {USER_AGENT}\r\n"


@dataclass(frozen=True, slots=True)
class StreamBody:
    """A request's body that is not in memory.

    Attributes:
        length: Bytes in all, or None, which sends it in chunked framing.
        open: Starts it from its first byte; called once per attempt, and only when its first byte
            can be sent. If it gives a generator, that is closed when the attempt ends.
    """

    length: int | None
    open: Callable[[], AsyncIterator[bytes | memoryview]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request.

    Attributes:
        method: HTTP method, upper case.
        url: Absolute and percent-encoded; sent byte for byte.
        headers: All of them but Content-Length, which the body decides.
        body: What to send.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)


class HttpClient:
    """A pool of connections, of one event loop and one process.

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
    ) -> None:
        """Open nothing yet.

        Args:
            max_connections: Open connections; further requests wait for one.
            connect_timeout: Seconds for the name, and again for the connection with its TLS.
            idle_timeout: Seconds without progress in either direction.
            ca_file: PEM file of certificate authorities to trust beside the system's.
            bandwidth: Bytes per second of bodies in each direction, or None for no limit.
        """
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._ca_file = ca_file
        self._up = None if bandwidth is None else _throttle(Bandwidth(bandwidth))
        self._down = None if bandwidth is None else _throttle(Bandwidth(bandwidth))
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._closed = False

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        """Send one request once.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()` for the answer's headers, and for a body taken
                by `read`; or None.

        Returns:
            The answer, whatever its status; the caller reads or closes it.

        Raises:
            WireError: No answer came.
            StorageInvalidRequestError: A header that HTTP cannot carry, or a client that is closed
                or belongs to another loop or process; nothing was sent.
            StorageConfigurationError: `ca_file` cannot be used; nothing was sent.
            Exception: Whatever the body's source raised.
        """
        loop = asyncio.get_running_loop()
        pool = self._opened(loop)
        now = loop.time()
        end = None if deadline is None else now + deadline - time.monotonic()
        if end is not None and end <= now:
            raise WireError("timeout", sent=False)
        origin, head = _head(request)
        connection = pool.take(origin) or await _in_time(pool.get(origin), end)
        body = request.body
        if body is None or (isinstance(body, bytes) and len(body) <= _SMALL and self._up is None):
            answer = connection.start(
                request.method, head + body if body else head, end=end, idle=self._idle_timeout
            )
            try:
                await answer.head(self._until(loop.time(), end))
            except BaseException:
                await answer.aclose()  # Not the connection: another request may have it already.
                raise
        else:
            answer = await self._send_long(connection, request.method, head, body, end)
        if self._down is not None:
            answer.throttled(self._down)
        return answer

    async def _send_long(
        self,
        connection: Connection,
        method: str,
        head: bytes,
        body: bytes | StreamBody,
        end: float | None,
    ) -> HttpResponse:
        """Send a body that takes its time while listening for an answer that comes before its end."""
        idle = self._idle_timeout
        stream = body if isinstance(body, StreamBody) else StreamBody(len(body), lambda: _one_chunk(body))
        answer = connection.start(method, head, end=end, idle=idle, more=True)
        sending = connection.loop.create_task(
            send_body(connection, answer, stream.open(), length=stream.length, idle=idle, throttle=self._up)
        )
        try:
            await answer.head(end)
            if not answer.status:  # The body has left.
                await answer.head(self._until(connection.now(), end))
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
        except BaseException:
            await answer.aclose()
            sending.cancel()
            await asyncio.wait([sending])
            raise
        return answer

    def _until(self, now: float, end: float | None) -> float:
        until = now + self._idle_timeout
        return until if end is None or until < end else end

    def _opened(self, loop: asyncio.AbstractEventLoop) -> Pool:
        if self._closed:
            raise StorageInvalidRequestError("this client is closed; open a new one", code=ErrorCode.CLOSED)
        if self._pool is None:
            self._loop, self._process = loop, os.getpid()
            self._pool = Pool(
                loop,
                limit=self._max_connections,
                connect_timeout=self._connect_timeout,
                ca_file=self._ca_file,
            )
        elif self._loop is not loop or self._process != os.getpid():
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


async def _in_time(getting: Awaitable[Connection], end: float | None) -> Connection:
    """The connection, if it is there before the request has to end."""
    try:
        async with asyncio.timeout_at(end):
            return await getting
    except TimeoutError:
        pass
    raise WireError("timeout", sent=False)


def _head(request: HttpRequest) -> tuple[str, bytes]:
    """Origin and head of a request.

    Raises:
        StorageInvalidRequestError: A header or target that HTTP cannot carry.
    """
    url, headers, body = request.url, request.headers, request.body
    slash = url.find("/", url.find("://") + 3)
    origin, target = (url, "/") if slash < 0 else (url[:slash], url[slash:])
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if "host" not in headers:
        lines.append(f"host: {origin.partition('://')[2]}\r\n")
    if "accept-encoding" not in headers:
        lines.append("accept-encoding: identity\r\n")
    if isinstance(body, StreamBody):
        lines.append(
            "transfer-encoding: chunked\r\n" if body.length is None else f"content-length: {body.length}\r\n"
        )
    elif body is not None or request.method in _WITH_BODY:
        lines.append(f"content-length: {len(body or b'')}\r\n")
    text = f"{request.method} {target}{_COMMON}{''.join(lines)}\r\n"
    breaks = len(lines) + 3
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise StorageInvalidRequestError("a header holds a character that HTTP cannot carry")
    return origin, text.encode("utf-8", "surrogateescape")


def _throttle(bandwidth: Bandwidth) -> Throttle:
    async def throttle(size: int) -> None:
        seconds = bandwidth.delay(_clock(), size)
        if seconds:
            await _sleep(seconds)

    return throttle


async def _one_chunk(data: bytes) -> AsyncGenerator[bytes, None]:
    """A source of bytes that are in memory."""
    yield data
