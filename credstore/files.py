"""Files that appear under their name whole and on the disk, or not at all.

Rules of this file: bytes go to a hidden file next to the target. It is flushed once before it gets the name,
and never named after a flush that failed (the kernel reports a lost write only once); the directory is
flushed after that. A symbolic link of the target's name is never followed. Whatever ends it earlier, a
cancellation included, removes the hidden file. Its process holds a lock on it, so that what a killed one left
can be distinguished from what another is writing (`remove_leftover`).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

if sys.platform != "win32":
    import fcntl

_CAREFUL = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _CAREFUL
"""A new file, and never what a planted link leads to."""
PRIVATE = 0o600
"""The mode of a file that only its owner may read."""
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV})
_LEFTOVER = re.compile(r"\.credstore-[0-9a-f]{16}")
_NO_FLUSH = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
"""What file systems say that have no directories to flush, some network file systems among them."""


class FileState(NamedTuple):
    """What distinguishes one state of a file from another, as far as it shows without reading it.

    The time of change counts too, since programs can set that of modification but not this one; on Windows
    it is the time at which the file was made.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int
    names: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """The state that a file was found in."""
        return cls(
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_nlink,
        )

    def has_bytes_of(self, before: FileState) -> bool:
        """Whether no one has written to the file since.

        That it got or lost a name, such as when another is put in its place, is a change, too, but none of
        its bytes.
        """
        return self.is_but_for_names(before) and (
            self.changed == before.changed or self.names != before.names
        )

    def is_but_for_names(self, before: FileState) -> bool:
        """Whether it is the same file of the same size and time; to have got another name does not count."""
        return self[:4] == before[:4]


class PendingFile:
    """A file that does not have its name yet; leaving the context without `publish` removes it.

    Attributes:
        target: The name that it will get.
        fd: Its descriptor for writing; -1 when it is not open.
    """

    __slots__ = ("_hidden", "_mode", "_replace", "fd", "target")

    def __init__(self, target: str | os.PathLike[str], *, replace: bool, mode: int | None = None) -> None:
        """Name the file; nothing is touched.

        Args:
            target: Its path. A symbolic link there is replaced or in the way, as a file would be.
            replace: Whether it may take the place of another.
            mode: Its permissions, less the umask; by default those of a new file or of the one it replaces.
        """
        self.target = Path(target)
        self.fd = -1
        self._replace = replace
        self._mode = mode
        self._hidden = hidden_beside(self.target)

    def open(self) -> None:
        """Make the hidden file.

        Raises:
            OSError: The directory cannot be written to; names the target.
        """
        try:
            self._make()
            while not _hold(self.fd):  # Somebody tidied up between the two calls, or is at it.
                self.close()
                self._hidden = hidden_beside(self.target)
                self._make()
            if self._replace and self._mode is None:
                self._keep_mode()
        except OSError as error:
            self.close()
            raise self._named(error) from None

    def _make(self) -> None:
        self.fd = os.open(self._hidden, CREATE, 0o666 if self._mode is None else self._mode)

    def _keep_mode(self) -> None:
        try:
            there = self.target.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISREG(there) and hasattr(os, "fchmod"):
            os.fchmod(self.fd, there & 0o777)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`.

        Raises:
            OSError: The disk is full, for example; names the target.
        """
        try:
            write_all(self.fd, data)
        except OSError as error:
            raise self._named(error) from None

    def publish(self, *, durable: bool = True) -> None:
        """Flush the file, give it its name, and flush the directory; it stays open.

        Args:
            durable: False flushes nothing, for what is checked whenever it is read and may be lost.

        Raises:
            FileExistsError: Something of that name is there, and is not to be replaced.
            OSError: It could not be flushed or named; names the target. If it was the directory that could
                not be flushed, the file has its name, and may lose it when the power fails.
        """
        try:
            if durable:
                os.fsync(self.fd)
            if self._replace:
                self._hidden.replace(self.target)
            else:
                name_if_absent(self._hidden, self.target)
            if durable:
                sync_directory(self.target.parent)
        except OSError as error:
            raise self._named(error) from None

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror or "it cannot be written", str(self.target))

    def close(self) -> None:
        """Close the file, and remove its hidden name if it still has that."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        with suppress(OSError):  # All of it is on the disk, or not wanted.
            os.close(fd)
        with suppress(OSError):
            self._hidden.unlink()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold a lock on a file, made if needed and never removed, against other processes and threads.

    Where the file system has no locks, or the system is Windows, it holds nothing.

    Raises:
        OSError: It cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _CAREFUL, PRIVATE)
    try:
        if sys.platform != "win32":
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        unlock(fd)


def unlock(fd: int) -> None:
    """Give up the lock of an open file, and close it.

    Closing alone would not do: a process that was forked meanwhile has the file open, too, and holds the lock
    until it ends.
    """
    try:
        if sys.platform != "win32":
            with suppress(OSError):  # Where there are no locks.
                fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _hold(fd: int) -> bool:
    """Lock a new file for as long as it is open; False if it loses its name, or has lost it."""
    return try_lock(fd) and os.fstat(fd).st_nlink > 0


def try_lock(fd: int) -> bool:
    """Lock what was just made, for as long as it is open; False if somebody else holds it.

    Where there are no locks, it is not taken for a leftover either.
    """
    if sys.platform != "win32":  # What is open there cannot be removed.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def hidden_beside(target: Path) -> Path:
    """A name next to a target, for what is on its way to that name."""
    return target.parent / f".credstore-{secrets.token_hex(8)}"


def is_leftover(name: str) -> bool:
    """Whether a file of this name is, or was, on its way to another name."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftover(path: str | os.PathLike[str]) -> bool:
    """Remove a hidden file whose process is gone; False if it is being written, or cannot be removed."""
    try:
        fd = os.open(path, os.O_RDONLY | _CAREFUL)
    except OSError:
        return False
    try:
        if sys.platform != "win32":
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink()
    except OSError:
        return False
    finally:
        unlock(fd)
    return True


def write_file(
    target: str | os.PathLike[str], data: bytes, *, replace: bool, mode: int | None = None
) -> None:
    """Publish a small file; see `PendingFile`.

    Raises:
        FileExistsError: Something of that name is there, and is not to be replaced.
        OSError: It cannot be written; what was there is still there.
    """
    with PendingFile(target, replace=replace, mode=mode) as file:
        file.write(data)
        file.publish()


def flush_file(fd: int) -> None:
    """Make what was written to a file durable.

    Raises:
        OSError: The disk failed.
    """
    os.fsync(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the file's position, continuing after a short write."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def name_if_absent(
    hidden: str | Path, name: str | Path, *, hidden_in: int | None = None, name_in: int | None = None
) -> None:
    """Give a file a name that nothing has; the old name may remain.

    Without hard links, looking and renaming are two steps, between which others can take the name.

    Args:
        hidden: Its current name.
        name: Its new name.
        hidden_in: Descriptor of the directory that `hidden` is relative to.
        name_in: Descriptor of the directory that `name` is relative to.

    Raises:
        FileExistsError: Something of that name is there, even a link that leads nowhere.
        OSError: It cannot be named.
    """
    follow = os.link not in os.supports_follow_symlinks  # Where there is no choice, it must not be given.
    try:
        os.link(hidden, name, src_dir_fd=hidden_in, dst_dir_fd=name_in, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    else:
        return
    if exists(name, name_in):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(name))
    os.rename(hidden, name, src_dir_fd=hidden_in, dst_dir_fd=name_in)


def exchange(one: Path, other: Path) -> bool:
    """Give two files each other's names in one step; False where the system or its disk cannot.

    Raises:
        OSError: One of them is not there, for example.
    """
    call = _exchange()
    if call is None:
        return False
    from ctypes import get_errno

    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


@cache
def _exchange() -> Callable[[bytes, bytes], int] | None:
    """What the C library has for it: renameat2(2) of Linux, renamex_np(2) of macOS."""
    if sys.platform == "win32":
        return None
    from ctypes import CDLL

    library = CDLL(None, use_errno=True)
    here, swap = -100, 2  # AT_FDCWD; RENAME_EXCHANGE, or RENAME_SWAP.
    try:
        if sys.platform == "darwin":
            call = library.renamex_np
            return lambda one, other: call(one, other, swap)
        call = library.renameat2
    except AttributeError:
        return None
    return lambda one, other: call(here, one, here, other, swap)


def exists(name: str | Path, directory: int | None = None) -> bool:
    """Whether there is anything of this name, links and special files included."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where it can be flushed and read.

    Raises:
        OSError: The disk failed.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except PermissionError:
        return  # Names may be added but not listed, or the system does not open directories.
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(fd)
