"""Logs and witnesses over HTTP: reads of static files, and one POST.

Rules of this file: nothing is sent again and no redirect is followed; "absent" is said only where the server
said 404; a response is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from credstore.arguments import typed, typed_class
from credstore.errors import (
    Applied,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.proofs.log.reading import Fetch
from credstore.wire.http import HttpClient
from credstore.wire.transport import HttpRequest, Transport, WireError

TIMEOUT = 30.0
_OK = 200
_NOT_FOUND = 404
_SERVER_ERROR = 500
_GONE = 410
_RATE = 429
_MEANINGS = {
    "dns": "the name of the server is not known",
    "connect": "the server cannot be reached",
    "tls": "no trusted TLS connection could be made",
    "broken": "the connection broke",
}
_LASTING = frozenset({"protocol", "tls", "proxy-password", "proxy-refused"})
"""What ends an exchange in the same way each time, a response that is too large among it."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A response.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@typed_class
class LogHttp:
    """A client for logs and witnesses; close it, or use it with `async with`."""

    def __init__(self, transport: Transport | None = None, *, timeout: float = TIMEOUT) -> None:
        """Open nothing yet.

        Args:
            transport: What sends requests; owned from now on.
            timeout: Seconds for one request.
        """
        self._transport = HttpClient() if transport is None else transport
        self._timeout = timeout

    async def send(
        self, method: str, url: str, body: bytes | None, most: int, media_type: str | None = None
    ) -> HttpAnswer:
        """One request; the status is the caller's matter.

        Args:
            method: HTTP method.
            url: Of `http` or `https`.
            body: What to send, or None.
            most: Maximum number of bytes of the response.
            media_type: Of the body, or None for the client's default.

        Raises:
            StorageConnectionError: No response, or a longer one than `most` bytes.
            StorageTimeoutError: Not in time.
            StorageConfigurationError: Not a URL.
        """
        check_url(url)
        headers = {"accept-encoding": "identity", "accept": "*/*"}
        if media_type is not None:
            headers["content-type"] = media_type
        request = HttpRequest(method=method, url=url, headers=headers, body=body)
        applied: Applied = "no" if body is None else "maybe"
        status: int | None = None
        try:
            response = await self._transport.send(request, deadline=time.monotonic() + self._timeout)
            status = response.status
            return HttpAnswer(response.status, dict(response.headers), await response.read(most))
        except WireError as error:
            applied = applied if error.sent else "no"
            if error.kind == "timeout":
                raise StorageTimeoutError(
                    f"the server did not respond in time ({self._timeout:g} s)",
                    key=_shown(url),
                    applied=applied,
                ) from None
            said = "" if status is None else f" (status {status})"
            why = error.detail or _MEANINGS.get(error.kind, error.kind)
            raise StorageConnectionError(
                f"no usable response{said}: {why}",
                key=_shown(url),
                status_code=status,
                applied=applied,
                retryable=error.kind not in _LASTING,
            ) from None

    @typed
    async def get(self, url: str, most: int) -> bytes | None:
        """The body of a resource, or None where there is none.

        Raises:
            StorageError: The server cannot be reached, or responds otherwise.
        """
        answer = await self.send("GET", url, None, most)
        if answer.status == _OK:
            return answer.body
        if answer.status in {_NOT_FOUND, _GONE}:
            return None
        kind = StorageUnavailableError if answer.status >= _SERVER_ERROR else StorageError
        if answer.status == _RATE:
            kind = StorageRateLimitedError
        raise kind(
            f"the server did not return the file, but status {answer.status}",
            key=_shown(url),
            status_code=answer.status,
        )

    @typed
    def fetch(self, url: str) -> Fetch:
        """A fetch function for the log at a URL.

        Raises:
            StorageConfigurationError: Not a URL.
        """
        base = url.rstrip("/")
        check_url(base)

        async def fetch(path: str, most: int) -> bytes | None:
            return await self.get(f"{base}/{path}", most)

        return fetch

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def check_url(url: str) -> None:
    """Refuse what is not the address of a server.

    Raises:
        StorageConfigurationError: It is not http or https, has a user name, or is malformed.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username
    except ValueError:
        sound = False
    if not sound or not url.isascii() or not url.isprintable() or " " in url:
        raise StorageConfigurationError("the address of a server is http://... or https://...")


def _shown(url: str) -> str:
    return url.partition("?")[0]
