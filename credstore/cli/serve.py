"""`credstore serve`: a small local edge, so that temporary links of a local store work.

It answers GET and HEAD of links that the store itself made, with plain bytes, and nothing else: no
listing, no other path, and one answer for links that are wrong, changed or expired. Links are never
logged, for whoever has one has the access it grants.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import click
from aiohttp import web

from credstore.cli.exits import Exit, Terminated, exit_of
from credstore.cli.invocation import Invocation, command
from credstore.cli.output import note, print_json, printable
from credstore.cli.running import open_store, run_loop
from credstore.errors import StorageAccessDeniedError, StorageConfigurationError, StorageError
from credstore.model import StorageItem
from credstore.reader import ObjectReader

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

METHODS = ("GET", "HEAD")
SHUTDOWN = 5.0
"""Seconds that transfers under way are given to end."""
_STATUS = {Exit.NOT_FOUND: 404, Exit.USAGE: 404, Exit.UNAVAILABLE: 503}
_TEXTS = {
    403: "This link is not valid.\n",
    404: "There is no such object.\n",
    405: "Only GET and HEAD are answered here.\n",
    500: "The object cannot be read.\n",
    503: "The store is not available now; try again.\n",
}


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.pass_obj
def serve_command(invocation: Invocation, host: str, port: int) -> None:
    """Answer the temporary links of a local store until Ctrl-C or SIGTERM.

    The links of a local store begin with its link_url setting, which must lead here.
    """

    async def work() -> None:
        async with (
            open_store(invocation) as provider,
            edge(provider, listen(host, port), log=invocation.verbose) as address,
        ):
            if invocation.json:
                print_json({"url": address})
                sys.stdout.flush()
            elif not invocation.quiet:
                note(f"serving the links of the local store at {address}; Ctrl-C ends it")
            await asyncio.Event().wait()

    # Both signals are how it is meant to end.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        run_loop(work())


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        StorageConfigurationError: The address is taken, or none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise StorageConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose with --host and --port"
        ) from None


@contextlib.asynccontextmanager
async def edge(
    provider: StorageProvider, listener: socket.socket, *, log: bool = False
) -> AsyncGenerator[str, None]:
    """Answer the links of `provider` on `listener`, which is closed at the end; gives the base URL.

    Args:
        provider: A store that checks its links itself.
        listener: From `listen`.
        log: Tell each answer on stderr: method, path without query, status.

    Raises:
        StorageUnsupportedError: Links of this store are answered by its cloud.
    """
    with listener:
        await _probe(provider)
        host, port = listener.getsockname()[:2]
        runner = web.ServerRunner(
            web.Server(_Answers(provider, log=log), access_log=None), shutdown_timeout=SHUTDOWN
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            await runner.cleanup()


async def _probe(provider: StorageProvider) -> None:
    """Find out now whether the store checks links; it refuses an empty one if it does."""
    with contextlib.suppress(StorageAccessDeniedError):
        await asyncio.to_thread(provider.verify_link, "GET", "/", {})


class _Answers:
    """The handler of all requests."""

    def __init__(self, provider: StorageProvider, *, log: bool) -> None:
        self._provider = provider
        self._log = log

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        try:
            response = await self._answer(request, path)
        except StorageError as error:
            # Before the first byte; after it, `_send` ends the connection.
            response = _plain(_STATUS.get(exit_of(error), 500))
        if self._log:
            note(printable(f"{request.method} {path} {response.status}"))
        return response

    async def _answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.method not in METHODS:
            return _plain(405)
        query = dict(request.query)
        if len(query) != len(request.query):
            return _plain(403)
        try:
            key, imposed = await asyncio.to_thread(self._provider.verify_link, request.method, path, query)
        except StorageAccessDeniedError:
            return _plain(403)
        async with self._provider.open(key) as reader:
            chunks = _held_back(reader)
            first = await anext(chunks, b"") if request.method == "GET" else b""
            response = web.StreamResponse(headers=_headers(reader.info, imposed))
            response.content_length = reader.length
            await response.prepare(request)
            if request.method == "GET":
                await _send(request, response, first, chunks)
            return response


async def _held_back(reader: ObjectReader[StorageItem]) -> AsyncGenerator[bytes, None]:
    """The chunks, each when the next is there: the last only once all bytes proved right.

    So a small object that is not what was stored is refused, and a large one never arrives whole.
    """
    held = b""
    async for chunk in reader:
        if held:
            yield held
        held = chunk
    if held:
        yield held


async def _send(
    request: web.BaseRequest, response: web.StreamResponse, first: bytes, rest: AsyncGenerator[bytes, None]
) -> None:
    await response.write(first)
    try:
        async for chunk in rest:
            await response.write(chunk)
    except StorageError:
        # The status is sent; only a broken connection can still tell.
        if request.transport is not None:
            request.transport.abort()


def _headers(item: StorageItem, imposed: dict[str, str]) -> dict[str, str]:
    """Of the plain bytes, so a stored or imposed Content-Encoding does not apply."""
    stored = {
        "content-type": item.content_type or "application/octet-stream",
        "content-disposition": item.content_disposition,
        "content-language": item.content_language,
        "cache-control": "private",
    }
    chosen = {**{name: value for name, value in stored.items() if value}, **imposed}
    chosen.pop("content-encoding", None)
    return {**chosen, "x-content-type-options": "nosniff"}


def _plain(status: int) -> web.Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if status == 405:  # noqa: PLR2004 - method not allowed
        headers["allow"] = ", ".join(METHODS)
    return web.Response(status=status, text=_TEXTS[status], headers=headers)
