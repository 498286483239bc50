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
import struct
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from credstore.drivers.local.failures import translate
from credstore.drivers.local.flushing import flush_all
from credstore.errors import ErrorCode, StorageUnavailableError
from credstore.files import CREATE, name_if_absent, write_all

CLOEXEC = os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | CLOEXEC
"""O_NONBLOCK: opening a planted FIFO must not wait for its writer."""
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG})
"""Errors of opening where no object can be: nothing, a link, a socket, or a file as directory."""
_LONG = struct.calcsize("l")
_GET_VERSION = 2 << 30 | _LONG << 16 | ord("v") << 8 | 1
_MOST_KNOWN = 8192
"""Directories whose entries are known to be durable; a name of each is 20 bytes or so."""
_CLOCK_STEPS = (0, 1, 1_000, 1_000_000, 2_000_000_000)
"""Nanoseconds to add until a file's time differs; file systems store it in steps of 1 ns to 2 s."""


Identity: TypeAlias = tuple[int, int, bytes]
LASTING: Identity = (0, 0, b"")
"""Of a directory that its name alone identifies."""
Way: TypeAlias = tuple[int, tuple[str, ...]]
"""A directory: the names that lead to it, and the descriptor of the directory where they begin."""


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


class Syncer:
    """Makes writes durable, or refuses all further writes once that has failed."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.failed = False
        self._lock = threading.Lock()
        self._whole = threading.Lock()
        self._known: dict[Way, Identity] = {}

    def knows(self, path: Way, identity: Identity | None) -> bool:
        """Whether the entries that lead to this directory are durable."""
        with self._lock:
            return identity is not None and self._known.get(path) == identity

    def learn(self, entries: Mapping[Way, Identity]) -> None:
        """They are durable now; remembered for those that were learnt last."""
        with self._lock:
            for path, identity in entries.items():
                self._known.pop(path, None)
                self._known[path] = identity
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def sync(self, fd: int) -> None:
        """Flush one file or directory; after a failure `check` raises until the store is reopened."""
        if not self.enabled:
            return
        try:
            os.fsync(fd)
        except OSError:
            self.failed = True
            raise

    def sync_all(self, fd: int, one: int) -> None:
        """The same for all files and directories of one file system; see `flush_all`.

        Args:
            fd: The store's directory.
            one: A file or directory of those that are to be flushed. It is flushed by itself as well, which
                shows where a file system takes no more writes since its journal failed, and does nothing
                else.
        """
        if not self.enabled:
            return
        with self._whole:  # What was lost is reported once, to whichever call comes first.
            if self.failed:
                raise OSError(errno.EIO, "an earlier write was lost")
            try:
                flush_all(fd)
                os.fsync(one)
            except OSError:
                self.failed = True
                raise

    def close(self, fd: int) -> None:
        """Close a file that was written; as with `sync`, a failure can be the only sign of a lost write."""
        try:
            os.close(fd)
        except OSError:
            self.failed = True
            raise

    def check(self) -> None:
        """Refuse to write after a failed flush.

        Raises:
            StorageUnavailableError: Code "WRITES_DISABLED".
        """
        if self.failed:
            text = "the disk failed to keep an earlier write; check it, then reopen the store before writing"
            raise StorageUnavailableError(text, code=ErrorCode.WRITES_DISABLED, retryable=False)


class Directories:
    """The directories from the root to one place, all held open; close with `with`.

    Attributes:
        fds: They, from the root, which is not closed.
        names: Of those below the root.
        missing: Names that were wanted below the last one, and are not there.
    """

    __slots__ = ("_lasting", "fds", "missing", "names")

    def __init__(self, root: int, *, lasting: bool = False) -> None:
        """At the root; `lasting` where nothing ever removes the directories below it."""
        self._lasting = lasting
        self.fds = [root]
        self.names: list[str] = []
        self.missing: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: int, names: tuple[str, ...], *, make: bool = False, lasting: bool = False) -> Self:
        """Walk down from `root`, making what is missing if `make`; OSError where that is impossible."""
        self = cls.reach(root, names, lasting=lasting)
        try:
            if self.missing and not make:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self.make()
        except BaseException:
            self.close()
            raise
        return self

    @classmethod
    def reach(cls, root: int, names: tuple[str, ...], *, lasting: bool = False) -> Self:
        """Walk down from `root` as far as there are directories; OSError where they are barred."""
        self = cls(root, lasting=lasting)
        try:
            for count, name in enumerate(names):
                try:
                    self._descend(name)
                except FileNotFoundError:
                    self.missing = names[count:]
                    break
        except BaseException:
            self.close()
            raise
        return self

    def make(self) -> None:
        """Make those that are missing."""
        for name in self.missing:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=self.last)
            self._descend(name)
        self.missing = ()

    def _descend(self, name: str) -> None:
        self.fds.append(os.open(name, DIRECTORY, dir_fd=self.last))
        self.names.append(name)

    @property
    def last(self) -> int:
        """The innermost directory."""
        return self.fds[-1]

    def sync(self, syncer: Syncer) -> None:
        """Make what is in the last one durable, and the entries that lead there."""
        owed, entries = self.owed(syncer)
        for fd in owed.values():
            syncer.sync(fd)
        syncer.learn(entries)

    def owed(self, syncer: Syncer) -> tuple[dict[Way, int], dict[Way, Identity]]:
        """The directories that have to be flushed, innermost first, and what is durable when they are.

        Not only those just made: what another process made a moment ago may not be durable yet. But an entry
        that this process made durable stays so as long as it leads to the same directory.
        """
        owed = {self._path(len(self.names)): self.last}
        entries: dict[Way, Identity] = {}
        for count in range(len(self.names) if syncer.enabled else 0, 0, -1):
            path = self._path(count)
            identity = LASTING if self._lasting else identity_of(self.fds[count])
            if syncer.knows(path, identity):
                break
            owed[self._path(count - 1)] = self.fds[count - 1]
            if identity is not None:
                entries[path] = identity
        return owed, entries

    def _path(self, count: int) -> Way:
        return self.fds[0], tuple(self.names[:count])

    def prune(self) -> None:
        """Remove those that are empty now, from the innermost up, except the root."""
        for parent, name in zip(reversed(self.fds[:-1]), reversed(self.names), strict=True):
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError:
                return

    def close(self) -> None:
        """Close all of them but the root."""
        while len(self.fds) > 1:
            release(self.fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def identity_of(fd: int) -> Identity | None:
    """What no other file or directory here ever has, or None where the file system does not show it.

    A number is used again for the next directory once one is removed; its generation is not.
    Source: ioctl_iflags(2), `FS_IOC_GETVERSION`; ext4, XFS and Btrfs have it.
    """
    if sys.platform != "linux":
        return None
    try:
        generation = fcntl.ioctl(fd, _GET_VERSION, bytes(_LONG))
    except OSError:
        return None
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, generation


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


def open_below(start: int, names: Sequence[str]) -> int:
    """Open a directory by the names that lead to it from another one, no link among them.

    Raises:
        OSError: It is not there.
    """
    fd = os.open(names[0], DIRECTORY, dir_fd=start) if names else os.dup(start)
    for name in names[1:]:
        with opened(fd):
            fd = os.open(name, DIRECTORY, dir_fd=fd)
    return fd


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
