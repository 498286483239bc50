"""`WebApp`: one ASGI application of parts, each below its own path.

Rules of this file: it knows HTTP's paths and methods, and nothing of what a part does. What no part serves
gets a 404, and a part that fails a 500 without any text of its own.

Source: ASGI 3.0, "HTTP & WebSocket ASGI Message Format", "Lifespan Protocol".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError, StorageError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_logger = logging.getLogger("credstore.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response that is complete.

    Attributes:
        status: HTTP status.
        body: All of it.
        content_type: MIME type.
        headers: Others, by lower-case name.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] | None = None


class Part(Protocol):
    """Something to mount."""

    async def answer(self, path: str, query: str) -> Answer | None:
        """The response to a GET; None where there is nothing at this path.

        Args:
            path: What follows the path it is mounted at: "" or "/…", decoded.
            query: After the question mark, as sent.
        """
        ...


@runtime_checkable
class PostPart(Part, Protocol):
    """A part that takes POSTs, too.

    Attributes:
        largest_body: Bytes of a request, at most.
    """

    largest_body: int

    async def post(self, path: str, body: bytes) -> Answer | None:
        """The response to a POST; None where nothing takes one at this path.

        Args:
            path: As for `answer`.
            body: All of it.
        """
        ...


@runtime_checkable
class NegotiatedPart(Part, Protocol):
    """A part whose response depends on what its reader accepts."""

    async def negotiate(self, path: str, query: str, accept: str) -> Answer | None:
        """As `answer`, for this reader.

        Args:
            path: As for `answer`.
            query: As for `answer`.
            accept: The Accept header, or "".
        """
        ...


@typed_class
class WebApp:
    """An ASGI application; give it to any ASGI server, or mount it in another application."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """Mount parts.

        Args:
            parts: By path, such as {"/metrics": PrometheusPart([provider])}; "/" is for whatever no other
                path is for.

        Raises:
            StorageConfigurationError: A path does not start with one slash, or ends with one.
        """
        for path in parts:
            if path != "/" and (not path.startswith("/") or path.endswith("/") or "//" in path):
                raise StorageConfigurationError(
                    f"a part is mounted at a path such as '/metrics', not {path!r}"
                )
        mounted = {path.removesuffix("/"): part for path, part in parts.items()}
        self._parts = dict(sorted(mounted.items(), key=lambda each: len(each[0]), reverse=True))

    @property
    def largest_body(self) -> int:
        """Bytes of the largest request that any part takes; 0 without one that takes POSTs."""
        return max(
            (each.largest_body for each in self._parts.values() if isinstance(each, PostPart)), default=0
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one connection, as ASGI says."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            method, query = scope["method"], scope["query_string"].decode("latin-1")
            body = await _received(receive, self.largest_body) if method == "POST" else b""
            answer = await self.respond(method, scope["path"], query, body, accept=_accept(scope))
            await _send(answer, send, head=scope["method"] == "HEAD")

    async def respond(
        self, method: str, path: str, query: str = "", body: bytes | None = b"", *, accept: str = ""
    ) -> Answer:
        """The response to a request; never raises.

        Args:
            method: HTTP method; GET and HEAD are served, and POST where a part takes it.
            path: Decoded.
            query: As sent.
            body: Of a POST; None where it is larger than `largest_body`.
            accept: The Accept header.
        """
        for mounted, part in self._parts.items():
            if path != mounted and not path.startswith(f"{mounted}/"):
                continue
            rest = path.removeprefix(mounted)
            try:
                if method == "POST" and isinstance(part, PostPart):
                    if body is None or len(body) > part.largest_body:
                        return Answer(status=413, body=b"The request is too large.\n")
                    answer = await part.post(rest, body)
                elif method not in {"GET", "HEAD"}:
                    return Answer(status=405, body=b"Only GET and HEAD.\n", headers={"allow": "GET, HEAD"})
                elif isinstance(part, NegotiatedPart):
                    answer = await part.negotiate(rest, query, accept)
                else:
                    answer = await part.answer(rest, query)
            except StorageError as error:
                _logger.error("the store behind a part of the web app failed: %s", error.code)  # noqa: TRY400 - no frames
                return Answer(status=503 if error.retryable else 500, body=b"This cannot be shown now.\n")
            except Exception as error:  # noqa: BLE001 - whatever a part raises, the server lives on
                _logger.error("a part of the web app failed: %s", type(error).__name__)  # noqa: TRY400 - no frames
                return Answer(status=500, body=b"This cannot be shown now.\n")
            if answer is not None:
                return answer
        return Answer(status=404, body=b"There is nothing here.\n")


def _accept(scope: Scope) -> str:
    """The Accept header; several are one list."""
    headers = scope.get("headers", ())
    return ",".join(value.decode("latin-1") for name, value in headers if name.lower() == b"accept")


async def _received(receive: Receive, most: int) -> bytes | None:
    """The body of a request, or None if it is larger."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        more = message.get("more_body", False) and message["type"] == "http.request"
    return b"".join(parts)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        what = (await receive())["type"]
        await send({"type": f"{what}.complete"})
        if what == "lifespan.shutdown":
            return


async def _send(answer: Answer, send: Send, *, head: bool) -> None:
    headers = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        **(answer.headers or {}),
    }
    told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": told})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
