"""System calls with the care they need: directories without links, whole writes, one fsync.

Rules of this file: every path is one name below a directory that is held open, so no symbolic link
is ever followed and nothing outside the root is reached (P26). A file whose fsync failed is never
fsynced again and never published (P3): the kernel reports a lost write only once.
Source: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Generator
from dataclasses import dataclass

from credstore.drivers.local.failures import translate
from credstore.drivers.local.flushing import Syncer
from credstore.files import CREATE, name_if_absent, write_all

CLOEXEC = os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | CLOEXEC
"""O_NONBLOCK: opening a planted FIFO must not wait for its writer."""
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG})
"""Errors of opening where no object can be: nothing, a link, a socket, or a file as directory."""
_CLOCK_STEPS = (0, 1, 1_000, 1_000_000, 2_000_000_000)
"""Nanoseconds to add until a file's time differs; file systems store it in steps of 1 ns to 2 s."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a file's status shows about its version without reading it.

    Attributes:
        size: In bytes.
        mtime: Modification time in nanoseconds; programs can set it, and file systems round it.
        inode: Its number, which a later file may get once this one is gone.
        changed: Change time in nanoseconds, which programs cannot set; a rename changes it too.
    """

    size: int
    mtime: int
    inode: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Token:
        """The token of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)

    def etag(self, write_id: str | None) -> str:
        """The entity tag; the same from a listing as from the open file.

        Args:
            write_id: Of the write that made the file: no two versions share one. Without it, for a file
                of another tool, what the status shows has to do: a change that keeps the size within
                one step of the file system's clock goes unnoticed.
        """
        return self.identity if write_id is None else f"{self.mtime:x}-{self.size:x}-{write_id}"

    @property
    def identity(self) -> str:
        """Everything that the status shows, as text."""
        return f"{self.mtime:x}-{self.size:x}-{self.inode:x}-{self.changed:x}"

    @property
    def label(self) -> str:
        """The name of this version's attributes; survives a copy that keeps times."""
        return f"{self.size:x}-{self.mtime:x}"


def create_locked(directory: int, prefix: str = "", chance: int = 16) -> tuple[str, int]:
    """Make a temporary file that is left alone while it is open; its name and descriptor.

    Args:
        directory: Where.
        prefix: Of its name.
        chance: Random bytes that follow in hex.
    """
    while True:
        name = prefix + secrets.token_hex(chance)
        fd = os.open(name, CREATE, 0o666, dir_fd=directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return name, fd
        except BlockingIOError:
            pass  # a reaper looks at it between our open and our lock, and is removing it
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            os.close(fd)
            raise
        os.close(fd)


class Temporary:
    """A file being written where no reader looks; a lock on it shows that its writer lives.

    Attributes:
        fd: The file, or -1 once it is closed.
        name: Its temporary name.
        published: Whether it has the name that readers look at: from then on no error is "not applied".
    """

    __slots__ = ("_directory", "_renamed", "_syncer", "fd", "name", "published")

    def __init__(self, directory: int, syncer: Syncer, owner: str = "") -> None:
        """Make the file.

        Args:
            directory: Where no reader looks.
            syncer: How writes are made durable.
            owner: 16 hex digits that its name starts with, or empty.
        """
        self._directory = directory
        self._syncer = syncer
        self.published = self._renamed = False
        self.name, self.fd = create_locked(directory, owner, 8 if owner else 16)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        write_all(self.fd, data)

    def settle(self, step: int = 0) -> Token:
        """Give the file a time of its own and flush it; `step` counts the times already taken."""
        token = self.date(step)
        self._syncer.sync(self.fd)
        return token

    def date(self, step: int = 0) -> Token:
        """Give the file a time of its own, as `settle`, without flushing it."""
        now = os.fstat(self.fd).st_mtime_ns if step else time.time_ns()
        later = now + _CLOCK_STEPS[min(step, len(_CLOCK_STEPS) - 1)]
        os.utime(self.fd, ns=(later, later))
        return Token.of(os.fstat(self.fd))

    def rename(self, directory: int, name: str) -> None:
        """Publish the file as `name`, replacing what is there."""
        os.rename(self.name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        self.published = self._renamed = True

    def link(self, directory: int, name: str) -> None:
        """Publish the file as `name` only if nothing is there (FileExistsError)."""
        # Without hard links, only the key's lock keeps other writers of credstore's away.
        name_if_absent(self.name, name, hidden_in=self._directory, name_in=directory)
        self.published = True

    def is_at(self, directory: int, name: str) -> bool:
        """Whether `name` is this file: a remote file system can refuse what it did before."""
        try:
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        self.published = os.path.samestat(there, os.fstat(self.fd))
        return self.published

    def discard(self) -> None:
        """Remove the temporary name, if it is still there, and close the file.

        Raises:
            StorageError: Closing a published file failed; `applied` is "maybe".
        """
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        # What cannot be removed now is removed the next time the store is opened.
        if not self._renamed:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self._directory)
        try:
            self._syncer.close(fd)
        except OSError as error:
            if self.published:
                raise translate(error, applied="maybe") from error

    def close(self) -> None:
        """As `discard`."""
        self.discard()


def release(fd: int) -> None:
    """Close a directory, or a file whose content need not last: a failure means nothing."""
    try:
        os.close(fd)
    except OSError:
        return  # Its number is free anyway.


@contextlib.contextmanager
def opened(fd: int) -> Generator[int, None, None]:
    """Release `fd` at the end."""
    try:
        yield fd
    finally:
        release(fd)


def open_regular(directory: int, name: str) -> tuple[int, os.stat_result] | None:
    """Open a regular file for reading; None where there is none with that name."""
    try:
        fd = os.open(name, READ, dir_fd=directory)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    try:
        status = os.fstat(fd)
    except BaseException:
        os.close(fd)
        raise
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    return None


def read_all(fd: int, offset: int, length: int) -> bytes:
    """Up to `length` bytes from `offset` on; fewer only at the end of the file."""
    parts: list[bytes] = []
    while length > 0:
        part = os.pread(fd, length, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
