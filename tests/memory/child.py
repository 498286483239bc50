"""Moves one large object, or lists many, and prints by how many KiB the process grew meanwhile, at its peak."""

import asyncio
import os
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider, S3Config, S3StorageProvider, Secret
from tests.memory.peak import peak

PIECE = os.urandom(1024 * 1024)


@asynccontextmanager
async def opened(where, place):
    if where == "local":
        async with LocalStorageProvider(LocalConfig(path=str(place / "store"))) as store:
            yield store
        return
    config = S3Config(
        bucket="bucket", endpoint=where, addressing="path", access_key_id="a", secret_access_key=Secret("s")
    )
    async with S3StorageProvider(config) as store:
        yield store


async def pieces(size):
    for number in range(size // len(PIECE)):
        yield number.to_bytes(8) + PIECE[8:]  # A copy, as what comes from elsewhere is.


def pipe(size):
    """The reading end of a pipe that another thread fills."""
    reading, writing = os.pipe()

    def fill() -> None:
        with os.fdopen(writing, "wb") as file:
            file.writelines(PIECE for _ in range(size // len(PIECE)))

    threading.Thread(target=fill, daemon=True).start()
    return os.fdopen(reading, "rb")


async def source(kind, size, place):
    """The bytes to store, as users have them."""
    if kind == "iterable":
        return pieces(size)
    if kind == "pipe":
        return pipe(size)
    path = place / "source"
    with path.open("wb") as file:
        file.writelines(PIECE for _ in range(size // len(PIECE)))
    return path if kind == "path" else path.open("rb")


async def move(store, verb, kind, size, place):
    if verb == "store":
        codec = "zstd" if kind == "compressed" else False
        kind = "iterable" if kind == "compressed" else kind
        result = await store.store("k", await source(kind, size, place), compress=codec)
        assert result.plain_size == size
        return
    done = 0
    async with store.open(verb if verb != "read" else f"zeros-{size}") as reader:
        with Path(os.devnull).open("wb") as sink:
            async for chunk in reader:
                sink.write(chunk)
                done += len(chunk)
    assert done == size


async def scan(store, count):
    """All names of one directory, and the first of them alone."""
    async for _ in store.scan("many/", max_keys=3000):
        count -= 1
    assert count >= 0
    assert len(await store.list("many/", 1)) == 1


def fill(folder, count):
    """So many files as another tool would write them, in no order."""
    folder.mkdir(parents=True)
    directory = os.open(folder, os.O_RDONLY)
    for number in range(count):
        name = f"{number * 2654435761 % 2**32:08x}-a-name-of-some-length"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)


async def main() -> None:
    where, verb, kind, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    with tempfile.TemporaryDirectory(dir=os.environ.get("CREDSTORE_TEST_PLACE")) as place:
        async with opened(where, Path(place)) as store:
            await store.store("small", b"x" * 100_000, compress="zstd")
            if where == "local" and verb == "read":
                await store.store("large", pieces(size), compress="zstd" if kind == "compressed" else False)
                verb = "large"
            if verb == "scan":
                fill(Path(place) / "store/many", size)
            before = peak(anew=True)
            await (scan(store, size) if verb == "scan" else move(store, verb, kind, size, Path(place)))
            print(peak() - before)


asyncio.run(main())
