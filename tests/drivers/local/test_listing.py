"""Listing a disk up to a delimiter: one directory is read, and nothing below it is touched."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.drivers.local import listing, locks, snapshots
from credstore.drivers.local.atomic import Token
from credstore.drivers.local.locks import KeyLocks
from credstore.testing.harness import names
from tests.drivers.local.support import make_driver, put_request


def fill(root, paths):
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """What directories are opened and read, relative to the root."""
    seen = {"read": [], "opened": []}

    def name_of(fd):
        return os.path.relpath(Path(f"/proc/self/fd/{fd}").readlink(), tmp_path / "root")

    class Watched:
        """`os` for the module that reads directories alone."""

        def __getattr__(self, name):
            return getattr(os, name)

        def listdir(self, fd):
            seen["read"].append(name_of(fd))
            return os.listdir(fd)  # noqa: PTH208 - a descriptor

        def scandir(self, fd):
            seen["read"].append(name_of(fd))
            return os.scandir(fd)

    opens = listing.open_below

    def opening(start, path):
        if path:
            seen["opened"].append("/".join(path))
        return opens(start, path)

    monkeypatch.setattr(snapshots, "os", Watched())
    monkeypatch.setattr(listing, "open_below", opening)
    return seen


def listed(root, prefix="", **options):
    async def main():
        driver = make_driver(root)
        try:
            return await names(driver, prefix, **options)
        finally:
            await driver.aclose()

    return asyncio.run(main())


def test_only_the_directory_itself_is_read(tmp_path, reads):
    root = tmp_path / "root"
    fill(root, [f"p/{folder:03d}/{each}/deep/x" for folder in range(200) for each in range(5)])
    fill(root, ["p/file", "other/x"])
    assert listed(root, "p/", delimiter="/") == [*(f"p/{folder:03d}/" for folder in range(200)), "p/file"]
    assert reads == {"read": ["p"], "opened": ["p"]}


def test_pages_of_many_read_the_directory_once(tmp_path, reads):
    root = tmp_path / "root"
    fill(root, [f"{folder:04d}/x" for folder in range(1100)])
    assert len(listed(root, delimiter="/")) == 1100
    assert reads == {"read": ["."], "opened": []}


def test_a_directory_that_cannot_be_entered_is_still_shown(tmp_path):
    """Its own name is all that is needed."""
    root = tmp_path / "root"
    fill(root, ["a/x", "b"])
    (root / "a").chmod(0)
    try:
        assert listed(root, delimiter="/") == ["a/", "b"]
    finally:
        (root / "a").chmod(0o755)


def test_an_empty_directory_that_somebody_made_is_shown_and_control_files_are_not(tmp_path):
    root = tmp_path / "root"

    async def store():
        driver = make_driver(root)
        await driver.put(put_request("a/b", b"1"))
        await driver.put(put_request("gone/x", b"1"))
        await driver.delete("gone/x")
        await driver.aclose()

    asyncio.run(store())
    (root / "empty").mkdir()
    assert listed(root, delimiter="/") == ["a/", "empty/"]


def test_names_that_the_disk_spells_in_another_way_are_themselves(tmp_path):
    """Segments too long for one name, empty ones, ".." and objects beside a directory of their name."""
    long = "x" * 600
    keys = ["a", "a/b", f"{long}/1", f"{long}/2", f"{long}", "//c", "../d", "é/1"]

    async def store():
        driver = make_driver(tmp_path / "root")
        for key in keys:
            await driver.put(put_request(key, key.encode()))
        await driver.aclose()

    asyncio.run(store())
    wanted = ["../", "/", "a", "a/", long, f"{long}/", "é/"]
    for limit in (1, 3, 1000):
        assert listed(tmp_path / "root", delimiter="/", limit=limit) == sorted(wanted, key=str.encode)
    assert listed(tmp_path / "root", "/", delimiter="/") == ["//"]
    assert listed(tmp_path / "root", "//", delimiter="/") == ["//c"]
    assert listed(tmp_path / "root", f"{long}/", delimiter="/", start_after=f"{long}/1") == [f"{long}/2"]


def test_a_listing_that_begins_in_the_middle_skips_the_directories_before_it(tmp_path, reads):
    root = tmp_path / "root"
    fill(root, [f"{folder:02d}/{each}" for folder in range(20) for each in range(3)])
    assert listed(root, start_after="18/1") == ["18/2", "19/0", "19/1", "19/2"]
    assert reads["read"] == [".", "18", "19"]


def test_another_delimiter_divides_file_names(tmp_path):
    root = tmp_path / "root"
    fill(root, ["2026-01-01/a", "2026-01-02/b", "2026-02", "plain", "x/y-z"])
    assert listed(root, delimiter="-") == ["2026-", "plain", "x/y-"]
    assert listed(root, "2026-", delimiter="-") == ["2026-01-", "2026-02"]


@pytest.mark.parametrize("seconds", [10**12, -(10**11)])
def test_a_file_with_a_time_beyond_the_calendar_is_listed_without_one(tmp_path, monkeypatch, seconds):
    """Some file systems keep such times; this one may not, so the driver is shown one."""
    of = Token.of
    monkeypatch.setattr(Token, "of", lambda status: replace(of(status), mtime=seconds * 10**9))

    async def run():
        (tmp_path / "theirs").write_bytes(b"data")
        driver = make_driver(tmp_path)
        (entry,) = (await driver.list()).entries
        assert (entry.key, entry.last_modified) == ("theirs", None)
        assert (await driver.head("theirs")).last_modified is None
        reader = await driver.get("theirs")
        assert await reader.read() == b"data"
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("count", [60, 3000])
def test_listings_at_the_same_time_are_whole(tmp_path, count):
    """Whoever lists the root reads it by a descriptor of its own: copies of one share their place in it."""
    for number in range(count):
        (tmp_path / f"k{number:05}").touch()
    wanted = [f"k{number:05}" for number in range(count)]

    async def scenario():
        async with LocalStorageProvider(LocalConfig(path=tmp_path)) as store:

            async def listed():
                for _ in range(10):
                    assert [item.key for item in await store.list()] == wanted

            await asyncio.gather(*(listed() for _ in range(8)))

    asyncio.run(scenario())


def test_each_of_those_that_open_a_store_at_the_same_time_looks_at_every_lock(tmp_path, monkeypatch):
    """As above, of the directory with the marks of writers that were killed."""
    for number in range(256):
        (tmp_path / f"{number:02x}").touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    ready, here = threading.Barrier(8), threading.local()

    def look(_fd):
        here.count += 1
        return False

    def opened(_):
        counts = []
        ready.wait()
        for _ in range(20):
            here.count = 0
            KeyLocks(directory, lambda _mark: None).recover_all()
            counts.append(here.count)
        return counts

    monkeypatch.setattr(locks, "_is_marked", look)
    with ThreadPoolExecutor(8) as pool:
        assert [count for counts in pool.map(opened, range(8)) for count in counts] == [256] * 160
    os.close(directory)
