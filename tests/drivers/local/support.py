"""Making drivers and requests, and looking at a root past the driver."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from credstore.config.stores import LocalConfig
from credstore.driver import OVERWRITE, BytesBody, ContentHeaders, Precondition, PutRequest
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.local.names import Place, parse


def make_driver(root, **settings) -> LocalDriver:
    threads = settings.pop("threads", 2)
    clock = {"clock": settings.pop("clock")} if "clock" in settings else {}
    config = LocalConfig(path=str(root), **settings)
    return LocalDriver(config, threads=threads, **clock)


def open_files() -> dict[str, Path]:
    """What this process has open, by descriptor, but for what its monitors look at: Dask's reads `/proc` at any time."""
    found: dict[str, Path] = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # Closed meanwhile, by another thread.
            found[link.name] = link.readlink()
    return {fd: path for fd, path in found.items() if not path.is_relative_to("/proc")}


def put_request(key: str, data: bytes, precondition: Precondition = OVERWRITE, **fields) -> PutRequest:
    """A put whose metadata names its bytes, so that a mixed pair shows."""
    fields.setdefault("metadata", {"belongs-to": repr(data[:40])})
    fields.setdefault("headers", ContentHeaders(content_type="application/json"))
    fields.setdefault("body", BytesBody(data))
    return PutRequest(key=key, write_id=os.urandom(16).hex(), precondition=precondition, **fields)


async def read_pair(driver: LocalDriver, key: str) -> bytes:
    """The bytes, after checking that the attributes are theirs."""
    reader = await driver.get(key)
    data = await reader.read()
    assert reader.info.metadata == {"belongs-to": repr(data[:40])}, (
        "bytes and attributes do not belong together"
    )
    return data


async def list_keys(driver: LocalDriver, prefix: str = "", limit: int = 1000) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = await driver.list(prefix, cursor, limit=limit)
        keys += [entry.key for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            return keys


def leftovers(root: Path) -> list[str]:
    """Temporary files, and attributes beyond one file for each object."""
    temporary = [str(path) for path in (root / ".credstore/tmp").glob("*")]
    attributes = [str(path) for path in (root / ".credstore/attributes").glob("*/*")]
    objects = [path for path in root.rglob("*") if path.is_file() and root / ".credstore" not in path.parents]
    return temporary + (attributes if len(attributes) > len(objects) else [])


@dataclass
class StreamBody:
    """A body of unknown length that can fail in the middle."""

    chunks: list[bytes]
    error: BaseException | None = None
    length: int | None = None
    replayable: bool = False
    data: bytes | None = None

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error


def spelled(place: Place, *, fold: bool) -> str:
    """The key a walk over the tree would find at `place`."""
    found, begun = [], ""
    for name in (*place.directories, place.name):
        spelling = parse(name, begun, fold=fold)
        assert spelling is not None, name
        begun = spelling.text if spelling.continued else ""
        if not spelling.continued:
            found.append(spelling.text)
    return "/".join(found)
