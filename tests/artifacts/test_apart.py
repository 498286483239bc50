"""A user's folder next to the store: what is the store's own is never saved, removed or replaced as files are."""

import os

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    MemoryStorageProvider,
    StorageFactory,
    StorageInvalidRequestError,
    cached,
)
from tests.artifacts.stores import manager_on, noise, read, run, write
from tests.proofs.material import P256

SAVES = {
    "archive": lambda manager, source: manager.archive_logs(source, older_than="7d", name="n"),
    "backup": lambda manager, source: manager.backup(source, name="n"),
    "dataset": lambda manager, source: manager.save_dataset("n", source),
    "several": lambda manager, source: manager.save_dataset("n", [source / "object"]),
    "named": lambda manager, source: manager.save_dataset("n", {"object": source / "object"}),
    "model": lambda manager, source: manager.register_model("n", source),
    "checkpoint": lambda manager, source: manager.save_checkpoint("n", 1, source),
}
STORES = ("local", "prefix", "second", "third", "cache", "cached")


def made(kind, factory, root, other):
    """A store of which a part is at `root`."""
    if kind == "local":
        return factory.create(f"file://{root}")
    if kind == "prefix":
        return factory.create(f"file://{root}?prefix=team")
    if kind == "second":
        return factory.create_with_fallback(f"file://{other}", f"file://{root}")
    if kind == "third":
        return factory.create_multi(
            [f"file://{other}", f"file://{other}2", f"file://{root}"], "LOAD_BALANCED"
        )
    if kind == "cache":
        return factory.create(f"file://{other}?cache={root}")
    return cached(LocalStorageProvider(LocalConfig(path=other)), root)


def files_of(folder):
    """The files in a folder, without what a store notes beside its own, and without entries of a cache."""
    return {
        name: data
        for name, data in read(folder).items()
        if ".credstore" not in name
        and name.rpartition("/")[2] != "total"
        and len(name.rpartition("/")[2]) < 64
    }


def aged(folder):
    """Everything in a folder, as it would be after ten days."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    return folder


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("verb", SAVES)
@pytest.mark.parametrize("where", ["above", "at", "inside"])
def test_the_files_of_the_store_are_not_saved_in_it(tmp_path, where, verb, kind):
    async def main():
        home = write(tmp_path / "home", {"app.log": b"log" * 1000})
        async with StorageFactory(environ={}) as factory:
            store = made(kind, factory, home / "kept", tmp_path / "other")
            await store.store("object", b"precious")
            await store.retrieve("object")
            write(home / "kept", {"object": b"precious"})  # Beside a cache's own, or as the store has it.
            write(home / "kept/deep", {"object": b"precious"})
            source = {"above": home, "at": home / "kept", "inside": home / "kept/deep"}[where]
            if where == "above":
                write(home, {"object": b"o"})
            before = files_of(aged(home))
            manager = manager_on(store, model_signer=P256)
            if where == "above" and verb in {"several", "named"}:  # A file beside the store is none of it.
                if store.capabilities.conditional_create:
                    assert (await SAVES[verb](manager, source)).files == 1
            else:
                with pytest.raises(StorageInvalidRequestError, match="the directory of the store"):
                    await SAVES[verb](manager, source)
                assert files_of(home) == before
                assert await manager.names() == []
            assert await store.retrieve("object") == b"precious"
            await store.aclose()

    run(main())


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_brought_back_into_the_store(tmp_path, kind, there):
    async def main():
        source = write(tmp_path / "source", {"object": noise(5000)})
        async with StorageFactory(environ={}) as factory:
            root = tmp_path / "home/kept"
            store = made(kind, factory, root, tmp_path / "other")
            manager = manager_on(store)
            # No strategy can save, but each reads what one of its members has.
            able = store.capabilities.conditional_create
            saving = manager if able else manager_on(factory.create(f"file://{tmp_path}/other"))
            await saving.save_dataset("n", source)
            await saving.backup(source, name="n")
            await saving.save_checkpoint("n", 1, source)
            into = root / "object"
            if there:
                root.mkdir(parents=True, exist_ok=True)
                into = root
            before = files_of(tmp_path)
            for work in (
                manager.load_dataset("n", into=into),
                manager.restore("n", into),
                manager.load_checkpoint("n", into=into),
                manager.sync_dataset("n", folder=into, discard=True),
                manager.sync_dataset("n", folder=tmp_path / "home", discard=True),
            ):
                with pytest.raises(StorageInvalidRequestError, match="the directory of the store"):
                    await work
            with pytest.raises(StorageInvalidRequestError, match="the directory of the store"):
                async with manager.synced("n", folder=into, discard=True, save=True):
                    raise AssertionError("it is not to begin")
            assert files_of(tmp_path) == before
            await manager.sync_dataset("n", folder=tmp_path / "out")
            assert read(tmp_path / "out") == read(source)
            await store.aclose()

    run(main())


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    async def main():
        (tmp_path / "link").symlink_to(tmp_path / "root")
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "root")) as store:
            await store.store("object", b"precious")
            aged(tmp_path / "root")
            for folder in (tmp_path / "link", tmp_path / "none/../root"):
                with pytest.raises(StorageInvalidRequestError, match="the directory of the store"):
                    await manager_on(store).archive_logs(folder, older_than="7d", name="n")
            assert await store.retrieve("object") == b"precious"

    run(main())


def test_a_folder_with_another_local_store_in_it_is_saved(tmp_path):
    async def main():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "home/kept")) as other:
            await other.store("object", b"precious")
            async with MemoryStorageProvider() as store:
                assert (await manager_on(store).backup(tmp_path / "home")).files > 0

    run(main())


@pytest.mark.parametrize("make", [iter, list, lambda found: (each for each in found)])
def test_the_files_of_any_iterable_are_saved(tmp_path, make):
    async def main():
        source = write(tmp_path / "source", {"a.txt": b"1", "b.txt": b"2", "c.txt": b"3"})
        async with MemoryStorageProvider() as store:
            saved = await manager_on(store).save_dataset("n", make(sorted(source.glob("*.txt"))))
            assert saved.files == 3

    run(main())
