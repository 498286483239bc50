"""A cache serves what the store has, or asks it; whatever happens to its directory, no read is wrong or fails."""

import asyncio
import errno
import fcntl
import sys
import threading
import time
from datetime import UTC
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import (
    LocalConfig,
    StorageConnectionError,
    StorageFactory,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    cached,
)
from credstore import driver as contract
from credstore.driver import ContentHeaders, ObjectInfo, ReadOptions
from credstore.files import PendingFile
from credstore.strategies.abilities import able_as
from credstore.strategies.cached import plan
from credstore.strategies.cached.disk import CacheDirectory
from credstore.strategies.cached.driver import CachedDriver
from credstore.strategies.passing import PASSED
from credstore.testing.harness import fetched, put
from tests.strategies.faulty import Faulty
from tests.strategies.test_read_only import NO_ABILITIES, protocols

DATA = bytes(range(256)) * 5000  # Two blocks.


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Store:
    """A store, a cache over it, and what the store was asked."""

    def __init__(self, path: Path, *, max_age: float = 0.0, max_size: int = 64 * 1024 * 1024) -> None:
        self.inner = Faulty("inner")
        self.clock = Clock()
        self.path = path
        kind = able_as(self.inner, CachedDriver, PASSED)
        self.cache = kind(self.inner, path, space="s", max_size=max_size, max_age=max_age, clock=self.clock)

    async def read(self, key: str = "k", **options) -> tuple[bytes | None, list[str]]:
        self.inner.calls.clear()
        data = await fetched(self.cache, key, ReadOptions(**options))
        return data, list(self.inner.calls)

    def file(self, key: str = "k") -> Path:
        return self.path / plan.name_of("s", key)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def test_what_was_read_is_served_while_the_store_confirms_it(store):
    async def main():
        await put(store.inner, "k", DATA)
        assert await store.read() == (DATA, ["get"])
        assert await store.read() == (DATA, ["head"])
        assert await store.read(start=10, end=20) == (DATA[10:20], ["head"])
        assert await store.read(start=plan.BLOCK - 3, end=plan.BLOCK + 3) == (
            DATA[plan.BLOCK - 3 :][:6],
            ["head"],
        )
        assert await store.read(suffix=7) == (DATA[-7:], ["head"])
        assert store.cache.counts == {"miss": 1, "hit": 4}

    asyncio.run(main())


def test_another_version_is_read_anew_and_an_absent_one_is_absent(store):
    async def main():
        await put(store.inner, "k", DATA)
        await store.read()
        await put(store.inner, "k", b"new")
        assert await store.read() == (b"new", ["head", "get"])
        assert await store.read() == (b"new", ["head"])
        await store.inner.delete("k")
        assert await store.read() == (None, ["head"])
        for call in (store.cache.get, store.cache.head):
            with pytest.raises(StorageObjectNotFoundError):
                await call("k")

    asyncio.run(main())


def test_within_max_age_nothing_is_asked(tmp_path):
    async def main():
        store = Store(tmp_path, max_age=10)
        await put(store.inner, "k", DATA)
        await store.read()
        found = await store.inner.head("k")
        assert await store.read() == (DATA, [])
        assert await store.cache.head("k") == found
        assert store.inner.calls == []
        store.inner.mode = "down"
        assert await store.read() == (DATA, [])
        store.inner.mode = "well"
        with pytest.raises(StoragePreconditionFailedError):
            await store.read(if_match="another")
        store.clock.now += 11
        assert await store.read() == (DATA, ["head"])
        assert await store.read() == (DATA, [])
        store.clock.now -= 3600  # A clock that was set back.
        assert await store.read() == (DATA, ["head"])

    asyncio.run(main())


@pytest.mark.parametrize("max_age", [0.0, 60.0])
def test_own_writes_are_seen_at_once(tmp_path, max_age):
    async def main():
        store = Store(tmp_path, max_age=max_age)
        for number, change in enumerate(("put", "lost", "delete", "delete_many", "copy", "tags")):
            await put(store.cache, "k", DATA)
            assert (await store.read())[0] == DATA
            if change == "put":
                await put(store.cache, "k", b"new")
            elif change == "lost":
                store.inner.mode = "lost"
                with pytest.raises(StorageConnectionError):
                    await put(store.cache, "k", b"new")
                store.inner.mode = "well"
            elif change == "delete":
                await store.cache.delete("k")
            elif change == "delete_many":
                await store.cache.delete_many(["k"])
            elif change == "copy":
                await put(store.cache, "other", b"new")
                source = await store.cache.head("other")
                await store.cache.copy(
                    contract.CopyRequest(source=source, destination="k", write_id=f"{number:032x}")
                )
            else:
                await store.cache.put_tags("k", {"a": "1"})
            assert not store.file().exists()
            wanted = {"delete": None, "delete_many": None, "tags": DATA}.get(change, b"new")
            assert (await store.read())[0] == wanted

    asyncio.run(main())


def test_a_read_that_was_under_way_during_a_write_is_not_kept(tmp_path):
    async def main():
        store = Store(tmp_path, max_age=60)
        await put(store.cache, "k", DATA)
        reader = await store.cache.get("k")
        await put(store.cache, "k", b"new")
        assert await reader.read() == DATA
        assert await store.read() == (b"new", ["get"])
        assert store.cache._fetches == {}

    asyncio.run(main())


def test_a_reader_that_is_left_early_keeps_nothing_and_nothing_behind(store):
    async def main():
        await put(store.inner, "k", DATA)
        async with await store.cache.get("k") as reader:
            await anext(reader)
        assert [each for each in store.path.rglob("*") if each.is_file() and each.name != "total"] == []
        assert store.cache._fetches == {}
        assert await store.read() == (DATA, ["get"])

    asyncio.run(main())


@pytest.mark.parametrize("at", ["open", "begin"])
def test_a_read_that_is_cancelled_while_a_file_is_opened_leaves_none_open(store, monkeypatch, at):
    real = getattr(CacheDirectory, at)
    opened = []

    async def main():
        await put(store.inner, "k", DATA)
        loop, reached, done = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def slow(self, *arguments):
            opened.append(real(self, *arguments))
            loop.call_soon_threadsafe(reached.set)
            assert done.wait(600)
            return opened[0]

        if at == "open":
            await store.read()
        monkeypatch.setattr(CacheDirectory, at, slow)
        task = asyncio.ensure_future(store.read())
        await reached.wait()
        task.cancel()
        loop.call_soon(done.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (each,) = opened
    assert (each.fd if at == "open" else each._file.fd) == -1
    assert list(store.path.rglob(".credstore-*")) == []


def damages():
    yield "first block", lambda data: b"?" + data[1:]
    yield "second block", lambda data: data[: plan.BLOCK + 5] + b"?" + data[plan.BLOCK + 6 :]
    yield "description", lambda data: data[:-100] + b"?" + data[-99:]
    yield "end", lambda data: data[:-1]
    yield "nothing", lambda data: b""
    yield "other magic", lambda data: data[:-1] + b"2"


@pytest.mark.parametrize(
    ("what", "damage"), list(damages()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_damaged_file_is_read_again_and_reported(store, what, damage, caplog):
    async def main():
        await put(store.inner, "k", DATA)
        await store.read()
        path = store.file()
        path.write_bytes(damage(path.read_bytes()))
        data, asked = await store.read()
        assert data == DATA
        assert asked[-1] == "get"
        assert store.cache.counts["damaged"] == 1
        assert "damaged" in caplog.text
        assert (await store.read())[0] == DATA
        assert (await store.read(start=plan.BLOCK, end=plan.BLOCK + 10))[0] == DATA[plan.BLOCK :][:10]

    asyncio.run(main())


def test_a_damaged_block_outside_the_range_is_not_looked_at(store):
    async def main():
        await put(store.inner, "k", DATA)
        await store.read()
        content = store.file().read_bytes()
        store.file().write_bytes(b"?" + content[1:])
        assert await store.read(start=plan.BLOCK, end=plan.BLOCK + 10) == (DATA[plan.BLOCK :][:10], ["head"])

    asyncio.run(main())


@pytest.mark.parametrize("at", ["write", "open", "publish"])
def test_a_full_disk_only_makes_reads_slower(store, at, monkeypatch, caplog):
    def full(*_given, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PendingFile, at, full)

    async def main():
        await put(store.inner, "k", DATA)
        assert await store.read() == (DATA, ["get"])
        assert await store.read() == (DATA, ["get"])
        assert store.cache.counts["not_kept"] == 2
        assert caplog.text.count("No space left") == 1

    asyncio.run(main())
    left = [each.name for each in store.path.rglob("*") if each.is_file()]
    assert left == ["total"]


def test_a_directory_that_cannot_be_made_only_makes_reads_slower(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    async def main():
        store = Store(tmp_path / "file" / "cache")
        await put(store.cache, "k", DATA)
        assert await store.read() == (DATA, ["get"])
        await store.cache.delete("k")

    asyncio.run(main())


def test_what_was_used_longest_ago_makes_room(tmp_path):
    async def main():
        store = Store(tmp_path, max_size=100_000)
        for number in range(8):
            await put(store.inner, f"k{number}", bytes(20_000))
            await store.read(f"k{number}")
            store.clock.now += 1
            await store.read("k0")  # Is used again and again.
            store.clock.now += 1
            total = sum(each.stat().st_size for each in tmp_path.rglob("*") if each.is_file())
            assert total <= 100_000 + 32
        assert store.file("k0").exists()
        assert store.file("k7").exists()
        assert not store.file("k1").exists()
        await put(store.inner, "large", bytes(200_000))
        assert await store.read("large") == (bytes(200_000), ["get"])
        assert await store.read("large") == (bytes(200_000), ["get"])

    asyncio.run(main())


def test_what_a_killed_process_left_is_removed_with_the_next_room(tmp_path):
    async def main():
        store = Store(tmp_path, max_size=100_000)
        await put(store.inner, "k", bytes(60_000))
        await store.read()
        left = store.file().parent / ".credstore-0123456789abcdef"
        left.write_bytes(bytes(50_000))
        await put(store.inner, "l", bytes(60_000))
        await store.read("l")
        assert not left.exists()
        assert store.file("l").exists()

    asyncio.run(main())


def test_an_entry_that_is_removed_while_it_is_read_is_read_to_its_end(store):
    async def main():
        await put(store.inner, "k", DATA)
        await store.read()
        async with await store.cache.get("k") as reader:
            first = await anext(reader)
            store.file().unlink()
            rest = [chunk async for chunk in reader]
        assert first + b"".join(rest) == DATA

    asyncio.run(main())


def test_objects_of_other_stores_have_other_entries():
    assert plan.name_of("a", "bc") != plan.name_of("ab", "c")


infos = st.builds(
    ObjectInfo,
    key=st.text(min_size=1),
    size=st.just(3),
    etag=st.none() | st.text(),
    last_modified=st.none() | st.datetimes(timezones=st.just(UTC)),
    headers=st.none() | st.builds(ContentHeaders, content_type=st.none() | st.text()),
    metadata=st.none() | st.dictionaries(st.text(), st.text()),
    system=st.none() | st.dictionaries(st.text(), st.text()),
    digest=st.none() | st.binary(),
)


@given(infos)
def test_a_description_is_read_as_it_was_written(info):
    entry = plan.Entry(info, (sha256(b"abc").digest(),))
    content = plan.encode(entry)
    length = plan.described_length(content[-plan.TRAILER :])
    assert plan.decode(content[:length], content[-plan.TRAILER :], 3) == entry
    assert plan.decode(content[:length], content[-plan.TRAILER :], 4) is None


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100))), st.integers(0, 100), st.integers(0, 100)
)
def test_as_little_as_needed_is_removed_and_enough(files, held, wanted):
    found = [plan.Found(str(number), size, used) for number, (size, used) in enumerate(files)]
    removed = plan.to_remove(found, held=held, wanted=wanted, limit=200)
    left = [each for each in found if each not in removed]
    assert held + wanted + sum(each.size for each in left) <= 200 or not left
    assert all(one.used <= other.used for one in removed for other in left)


def test_every_optional_protocol_is_passed_on():
    assert protocols() - {contract.Driver} == set(PASSED)
    assert NO_ABILITIES


def test_a_provider_is_cached_as_a_whole_and_by_its_settings(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            source = factory.create(LocalConfig(path=tmp_path / "store", fsync=False))
            await source.store("k", DATA, compress="gzip", metadata={"a": "1"})
        local = LocalConfig(path=tmp_path / "store", fsync=False)
        async with cached(StorageFactory().create(local), tmp_path / "cache", max_age=60) as provider:
            assert await provider.retrieve("k") == DATA
        async with StorageFactory(environ={}) as factory:
            url = f"file://{tmp_path}/store?cache={tmp_path}/cache&cache_max_age=60s&cache_size=1MiB"
            provider = factory.create(url)
            (tmp_path / "store" / "k").unlink()
            assert await provider.retrieve("k") == DATA  # What the other one kept.
            assert (await provider.get_metadata("k")).metadata == {"a": "1"}

    asyncio.run(main())


def test_an_entry_gets_its_name_while_no_one_counts_the_files(tmp_path, monkeypatch):
    renamed = []

    def publish(file, **options):
        with (tmp_path / "total").open("rb") as total, pytest.raises(BlockingIOError):
            fcntl.flock(total, fcntl.LOCK_EX | fcntl.LOCK_NB)
        renamed.append(real(file, **options))

    real = PendingFile.publish
    monkeypatch.setattr(PendingFile, "publish", publish)
    info = ObjectInfo(key="k", size=3)
    entry = CacheDirectory(tmp_path, 2**20).begin("ab/cd", info)
    entry.write(b"abc")
    entry.publish(0)
    assert renamed == [None]
    assert (tmp_path / "ab/cd").is_file()


PROCESS = """
import asyncio, fcntl, random, sys
from contextlib import suppress
from pathlib import Path
from credstore import LocalConfig, StorageFactory
async def main(root, seed):
    chosen = random.Random(seed)
    url = f"file://{root}/store?cache={root}/cache&cache_size=1MiB&fsync=false"
    async with StorageFactory(environ={}) as factory:
        provider = factory.create(url)
        for _ in range(60):
            key = f"k{chosen.randrange(20)}"
            if chosen.random() < 0.1:
                await provider.store(key, key.encode() * chosen.randrange(1, 60_000))
            data = await provider.retrieve(key)
            assert data == key.encode() * (len(data) // len(key)), key
            with open(Path(root, "cache", "total"), "rb") as total:
                fcntl.flock(total, fcntl.LOCK_EX)  # So that nothing is added meanwhile.
                files = {}
                for each in Path(root, "cache").glob("*/*"):
                    with suppress(FileNotFoundError):
                        about = each.lstat()
                        files[about.st_ino] = about.st_size
            assert sum(files.values()) <= 2**20, files
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_processes_share_a_cache_and_one_may_be_killed(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(LocalConfig(path=tmp_path / "store", fsync=False))
            for number in range(20):
                await provider.store(f"k{number}", f"k{number}".encode() * 40_000)
        started = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROCESS, str(tmp_path), str(seed), stderr=asyncio.subprocess.PIPE
            )
            for seed in range(4)
        ]
        while not (tmp_path / "cache" / "total").exists() and started[0].returncode is None:
            await asyncio.sleep(0)
        started[0].kill()
        for process in started[1:]:
            _, told = await process.communicate()
            assert process.returncode == 0, told.decode()
        await started[0].communicate()

    asyncio.run(main())
