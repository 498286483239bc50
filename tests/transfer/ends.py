"""Both ends of a transfer, and what is on them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider, MemoryStorageProvider
from credstore.provider.presets import provider_for
from credstore.transfer import Under
from credstore.transfer.places import side_of
from credstore.transfer.planning import Goal
from credstore.transfer.run import Run
from tests.drivers.s3.support import minio_config

TREE = {
    "a": b"1",
    "a-b": b"",
    "a.txt": b"text",
    "deep/er/still": b"x" * 70_000,
    "ünï/ñame.json": b"{}",
    "z": os.urandom(3_000),
}


def make_tree(folder: Path, tree=TREE) -> Path:
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tree_of(folder: Path) -> dict[str, bytes]:
    """All files, hidden ones included."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


async def content(place) -> dict[str, bytes]:
    """What a place has, by the verbs of a store, or as files."""
    if isinstance(place, Path):
        return tree_of(place) if place.exists() else {}
    under = place if isinstance(place, Under) else Under(place)
    start = len(under.prefix)
    return {
        item.key[start:]: await under.provider.retrieve(item.key)
        for item in await under.provider.list(under.prefix)
    }


@asynccontextmanager
async def end_of(kind: str, tmp: Path, server=None, name="end", **settings) -> AsyncIterator:
    """An empty place of a kind."""
    if kind == "folder":
        yield tmp / name
    elif kind == "memory":
        async with MemoryStorageProvider(**settings) as provider:
            yield provider
    elif kind == "local":
        async with LocalStorageProvider(LocalConfig(path=tmp / name, **settings)) as provider:
            yield provider
    elif kind == "part":
        async with MemoryStorageProvider(**settings) as provider:
            await provider.store("other", b"stays")
            yield Under(provider, "below/")
    else:
        config = minio_config(
            server.url, bucket=server.bucket, prefix=f"{name}/", part_size=65_536, multipart_threshold=65_536
        )
        async with provider_for(config) as provider:
            yield provider


def run_of(source, destination, goal=None, **options) -> Run:
    """A run whose parts a test replaces."""
    return Run(side_of(source), side_of(destination), goal or Goal(), options)
