"""A small HTTP proxy on loopback, for CONNECT and for whole URLs, which misbehaves on request."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.servers.closing import close_server

PAGE = b"<html><title>Example Corp</title>You shall not pass</html>"


def page(status: int, body: bytes = PAGE, *, content_type: str = "text/html") -> bytes:
    """An answer of the proxy's own."""
    head = f"HTTP/1.1 {status} Proxy\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class ProxyServer:
    """What the proxy does, and what it saw.

    Attributes:
        url: Of the proxy, without a password.
        heads: Of the requests to it, as they came.
        password: `user:password` without which it answers 407, or None.
        says: In place of passing a request on: these bytes; b"" to hang up; None to pass it on.
        after: As `says`, in place of the origin's answer to a request that was passed on.
        silent: Accept connections, and answer nothing.
        keeps: Let a connection serve further requests, and say so; else it is closed without a word.
        lives: Where it finds hosts, by their `host:port`; those that are not here are as named.
        connections: How many were accepted.
        reached: Its own connections to hosts.
    """

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    password: str | None = None
    says: bytes | None = None
    after: bytes | None = None
    silent: bool = False
    keeps: bool = True
    lives: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    reached: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The first lines of the requests to it."""
        return [head.split(b"\r\n", 1)[0].decode() for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.silent:
            await reader.read()
            return False
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        answer = self.says if self._allowed(head) else page(407)
        if method == "CONNECT":
            if answer is not None:
                writer.write(answer)
                await writer.drain()
                return bool(answer)
            there = await self._reach(target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
            return False
        body = await reader.readexactly(_length(head))
        if answer is None:
            answer = await self._forwarded(head, target, body)
        if method == "HEAD":
            answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if answer else b""
        if self.keeps:
            answer = answer.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)
        writer.write(answer)
        await writer.drain()
        return self.keeps and bool(answer)

    def _allowed(self, head: bytes) -> bool:
        if self.password is None:
            return True
        token = base64.b64encode(self.password.encode()).decode()
        return f"\r\nproxy-authorization: Basic {token}\r\n".encode() in head

    async def _reach(self, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = place.rpartition(":")
        if place in self.lives:
            host, port = "127.0.0.1", str(self.lives[place])
        there = await asyncio.open_connection(host, int(port))
        self.reached.append(there[1])
        return there

    async def _forwarded(self, head: bytes, target: str, body: bytes) -> bytes:
        """The origin's whole answer, its framing kept."""
        url = urlsplit(target)
        assert url.scheme == "http", "a proxy is told the whole URL"
        lines = head.split(b"\r\n")
        path = target.partition("://")[2].partition("/")[2]
        kept = [line for line in lines[1:-2] if not line.lower().startswith((b"proxy-", b"connection:"))]
        first = f"{lines[0].decode().split(' ')[0]} /{path} HTTP/1.1".encode()
        reader, writer = await self._reach(f"{url.hostname}:{url.port or 80}")
        try:
            writer.write(b"\r\n".join([first, *kept, b"", b""]) + body)
            start = await reader.readuntil(b"\r\n\r\n")
            bodyless = first.startswith(b"HEAD") or start[9:12] in {b"204", b"304"}
            answer = start + (b"" if bodyless else await reader.readexactly(_length(start)))
        finally:
            writer.close()
        return answer if self.after is None else self.after


def _length(head: bytes) -> int:
    lower = head.lower()
    assert b"transfer-encoding" not in lower
    _, found, rest = lower.partition(b"content-length: ")
    return int(rest.split(b"\r\n")[0]) if found else 0


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxying(**settings) -> AsyncIterator[ProxyServer]:
    """A proxy on an ephemeral port of 127.0.0.1."""
    proxy = ProxyServer(**settings)
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        try:
            await proxy.serve(reader, writer)
        except asyncio.CancelledError:
            return  # The test is over.

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        # A pump that was cancelled before its first turn has closed nothing.
        await close_server(listening, tasks, lambda: [*writers, *proxy.reached])
