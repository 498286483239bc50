"""Files that appear whole and durable, or not at all."""

import asyncio
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from credstore import files
from credstore.cli.io import NewFile
from credstore.files import PRIVATE, PendingFile, write_file


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the system, with the inode of what is flushed."""
    seen = []

    def watch(name, told):
        real = getattr(os, name)

        def call(*arguments, **more):
            seen.append((name, told(*arguments)))
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, call)

    watch("write", lambda fd, data: bytes(data))
    watch("fsync", lambda fd: os.fstat(fd).st_ino)
    for name in ("link", "rename", "replace"):
        watch(name, lambda old, new: os.fspath(new))
    return seen


@pytest.mark.parametrize("replace", [False, True])
def test_the_file_is_flushed_then_named_then_its_directory_flushed(tmp_path, calls, replace):
    target = tmp_path / "file"
    write_file(target, b"data", replace=replace)
    assert target.read_bytes() == b"data"
    assert names(tmp_path) == ["file"]
    assert calls == [
        ("write", b"data"),
        ("fsync", target.stat().st_ino),
        ("replace" if replace else "link", str(target)),
        ("fsync", tmp_path.stat().st_ino),
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "replace", "fchmod"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_names_the_target_and_leaves_what_was_there(tmp_path, monkeypatch, call, number, replace):
    if call in ({"link"} if replace else {"replace", "fchmod"}):
        return  # Not asked for.
    target = tmp_path / "file"
    if replace:
        target.write_bytes(b"old")
    before = names(tmp_path)

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(OSError, match="file") as caught:
        write_file(target, b"new", replace=replace)
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert names(tmp_path) == before
    assert not replace or target.read_bytes() == b"old"


def test_a_failed_flush_is_not_tried_again(tmp_path, monkeypatch):
    asked = []

    def fail(fd):
        asked.append(fd)
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="lost"):
        write_file(tmp_path / "file", b"new", replace=True)
    assert len(asked) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.EIO, True), (errno.EINVAL, False), (errno.ENOTSUP, False)]
)
def test_a_directory_that_cannot_be_flushed(tmp_path, monkeypatch, number, raised):
    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, "not this one")
        real(fd)

    monkeypatch.setattr(files.os, "fsync", fsync)
    if raised:
        with pytest.raises(OSError, match="not this one"):
            write_file(tmp_path / "file", b"new", replace=False)
    else:
        write_file(tmp_path / "file", b"new", replace=False)
    assert names(tmp_path) == ["file"]


def test_a_directory_that_may_not_be_read(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *more, **named):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "no")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(files.os, "open", refuse)
    write_file(tmp_path / "file", b"new", replace=False)
    assert names(tmp_path) == ["file"]


def test_short_writes_go_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    write_file(tmp_path / "file", b"0123456789", replace=False)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_modes(tmp_path):
    old = tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o604)
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "new", b"", replace=False)
        write_file(tmp_path / "first", b"", replace=True)
        write_file(tmp_path / "private", b"", replace=False, mode=PRIVATE)
        write_file(old, b"new", replace=True)
        assert [mode(tmp_path / name) for name in ("new", "first", "private")] == [0o640, 0o640, 0o600]
        assert mode(old) == 0o604
        write_file(old, b"new", replace=True, mode=PRIVATE)
        assert mode(old) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("there", [False, True])
def test_a_link_of_the_name_is_never_followed(tmp_path, there):
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.write_bytes(b"theirs")
    target = tmp_path / "file"
    target.symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        write_file(target, b"ours", replace=False)
    write_file(target, b"ours", replace=True)
    assert target.read_bytes() == b"ours"
    assert not target.is_symlink()
    assert elsewhere.exists() == there
    assert not there or elsewhere.read_bytes() == b"theirs"


@pytest.mark.parametrize("kind", ["file", "dangling", "directory"])
@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_is_not_replaced(tmp_path, monkeypatch, kind, links):
    target = tmp_path / "file"
    {
        "file": lambda: target.write_bytes(b"theirs"),
        "dangling": lambda: target.symlink_to("nowhere"),
        "directory": target.mkdir,
    }[kind]()

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(files.os, "link", refuse)
    with pytest.raises(FileExistsError):
        write_file(target, b"ours", replace=False)
    assert names(tmp_path) == ["file"]


def test_without_hard_links_the_file_is_renamed(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOTSUP, "no hard links here")

    monkeypatch.setattr(files.os, "link", refuse)
    write_file(tmp_path / "file", b"ours", replace=False)
    assert names(tmp_path) == ["file"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for call in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, call, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_file(tmp_path / "file", b"new", replace=True)
        assert names(tmp_path) == []


def test_closing_again_touches_no_descriptor_of_others(tmp_path):
    file = PendingFile(tmp_path / "file", replace=False)
    file.close()
    with file:
        pass
    with (tmp_path / "other").open("w") as other:
        file.close()
        other.write("x")
    assert names(tmp_path) == ["other"]


@pytest.mark.parametrize("when", ["open", "write", "fsync", "link"])
def test_a_cancel_at_any_time_leaves_no_hidden_file(tmp_path, monkeypatch, when):
    async def run():
        loop, reached = asyncio.get_running_loop(), asyncio.Event()
        real = getattr(os, when)

        def call(*arguments, **more):
            result = real(*arguments, **more)
            loop.call_soon_threadsafe(reached.set)
            assert done.wait(600)
            return result

        done = threading.Event()

        async def work():
            async with NewFile(tmp_path / "file", replace=False) as file:
                await file.write(b"data")
                await file.publish()

        with monkeypatch.context() as patch:
            patch.setattr(files.os, when, call)
            task = asyncio.create_task(work())
            await reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            done.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert names(tmp_path) in ([], ["file"])
    assert names(tmp_path) == (["file"] if when == "link" else names(tmp_path))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
def test_killed_at_any_call_the_name_has_all_or_what_was_there(tmp_path, call, replace):
    target = tmp_path / "file"
    if replace:
        target.write_bytes(b"old")
    script = f"""
        import os, signal
        from credstore import files

        def die(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        os.{call} = die
        files.write_file({str(target)!r}, b"new", replace={replace})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    if call == ("link" if replace else "replace"):  # Not asked for.
        assert done.returncode == 0
        assert target.read_bytes() == b"new"
    else:
        assert done.returncode == -signal.SIGKILL
        assert not target.exists() if not replace else target.read_bytes() == b"old"


def test_what_a_killed_process_left_is_removed_and_what_one_writes_is_not(tmp_path):
    left = tmp_path / ".credstore-0123456789abcdef"
    left.write_bytes(b"half")
    assert files.is_leftover(left.name)
    assert not files.is_leftover(".credstore")
    assert not files.is_leftover(".credstore-name")
    with files.PendingFile(tmp_path / "k", replace=True) as file:
        (hidden,) = set(tmp_path.iterdir()) - {left}
        assert not files.remove_leftover(hidden)
        assert files.remove_leftover(left)
        assert not files.remove_leftover(left)
        file.write(b"whole")
        file.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    link = tmp_path / ".credstore-fedcba9876543210"
    link.symlink_to(tmp_path / "k")
    assert not files.remove_leftover(link)
    assert (tmp_path / "k").read_bytes() == b"whole"


def test_a_hidden_file_that_was_tidied_up_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    real, removed = fcntl.flock, []

    def flock(fd, how):
        if not removed:
            (hidden,) = tmp_path.iterdir()
            hidden.unlink()
            removed.append(hidden)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    files.write_file(tmp_path / "k", b"whole", replace=True)
    assert removed
    assert (tmp_path / "k").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_hidden_file_that_somebody_is_tidying_up_gets_another_name(tmp_path, monkeypatch):
    real, held = fcntl.flock, []

    def flock(fd, how):
        if not held:
            (hidden,) = tmp_path.iterdir()
            held.append(os.open(hidden, os.O_RDONLY))
            real(held[0], fcntl.LOCK_EX)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.PendingFile(tmp_path / "k", replace=True) as file:
        for left in tmp_path.iterdir():
            if left.stat().st_ino == os.fstat(held[0]).st_ino:
                left.unlink()
        file.write(b"whole")
        file.publish()
    os.close(held[0])
    assert (tmp_path / "k").read_bytes() == b"whole"
    assert names(tmp_path) == ["k"]


def test_two_files_get_each_others_names(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    if files.exchange(one, other):
        assert (one.read_bytes(), other.read_bytes()) == (b"2", b"1")
        with pytest.raises(FileNotFoundError):
            files.exchange(one, tmp_path / "absent")
    before = one.read_bytes()
    for call in (None, lambda *_: -1):
        monkeypatch.setattr(files, "_exchange", lambda call=call: call)
        monkeypatch.setattr("ctypes.get_errno", lambda: errno.EINVAL)
        assert not files.exchange(one, other)
    assert one.read_bytes() == before
