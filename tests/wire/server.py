"""A raw loopback server: it reads requests byte for byte and does with the connection what a test says."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.servers.closing import close_server


@dataclass(frozen=True)
class Seen:
    """One request as it came: its head verbatim, its body without the framing."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        pairs = [line.split(": ", 1) for line in self.head.decode().split("\r\n")[1:-2]]
        found = {name.lower(): value for name, value in pairs}
        assert len(found) == len(pairs), "a header was sent twice"
        return found


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with a RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has ended the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return


Act = Callable[[Seen, Peer], Awaitable[bool]]
"""What to do with a request; returns whether the connection goes on."""


@dataclass
class Server:
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    acts: list[Act] = field(default_factory=list)
    waits_for_bodies: bool = True
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def drop(self) -> None:
        """End all connections with a FIN."""
        for writer in self.writers:
            writer.close()

    def then(self, *acts: Act) -> None:
        """Do these with the next requests, one each; the last one also with all that follow."""
        self.acts[:] = acts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        peer = Peer(reader, writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await _body(head, reader) if self.waits_for_bodies else b""
                seen = Seen(number, head, body)
                self.seen.append(seen)
                act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                if not await act(seen, peer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(parts)
    _, found, rest = lower.partition(b"content-length: ")
    return await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""


@asynccontextmanager
async def serving(*acts: Act, tls=None):
    """A server on an ephemeral port of 127.0.0.1 that does `acts`."""
    server = Server(acts=list(acts) or [answer()])
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        server.writers.add(writer)
        await server.serve(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        await close_server(listening, tasks, lambda: server.writers)


def answer(status: int = 200, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> Act:
    """A complete answer; the connection goes on."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def raw(data: bytes, *, keep: bool = True) -> Act:
    """These bytes; the connection goes on or ends with a FIN."""

    async def act(_seen: Seen, peer: Peer) -> bool:
        await peer.send(data)
        return keep

    return act


async def reset(_seen: Seen, peer: Peer) -> bool:
    """A RST and no answer."""
    peer.reset()
    return False


async def hang_up(_seen: Seen, _peer: Peer) -> bool:
    """A FIN and no answer."""
    return False


def stall(data: bytes = b"", gone: asyncio.Event | None = None) -> Act:
    """These bytes, then nothing until the client ends the connection, which sets `gone`."""

    async def act(_seen: Seen, peer: Peer) -> bool:
        await peer.send(data)
        await peer.gone()
        if gone is not None:
            gone.set()
        return False

    return act


def fresh_tasks(before: set) -> set[str]:
    """Names of the tasks that have come since, but for the server's."""
    found = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}
    return {name for name in found if not name.startswith(("serving", "Server"))}
