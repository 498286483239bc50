"""The seam between the exchange and whatever sends its requests: one protocol and its values.

Rules of this file: it opens nothing and imports no HTTP client, so that a test or another client does not
need ours. `HttpClient` speaks HTTP/1.1 over sockets; `credstore.testing.ScriptedTransport` responds from a
script.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

WireKind = Literal[
    "dns",
    "connect",
    "tls",
    "timeout",
    "broken",
    "protocol",
    "proxy-connect",
    "proxy-timeout",
    "proxy-password",
    "proxy-refused",
    "proxy-failed",
]
"""Where an exchange broke; those of a proxy are about the way to the origin, which received nothing."""

REMEMBERED = 64
"""Headers of a response whose names may be remembered: no server needs more, and any can send them."""


class WireError(Exception):
    """The exchange ended without a complete response; never reaches users.

    Attributes:
        kind: Where it broke.
        sent: False only if no byte of the request was handed to a connected socket.
        detail: More details, without URL, header or secret; may be empty.
    """

    def __init__(self, kind: WireKind, *, sent: bool, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind: WireKind = kind
        self.sent = sent
        self.detail = detail


@dataclass(frozen=True, slots=True)
class StreamBody:
    """A request's body that is not in memory.

    Attributes:
        length: Total number of bytes, or None, which sends it with chunked framing.
        open: Starts it from its first byte; called once per attempt, and only when its first byte
            can be sent. If it returns a generator, that is closed when the attempt ends.
    """

    length: int | None
    open: Callable[[], AsyncIterator[bytes | memoryview]]


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """One request.

    Attributes:
        method: HTTP method, upper case.
        url: Absolute and percent-encoded; sent byte for byte.
        headers: All headers but Content-Length, which the body decides.
        body: What to send.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)


class HttpResponse(Protocol):
    """A response whose head has arrived, and perhaps not yet its body; its holder reads or closes it."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; repeated ones joined by ", "."""
        ...

    @property
    def proxy(self) -> str | None:
        """The proxy that may have made this response itself, without its password; None if none can have."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body, within the request's deadline; closes the response.

        Args:
            limit: Maximum number of bytes to accept.

        Raises:
            WireError: It is longer, was cut short, or did not arrive in time.
        """
        ...

    def take_whole(self, limit: int | None = None) -> bytes | None:
        """The whole body if it has arrived, as a small one usually has; then the response is closed.

        Args:
            limit: Maximum number of bytes to accept, or None for any number.

        Returns:
            None where it has not arrived or is longer, consuming nothing.
        """
        ...

    async def read_start(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or as many as arrived; closes the response."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, undecoded; close the response when done with it.

        Raises:
            WireError: It was cut short, or nothing or too little arrived within the idle time.
        """
        ...

    async def aclose(self) -> None:
        """Discard the rest of the body; safe to call again."""
        ...


class Transport(Protocol):
    """Sends one request once: no redirect is followed, nothing is sent again, no header is added.

    Cancellation: at once, leaving nothing open; what was handed over may have arrived.
    """

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        """Send one request once.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()` for the response's head, and for a body taken by `read`;
                or None.

        Returns:
            The response, whatever its status.

        Raises:
            WireError: No response arrived. Its `sent` is what "not applied" is based on (P0).
            StorageInvalidRequestError: The transport is closed, or the request cannot be sent as
                given; nothing was sent.
            StorageConfigurationError: A setting cannot be used; nothing was sent.
            Exception: Whatever the body's source raised.
        """
        ...

    async def warm(self, origin: str, connections: int, *, deadline: float | None) -> None:
        """Have connections ready for requests to an origin; nothing where none are kept.

        Args:
            origin: `scheme://host[:port]`.
            connections: How many there should be; no more than the transport's own limit are made.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            WireError: One could not be made; nothing was sent.
            StorageInvalidRequestError: As `send`.
            StorageConfigurationError: As `send`.
        """
        ...

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        ...
