"""Serving what is small and made by a function: the static files of a log, and the API of a witness."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from credstore.edge.connection import IDLE, serving
from credstore.edge.headers import GUARDS
from credstore.edge.responses import plain, status_of
from credstore.errors import StorageError
from credstore.model import NOTHING


@dataclass(frozen=True, slots=True)
class SmallAnswer:
    """A response that is in memory.

    Attributes:
        status: HTTP status.
        body: Bytes.
        headers: Content type and what else belongs to it.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default=NOTHING)


Answering = Callable[[str, str, bytes], Awaitable[SmallAnswer]]
"""Given method, path without its first slash, and body."""


@asynccontextmanager
async def serve_small(
    answering: Answering, listener: socket.socket, *, log: Callable[[str], None] | None = None
) -> AsyncGenerator[str, None]:
    """Serve on `listener`, which is closed at the end; yields the base URL.

    Args:
        answering: Makes each response; what it raises as a `StorageError` becomes a status.
        listener: A bound socket.
        log: Called with one line for each response: method, path, status.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        response: web.StreamResponse
        try:
            async with asyncio.timeout(IDLE):
                body = await request.read()
            answer = await answering(request.method, path.removeprefix("/"), body)
            response = web.Response(
                status=answer.status, body=answer.body, headers={**GUARDS, **answer.headers}
            )
        except StorageError as error:
            response = plain(status_of(error))
        except (TimeoutError, web.HTTPRequestEntityTooLarge):
            response = plain(400)
            response.force_close()
        if log is not None:
            log(f"{request.method} {path} {response.status}")
        return response

    with listener:
        async with serving(respond, listener):
            host, port = listener.getsockname()[:2]
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
