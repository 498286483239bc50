"""Group commit: what is stored at the same time shares its flushes, and promises no less."""

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from credstore.driver import CREATE, Precondition
from credstore.driver.values import NO_HEADERS
from credstore.drivers.local import flushing, together
from credstore.drivers.local.atomic import Temporary
from credstore.drivers.local.attributes import Attributes
from credstore.drivers.local.directories import Branches
from credstore.drivers.local.gathering import AT_ONCE, Gathering
from credstore.drivers.local.locks import KeyLocks, stripe_of
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from tests.drivers.local.support import leftovers, list_keys, make_driver, put_request, read_pair


def run(root, work, group_commit=True, **settings):
    async def main():
        driver = make_driver(root, group_commit=group_commit, **settings)
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


@pytest.fixture
def one_by_one(monkeypatch):
    """No file system is flushed as a whole."""
    monkeypatch.setattr(together, "can_flush_all", lambda _: False)


@pytest.fixture
def whole(monkeypatch):
    """The file system is flushed as a whole, whatever it is; how often, and each flush of a file."""
    seen, fsync = [], os.fsync

    def flush_all(fd):
        seen.append("all")
        return real(fd)

    def noting(fd):
        seen.append("one")
        fsync(fd)

    real = flushing.flush_all
    monkeypatch.setattr(together, "can_flush_all", lambda _: True)
    monkeypatch.setattr(flushing, "flush_all", flush_all)
    monkeypatch.setattr(os, "fsync", noting)
    return seen


def keys_with_locks_of_their_own(count, form="d/{}"):
    found = {}
    for key in map(form.format, range(5000)):
        found.setdefault(stripe_of(key), key)
    return list(found.values())[:count]


@pytest.mark.usefixtures("one_by_one")
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


def test_a_file_system_is_flushed_as_a_whole_before_names_and_after(tmp_path, whole):
    """The second flush is for the directories, of which each object has one here."""
    keys = keys_with_locks_of_their_own(40, "{}/k")

    async def work(driver):
        await driver.put(put_request("first", b"x"))
        whole.clear()
        await store(driver, *(put_request(key, key.encode()) for key in keys))
        assert whole == ["all", "one", "all", "one"]
        whole.clear()
        await driver.put(put_request("alone", b"x"))
        assert "all" not in whole
        assert whole
        for key in keys:
            assert await read_pair(driver, key) == key.encode()

    run(tmp_path, work)
    assert leftovers(tmp_path) == []


def test_without_fsync_nothing_is_flushed(tmp_path, whole):
    async def work(driver):
        await store(driver, *(put_request(key, b"x") for key in keys_with_locks_of_their_own(40)))

    run(tmp_path, work, fsync=False)
    assert whole == []


def test_what_is_on_another_file_system_is_flushed_by_itself(tmp_path, whole, monkeypatch):
    """As below a mount, where a flush of the root's file system does nothing."""
    real = os.fstat

    def elsewhere(fd):
        found = real(fd)
        if found.st_ino == (tmp_path / "d").stat().st_ino:
            return os.stat_result([*found[:2], found.st_dev + 1, *found[3:10]])
        return found

    async def work(driver):
        await driver.put(put_request("d/first", b"x"))
        with contextlib.ExitStack() as stack:
            places = [os.open(place, os.O_RDONLY) for place in (tmp_path, tmp_path / "d")]
            for fd in places:
                stack.callback(os.close, fd)
            stack.enter_context(monkeypatch.context()).setattr(flushing.os, "fstat", elsewhere)
            stack.enter_context(driver._together._turn)
            for fd in places:
                driver._together._flush([], [fd] * together.MANY, Branches())

    run(tmp_path, work, fsync=True)
    assert whole[-together.MANY - 2 :] == ["all", "one", *["one"] * together.MANY]


@pytest.mark.parametrize(
    ("kind", "kernel", "expected"),
    [
        ("ext4", "Linux 6.1.0-13-amd64", True),
        ("xfs", "Linux 5.17.0", True),
        ("xfs", "Linux 5.16.19", False),
        ("ext4", "Linux 4.18.0-372.el8", False),
        ("fuse.sshfs", "Linux 6.1.0", False),
        ("overlay", "Linux 6.1.0", False),
        ("ext4", "Darwin 23.1.0", False),
        ("ext4", "Linux unknown", False),
    ],
)
def test_only_where_a_flush_of_all_is_known_to_keep_the_promise(
    tmp_path, monkeypatch, kind, kernel, expected
):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 28 0:19 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        f"28 1 {os.major(device)}:{os.minor(device)} / / rw,relatime shared:1 - {kind} /dev/x rw\n"
    )
    places = {"/proc/self/mountinfo": mounts}
    monkeypatch.setattr(flushing, "Path", lambda *parts: places.get(parts[0]) or Path(*parts))
    monkeypatch.setattr(flushing, "_has_journal", lambda _: True)
    monkeypatch.setattr(flushing, "_libc", lambda: SimpleNamespace(syncfs=lambda _: 0))
    system, release = kernel.split()
    monkeypatch.setattr(
        flushing.os, "uname", lambda: os.uname_result((system, "host", release, "version", "x86_64"))
    )
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert flushing.can_flush_all(fd) is expected
    finally:
        os.close(fd)


@pytest.mark.parametrize(("journal", "refused"), [(False, False), (True, True)])
def test_without_a_journal_or_leave_each_file_is_flushed(tmp_path, monkeypatch, journal, refused):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"28 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - ext4 /dev/x rw\n")
    places = {"/proc/self/mountinfo": mounts}
    monkeypatch.setattr(flushing, "Path", lambda *parts: places.get(parts[0]) or Path(*parts))
    monkeypatch.setattr(flushing, "_has_journal", lambda _: journal)
    monkeypatch.setattr(flushing, "_libc", lambda: SimpleNamespace(syncfs=lambda _: -1 if refused else 0))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert not flushing.can_flush_all(fd)
    finally:
        os.close(fd)


def test_an_error_that_one_group_is_told_of_is_that_of_the_other_too(tmp_path, monkeypatch, whole):
    """The system reports what was lost once for each open file, to whichever group asks first."""
    left, real = [1], flushing.flush_all

    def failing(fd):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, "failed")
        real(fd)

    keys = keys_with_locks_of_their_own(2 * together.MOST)

    async def work(driver):
        await driver.put(put_request("d/first", b"x"))
        monkeypatch.setattr(flushing, "flush_all", failing)
        outcomes = await store(driver, *(put_request(key, b"new") for key in keys))
        assert all(isinstance(each, StorageError) for each in outcomes)
        assert left[0] == 0

    run(tmp_path, work, fsync=True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_flush_of_all_that_fails_is_never_acknowledged(tmp_path, monkeypatch, whole, number):
    left = [number]
    real = flushing.flush_all

    def failing(fd):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.EIO, "failed")
        real(fd)

    keys = keys_with_locks_of_their_own(20, "{}/k")

    async def work(driver):
        await driver.put(put_request(keys[0], b"old"))
        monkeypatch.setattr(flushing, "flush_all", failing)
        outcomes = await store(driver, *(put_request(key, b"new") for key in keys))
        assert left[0] == 0
        assert {each.applied for each in outcomes} == {"no" if number == 1 else "maybe"}
        with pytest.raises(StorageUnavailableError):
            await driver.put(put_request("z", b"z"))
        assert await read_pair(driver, keys[0]) == (b"old" if number == 1 else b"new")

    run(tmp_path, work, fsync=True)


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


@pytest.mark.usefixtures("one_by_one")
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


def test_a_group_opens_each_directory_once_and_closes_it(tmp_path, monkeypatch):
    opened, real = [], os.open

    def noting(path, flags, *rest, **options):
        if flags & os.O_DIRECTORY:
            opened.append(path)
        return real(path, flags, *rest, **options)

    async def work(driver):
        await driver.put(put_request("x", b""))
        monkeypatch.setattr(os, "open", noting)
        before = len(list(Path("/proc/self/fd").iterdir()))
        keys = keys_with_locks_of_their_own(8, "proofs/v1/{}")
        await asyncio.gather(*(driver.put(put_request(key, b"x")) for key in keys))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        return keys

    keys = run(tmp_path, work)
    # Nothing is there yet: the first look of each finds no "proofs", and what one has made the others find.
    assert opened.count("v1") == 1
    assert opened.count("proofs") <= len(keys) + 1
    assert all((tmp_path / key).read_bytes() == b"x" for key in keys)


def test_a_directory_of_a_group_that_is_moved_away_fails_what_was_to_be_in_it(tmp_path, monkeypatch):
    show = together.Together._show

    def moving(self, step):
        if (tmp_path / "d").exists():
            (tmp_path / "d").rename(tmp_path / "moved")
        show(self, step)

    async def work(driver):
        await driver.put(put_request("d/first", b"1"))
        monkeypatch.setattr(together.Together, "_show", moving)
        keys = keys_with_locks_of_their_own(3)
        found = await asyncio.gather(
            *(driver.put(put_request(key, b"x")) for key in keys), return_exceptions=True
        )
        assert {type(each) for each in found} == {StorageConflictError}
        assert {each.applied for each in found} == {"maybe"}

    run(tmp_path, work)


def test_an_order_to_publish_that_fails_leaves_no_lock_and_no_descriptor(tmp_path, monkeypatch):
    real = together.Together._make_durable

    def failing(self, steps, branches):
        raise MemoryError

    async def work(driver):
        await driver.put(put_request("d/first", b"1"))
        before = len(list(Path("/proc/self/fd").iterdir()))
        monkeypatch.setattr(together.Together, "_make_durable", failing)
        keys = keys_with_locks_of_their_own(3)
        found = await asyncio.gather(
            *(driver.put(put_request(key, b"x")) for key in keys), return_exceptions=True
        )
        assert all(isinstance(each, Exception) for each in found)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        monkeypatch.setattr(together.Together, "_make_durable", real)
        await asyncio.gather(*(driver.put(put_request(key, b"y")) for key in keys))
        assert [await read_pair(driver, key) for key in keys] == [b"y"] * 3

    run(tmp_path, work)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("grouped", [False, True])
def test_a_directory_that_a_link_has_replaced_is_no_place_to_store(tmp_path, monkeypatch, grouped):
    """Readers follow no link, so what is stored through one is at no key."""
    names = ("rename", "link") if not grouped else ()

    def swap():
        if not (tmp_path / "d").is_symlink():
            (tmp_path / "d").rename(tmp_path / "moved")
            (tmp_path / "d").symlink_to("moved")

    for name in names:
        real = getattr(Temporary, name)

        def swapping(self, directory, to, real=real):
            if to == "k":
                swap()
            real(self, directory, to)

        monkeypatch.setattr(Temporary, name, swapping)
    show = together.Together._show

    def showing(self, step):
        swap()
        show(self, step)

    if grouped:
        monkeypatch.setattr(together.Together, "_show", showing)
    (tmp_path / "d").mkdir()

    async def work(driver):
        with pytest.raises(StorageConflictError) as caught:
            await driver.put(put_request("d/k", b"x"))
        assert caught.value.applied == "maybe"
        with pytest.raises(StorageNotFoundError):
            await driver.head("d/k")

    run(tmp_path, work, group_commit=grouped)


def test_a_group_that_waits_for_a_lock_holds_up_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_PATIENCE", 600)
    locked, free = keys_with_locks_of_their_own(2)

    async def work(driver):
        await driver.put(put_request("first", b"1"))
        others = KeyLocks(os.open(tmp_path / ".credstore/locks", os.O_RDONLY), lambda mark: None)
        with others.hold(locked, None):
            waits = asyncio.ensure_future(driver.put(put_request(locked, b"1")))
            while driver._together._turn.locked() or not driver._gathering._locked:
                await asyncio.sleep(0)
            await driver.put(put_request(free, b"2"))
            assert not waits.done()
        await waits

    run(tmp_path, work)


def test_what_finds_no_more_files_to_open_is_stored_when_its_group_is(tmp_path, monkeypatch):
    prepared, failed = together.Together._prepared, []

    def failing(self, write, *rest):
        if write.attributes.key.endswith("3") and not failed:
            failed.append(write)
            raise OSError(errno.EMFILE, "too many open files")
        return prepared(self, write, *rest)

    monkeypatch.setattr(together.Together, "_prepared", failing)
    keys = keys_with_locks_of_their_own(8)

    async def work(driver):
        await asyncio.gather(*(driver.put(put_request(key, b"x")) for key in keys))
        return [await read_pair(driver, key) for key in keys]

    assert run(tmp_path, work) == [b"x"] * len(keys)
    assert failed
