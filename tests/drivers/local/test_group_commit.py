"""Group commit: what is stored at the same time shares its flushes, and promises no less."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from credstore.driver import CREATE, Precondition
from credstore.driver.values import NO_HEADERS
from credstore.drivers.local import together
from credstore.drivers.local.attributes import Attributes
from credstore.drivers.local.gathering import AT_ONCE, Gathering
from credstore.drivers.local.locks import stripe_of
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from tests.drivers.local.support import leftovers, list_keys, make_driver, put_request, read_pair


def run(root, work, **settings):
    async def main():
        driver = make_driver(root, group_commit=True, **settings)
        try:
            return await work(driver)
        finally:
            await driver.aclose()

    return asyncio.run(main())


async def store(driver, *requests):
    """The outcomes of writes that begin at the same time."""
    return await asyncio.gather(*(driver.put(each) for each in requests), return_exceptions=True)


@pytest.fixture
def flushed(monkeypatch):
    """What was flushed."""
    seen = []
    fsync = os.fsync

    def noting(fd):
        seen.append(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def keys_with_locks_of_their_own(count):
    found = {}
    for number in range(5000):
        found.setdefault(stripe_of(f"d/{number}"), f"d/{number}")
    return list(found.values())[:count]


def test_each_file_is_flushed_once_and_each_directory_once_for_all(tmp_path, flushed):
    keys = keys_with_locks_of_their_own(40)

    async def work(driver):
        await driver.put(put_request("d/first", b"x"))
        flushed.clear()
        await store(driver, *(put_request(key, key.encode()) for key in keys))
        for key in keys:
            assert await read_pair(driver, key) == key.encode()
        assert sorted(await list_keys(driver)) == sorted([*keys, "d/first"])

    run(tmp_path, work)
    names = [str(path.relative_to(tmp_path)) for path in flushed if tmp_path in path.parents]
    assert names.count("d") == 1
    assert sum(name.startswith(".credstore/tmp/") for name in names) == len(keys)
    assert sum(name.count("/") == 3 for name in names if name.startswith(".credstore/attributes/")) == len(
        keys
    )
    assert len(names) == len(set(names))
    assert leftovers(tmp_path) == []


def test_each_write_has_its_own_outcome(tmp_path):
    async def work(driver):
        old = await driver.put(put_request("old", b"old"))
        wrong = put_request("wrong", b"wrong", digest=bytes(32))
        outcomes = await store(
            driver,
            put_request("new", b"new", CREATE),
            put_request("old", b"again", CREATE),
            put_request("absent", b"x", Precondition("replace", old.etag)),
            put_request("a", b"a"),
            put_request("a/b", b"b"),
            wrong,
        )
        kinds = [type(each) for each in outcomes]
        assert kinds[1:3] == [StorageAlreadyExistsError, StoragePreconditionFailedError]
        assert kinds[5] is StorageIntegrityError
        assert [kind for kind in kinds if issubclass(kind, Exception)] == [*kinds[1:3], kinds[5]]
        assert await read_pair(driver, "old") == b"old"
        for key, data in (("new", b"new"), ("a", b"a"), ("a/b", b"b")):
            assert await read_pair(driver, key) == data
        assert sorted(await list_keys(driver)) == ["a", "a/b", "new", "old"]

    run(tmp_path, work)
    assert leftovers(tmp_path) == []


def test_of_many_that_create_one_object_one_does(tmp_path):
    async def work(driver):
        outcomes = await store(driver, *(put_request("k", b"%d" % number, CREATE) for number in range(20)))
        won = [number for number, each in enumerate(outcomes) if not isinstance(each, Exception)]
        assert len(won) == 1
        assert {type(each) for number, each in enumerate(outcomes) if number not in won} == {
            StorageAlreadyExistsError
        }
        assert await read_pair(driver, "k") == b"%d" % won[0]

    run(tmp_path, work)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("number", range(1, 9))
def test_a_flush_that_fails_is_never_acknowledged(tmp_path, monkeypatch, number):
    fsync, left, lock = os.fsync, [number], threading.Lock()

    def failing(fd):
        with lock:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.EIO, "failed")
        fsync(fd)

    async def work(driver):
        await driver.put(put_request("x/old", b"old"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            outcomes = await store(driver, *(put_request(key, b"new") for key in ("x/old", "x/new", "y/new")))
        assert left[0] <= 0, "not reached"
        assert all(isinstance(each, StorageError) for each in outcomes)
        applied = {each.applied for each in outcomes}
        assert applied in ({"no"}, {"maybe"})
        with pytest.raises(StorageUnavailableError):
            await driver.put(put_request("z", b"z"))
        assert await read_pair(driver, "x/old") == (b"old" if applied == {"no"} else b"new")
        for key in ("x/new", "y/new"):
            if applied == {"no"}:
                with pytest.raises(StorageNotFoundError):
                    await driver.head(key)
            else:
                assert await read_pair(driver, key) == b"new"

    run(tmp_path, work, fsync=True)
    run(tmp_path, lambda driver: driver.put(put_request("z", b"usable")))
    assert leftovers(tmp_path) == []


def test_a_write_that_waits_is_withdrawn_and_one_under_way_is_waited_for(tmp_path, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    publish = together.Together.publish

    def holding(self, writes):
        begun.set()
        go.wait(600)
        publish(self, writes)

    monkeypatch.setattr(together.Together, "publish", holding)

    async def work(driver):
        first = asyncio.ensure_future(driver.put(put_request("k", b"1")))
        await asyncio.to_thread(begun.wait, 60)
        second = asyncio.ensure_future(driver.put(put_request("k", b"2")))  # Has to wait for the key's lock.
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        first.cancel()
        await asyncio.sleep(0)
        assert not first.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await read_pair(driver, "k") == b"1"

    run(tmp_path, work)
    assert leftovers(tmp_path) == []


def test_a_large_object_is_stored_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(together.Together, "publish", None)
    run(tmp_path, lambda driver: driver.put(put_request("k", bytes(together.GROUPED + 1))))
    assert (tmp_path / "k").stat().st_size == together.GROUPED + 1


@pytest.mark.parametrize("turns", range(8))
def test_a_write_that_comes_while_the_last_groups_end_is_not_left_waiting(turns):
    async def main():
        end = asyncio.Event()

        async def publish(group):
            if not end.is_set():
                await end.wait()
            for write in group:
                write.token = object()

        gathering = Gathering(publish)
        keys = keys_with_locks_of_their_own(AT_ONCE + 1)
        writes = [together.Write(b"", attributes_of(key), Precondition(), None) for key in keys]
        running = []
        for write in writes[:AT_ONCE]:
            running.append(asyncio.create_task(gathering.store(write)))
            for _ in range(5):  # Until its group has begun.
                await asyncio.sleep(0)

        async def late():
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(gathering.store(writes[-1]), 60)

        last = asyncio.create_task(late())
        end.set()
        await asyncio.gather(*running, last)
        await gathering.close()

    asyncio.run(main())


def attributes_of(key):
    return Attributes(
        key=key, write_id=None, digest=None, headers=NO_HEADERS, metadata={}, system={}, tags={}
    )
