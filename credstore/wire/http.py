"""One HTTP exchange at a time: the only import of aiohttp.

Rules of this file: one `send` is at most one request on the wire; no redirect is followed, nothing
is sent again, nothing is decompressed, no header is added that was not asked for (P25). Whether a
byte was handed to a connected socket is always known (P0). Every wait is bounded. What leaves this
module as an error has neither URL nor header in it, nor does its chain.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from socket import AF_INET, AddressFamily, gaierror
from typing import Literal

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.connector import Connection
from yarl import URL

from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.wire.upload import Upload, one_chunk

USER_AGENT = f"credstore/{version('credstore')}"
_SMALL = 64 * 1024
"""Bytes of a body that asyncio takes at once (its high-water mark), so that nobody waits while they leave
and only the answer needs a bound on time."""
_READ_AHEAD = 256 * 1024
"""Bytes taken from a socket before its reader has asked for them."""
_LONGEST_HEADER = 32 * 1024
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

WireKind = Literal["dns", "connect", "tls", "timeout", "broken", "protocol"]


@dataclass(frozen=True, slots=True)
class StreamBody:
    """A request's body that is not in memory.

    Attributes:
        length: Bytes in all, or None, which sends it in chunked framing.
        open: Starts it from its first byte; called once per attempt, and only when its first byte
            can be sent. If it gives a generator, that is closed when the attempt ends.
    """

    length: int | None
    open: Callable[[], AsyncIterator[bytes]]


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


class WireError(Exception):
    """The exchange ended without a whole answer; never reaches users.

    Attributes:
        kind: Where it broke.
        sent: False only if no byte of the request was handed to a connected socket.
        detail: More about it, without URL, header or secret; may be empty.
    """

    def __init__(self, kind: WireKind, *, sent: bool, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind: WireKind = kind
        self.sent = sent
        self.detail = detail


@dataclass(slots=True)
class _Attempt:
    sent: bool = False


_attempt: ContextVar[_Attempt] = ContextVar("credstore_attempt")


class _Request(aiohttp.ClientRequest):
    """Notes that a connection is there and bytes are about to go out, and lets that happen once."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        attempt = _attempt.get()
        if attempt.sent:
            # aiohttp sends again when a reused connection dies (aiohttp #10790); its private switch
            # is off, and this holds should it go.
            raise aiohttp.ClientConnectionError
        attempt.sent = True
        return await super().send(conn)


class _Resolver(aiohttp.ThreadedResolver):
    """The system's resolver, bounded in time."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        async with asyncio.timeout(self._timeout):
            return await super().resolve(host, port, family)


class HttpResponse:
    """An answer whose headers are here and whose body may still be coming.

    Attributes:
        status: HTTP status.
        headers: By lower-case name; repeated ones joined by ", ".
    """

    __slots__ = ("_deadline", "_idle", "_response", "_upload", "headers", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, upload: Upload | None, deadline: float | None, idle: float
    ) -> None:
        """Take over the answer; `deadline` is an instant of the loop's clock, `idle` seconds."""
        self._response = response
        self._upload = upload
        self._deadline = deadline
        self._idle = idle
        self.status = response.status
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            lower = name.lower()
            headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
        self.headers: Mapping[str, str] = headers

    async def read(self, limit: int) -> bytes:
        """The whole body, within the request's deadline; closes the answer.

        Args:
            limit: Most bytes to accept.

        Raises:
            WireError: It is longer, was cut short, or did not come in time.
        """
        body, failure = await self._take(limit)
        if failure is not None:
            raise failure
        return body

    def take_whole(self) -> bytes | None:
        """The whole body if it is here already, as a small one mostly is; else None, and nothing is taken."""
        content = self._response.content
        return content.read_nowait() if content.is_eof() and content.exception() is None else None

    async def read_start(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or as many as came; closes the answer."""
        body, _ = await self._take(limit)
        return body

    async def _take(self, limit: int) -> tuple[bytes, WireError | None]:
        """Up to `limit` bytes, and why they are not all."""
        whole = self.take_whole()
        if whole is not None:
            await self.aclose()
            return whole[:limit], _too_long(limit) if len(whole) > limit else None
        content = self._response.content
        parts: list[bytes] = []
        room = limit
        failure: WireError | None = None
        try:
            async with asyncio.timeout_at(None if content.is_eof() else self._end()):
                async for part in content.iter_any():
                    parts.append(part[:room])
                    room -= len(part)
                    if room < 0:
                        failure = _too_long(limit)
                        break
        except (aiohttp.ClientError, OSError) as error:
            failure = _wire_error(error, sent=True)
        finally:
            await self.aclose()
        return parts[0] if len(parts) == 1 else b"".join(parts), failure

    def _end(self) -> float:
        """The instant by which a body that is read at once must be here."""
        return asyncio.get_running_loop().time() + self._idle if self._deadline is None else self._deadline

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, undecoded; close the answer when done with it.

        Raises:
            WireError: It was cut short, or nothing came for the idle time.
        """
        failure: WireError | None = None
        try:
            async for part in self._response.content.iter_any():
                yield part
        except (aiohttp.ClientError, OSError) as error:
            failure = _wire_error(error, sent=True)
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Give the connection back, or drop it if the body has not ended; safe to call again."""
        if not self._response.content.is_eof():
            self._response.close()
        if self._upload is not None:
            await self._upload.aclose()


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
    ) -> None:
        """Open nothing yet.

        Args:
            max_connections: Open connections; further requests wait for one.
            connect_timeout: Seconds for the name, and again for the connection with its TLS.
            idle_timeout: Seconds without progress in either direction.
            ca_file: PEM file of certificate authorities to trust beside the system's.
        """
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._owner: tuple[asyncio.AbstractEventLoop, int] | None = None
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
        session = await self._opened()
        loop = asyncio.get_running_loop()
        end = None if deadline is None else loop.time() + deadline - time.monotonic()
        if end is not None and end <= loop.time():
            raise WireError("timeout", sent=False)
        attempt = _Attempt()
        _attempt.set(attempt)
        upload: Upload | None = None
        try:
            async with asyncio.timeout_at(end) as limit:
                headers = {"user-agent": USER_AGENT, "accept-encoding": "identity", **request.headers}
                upload = _upload_of(request.body, headers, limit, self._idle_timeout)
                response = await session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=headers,
                    data=upload or request.body or None,
                    allow_redirects=False,
                )
        except BaseException as error:
            if upload is not None:
                await upload.aclose()
            if not isinstance(error, (aiohttp.ClientError, OSError, ValueError)):
                raise
            failure = _failure(error, upload, attempt)
        else:
            if upload is not None:
                upload.answered()
            return HttpResponse(response, upload, end, self._idle_timeout)
        raise failure  # Outside the handler, so that aiohttp's error with its URL is not in the chain.

    async def _opened(self) -> aiohttp.ClientSession:
        session = self._ready()
        if session is None:
            trust: ssl.SSLContext | Literal[True] = True
            if self._ca_file is not None:
                trust = await asyncio.to_thread(_trust, self._ca_file)
            session = self._ready() or self._make_session(trust)
        return session

    def _ready(self) -> aiohttp.ClientSession | None:
        if self._closed:
            raise StorageInvalidRequestError("this client is closed; open a new one", code="CLOSED")
        if self._session is not None and self._owner != (asyncio.get_running_loop(), os.getpid()):
            raise StorageInvalidRequestError(
                "this store was opened in another event loop or process; open one in each", code="WRONG_LOOP"
            )
        return self._session

    def _make_session(self, trust: ssl.SSLContext | Literal[True]) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, resolver=_Resolver(self._connect_timeout), ssl=trust
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            request_class=_Request,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._connect_timeout, sock_read=self._idle_timeout
            ),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_AHEAD,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        if hasattr(session, "_retry_connection"):
            # aiohttp has no public switch (#10790).
            session._retry_connection = False  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - see above
        self._session, self._owner = session, (asyncio.get_running_loop(), os.getpid())
        return session

    async def aclose(self) -> None:
        """Close all connections; safe to call again."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _too_long(limit: int) -> WireError:
    return WireError("protocol", sent=True, detail=f"more than {limit} bytes")


def _upload_of(
    body: bytes | StreamBody | None, headers: dict[str, str], limit: asyncio.Timeout, idle: float
) -> Upload | None:
    """A body that takes its time, its length put into the headers; None for one that does not."""
    if isinstance(body, StreamBody):
        if body.length is not None:
            headers["content-length"] = str(body.length)
        return Upload(body.open, limit=limit, idle=idle)
    if body is None or len(body) <= _SMALL:
        return None
    headers["content-length"] = str(len(body))
    return Upload(lambda: one_chunk(body), limit=limit, idle=idle)


def _trust(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one too.
        reason = error.strerror or type(error).__name__
        raise StorageConfigurationError(
            f"`ca_file` {ca_file!r} is not a readable PEM file of certificates ({reason})"
        ) from error
    return context


def _failure(error: Exception, upload: Upload | None, attempt: _Attempt) -> Exception:
    if upload is not None and upload.error is not None:
        return upload.error
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return StorageInvalidRequestError("a header holds a character that HTTP cannot carry")
    return _wire_error(error, sent=attempt.sent)


def _wire_error(error: Exception, *, sent: bool) -> WireError:
    """What an error of aiohttp or the system means, in words of ours only."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        problem = error.certificate_error
        detail = problem.verify_message if isinstance(problem, ssl.SSLCertVerificationError) else ""
        return WireError("tls", sent=sent, detail=detail)
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return WireError("tls", sent=sent, detail="the server does not speak TLS as it should")
    if isinstance(error, aiohttp.ClientConnectorError):
        return WireError("dns" if isinstance(error.os_error, gaierror) else "connect", sent=sent)
    if isinstance(error, TimeoutError):
        return WireError("timeout", sent=sent)
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)):
        return WireError("broken", sent=sent)
    return WireError("protocol", sent=sent)
