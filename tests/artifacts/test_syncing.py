"""A folder that is brought to a version: exactly, cheaply, and never at the cost of what is only there."""

import os
import shutil

import pytest

from credstore import StorageConflictError, StorageError, StorageNotFoundError
from credstore.artifacts import replacing
from tests.artifacts.stores import Died, Store, noise, read, run, write

FIRST = {"a.csv": b"1" * 1000, "sub/b.csv": noise(200_000), "old": b"old"}
SECOND = {"a.csv": b"2" * 1000, "sub/b.csv": FIRST["sub/b.csv"], "old/now-a-folder": b"new"}


@pytest.fixture
def store(tmp_path):
    made = Store()

    async def main():
        for number, files in enumerate((FIRST, SECOND)):
            await made.manager().save_dataset("set", write(tmp_path / f"source{number}", files))

    run(main())
    return made


def test_a_folder_becomes_each_version_exactly_and_costs_little_when_it_is_already(store, tmp_path):
    folder = tmp_path / "train"

    async def main():
        manager = store.manager()
        report = await manager.sync_dataset("set", 1, folder=folder)
        assert (report.fetched, report.removed) == (("a.csv", "old", "sub/b.csv"), ())
        assert read(folder) == FIRST
        report = await manager.sync_dataset("set", folder=folder)
        assert (report.version.version, report.fetched) == (2, ("a.csv", "old/now-a-folder"))
        assert report.removed == ("old",)
        assert read(folder) == SECOND
        await manager.sync_dataset("set", 1, folder=folder)
        assert read(folder) == FIRST
        os.utime(folder / "a.csv", ns=(1, 1))
        report = await manager.sync_dataset("set", 1, folder=folder)
        assert (report.fetched, report.removed) == ((), ())

        requests = []

        async def count(number):
            requests.append(number)

        await store.manager(count).sync_dataset("set", 1, folder=folder)
        assert len(requests) <= 4

    run(main())
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.csv").write_bytes(b"mine"),
        lambda folder: (folder / "new").write_bytes(b"mine"),
        lambda folder: (folder / "sub" / "b.csv").write_bytes(b"x" * 200_000),
    ],
)
def test_what_is_only_there_is_not_lost_unless_it_is_to_be(store, tmp_path, change):
    folder = tmp_path / "train"

    async def main():
        manager = store.manager()
        await manager.sync_dataset("set", 1, folder=folder)
        change(folder)
        mine = read(folder)
        with pytest.raises(StorageConflictError, match="would be lost"):
            await manager.sync_dataset("set", 2, folder=folder)
        with pytest.raises(StorageConflictError):
            async with manager.synced("set", 1, folder=folder):
                pytest.fail("the body is not reached")
        assert read(folder) == mine
        await manager.sync_dataset("set", 2, folder=folder, discard=True)
        assert read(folder) == SECOND

    run(main())


def test_a_folder_of_something_else_is_not_overwritten(store, tmp_path):
    folder = write(tmp_path / "home", {"thesis.tex": b"years"})
    write(tmp_path / "same", FIRST)

    async def main():
        with pytest.raises(StorageConflictError, match=r"thesis\.tex"):
            await store.manager().sync_dataset("set", folder=folder)
        report = await store.manager().sync_dataset("set", 1, folder=tmp_path / "same")
        assert report.fetched == ()
        with pytest.raises(StorageNotFoundError):
            await store.manager().sync_dataset("set", 7, folder=folder)

    run(main())
    assert read(folder) == {"thesis.tex": b"years"}


def test_the_context_manager_saves_what_the_body_changed_and_nothing_if_it_failed(store, tmp_path):
    folder = tmp_path / "train"

    async def main():
        manager = store.manager()
        async with manager.synced("set", folder=folder, save=True) as path:
            assert path == folder
        assert len(await manager.versions("set")) == 2
        async with manager.synced("set", folder=folder, save=True) as path:
            (path / "labels.csv").write_bytes(b"cat")
        assert [each.version for each in await manager.versions("set")] == [1, 2, 3]

        async def fail():
            async with manager.synced("set", folder=folder, save=True) as path:
                (path / "labels.csv").write_bytes(b"dog")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        assert len(await manager.versions("set")) == 3
        async with manager.synced("set", folder=folder, discard=True) as path:
            assert (path / "labels.csv").read_bytes() == b"cat"
            (path / "labels.csv").write_bytes(b"cow")
        assert len(await manager.versions("set")) == 3
        await manager.sync_dataset("set", 1, folder=folder, discard=True)
        await manager.sync_dataset("set", 3, folder=folder)
        with pytest.raises(StorageError, match="signer"):
            async with store.manager(signer=()).synced("set", folder=folder, save=True):
                pytest.fail("the body is not reached")

    run(main())


def test_a_sync_that_died_is_continued(store, tmp_path, monkeypatch):
    folder = tmp_path / "train"

    async def start():
        await store.manager().sync_dataset("set", 1, folder=folder)
        real = replacing.exchange

        def exchange(source, place):
            if not real(source, place):
                source.replace(place)
            raise Died

        monkeypatch.setattr(replacing, "exchange", exchange)
        try:
            await store.manager().sync_dataset("set", 2, folder=folder)
        finally:
            monkeypatch.undo()

    with pytest.raises(Died):
        run(start())
    assert read(folder) not in (FIRST, SECOND)
    run(store.manager().sync_dataset("set", 1, folder=folder))
    assert read(folder) == FIRST


def test_a_version_that_was_pruned_no_longer_vouches_for_what_is_there(store, tmp_path):
    folder = tmp_path / "train"

    async def main():
        manager = store.manager()
        await manager.sync_dataset("set", 1, folder=folder)
        await manager.prune("set", 1)
        with pytest.raises(StorageConflictError):
            await manager.sync_dataset("set", folder=folder)
        shutil.rmtree(folder)
        await manager.sync_dataset("set", folder=folder)
        assert read(folder) == SECOND

    run(main())
