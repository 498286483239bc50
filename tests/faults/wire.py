"""The server's side of one connection: bytes in, bytes out, and every way to break it."""

import asyncio
import socket
import ssl
import struct


class Peer:
    """One accepted connection, first a bare socket, then (after `start`) a stream.

    Attributes:
        number: Of the connection, from 1.
    """

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.number = number
        self._sock = sock
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Make a stream of it, after a TLS handshake if there is a context."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=128 * 1024)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._sock, ssl=context)
        # Zero, so that `send` returns when the kernel has the bytes and what follows comes after them.
        transport.set_write_buffer_limits(0)
        self._reader = reader
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    @property
    def reader(self) -> asyncio.StreamReader:
        assert self._reader is not None, "the connection has not started"
        return self._reader

    async def first_bytes(self) -> None:
        """Wait for a client hello and take it off the wire."""
        await asyncio.get_running_loop().sock_recv(self._sock, 65536)

    async def send(self, data: bytes) -> None:
        if self._writer is None:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)
            return
        self._writer.write(data)
        await self._writer.drain()

    async def gone(self) -> None:
        """Discard what comes until the client has ended the connection."""
        try:
            if self._reader is None:
                while await asyncio.get_running_loop().sock_recv(self._sock, 65536):
                    pass
            else:
                while await self._reader.read(65536):
                    pass
        except (ConnectionError, ssl.SSLError):
            return

    def deafen(self) -> None:
        """Take nothing more off the wire, so that the sender's window fills up."""
        if self._writer is not None:
            transport = self._writer.transport
            assert isinstance(transport, asyncio.ReadTransport)
            if transport.is_reading():
                transport.pause_reading()

    async def finish_early(self) -> None:
        """End the sending side and discard the rest of a request, so that the answer is not lost to a RST."""
        if self._writer is not None and self._writer.can_write_eof():
            self._writer.write_eof()
        await self.gone()

    def reset(self) -> None:
        """End the connection with a RST."""
        sock = self._sock if self._writer is None else self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._writer is None:
            self._sock.close()
        else:
            self._writer.transport.abort()

    def abort(self) -> None:
        """Let go of the connection, whatever is still to be sent."""
        if self._writer is None:
            self._sock.close()
        else:
            self._writer.transport.abort()

    def close(self) -> None:
        """End the connection; with a FIN if everything was read."""
        if self._writer is None:
            self._sock.close()
        else:
            self._writer.close()


class Incoming:
    """A request's body as it comes, by length or in chunks, without its framing."""

    def __init__(self, peer: Peer, headers: dict[str, str]) -> None:
        self._reader = peer.reader
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = 0 if self._chunked else int(headers.get("content-length", "0"))
        self._ended = not self._chunked
        self.data = bytearray()

    @property
    def size(self) -> int:
        """Bytes the body is known to have, or may have where only its end tells."""
        return 2**63 if self._chunked else len(self.data) + self._left

    async def read_to(self, count: int) -> bool:
        """Have `count` bytes in all; False if the body ended before."""
        while len(self.data) < count:
            if self._left == 0 and not await self._next_chunk():
                return False
            wanted = min(count - len(self.data), self._left, 64 * 1024)
            data = await self._reader.readexactly(wanted)
            self.data += data
            self._left -= len(data)
            if self._chunked and self._left == 0:
                await self._reader.readexactly(2)
        return True

    async def _next_chunk(self) -> bool:
        if self._ended:
            return False
        line = await self._reader.readuntil(b"\r\n")
        self._left = int(line.partition(b";")[0], 16)
        if self._left == 0:
            self._ended = True
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass
        return self._left > 0


def format_head(status: int, phrase: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
