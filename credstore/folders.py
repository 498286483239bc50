"""Folders that appear under their name whole, or not at all, and what is removed of others.

Rules of this file: what is to appear is filled in a hidden folder next to the target. Its process holds a
lock on that, so that what a killed one left can be distinguished from what another is filling; the next one
that comes removes it. Windows has no such locks: there it stays.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from credstore.files import hidden_beside, is_leftover, sync_directory, try_lock, unlock

if sys.platform != "win32":
    import fcntl

_OPEN = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY"))


class PendingFolder:
    """A folder that does not have its name yet; leaving the context without `publish` removes it.

    Attributes:
        target: The name that it will get.
        path: Where it is filled meanwhile: a new folder next to the target.
    """

    __slots__ = ("_fd", "_made", "path", "target")

    def __init__(self, target: str | os.PathLike[str]) -> None:
        """Name the folder; nothing is touched.

        Args:
            target: Its path; nothing may be there but an empty folder.
        """
        self.target = Path(target)
        self.path = hidden_beside(self.target)
        self._fd = -1
        self._made = False

    def open(self) -> None:
        """Make the hidden folder, and remove those next to it that were left.

        Raises:
            OSError: It cannot be made; names the target.
        """
        remove_leftover_folders(self.target.parent)
        try:
            while not self._make():
                self.path = hidden_beside(self.target)
        except OSError as error:
            self.close()
            raise OSError(error.errno, error.strerror or "it cannot be made", str(self.target)) from None

    def _make(self) -> bool:
        """Make and lock it; False if somebody took it for a leftover between the two."""
        self.path.mkdir()
        self._made = True
        if sys.platform == "win32":
            return True
        try:
            fd = os.open(self.path, _OPEN)
        except FileNotFoundError:
            return False
        if try_lock(fd) and _has_name(fd, self.path):
            self._fd = fd
            return True
        os.close(fd)
        return False

    def publish(self) -> None:
        """Give the folder its name; what is in it has been flushed by whoever wrote it.

        Raises:
            OSError: Something is there already, or it cannot be named; names the target.
        """
        try:
            for folder, _, _ in os.walk(self.path):
                sync_directory(Path(folder))
            self.path.rename(self.target)
            sync_directory(self.target.parent)
        except OSError as error:
            raise OSError(error.errno, error.strerror or "it cannot be named", str(self.target)) from None

    def close(self) -> None:
        """Remove it, if it still has its hidden name; safe to call again, or before it was made."""
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)  # After `publish` there is none.
            self._made = False
        fd, self._fd = self._fd, -1
        if fd >= 0:
            unlock(fd)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _has_name(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def remove_leftover_folders(parent: Path) -> None:
    """Remove the hidden folders in one whose processes are gone; whatever cannot be removed stays."""
    with suppress(OSError), os.scandir(parent) as found:
        for each in list(found):
            if is_leftover(each.name) and each.is_dir(follow_symlinks=False):
                remove_leftover_folder(parent / each.name)


def remove_leftover_folder(path: Path) -> bool:
    """Remove a hidden folder whose process is gone; False if it is being filled, or cannot be removed."""
    if sys.platform == "win32":
        return False
    try:
        fd = os.open(path, _OPEN)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except OSError:
        return False
    finally:
        unlock(fd)
    return True


def remove_empty(folder: Path) -> None:
    """Remove a folder in which there is nothing but such folders; leave any other as it is."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        if files or any((here / each).is_symlink() for each in folders):
            return
        found.append(here)
    with suppress(OSError):  # Something is in it by now.
        for each in reversed(found):
            each.rmdir()
