"""A root that is not at its path any more is no empty store, and nothing is stored in it."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.driver import CREATE
from credstore.drivers.local import atomic
from credstore.drivers.local.root import Root
from credstore.errors import ErrorCode, StorageConfigurationError, StorageConflictError, StorageError

from .support import StreamBody, make_driver, put_request, read_pair


def remove(root: Path) -> None:
    shutil.rmtree(root)


def move(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


def replace(root: Path) -> None:
    move(root)
    root.mkdir()


def replace_by_copy(root: Path) -> None:
    move(root)
    shutil.copytree(root.with_name("elsewhere"), root)


def replace_by_file(root: Path) -> None:
    move(root)
    root.write_bytes(b"")


def move_parent(root: Path) -> None:
    root.parent.rename(root.parent.with_name("moved parent"))


@pytest.mark.parametrize("change", [remove, move, replace, replace_by_copy, replace_by_file, move_parent])
def test_nothing_is_read_or_written_in_a_root_that_is_not_at_its_path(tmp_path, change):
    root = tmp_path / "parent" / "store"

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(root))) as store:
            await store.store("k", b"data")
            await store.store("dir/k", b"data")
            assert await store.retrieve("absent") is None
            change(root)
            for call in (
                store.retrieve("k"),
                store.retrieve("absent"),
                store.get_metadata("k"),
                store.exists("k"),
                store.delete("k"),
                store.delete("absent"),
                store.list(),
                store.list(prefix="nothing/"),
                store.get_stats(),
                store.copy("k", "copy"),
                store.move("k", "moved"),
                store.store("k", b"again"),
                store.store("new/k", b"new"),
                store.store("stream", iter([b"x" * 2_000_000])),
            ):
                with pytest.raises(StorageConfigurationError) as caught:
                    await call
                assert caught.value.code == ErrorCode.ROOT_REMOVED
                assert caught.value.applied == "no"
                assert str(root) in str(caught.value)
            health = await store.health_check()
            assert not health.healthy
            assert str(root) in str(health.errors)
            for place in (tmp_path / "parent/elsewhere", tmp_path / "moved parent/store"):
                if place.exists():
                    assert sorted(p.name for p in place.iterdir()) == [".credstore", "dir", "k"]
                    assert (place / "k").read_bytes() == b"data"

    asyncio.run(main())


def test_a_root_that_comes_back_is_used_again(tmp_path):
    root = tmp_path / "store"

    async def main():
        driver = make_driver(root)
        await driver.put(put_request("k", b"data"))
        move(root)
        with pytest.raises(StorageConfigurationError):
            await driver.get("k")
        (tmp_path / "elsewhere").rename(root)
        await driver.put(put_request("k", b"again"))
        assert await read_pair(driver, "k") == b"again"
        await driver.aclose()

    asyncio.run(main())


def test_a_link_that_leads_elsewhere_now_is_another_root(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    root = tmp_path / "store"
    root.symlink_to(tmp_path / "one")

    async def main():
        driver = make_driver(root)
        await driver.put(put_request("k", b"data"))
        root.unlink()
        root.symlink_to(tmp_path / "two")
        for call in (driver.get("k"), driver.put(put_request("k", b"new")), driver.list(), driver.ping()):
            with pytest.raises(StorageConfigurationError) as caught:
                await call
            assert (caught.value.code, caught.value.applied) == (ErrorCode.ROOT_REMOVED, "no")
        root.unlink()
        root.symlink_to("one")  # Another spelling of the same place.
        assert await read_pair(driver, "k") == b"data"
        await driver.aclose()

    asyncio.run(main())
    assert list((tmp_path / "two").iterdir()) == []


def test_a_relative_root_stays_where_it_was_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)

    async def main():
        driver = make_driver("store")
        await driver.put(put_request("k", b"data"))
        monkeypatch.chdir(tmp_path / "other")
        await driver.put(put_request("k", b"again"))
        assert await read_pair(driver, "k") == b"again"
        move(tmp_path / "store")
        with pytest.raises(StorageConfigurationError):
            await driver.get("k")
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["rename", "link", "unlink"])
@pytest.mark.parametrize("late", [False, True])
def test_a_root_moved_during_a_change_leaves_open_whether_it_was_made(tmp_path, monkeypatch, name, late):
    """Neither "stored", for nothing is at the path, nor "no", for it is where the root went."""
    root = tmp_path / "store"

    async def main():
        driver = make_driver(root)
        await driver.put(put_request("k", b"old"))
        real, left = getattr(os, name), [1]

        def call(*args, **kwargs):
            ours = args[0] == "k" or args[1:2] in [("k",), ("new",)]
            if ours and left:
                left.pop()
                if late:
                    real(*args, **kwargs)
                move(root)
                if late:
                    return
            real(*args, **kwargs)

        monkeypatch.setattr(atomic.os, name, call)
        if name == "unlink":
            attempt = driver.delete("k")
        else:
            attempt = driver.put(
                put_request("new", b"new", CREATE) if name == "link" else put_request("k", b"new")
            )
        with pytest.raises(StorageError) as caught:
            await attempt
        assert not left
        assert (caught.value.code, caught.value.applied) == (ErrorCode.ROOT_REMOVED, "maybe")
        assert "in the directory that was there before" in str(caught.value)
        await driver.aclose()

    asyncio.run(main())


def test_a_long_body_is_refused_before_it_is_read(tmp_path):
    root = tmp_path / "store"

    async def main():
        driver = make_driver(root)
        await driver.put(put_request("k", b"data"))
        move(root)
        body = StreamBody([b"x"], error=RuntimeError("was read"))
        with pytest.raises(StorageConfigurationError):
            await driver.put(put_request("k", b"", body=body))
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("late", [False, True])
def test_a_directory_moved_away_with_the_object_is_noticed(tmp_path, monkeypatch, late):
    async def main():
        driver = make_driver(tmp_path)
        await driver.put(put_request("dir/k", b"old"))
        real, left = os.rename, [1]

        def rename(*args, **kwargs):
            if late:
                real(*args, **kwargs)
            if left:
                left.pop()
                real(tmp_path / "dir", tmp_path / "elsewhere")
            if not late:
                real(*args, **kwargs)

        monkeypatch.setattr(atomic.os, "rename", rename)
        with pytest.raises(StorageConflictError) as caught:
            await driver.put(put_request("dir/k", b"new"))
        assert caught.value.applied == "maybe"
        assert (tmp_path / "elsewhere/k").read_bytes() == b"new"
        await driver.put(put_request("dir/k", b"next"))
        assert await read_pair(driver, "dir/k") == b"next"
        await driver.aclose()

    asyncio.run(main())


def test_a_key_whose_path_is_too_long_for_one_call_is_stored(tmp_path):
    async def main():
        driver = make_driver(tmp_path)
        key = "/".join(["\u00e9" * 100] * 5)[:500]
        await driver.put(put_request("B" * 1000, b"1"))
        await driver.put(put_request(key, b"2"))
        deep = tmp_path / "/".join(["d" * 200] * 19)
        deep.mkdir(parents=True)
        far = make_driver(deep)
        await far.put(put_request("x" * 1000, b"3"))
        assert await read_pair(far, "x" * 1000) == b"3"
        await driver.aclose()
        await far.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_links_that_is_not_whole_is_refused_and_never_replaced(tmp_path, size):
    root = Root(str(tmp_path), create=True, fsync=False)
    try:
        secret = root.link_secret()
        assert (len(secret), root.link_secret()) == (32, secret)
        file = tmp_path / ".credstore/link-secret"
        assert file.stat().st_mode & 0o077 == 0
        file.write_bytes(bytes(size))
        with pytest.raises(StorageConfigurationError, match="is damaged"):
            root.link_secret()
        assert file.read_bytes() == bytes(size)
    finally:
        root.close()


@pytest.mark.parametrize("removed", [False, True])
def test_a_root_whose_path_cannot_be_walked_any_more_is_there_unless_it_was_removed(
    tmp_path, monkeypatch, removed
):
    """As by a process that gave its rights up after it had opened the store."""
    path = tmp_path / "root"
    root = Root(str(path), create=True, fsync=False)
    try:
        if removed:
            path.rmdir()
        real = os.stat

        def refused(name, **options):
            if name == str(path):
                raise PermissionError(errno.EACCES, "refused")
            return real(name, **options)

        monkeypatch.setattr(os, "stat", refused)
        if removed:
            with pytest.raises(StorageConfigurationError, match="was removed") as caught:
                root.check_there()
            assert caught.value.code == "ROOT_REMOVED"
        else:
            root.check_there()
    finally:
        monkeypatch.undo()
        root.close()
