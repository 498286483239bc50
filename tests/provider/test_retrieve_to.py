"""`retrieve_to`: a file appears whole and verified, or not at all."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from credstore import (
    LocalStorageProvider,
    MemoryStorageProvider,
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    cached,
)
from credstore.errors import StorageError, StorageIntegrityError
from credstore.files import PendingFile

DATA = b'{"claim": "original"}' * 1000


def fetch(key="k", path="out", **options):
    """Store `DATA` compressed and fetch it."""

    async def main():
        async with MemoryStorageProvider() as store:
            await store.store("k", DATA, compress="gzip")
            return await store.retrieve_to(key, path, **options)

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(place):
    return sorted(each.name for each in place.iterdir())


@pytest.mark.parametrize("path", ["out", Path("out")])
def test_the_file_has_the_bytes_that_were_stored(here, path):
    item = fetch(path=path)
    assert (here / "out").read_bytes() == DATA
    assert (item.key, item.plain_size, item.compression) == ("k", len(DATA), "gzip")
    assert names(here) == ["out"]


def test_stored_bytes_on_demand(here):
    item = fetch(decode=False)
    assert (here / "out").stat().st_size == item.size < len(DATA)


def test_what_is_absent_makes_no_file_and_keeps_the_old_one(here):
    (here / "out").write_bytes(b"old")
    with pytest.raises(StorageObjectNotFoundError) as caught:
        fetch("nothing")
    assert (caught.value.operation, caught.value.key) == ("retrieve_to", "nothing")
    assert (here / "out").read_bytes() == b"old"
    assert names(here) == ["out"]


def test_a_file_is_replaced_unless_it_must_not_be(here):
    (here / "out").write_bytes(b"old")
    with pytest.raises(StorageAlreadyExistsError, match="is there already"):
        fetch(replace=False)
    assert (here / "out").read_bytes() == b"old"
    fetch()
    assert (here / "out").read_bytes() == DATA


def test_a_link_stays_and_what_it_leads_to_is_written(here):
    (here / "far").mkdir()
    (here / "out").symlink_to(here / "far" / "file")
    fetch()
    assert (here / "out").is_symlink()
    assert (here / "far" / "file").read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/such/folder", "cannot write the file .*No such file or directory"),
        (".", "is a folder; name the file in it"),
        ("/dev/null", "is not a regular file"),
        ("", "is the path of a file"),
        ("a\0b", "is the path of a file"),
        (b"out", "is the path of a file, not bytes"),
        (None, "is the path of a file, not NoneType"),
    ],
)
def test_a_path_that_cannot_be_a_file_is_refused(here, path, words):
    with pytest.raises(StorageInvalidRequestError, match=words):
        fetch(path=path)
    assert names(here) == []


def test_bytes_that_are_not_those_stored_make_no_file(here):
    async def main():
        async with LocalStorageProvider("store") as store:
            await store.store("k", DATA)
            (here / "store" / "k").write_bytes(b"x" * len(DATA))
            await store.retrieve_to("k", "out")

    with pytest.raises(StorageIntegrityError):
        asyncio.run(main())
    assert names(here) == ["store"]


def test_a_full_disk_names_the_file_and_leaves_nothing(here, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.target))

    monkeypatch.setattr(PendingFile, "write", full)
    with pytest.raises(StorageInvalidRequestError, match=r"out.*No space left on device"):
        fetch()
    assert names(here) == []


def test_what_progress_raises_ends_it_as_it_is(here):
    def stop(done, total):
        raise OSError(errno.EIO, "of the user")

    with pytest.raises(OSError, match="of the user") as caught:
        fetch(progress=stop)
    assert not isinstance(caught.value, StorageError)
    assert names(here) == []


def test_a_call_that_is_cancelled_while_the_file_is_made_leaves_nothing(here, monkeypatch):
    real = PendingFile.open

    async def main():
        loop, reached, done = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def slow(self):
            real(self)
            loop.call_soon_threadsafe(reached.set)
            assert done.wait(600)

        monkeypatch.setattr(PendingFile, "open", slow)
        async with MemoryStorageProvider() as store:
            await store.store("k", DATA)
            task = asyncio.create_task(store.retrieve_to("k", "out"))
            await reached.wait()
            task.cancel()
            loop.call_soon(done.set)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert names(here) == []


def test_a_cancelled_call_leaves_nothing(here):
    async def main():
        seen = asyncio.Event()
        async with MemoryStorageProvider() as store:
            await store.store("k", bytes(10_000_000))
            task = asyncio.create_task(store.retrieve_to("k", "out", progress=lambda *_: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert names(here) == []


def test_it_is_one_call_of_its_own_name():
    events = []

    async def main():
        async with MemoryStorageProvider(observers=[events.append]) as store:
            await store.store("k", DATA)
            await store.retrieve_to("k", "out")
            assert store.metrics().verbs["retrieve_to"].calls == 1

    asyncio.run(main())
    assert [event.name for event in events] == ["credstore.store", "credstore.retrieve_to"]


@pytest.mark.parametrize("path", ["store/k", "store/new", "store/.credstore/x", "link/k", "cache/k"])
def test_no_file_of_the_store_itself_is_replaced(here, path):
    async def main():
        (here / "link").symlink_to(here / "store")
        async with cached(LocalStorageProvider("store"), "cache") as store:
            await store.store("k", DATA, compress="gzip")
            with pytest.raises(StorageInvalidRequestError, match="in the directory of the store"):
                await store.retrieve_to("k", path)
            assert await store.retrieve("k") == DATA
            await store.retrieve_to("k", "out")

    asyncio.run(main())
    assert (here / "out").read_bytes() == DATA
