"""An edge over a fresh store, and clients that send exactly what they are told."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from credstore import LocalConfig, MemoryConfig, StorageFactory, StorageProvider, serve_links
from credstore.edge.server import listen

CONTENT = b'{"claim": "' + b"signed " * 500 + b'"}'
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers in lower case."""

    status: int
    headers: Headers
    body: bytes

    @property
    def steady(self) -> Headers:
        """The headers but for the date."""
        return {name: value for name, value in self.headers.items() if name != "date"}


def target_of(url: str) -> str:
    """What follows the host, as it stands."""
    host = urlsplit(url).netloc
    return url[url.index(host) + len(host) :]


def ask(url: str, method: str = "GET", headers: Headers | None = None, body: bytes | None = None) -> Answer:
    """One request; nothing is added but Host."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    try:
        connection.putrequest(method, target_of(url), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read())
    finally:
        connection.close()


async def get(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """As `ask`, with underscores in names of headers for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(ask, str(url), method, named, body)


def exchange(base: str, sent: bytes) -> bytes:
    """All bytes that come back for these, until the edge ends the connection."""
    address = urlsplit(base)
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


@contextlib.asynccontextmanager
async def served(
    root: Path | None, tell: Callable[[str], None] | None = None
) -> AsyncIterator[tuple[StorageProvider, str]]:
    """An edge over the local store at `root`, or over one in memory."""
    listener = listen("127.0.0.1", 0)
    link_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = (
        MemoryConfig(link_url=link_url) if root is None else LocalConfig(path=str(root), link_url=link_url)
    )
    async with (
        StorageFactory().create(config) as store,
        serve_links(store, listener=listener, log=tell) as base,
    ):
        assert base == link_url
        yield store, base


class Edge:
    """Runs a scene against an edge over a fresh store.

    Attributes:
        root: Of the store, or None for one in memory.
        log: The lines told.
        told: The same, to wait for.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.log: list[str] = []
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def play(self, scene) -> None:
        async def work() -> None:
            async with served(self.root, self._tell) as (store, base):
                await scene(store, base)

        asyncio.run(work())

    def _tell(self, line: str) -> None:
        self.log.append(line)
        self.told.put_nowait(line)
