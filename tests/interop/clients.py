"""Programs that open links, and a server that shows what each of them sent."""

import asyncio
import json
import shutil
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
import httpx2

from tests.faults.messages import Request
from tests.servers.closing import close_server

Client = Callable[[str, str | None], Awaitable[None]]
"""Opens a URL, by way of a proxy's URL if one is given."""


class Received:
    """Requests as they came in; one in absolute form, as a proxy gets it, is taken apart."""

    def __init__(self) -> None:
        self.origin = ""
        self.requests: list[tuple[str, Request]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            place = ""
            if target.startswith("http://"):
                place, slash, rest = target.removeprefix("http://").partition("/")
                target = slash + rest
            query = dict(
                pair.partition("=")[::2] for pair in target.partition("?")[2].split("&") if "=" in pair
            )
            decoded = {name: unquote(value) for name, value in query.items()}
            self.requests.append((place, Request(0, method, target, "", "", decoded, headers)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
        finally:
            writer.close()

    async def one(self, client: Client, url: str, *, proxied: bool = False) -> tuple[str, Request]:
        """What a client sends for a URL: the place a proxy is asked for, and the request."""
        self.requests.clear()
        await client(url, self.origin if proxied else None)
        (seen,) = self.requests
        return seen


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Received]:
    """A server on a port of its own."""
    received = Received()
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        await received.answer(reader, writer)

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    received.origin = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        yield received
    finally:
        await close_server(server, tasks, lambda: writers)


async def with_aiohttp(url: str, proxy: str | None) -> None:
    async with aiohttp.ClientSession() as session, session.get(url, proxy=proxy) as response:
        assert await response.read() == b"ok"


async def with_httpx(url: str, proxy: str | None) -> None:
    async with httpx2.AsyncClient(proxy=proxy, trust_env=False) as client:
        assert (await client.get(url)).content == b"ok"


async def with_urllib(url: str, proxy: str | None) -> None:
    handler = urllib.request.ProxyHandler({} if proxy is None else {"http": proxy})
    opener = urllib.request.build_opener(handler)

    def read() -> bytes:
        with opener.open(url, timeout=600) as response:
            return response.read()

    assert await asyncio.to_thread(read) == b"ok"


async def _run(*command: str) -> None:
    assert shutil.which(command[0]), f"{command[0]} is missing; `make test-system` installs it"
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert (process.returncode, out) == (0, b"ok"), errors.decode()


async def with_curl(url: str, proxy: str | None) -> None:
    await _run("curl", "-sS", "--globoff", *(["--proxy", proxy] if proxy else ["--noproxy", "*"]), "--", url)


_FETCH = """
const net = require("node:net");
const proxy = JSON.parse(process.argv[2]);
const connect = net.connect;
if (proxy) net.connect = net.createConnection = (options, ...rest) =>
  connect({...options, host: "127.0.0.1", hostname: "127.0.0.1", port: new URL(proxy).port}, ...rest);
fetch(process.argv[1]).then((response) => response.text()).then((text) => process.stdout.write(text));
"""


async def with_fetch(url: str, proxy: str | None) -> None:
    """Node's own `fetch`, which knows no proxy: its connections are led to the server instead."""
    await _run("node", "-e", _FETCH, url, json.dumps(proxy))


PYTHON = {"aiohttp": with_aiohttp, "httpx": with_httpx, "urllib": with_urllib}
PROGRAMS = {"curl": with_curl, "fetch": with_fetch}
