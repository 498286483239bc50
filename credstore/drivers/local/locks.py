"""One writer per key, among threads and processes, and the trace a killed writer leaves.

Readers take no lock. A writer locks one of 256 files by the hash of its key and writes what it is about
to do into it until it is done; whoever finds such a mark there cleans up after a writer that was killed.
The kernel drops the lock of a dead process by itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from credstore.drivers.local.atomic import ABSENT, opened
from credstore.drivers.local.belonging import Mark
from credstore.drivers.local.directories import Directories, open_below
from credstore.drivers.local.names import key_digest
from credstore.errors import StorageTimeoutError
from credstore.files import unlock

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MARK_SIZE = 2048
"""Bytes that every mark takes, more than the longest needs: each is written over all of the last one."""
_PAUSE = 0.002
"""Seconds between two looks at a lock that another process holds."""


@dataclass(slots=True)
class Hold:
    """A lock that is held until the end of a `with` block.

    Attributes:
        fd: The lock file.
        clean: Whether nothing superseded is left behind.
    """

    fd: int
    _among_threads: threading.Lock
    clean: bool = True
    _marked: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:  # After an error, the next writer cleans up what it left behind.
                self.done()
            _unlock(self.fd)
        finally:
            self._among_threads.release()

    def mark(self, mark: Mark) -> None:
        """Say what is about to be changed, for readers and for whoever cleans up."""
        self._marked = True
        os.pwrite(self.fd, mark.encode().ljust(_MARK_SIZE, b"\0"), 0)

    def done(self) -> None:
        """Remove the mark, if nothing is left to clean up.

        Failing to do so changes nothing: the operation itself is done. It is written over, since cutting the
        file would give up a block of the disk, and wait for the flushes of others that are under way.
        """
        if self._marked and self.clean:
            with contextlib.suppress(OSError):
                os.pwrite(self.fd, bytes(_MARK_SIZE), 0)


class KeyLocks:
    """The lock files of one store.

    Attributes:
        recover: Called with the mark that a killed writer left, while the lock is held.
    """

    def __init__(self, directory: int, recover: Callable[[Mark], None]) -> None:
        self._directory = directory
        self._recover = recover
        self._threads = [threading.Lock() for _ in range(256)]

    def hold(self, key: str, deadline: float | None) -> Hold:
        """Be the only writer of `key` until the end of a `with` block.

        Raises:
            StorageTimeoutError: The deadline came first; nothing was changed.
        """
        stripe = stripe_of(key)
        among_threads = self._threads[stripe]
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not among_threads.acquire(timeout=timeout):
            raise _too_late()
        try:
            fd = os.open(_name(stripe), _FLAGS, 0o666, dir_fd=self._directory)
            try:
                _lock(fd, deadline)
                self._clean(fd)
            except BaseException:
                _unlock(fd)
                raise
        except BaseException:
            among_threads.release()
            raise
        return Hold(fd, among_threads)

    def recover_all(self) -> None:
        """Clean up after every killed writer; the lock of one that is alive is left alone."""
        with opened(open_below(self._directory, ())) as listed:
            names = os.listdir(listed)  # noqa: PTH208 - a descriptor
        for name in names:
            try:
                fd = os.open(
                    name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory
                )
            except OSError as error:
                if error.errno in ABSENT:
                    continue
                raise
            try:
                if _is_marked(fd):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._clean(fd)
            except OSError:
                continue  # the next writer tries again
            finally:
                _unlock(fd)

    def _clean(self, fd: int) -> None:
        if _is_marked(fd):
            mark = Mark.decode(os.pread(fd, _MARK_SIZE, 0))
            if mark is not None:
                self._recover(mark)
            os.ftruncate(fd, 0)


def read_mark(control: int, key: str) -> Mark | None:
    """What a writer of `key` is doing, or was doing when it was killed; takes no lock.

    Args:
        control: The store's control directory.
        key: The object's key.
    """
    try:
        with Directories.open(control, ("locks",)) as where:
            fd = os.open(_name(stripe_of(key)), _READ_FLAGS, dir_fd=where.last)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    with opened(fd):
        mark = Mark.decode(os.pread(fd, _MARK_SIZE, 0))
    return mark if mark is not None and mark.key == key else None


def _unlock(fd: int) -> None:
    with contextlib.suppress(OSError):  # Closing can fail, and means nothing here.
        unlock(fd)


def _is_marked(fd: int) -> bool:
    """Whether a mark, or its beginning, is in a lock file."""
    return os.pread(fd, 1, 0) not in {b"", b"\0"}


def stripe_of(key: str) -> int:
    """Which lock a key has."""
    return int(key_digest(key)[:2], 16)


def _name(stripe: int) -> str:
    return f"{stripe:02x}"


def _lock(fd: int, deadline: float | None) -> None:
    while True:
        try:
            if deadline is None:
                fcntl.flock(fd, fcntl.LOCK_EX)
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
        if deadline is not None and time.monotonic() >= deadline:
            raise _too_late()
        time.sleep(_PAUSE)


def _too_late() -> StorageTimeoutError:
    return StorageTimeoutError("another writer of this key held its lock until the deadline", applied="no")
