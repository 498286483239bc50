"""A root that is not at its path any more is no empty store, and nothing is stored in it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.drivers.local.root import Root
from credstore.errors import ErrorCode, StorageConfigurationError

from .support import make_driver, put_request, read_pair


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
