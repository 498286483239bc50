"""A `WebApp` on a listening socket, by the same server and within the same limits as the edge."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from credstore.edge.connection import serving
from credstore.web.app import WebApp

if TYPE_CHECKING:
    from credstore.web.soft_bindings import SoftBindingApp


@asynccontextmanager
async def serving_app(app: WebApp, listener: socket.socket) -> AsyncGenerator[None, None]:
    """Serve an application until the block ends.

    Args:
        app: What responds.
        listener: Bound and listening; closed at the end.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        answer = await app.respond(request.method, unquote(path), query)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(answer.headers or {})}
        return web.Response(
            status=answer.status, body=answer.body, headers={**headers, "Content-Type": answer.content_type}
        )

    with listener:
        async with serving(respond, listener):
            yield


@asynccontextmanager
async def serving_soft_bindings(app: SoftBindingApp, listener: socket.socket) -> AsyncGenerator[None, None]:
    """Serve the soft binding API until the block ends.

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
            body=request.content.iter_any(),
            address=request.remote or "",
        )
        return web.Response(status=answer.status, body=answer.body, headers=headers_of(answer))

    with listener:
        async with serving(respond, listener):
            yield
