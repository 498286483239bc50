"""A `WebApp` on a listening socket, by the same server and within the same limits as the edge."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from credstore.edge.connection import IDLE, Handler, serving
from credstore.errors import StorageInvalidRequestError
from credstore.web.app import WebApp

if TYPE_CHECKING:
    from credstore.web.soft_bindings import SoftBindingApp

LONGEST_BODY = 120.0
"""Seconds that the picture of a stranger may take to arrive."""


@asynccontextmanager
async def serving_app(
    app: WebApp, listener: socket.socket, *, log: Callable[[str], None] | None = None
) -> AsyncGenerator[str, None]:
    """Serve an application until the block ends; yields its URL.

    Args:
        app: What responds.
        listener: Bound and listening; closed at the end.
        log: Called with one line for each response: method, path, status.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body: bytes | None = b""
        if request.method == "POST":
            body = await _body(request, app.largest_body)
        accept = ",".join(request.headers.getall("Accept", []))
        answer = await app.respond(request.method, unquote(path), query, body, accept=accept)
        if log is not None:
            log(f"{request.method} {path} {answer.status}")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(answer.headers or {})}
        response = web.Response(
            status=answer.status, body=answer.body, headers={**headers, "Content-Type": answer.content_type}
        )
        if body is None:
            response.force_close()  # The rest of it is not read.
        return response

    async with _listening(respond, listener) as url:
        yield url


@asynccontextmanager
async def serving_soft_bindings(app: SoftBindingApp, listener: socket.socket) -> AsyncGenerator[str, None]:
    """Serve the soft binding API until the block ends; yields its URL.

    Args:
        app: What responds.
        listener: Bound and listening; closed at the end.
    """
    # Loaded by whoever made the application.
    from credstore.web.soft_bindings import headers_of

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        answer = await app.respond(
            request.method,
            unquote(path, errors="replace"),
            query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=_arriving(request),
            address=request.remote or "",
        )
        response = web.Response(status=answer.status, body=answer.body, headers=headers_of(answer))
        if not request.content.at_eof():
            response.force_close()  # The rest of it is not read.
        return response

    async with _listening(respond, listener) as url:
        yield url


@asynccontextmanager
async def _listening(respond: Handler, listener: socket.socket) -> AsyncGenerator[str, None]:
    """Respond to whatever arrives, until the block ends; yields the URL."""
    with listener:
        async with serving(respond, listener):
            host, port = listener.getsockname()[:2]
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _arriving(request: web.BaseRequest) -> AsyncGenerator[bytes, None]:
    """The body of a request, piece by piece.

    Raises:
        StorageInvalidRequestError: It does not arrive in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + LONGEST_BODY
    try:
        while True:
            async with asyncio.timeout(min(IDLE, end - loop.time())):
                chunk = await request.content.readany()
            if not chunk:
                return
            yield chunk
    except TimeoutError:
        raise StorageInvalidRequestError("the body did not arrive in time") from None


async def _body(request: web.BaseRequest, most: int) -> bytes | None:
    """The body of a request, or None if it is larger, or does not come in time."""
    data = bytearray()
    with suppress(TimeoutError):
        async with asyncio.timeout(IDLE):
            while len(data) <= most:
                chunk = await request.content.readany()
                if not chunk:
                    return bytes(data)
                data += chunk
    return None
