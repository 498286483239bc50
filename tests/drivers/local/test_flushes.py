"""Which directories a write flushes: those whose entries may not be on the disk yet, and no others."""

import asyncio
import os
from pathlib import Path

import pytest

from credstore.drivers.local import flushing
from credstore.drivers.local.flushing import identity_of
from tests.drivers.local.support import make_driver, put_request


@pytest.fixture
def flushed(tmp_path, monkeypatch):
    """The directories of objects that were flushed, relative to the root."""
    seen = []
    fsync = os.fsync

    def noting(fd):
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_dir() and ".credstore" not in path.parts:
            seen.append(os.path.relpath(path, tmp_path))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def run(root, *steps):
    async def main():
        driver = make_driver(root)
        for step in steps:
            if callable(step):
                step()
            else:
                await driver.put(put_request(step, b"x"))
        await driver.aclose()

    asyncio.run(main())


def test_directories_that_are_known_to_last_are_flushed_once(tmp_path, flushed):
    run(tmp_path, flushed.clear, "a/b/1", "a/b/2", "a/c/3", "a/4", "5")
    wanted = ["a/b", "a", ".", "a/b", "a/c", "a", "a", "."]
    assert flushed[-len(wanted) :] == wanted


def test_another_process_begins_without_that_knowledge(tmp_path, flushed):
    run(tmp_path, "a/b/1")
    run(tmp_path, flushed.clear, "a/b/2")
    assert flushed[-3:] == ["a/b", "a", "."]


def test_a_directory_that_was_made_again_is_another_one(tmp_path, flushed):
    """Its number may be the same; nothing says that whoever made it has flushed its entry."""

    def remake():
        (tmp_path / "a/1").unlink()
        (tmp_path / "a").rmdir()
        (tmp_path / "a").mkdir()
        flushed.clear()

    run(tmp_path, "a/1", remake, "a/2")
    assert flushed == ["a", "."]


def test_where_the_file_system_does_not_tell_generations_everything_is_flushed(
    tmp_path, flushed, monkeypatch
):
    def refuse(*arguments):
        raise OSError(25, "not a typewriter")

    monkeypatch.setattr(flushing.fcntl, "ioctl", refuse)
    run(tmp_path, "a/b/1", flushed.clear, "a/b/2")
    assert flushed == ["a/b", "a", "."]


def test_two_directories_never_have_one_identity(tmp_path):
    seen = set()
    for _ in range(20):
        (tmp_path / "d").mkdir()
        fd = os.open(tmp_path / "d", os.O_RDONLY)
        seen.add(identity_of(fd))
        os.close(fd)
        (tmp_path / "d").rmdir()
    assert seen == {None} or len(seen) == 20
