"""The floor: what a store and a retrieve cost on this event loop if nothing but the wire is paid for.

A bare `asyncio.Protocol` writes request bytes that were made once and parses the response with llhttp, as credstore
does. Nothing is signed, hashed, retried or timed.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import httptools


class _Wire(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for a response gets none."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed the connection"))
            self.done.exception()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self.parser.get_status_code() >= 300:
            self.done.set_exception(ConnectionError("refused"))
        else:
            self.done.set_result(self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces))

    async def ask(self, request: bytes) -> bytes:
        """The body of a response."""
        self.done = asyncio.get_running_loop().create_future()
        self.pieces = []
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)
        return await self.done


class Floor:
    """A peer as those of `peers.py`."""

    checks = "nothing: it sends the same bytes again and again, unsigned"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        """Remember where; connections are made when they are needed."""
        parts = urlsplit(url)
        self.place = parts.hostname, parts.port
        self.context = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self.head = f"/bench/%b HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: %d\r\n\r\n".encode()
        self.idle: list[_Wire] = []
        self.made: dict[str, bytes] = {}

    async def _ask(self, method: str, key: str, data: bytes) -> bytes:
        request = self.made.get(method + key)
        if request is None:
            request = method.encode() + b" " + self.head % (key.encode(), len(data)) + data
            self.made[method + key] = request
        if self.idle:
            wire = self.idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, wire = await loop.create_connection(_Wire, *self.place, ssl=self.context)
        found = await wire.ask(request)
        self.idle.append(wire)
        return found

    async def put(self, key: str, data: bytes) -> None:
        """Store."""
        await self._ask("PUT", key, data)

    async def get(self, key: str) -> bytes:
        """Retrieve."""
        return await self._ask("GET", key, b"")

    async def close(self) -> None:
        """Close all connections."""
        for wire in self.idle:
            wire.transport.abort()
