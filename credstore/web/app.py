"""`WebApp`: one ASGI application of parts, each below its own path.

Rules of this file: it knows HTTP's paths and methods, and nothing of what a part does. What no part serves
gets a 404, and a part that fails a 500 without any text of its own.

Source: ASGI 3.0, "HTTP & WebSocket ASGI Message Format", "Lifespan Protocol".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError

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


@typed_class
class WebApp:
    """An ASGI application; give it to any ASGI server, or mount it in another application."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        """Mount parts.

        Args:
            parts: By path, such as {"/metrics": PrometheusPart([provider])}.

        Raises:
            StorageConfigurationError: A path does not start with one slash, or ends with one.
        """
        for path in parts:
            if not path.startswith("/") or path.endswith("/") or "//" in path:
                raise StorageConfigurationError(
                    f"a part is mounted at a path such as '/metrics', not {path!r}"
                )
        self._parts = dict(sorted(parts.items(), key=lambda each: len(each[0]), reverse=True))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one connection, as ASGI says."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            answer = await self.respond(
                scope["method"], scope["path"], scope["query_string"].decode("latin-1")
            )
            await _send(answer, send, head=scope["method"] == "HEAD")

    async def respond(self, method: str, path: str, query: str = "") -> Answer:
        """The response to a request; never raises.

        Args:
            method: HTTP method; only GET and HEAD are served.
            path: Decoded.
            query: As sent.
        """
        for mounted, part in self._parts.items():
            if path != mounted and not path.startswith(f"{mounted}/"):
                continue
            if method not in {"GET", "HEAD"}:
                return Answer(status=405, body=b"Only GET and HEAD.\n", headers={"allow": "GET, HEAD"})
            try:
                answer = await part.answer(path.removeprefix(mounted), query)
            except Exception as error:  # noqa: BLE001 - whatever a part raises, the server lives on
                _logger.error("a part of the web app failed: %s", type(error).__name__)  # noqa: TRY400 - no frames
                return Answer(status=500, body=b"This cannot be shown now.\n")
            if answer is not None:
                return answer
        return Answer(status=404, body=b"There is nothing here.\n")


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
