"""A folder that somebody else writes to while it is synced or saved: nothing of theirs is lost or torn."""

import os
import unicodedata

import pytest

from credstore import StorageConflictError, StorageError
from credstore.artifacts import replacing
from credstore.files import exchange
from tests.artifacts.stores import Store, noise, read, run, write

FIRST = {"a.csv": b"1" * 1000, "gone": b"first", "old": b"old", "same": b"same"}
SECOND = {"a.csv": b"2" * 1000, "new": b"n", "old/folder": b"new", "same": b"same", "sub/new": b"n"}
NFD = unicodedata.normalize("NFD", "é")
NFC = unicodedata.normalize("NFC", "é")


async def saved(store, folder, *versions):
    for number, files in enumerate(versions):
        await store.manager().save_dataset("set", write(folder / f"source{number}", files))


def rewrite(path, data):
    """Other bytes of the same size, and the time of before."""
    state = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def put_in_place(path, data):
    path.with_name("tmp").write_bytes(data)
    path.with_name("tmp").replace(path)


CHANGES = {
    "a.csv": [
        lambda path: path.write_bytes(b"mine"),
        lambda path: rewrite(path, b"9" * 1000),
        lambda path: put_in_place(path, b"mine"),
    ],
    "gone": [lambda path: path.write_bytes(b"mine"), lambda path: rewrite(path, b"mine!")],
    "old": [lambda path: path.write_bytes(b"mine")],
    "new": [lambda path: path.write_bytes(b"mine"), lambda path: path.symlink_to("same")],
    "sub": [lambda path: path.write_bytes(b"mine")],
}
EACH = [(name, change) for name, changes in CHANGES.items() for change in changes]


@pytest.mark.parametrize(("name", "change"), EACH)
@pytest.mark.parametrize("late", [False, True])
def test_what_is_written_while_a_version_is_fetched_is_kept(tmp_path, monkeypatch, name, change, late):
    folder = tmp_path / "train"
    mine = {}

    def write_mine():
        if not mine:
            change(folder / name)
            mine[name] = (folder / name).read_bytes()

    def progress(done, total):
        if not late:
            write_mine()

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        await store.manager().sync_dataset("set", 1, folder=folder)
        if late:
            real = replacing.Replacing.run
            monkeypatch.setattr(replacing.Replacing, "run", lambda *them: (write_mine(), real(*them))[1])
        with pytest.raises(StorageConflictError, match=f"'{name}.*changed while") as caught:
            await store.manager().sync_dataset("set", 2, folder=folder, progress=progress)
        monkeypatch.undo()
        assert read(folder)[name] == mine[name]
        if name != "sub":
            assert caught.value.applied == ("maybe" if late else "no")
        if not late and name != "sub":
            assert read(folder) == FIRST | mine
        (folder / name).unlink()
        await store.manager().sync_dataset("set", 2, folder=folder)
        assert read(folder) == SECOND

    run(main())
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("change", CHANGES["a.csv"][::2])
@pytest.mark.parametrize("name", ["a.csv", "gone"])
def test_what_is_written_between_the_look_and_the_next_call_is_kept(tmp_path, monkeypatch, name, change):
    folder = tmp_path / "train"
    real = replacing._state

    def look(path):
        state = real(path)
        if path == folder / name and looks.append(path) is None and len(looks) == 2:
            change(path)
        return state

    looks = []
    (tmp_path / "one").write_bytes(b"")
    (tmp_path / "two").write_bytes(b"")
    if not exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("the disk cannot exchange files")

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        await store.manager().sync_dataset("set", 1, folder=folder)
        monkeypatch.setattr(replacing, "_state", look)
        with pytest.raises(StorageConflictError, match=name):
            await store.manager().sync_dataset("set", 2, folder=folder)
        monkeypatch.undo()
        assert len(looks) >= 2
        assert read(folder) == SECOND | {name: b"mine"}

    run(main())


def test_where_files_cannot_be_exchanged_one_replaces_the_other(tmp_path, monkeypatch):
    folder = tmp_path / "train"
    monkeypatch.setattr(replacing, "exchange", lambda *_: False)

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        for version, files in [(1, FIRST), (2, SECOND), (1, FIRST)]:
            await store.manager().sync_dataset("set", version, folder=folder)
            assert read(folder) == files

    run(main())


@pytest.mark.parametrize("can", [True, False])
def test_two_names_of_one_file_do_not_count_as_a_change(tmp_path, monkeypatch, can):
    folder = tmp_path / "train"
    one, two = dict.fromkeys("abcd", b"one"), dict.fromkeys("ab", b"two")
    if not can:
        monkeypatch.setattr(replacing, "exchange", lambda *_: False)

    async def main():
        store = Store()
        await saved(store, tmp_path, one, two)
        await store.manager().sync_dataset("set", 1, folder=folder)
        for name in "bcd":
            (folder / name).unlink()
            (folder / name).hardlink_to(folder / "a")
        await store.manager().sync_dataset("set", 2, folder=folder)
        assert read(folder) == two

    run(main())


def test_with_discard_what_is_written_meanwhile_is_replaced(tmp_path):
    folder = tmp_path / "train"

    def progress(done, total):
        for name in ("a.csv", "gone", "new"):
            (folder / name).write_bytes(b"mine")

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        await store.manager().sync_dataset("set", 1, folder=folder)
        await store.manager().sync_dataset("set", 2, folder=folder, progress=progress, discard=True)
        assert read(folder) == SECOND

    run(main())


@pytest.mark.parametrize("discard", [False, True])
def test_names_keep_the_spelling_that_they_have_on_the_disk(tmp_path, discard):
    folder = write(tmp_path / "train", {f"{NFD}.txt": b"one", f"{NFD}/a": b"one", f"{NFD}/gone": b"one"})
    second = write(tmp_path / "two", {f"{NFD}.txt": b"two", f"{NFD}/a": b"two", f"{NFD}/new": b"two"})

    async def main():
        manager = Store().manager()
        for each in (folder, second):
            await manager.save_dataset("set", each)
        report = await manager.sync_dataset("set", 2, folder=folder, discard=discard)
        assert report.fetched == (f"{NFC}.txt", f"{NFC}/a", f"{NFC}/new")
        assert report.removed == (f"{NFC}/gone",)
        assert read(folder) == read(second)
        await manager.sync_dataset("set", 1, folder=folder, discard=discard)
        assert read(folder) == {f"{NFD}.txt": b"one", f"{NFD}/a": b"one", f"{NFD}/gone": b"one"}

    run(main())


@pytest.mark.parametrize("discard", [False, True])
@pytest.mark.parametrize("made", ["new", "new/empty/deeper", "a.csv/empty"])
def test_empty_folders_make_way_for_files(tmp_path, made, discard):
    folder = tmp_path / "train"

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        await store.manager().sync_dataset("set", 1, folder=folder)
        (folder / "a.csv").unlink()
        (folder / made).mkdir(parents=True)
        (folder / "stays").mkdir()
        await store.manager().sync_dataset("set", 2, folder=folder, discard=discard)
        assert read(folder) == SECOND
        assert (folder / "stays").is_dir()

    run(main())


def test_a_folder_with_files_and_empty_folders_becomes_a_file_and_back(tmp_path):
    folder = tmp_path / "train"

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        await store.manager().sync_dataset("set", 2, folder=folder)
        (folder / "old" / "empty").mkdir()
        await store.manager().sync_dataset("set", 1, folder=folder)
        assert read(folder) == FIRST
        await store.manager().sync_dataset("set", 2, folder=folder)
        assert read(folder) == SECOND

    run(main())


def test_a_change_that_keeps_size_and_time_is_saved_and_never_lost(tmp_path):
    folder = tmp_path / "train"

    async def main():
        store = Store()
        await saved(store, tmp_path, FIRST, SECOND)
        manager = store.manager()
        async with manager.synced("set", 1, folder=folder, save=True):
            os.utime(folder / "same", ns=(5, 5))
            (folder / "old").chmod(0o600)
        assert len(await manager.versions("set")) == 2
        async with manager.synced("set", 1, folder=folder, save=True):
            rewrite(folder / "gone", b"mine!")
        assert len(await manager.versions("set")) == 3
        await manager.load_dataset("set", into=tmp_path / "third")
        assert read(tmp_path / "third")["gone"] == b"mine!"
        for name in ("a.csv", "gone"):
            rewrite(folder / name, b"yours")
            with pytest.raises(StorageConflictError, match=name):
                await manager.sync_dataset("set", 2, folder=folder)
            assert read(folder)[name].startswith(b"yours")
            rewrite(folder / name, FIRST[name])
        await manager.sync_dataset("set", 2, folder=folder)
        assert read(folder) == SECOND

    run(main())


def test_a_file_that_is_replaced_while_it_is_saved_is_saved_as_it_was(tmp_path):
    folder = write(tmp_path / "data", {"a": noise(9_000_000)})
    before = read(folder)

    async def main():
        manager = Store().manager()
        await manager.save_dataset("set", folder, progress=lambda *_: put_in_place(folder / "a", b"later"))
        await manager.load_dataset("set", into=tmp_path / "out")
        assert read(tmp_path / "out") == before
        assert read(folder) == {"a": b"later"}

    run(main())


def test_a_file_that_is_rewritten_while_it_is_saved_is_refused_whatever_its_time_says(tmp_path):
    folder = write(tmp_path / "data", {"a": noise(9_000_000)})

    def progress(done, total):
        rewrite(folder / "a", b"torn")

    async def main():
        manager = Store().manager()
        with pytest.raises(StorageError, match="changed") as caught:
            await manager.save_dataset("set", folder, progress=progress)
        assert caught.value.code == "SOURCE_CHANGED"
        assert await manager.versions("set") == []

    run(main())
