"""Files that appear whole or not at all."""

import asyncio
import errno
import os
import stat
import threading
from pathlib import Path

import click
import pytest

from credstore.cli import io as streams
from credstore.cli.io import NewFile


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_nothing_is_seen_before_it_is_published(tmp_path: Path) -> None:
    target = tmp_path / "file"

    async def work() -> None:
        async with NewFile(target, replace=False) as file:
            await file.write(b"one ")
            await file.write(b"two")
            assert not target.exists()
            await file.publish()
            assert target.read_bytes() == b"one two"

    asyncio.run(work())
    assert names(tmp_path) == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    async def work() -> None:
        async with NewFile(target, replace=True) as file:
            await file.write(b"new")
            raise RuntimeError("the download broke")

    with pytest.raises(RuntimeError):
        asyncio.run(work())
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_file_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"

    async def work() -> None:
        async with NewFile(target, replace=False) as file:
            await file.write(b"ours")
            target.write_bytes(b"theirs")
            await file.publish()

    with pytest.raises(FileExistsError, match="--force"):
        asyncio.run(work())
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    target = tmp_path / "file"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)

    async def work() -> None:
        async with NewFile(target, replace=False) as file:
            await file.write(b"ours")
            if taken:
                target.write_bytes(b"theirs")
            await file.publish()

    if taken:
        with pytest.raises(FileExistsError):
            asyncio.run(work())
    else:
        asyncio.run(work())
    assert target.read_bytes() == (b"theirs" if taken else b"ours")
    assert names(tmp_path) == ["file"]


def test_the_mode_is_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:

        async def work() -> None:
            async with NewFile(tmp_path / "file", replace=False) as file:
                await file.publish()

        asyncio.run(work())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_directory_is_no_target(tmp_path: Path) -> None:
    async def work() -> None:
        async with NewFile(tmp_path, replace=True):
            pass

    with pytest.raises(click.UsageError, match="not a regular file"):
        asyncio.run(work())


def test_a_cancelled_write_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread must not write into a file descriptor that was closed, and perhaps reused."""
    entered, go_on = threading.Event(), threading.Event()
    real = os.write
    order: list[str] = []

    def slow(descriptor: int, data: bytes) -> int:
        entered.set()
        assert go_on.wait(600)
        order.append("written")
        return real(descriptor, data)

    async def work() -> None:
        async def download() -> None:
            async with NewFile(tmp_path / "file", replace=False) as file:
                await file.write(b"bytes")

        task = asyncio.create_task(download())
        await asyncio.to_thread(entered.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        order.append("cancelled")

    monkeypatch.setattr(streams.os, "write", slow)
    asyncio.run(work())
    assert order == ["written", "cancelled"]
    assert names(tmp_path) == []
