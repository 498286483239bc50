"""What makes writes durable: a flush of each file and directory, or of a whole file system with one call.

Linux's syncfs(2) writes all that waits in a file system and flushes the disk's own cache, in one commit of
the journal. It counts only where it reports what was lost: bytes since Linux 5.8, to a file that was open
before, and a failed commit since 5.17; and where it is known to reach the disk, which on FUSE it does not.
Source: man-pages, sync(2); Linux, commits "vfs: track per-sb writeback errors and report them to syncfs" and
"vfs: make sync_filesystem return errors from ->sync_fs".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from credstore.errors import ErrorCode, StorageUnavailableError

_KNOWN = frozenset({"ext4", "xfs"})
"""File systems whose syncfs commits the journal and flushes the disk."""
_SINCE = (5, 17)
_MOUNT = re.compile(r"^\S+ \S+ (\S+) .*? - (\S+) ", re.MULTILINE)
"""Device and type in a line of mountinfo; proc(5)."""
_LONG = struct.calcsize("l")
_GET_VERSION = 2 << 30 | _LONG << 16 | ord("v") << 8 | 1
_MOST_KNOWN = 8192
"""Directories whose entries are known to be durable; a name of each is 20 bytes or so."""

Identity: TypeAlias = tuple[int, int, bytes]
LASTING: Identity = (0, 0, b"")
"""Of a directory that its name alone identifies."""
Way: TypeAlias = tuple[int, tuple[str, ...]]
"""A directory: the names that lead to it, and the descriptor of the directory where they begin."""


def can_flush_all(fd: int) -> bool:
    """Whether `flush_all` makes everything durable that is in the file system of an open file."""
    system = os.uname()
    release = re.match(r"(\d+)\.(\d+)", system.release)
    if system.sysname != "Linux" or release is None or tuple(map(int, release.groups())) < _SINCE:
        return False
    device = os.fstat(fd).st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return False
    here = f"{os.major(device)}:{os.minor(device)}"
    kinds = {kind for number, kind in _MOUNT.findall(mounts) if number == here}
    if not kinds or not kinds <= _KNOWN or ("ext4" in kinds and not _has_journal(here)):
        return False
    return hasattr(_libc(), "syncfs") and _libc().syncfs(fd) == 0  # A sandbox may refuse it.


def _has_journal(device: str) -> bool:
    """Whether the ext4 on a device has one; without, syncfs flushes the disk before the last writes."""
    try:
        name = Path("/sys/dev/block", device).resolve().name
        return Path("/sys/fs/ext4", name, "journal_task").exists()
    except OSError:
        return False


def flush_all(fd: int) -> None:
    """Make everything in a file system durable, whoever wrote it; blocks.

    Args:
        fd: In it, and open since before that was written; what was lost earlier is not reported to it.

    Raises:
        OSError: Something was lost since `fd` was opened, or since this was called with it.
    """
    if _libc().syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


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
