"""Flushing a whole file system with one call, where that keeps what a flush of each file promises.

Linux's syncfs(2) writes all that waits in a file system and flushes the disk's own cache, in one commit of
the journal. It counts only where it reports what was lost: bytes since Linux 5.8, to a file that was open
before, and a failed commit since 5.17; and where it is known to reach the disk, which on FUSE it does not.
Source: man-pages, sync(2); Linux, commits "vfs: track per-sb writeback errors and report them to syncfs" and
"vfs: make sync_filesystem return errors from ->sync_fs".
"""

from __future__ import annotations

import ctypes
import os
import re
from functools import cache
from pathlib import Path

_KNOWN = frozenset({"ext4", "xfs"})
"""File systems whose syncfs commits the journal and flushes the disk."""
_SINCE = (5, 17)
_MOUNT = re.compile(r"^\S+ \S+ (\S+) .*? - (\S+) ", re.MULTILINE)
"""Device and type in a line of mountinfo; proc(5)."""


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
