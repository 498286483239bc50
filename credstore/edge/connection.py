"""aiohttp's server with the edge's limits, without a banner, and without requests in any log."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from credstore.edge.responses import plain

SHUTDOWN = 5.0
"""Seconds that transfers in progress get to finish."""
IDLE = 30.0
"""Seconds for a request's head, and between two requests."""
LINGER = 2.0
"""Seconds in which the body of a request, which is never read, may still arrive."""
LONGEST_LINE = 8190
"""Bytes of a request's first line: a key of 1,024 bytes, percent-encoded, and its query."""
LONGEST_FIELD = 4096
MOST_FIELDS = 64

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What responds to each request."""

_logger = logging.getLogger("credstore.edge")
_silent = logging.Logger("credstore.edge.http")  # noqa: LOG001 - a logger without a parent, which is never read
_silent.setLevel(logging.CRITICAL + 1)


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall(hdrs.SERVER, None)


class _Connection(web.RequestHandler):
    # aiohttp limits the time after a request and, before 3.14.5, not the time until the first one.
    _unheard: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._unheard = asyncio.get_running_loop().call_later(IDLE, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.heard()
        super().connection_lost(exc)

    def heard(self) -> None:
        """A request's head has arrived."""
        if self._unheard is not None:
            self._unheard.cancel()
            self._unheard = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to invalid HTTP, or to a failure here, in our own words: aiohttp's contain the request."""
        del message
        if status == 500:  # noqa: PLR2004 - internal error
            _logger.error("a response failed: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has started")
        response = plain(400 if status == 400 else 500)  # noqa: PLR2004 - bad request
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE,
            lingering_time=LINGER,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_FIELD,
            max_headers=MOST_FIELDS,
            auto_decompress=False,
            access_log=_silent,
            logger=_silent,
        )


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    if isinstance(protocol, _Connection):
        protocol.heard()
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())


@asynccontextmanager
async def serving(responder: Handler, listener: socket.socket) -> AsyncGenerator[None, None]:
    """Serve on `listener` until the block ends."""
    runner = web.ServerRunner(_Server(responder, request_factory=_request), shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
