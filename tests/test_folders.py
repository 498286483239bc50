"""Folders that appear whole, or not at all, and what those who were killed have left."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from credstore import folders
from credstore.folders import PendingFolder, remove_empty, remove_leftover_folder
from tests.artifacts.stores import Store, read, run, write

LEFT = ".credstore-0123456789abcdef"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with PendingFolder(tmp_path / "k") as pending:
        write(pending.path, {"a": b"1", "sub/b": b"2"})
        assert not (tmp_path / "k").exists()
        pending.publish()
    assert read(tmp_path / "k") == {"a": b"1", "sub/b": b"2"}
    with PendingFolder(tmp_path / "other") as pending:
        write(pending.path, {"a": b"1"})
    pending.close()
    assert names(tmp_path) == ["k"]
    with pytest.raises(OSError, match="absent"), PendingFolder(tmp_path / "absent" / "k"):
        pass


def test_the_next_one_removes_what_a_killed_process_left_and_not_what_is_being_filled(tmp_path):
    script = f"""
        import os, signal
        from pathlib import Path
        from credstore.folders import PendingFolder

        with PendingFolder({str(tmp_path / "k")!r}) as pending:
            (pending.path / "sub").mkdir()
            (pending.path / "sub" / "half").write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".credstore-of-others").mkdir()
    (tmp_path / "aim").mkdir()
    link = tmp_path / ".credstore-fedcba9876543210"
    link.symlink_to(tmp_path / "aim")
    with PendingFolder(tmp_path / "one") as one:
        assert not left.exists()
        with PendingFolder(tmp_path / "two") as two:
            assert one.path.is_dir()
            assert not remove_leftover_folder(one.path)
            assert not remove_leftover_folder(two.path)
    assert not remove_leftover_folder(link)
    assert names(tmp_path) == [".credstore-fedcba9876543210", ".credstore-of-others", "aim"]


def test_a_folder_is_held_by_its_maker_whatever_became_of_a_fork(tmp_path):
    with PendingFolder(tmp_path / "k") as pending:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        assert not remove_leftover_folder(pending.path)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        pending.path.rename(tmp_path / LEFT)
        pending.close()
        assert remove_leftover_folder(tmp_path / LEFT)  # Though the child has it open.
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)
    assert names(tmp_path) == []


@pytest.mark.parametrize("when", ["before it is locked", "while it is locked"])
def test_one_that_was_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch, when):
    real, taken = folders.try_lock, []

    def lock(fd):
        if not taken:
            (hidden,) = tmp_path.iterdir()
            taken.append(hidden)
            if when == "before it is locked":
                assert remove_leftover_folder(hidden)
            else:
                return False
        return real(fd)

    monkeypatch.setattr(folders, "try_lock", lock)
    with PendingFolder(tmp_path / "k") as pending:
        assert pending.path != taken[0]
        pending.publish()
    assert "k" in names(tmp_path)


@pytest.mark.parametrize("what", ["load", "sync"])
def test_a_cancel_while_the_folder_is_made_leaves_none(tmp_path, monkeypatch, what):
    source = write(tmp_path / "source", {"a": b"x"})
    (tmp_path / "in").mkdir()
    into = tmp_path / "in" / "out"

    async def main():
        loop, reached, done = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        real = Path.mkdir

        def mkdir(path, *arguments, **options):
            real(path, *arguments, **options)
            if path.name.startswith(".credstore-"):
                loop.call_soon_threadsafe(reached.set)
                assert done.wait(600)

        manager = Store().manager()
        await manager.save_dataset("set", source)
        monkeypatch.setattr(Path, "mkdir", mkdir)
        call = manager.load_dataset("set", into=into) if what == "load" else manager.sync_dataset(
            "set", folder=into
        )  # fmt: skip
        task = asyncio.ensure_future(call)
        await reached.wait()
        task.cancel()
        loop.call_soon(done.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert [name for name in names(tmp_path / "in") if name.startswith(".")] == []


def test_only_empty_folders_are_removed(tmp_path):
    write(tmp_path, {"full/sub/file": b"x"})
    (tmp_path / "empty" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "to").symlink_to(tmp_path / "empty")
    for name in ("full", "empty", "link", "absent"):
        remove_empty(tmp_path / name)
    assert names(tmp_path) == ["full", "link"]
