"""An S3 that keeps nothing: writes are counted and dropped, `zeros-<size>` is so many bytes to read.

Run as a program it prints its port, serves on loopback, and ends when its stdin does. What it is for:
seeing what a client needs of memory, with a server that needs none.
"""

import asyncio
import re
import sys
import threading

_BEGUN = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_COMPLETED = b"<CompleteMultipartUploadResult><ETag>&quot;e-1&quot;</ETag></CompleteMultipartUploadResult>"
_PIECE = bytes(1024 * 1024)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
            }
            left = int(headers.get("content-length", "0"))
            if headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left:
                left -= len(await reader.read(min(left, len(_PIECE))))
            await answer(writer, method, target, headers.get("range"))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def answer(writer: asyncio.StreamWriter, method: str, target: str, span: str | None) -> None:
    """What S3 would say."""
    found = re.search(r"/zeros-(\d+)$", target)
    if method in {"GET", "HEAD"} and found:
        await read(writer, method, int(found[1]), span)
    elif method == "POST":
        body = _COMPLETED if "uploadId" in target else _BEGUN
        writer.write(
            b"HTTP/1.1 200 OK\r\nx-amz-request-id: 1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
    elif method == "PUT":
        writer.write(b'HTTP/1.1 200 OK\r\nx-amz-request-id: 1\r\netag: "e"\r\ncontent-length: 0\r\n\r\n')
    else:
        writer.write(b"HTTP/1.1 404 Not Found\r\nx-amz-request-id: 1\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


async def read(writer: asyncio.StreamWriter, method: str, size: int, span: str | None) -> None:
    """All of the zeros, or a range of them."""
    start, end = 0, size
    status, extra = "200 OK", ""
    if span is not None:
        first, _, last = span.removeprefix("bytes=").partition("-")
        start, end = int(first), min(size, int(last) + 1 if last else size)
        status, extra = "206 Partial Content", f"content-range: bytes {start}-{end - 1}/{size}\r\n"
    writer.write(
        f'HTTP/1.1 {status}\r\nx-amz-request-id: 1\r\netag: "z"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
        f"{extra}content-length: {end - start}\r\n\r\n".encode()
    )
    left = end - start if method == "GET" else 0
    while left:
        piece = _PIECE[: min(left, len(_PIECE))]
        left -= len(piece)
        writer.write(piece)
        await writer.drain()


async def main() -> None:
    """Serve until stdin ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
