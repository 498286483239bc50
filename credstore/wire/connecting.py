"""Making one connection: to the origin itself, or through a proxy.

Rules of this file: every wait is bounded, by the time a connection may take and by the call's own deadline.
TLS is always with the origin, for its own name, even inside a proxy's tunnel. Nothing of a request is sent
here, so a failure here never reached the origin. A proxy's password goes only to the proxy, and is never in a
local variable of a function that raises. Error texts are all our own.

Source: RFC 9110 section 9.3.6 (CONNECT), RFC 9112 section 3.2 (absolute form), RFC 8305 section 5.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from socket import gaierror
from typing import TypeVar, cast
from urllib.parse import urlsplit

import aiohappyeyeballs

from credstore.concurrency import Joint
from credstore.errors import StorageConfigurationError
from credstore.threads import in_pool
from credstore.wire.connection import Connection
from credstore.wire.failures import proxy_failure
from credstore.wire.names import AddrInfo, Names
from credstore.wire.proxy import Proxy, ProxyRules, authority
from credstore.wire.transport import WireError, WireKind

USER_AGENT = f"credstore/{version('credstore')}"
_NEXT_ADDRESS = 0.25
"""Seconds before the next of a host's addresses is tried in parallel (RFC 8305 section 5)."""
_LONGEST_HEAD = 64 * 1024
_BEGINNING, _END = b"HTTP/1.", b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_INTERIM, _SUCCESSES = 100, range(200, 300)

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.BaseProtocol)


class Connector:
    """Makes connections for one client, on one event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, timeout: float, ca_file: str | None, proxies: ProxyRules
    ) -> None:
        """Open nothing yet.

        Args:
            loop: The loop that they run on.
            timeout: Seconds for the name lookup, and again for the connection with its TLS and its proxy.
            ca_file: PEM file of certificate authorities to trust besides the system's.
            proxies: Which proxy each origin is reached through.
        """
        self._loop = loop
        self._timeout = timeout
        self._ca_file = ca_file
        self._proxies = proxies
        self._names = Names(loop)
        self._trust: ssl.SSLContext | None = None
        self._trusting: Joint[None, ssl.SSLContext] = Joint()

    async def connect(self, origin: str, end: float | None, make: Callable[[], Connection]) -> Connection:
        """A new connection that requests to `origin` may be sent over.

        Args:
            origin: `scheme://host[:port]`.
            end: Instant of the loop's clock by which it must be ready, or None.
            make: Makes the connection's protocol.

        Raises:
            WireError: There is no connection; nothing was sent to the origin.
            StorageConfigurationError: `ca_file` or the proxy's URL cannot be used.
        """
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        proxy = self._proxies.proxy_for(origin)
        failure: WireError
        try:
            if self._trust is None and (secure or self._ca_file is not None):
                await self._trusting.result(None, self._learn)
            trust = self._trust if secure else None
            if proxy is not None:
                return await self._by_way_of(proxy, (host, port), trust, end, make)
            if trust is None:
                return await self._spoken((host, port), end, make)
            return await self._safe((host, port), trust, end, make)
        except OSError as error:
            failure = _error(error, proxy)
        raise failure  # Outside the handler, so that the system's error with its address is not in the chain.

    async def _learn(self) -> ssl.SSLContext:
        """Whom to trust: read once, since it takes longer than many connections."""
        self._trust = trust = await in_pool(_trust, self._ca_file)
        return trust

    async def _by_way_of(
        self,
        proxy: Proxy,
        place: tuple[str, int],
        trust: ssl.SSLContext | None,
        end: float | None,
        make: Callable[[], Connection],
    ) -> Connection:
        """A connection to a proxy that forwards requests, or tunnels TLS to the origin."""
        way = (proxy.host, proxy.port)
        if trust is None:
            connection = await _blaming(proxy, self._spoken(way, end, make))
            connection.proxy = proxy
            return connection
        opening = await _blaming(proxy, self._spoken(way, end, lambda: _Opening(self._loop)))
        until = self._until(end)
        try:
            await _blaming(proxy, self._opened(opening, proxy, authority(*place), until))
            return await self._secured(opening.transport, place[0], trust, until, make)
        except BaseException:
            opening.transport.abort()
            raise

    async def _safe(
        self, place: tuple[str, int], trust: ssl.SSLContext, end: float | None, make: Callable[[], Connection]
    ) -> Connection:
        """A connection with TLS.

        In two steps, since asyncio leaves a transport open that it was to make with TLS, if it is cancelled
        before TLS has started.
        """
        opening = await self._spoken(place, end, lambda: _Opening(self._loop))
        try:
            return await self._secured(opening.transport, place[0], trust, self._until(end), make)
        except BaseException as error:
            opening.transport.abort()
            if isinstance(error, OSError):
                self._names.forget(*place)
            raise

    async def _spoken(self, place: tuple[str, int], end: float | None, make: Callable[[], P]) -> P:
        """The protocol of a connection to the first address that responds."""
        async with asyncio.timeout_at(self._until(end)):
            addresses = await self._names.addresses(*place)
        try:
            async with asyncio.timeout_at(self._until(end)):
                return await self._reached(addresses, make)
        except OSError:
            self._names.forget(*place)
            raise

    async def _reached(self, addresses: Sequence[AddrInfo], make: Callable[[], P]) -> P:
        raw = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType] - a bare tuple
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=self._loop
        )
        try:
            _, protocol = await self._loop.create_connection(make, sock=raw)
        except BaseException:
            raw.close()
            raise
        return protocol

    async def _opened(self, opening: _Opening, proxy: Proxy, place: str, until: float) -> None:
        """Ask a proxy for a tunnel."""
        _ask(opening.transport, proxy, place)
        async with asyncio.timeout_at(until):
            status = await opening.status
        if status is None:
            raise WireError(
                "proxy-failed", sent=False, detail=f"{proxy.name} sent an unintelligible response"
            )
        if status not in _SUCCESSES:
            raise WireError(proxy_failure(status), sent=False, detail=f"{proxy.name} responded {status}")

    async def _secured(
        self,
        transport: asyncio.Transport,
        host: str,
        trust: ssl.SSLContext,
        until: float,
        make: Callable[[], Connection],
    ) -> Connection:
        """Speak TLS with the origin at the other end of a connection, or of a tunnel."""
        connection = make()
        async with asyncio.timeout_at(until):
            inner = await self._loop.start_tls(transport, connection, trust, server_hostname=host)
        if inner is None:
            raise ConnectionAbortedError
        connection.connection_made(inner)
        return connection

    def _until(self, end: float | None) -> float:
        until = self._loop.time() + self._timeout
        return until if end is None or until < end else end


class _Opening(asyncio.Protocol):
    """Waits for the head of a proxy's response to CONNECT: `status`, or None for anything else.

    A successful response has no body, and the origin's TLS does not speak first, so no bytes follow it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport
        self.status: asyncio.Future[int | None] = loop.create_future()
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while not self.status.done():
            head, end, rest = self._seen.partition(_END)
            found = _STATUS.match(self._seen)
            if not end:
                starts = self._seen[: len(_BEGINNING)] == _BEGINNING[: len(self._seen)]
                if not starts or len(head) > _LONGEST_HEAD:
                    self._tell(None)
                return
            status = int(found[1]) if found else 0
            if _INTERIM <= status < _SUCCESSES.start:
                self._seen = rest
                continue
            self._tell(None if not status or (rest and status in _SUCCESSES) else status)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._tell(None)

    def _tell(self, status: int | None) -> None:
        if not self.status.done():
            self.status.set_result(status)


def _ask(transport: asyncio.Transport, proxy: Proxy, place: str) -> None:
    """Send CONNECT; separate, since the function that awaits the response must not hold the password."""
    asked = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nuser-agent: {USER_AGENT}\r\n"
    transport.write(f"{asked}{authorization_line(proxy)}\r\n".encode("ascii"))


def authorization_line(proxy: Proxy) -> str:
    """The header that authorizes a request to a proxy, or nothing where it has no password."""
    told = proxy.authorization
    return "" if told is None else f"proxy-authorization: {told.reveal()}\r\n"


def forwarded(head: bytes, origin: str, proxy: Proxy) -> bytes:
    """The head of a request as a forwarding proxy expects it: with the whole URL and the proxy's password.

    Args:
        head: As for the origin, from the method to the empty line.
        origin: `scheme://host[:port]`.
        proxy: The proxy that it is sent to.
    """
    method, _, rest = head.partition(b" ")
    return b"%b %b%b%b\r\n" % (method, origin.encode(), rest[:-2], authorization_line(proxy).encode("ascii"))


async def _blaming(proxy: Proxy, step: Awaitable[T]) -> T:
    """A step in reaching a proxy or getting its response; failures count as the proxy's.

    Raises:
        WireError: The step failed.
    """
    failure: WireError
    try:
        return await step
    except OSError as error:
        failure = _proxy_error(error, proxy)
    raise failure


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is an OSError too.
        reason = error.strerror or type(error).__name__
        raise StorageConfigurationError(
            f"`ca_file` {ca_file!r} is not a readable PEM file of certificates ({reason}); if it is not set, "
            "AWS_CA_BUNDLE or `ca_bundle` of the AWS profile names it"
        ) from error
    return context


def _error(error: OSError, proxy: Proxy | None) -> WireError:
    """Why there is no connection to an origin, in our own words only."""
    way = "" if proxy is None else f"through the proxy {proxy.name}"
    if isinstance(error, ssl.SSLError):
        why = "the server does not speak TLS correctly"
        if isinstance(error, ssl.SSLCertVerificationError):
            why = error.verify_message
        return WireError("tls", sent=False, detail=f"{why}; {way}" if way else why)
    if isinstance(error, gaierror):
        return WireError("dns", sent=False, detail=way)
    return WireError("timeout" if isinstance(error, TimeoutError) else "connect", sent=False, detail=way)


def _proxy_error(error: OSError, proxy: Proxy) -> WireError:
    """Why a proxy cannot be used."""
    if isinstance(error, gaierror):
        return WireError("proxy-connect", sent=False, detail=f"{proxy.name}: its name could not be resolved")
    kind: WireKind = "proxy-timeout" if isinstance(error, TimeoutError) else "proxy-connect"
    return WireError(kind, sent=False, detail=proxy.name)
