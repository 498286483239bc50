"""The files of a cache: a directory that many processes share, and may kill each other over.

    <2 hex>/<64 hex>            one entry each; see `plan.py`
    <2 hex>/.credstore-<hex>    being written, by a process that holds a lock on it
    total                       bytes of all files at most, as text; guarded by a lock on it

Rules of this file: an entry appears whole and is never changed, only replaced or removed, so whoever has one
open reads on undisturbed. Room is claimed in `total` before anything is written, so the limit holds for all
processes together; what a killed one claimed comes back at the next scan, which a full cache starts. Nothing
is flushed: whatever is read is verified. Everything here blocks, so it is called in threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from credstore.driver.values import ObjectInfo
from credstore.files import PRIVATE, PendingFile, is_leftover, remove_leftover, unlock
from credstore.strategies.cached import plan

if sys.platform != "win32":
    import fcntl

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class OpenEntry:
    """An entry that stays readable, whoever removes it meanwhile.

    Attributes:
        entry: Its description.
        path: Of the file.
        fd: Its descriptor.
        confirmed: Unix seconds at which the store last confirmed the version.
    """

    entry: plan.Entry
    path: Path
    fd: int
    confirmed: float

    def block(self, number: int) -> bytes | None:
        """The bytes of one block; None where they are not those that were read from the store."""
        start = number * plan.BLOCK
        wanted = min(plan.BLOCK, self.entry.info.size - start)
        try:
            data = os.pread(self.fd, wanted, start)
        except OSError:
            return None
        return data if len(data) == wanted and plan.is_block(self.entry, number, data) else None

    def touch(self, now: float, *, confirmed: bool) -> None:
        """Note that it was used and, if so, confirmed."""
        if confirmed:
            self.confirmed = now
        with contextlib.suppress(OSError):  # Without it, it is asked for, or removed, earlier.
            os.utime(self.fd, (now, self.confirmed))

    def close(self) -> None:
        """Let go of the file; safe to call again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class PendingEntry:
    """An entry that is being written."""

    def __init__(
        self, file: PendingFile, info: ObjectInfo, locked: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._file = file
        self._info = info
        self._locked = locked
        self._blocks: list[bytes] = []
        self._digest = hashlib.sha256()
        self._filled = 0
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append bytes of the object.

        Raises:
            OSError: The disk is full, for example.
        """
        view = memoryview(data)
        self._file.write(view)
        self._size += len(view)
        while view:
            part = view[: plan.BLOCK - self._filled]
            self._digest.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == plan.BLOCK:
                self._end_block()

    def _end_block(self) -> None:
        self._blocks.append(self._digest.digest())
        self._digest, self._filled = hashlib.sha256(), 0

    def publish(self, confirmed: float) -> None:
        """Give it its name.

        Args:
            confirmed: Unix seconds at which the store was asked.

        Raises:
            OSError: It cannot be written.
        """
        if self._filled:
            self._end_block()
        if self._size != self._info.size:
            return
        self._file.write(plan.encode(plan.Entry(self._info, tuple(self._blocks))))
        os.utime(self._file.fd, (confirmed, confirmed))
        with self._locked():  # A scan could miss a file that gets another name meanwhile.
            self._file.publish(durable=False)

    def close(self) -> None:
        """Remove what was not published."""
        self._file.close()


class CacheDirectory:
    """The entries of one directory."""

    def __init__(self, path: Path, limit: int) -> None:
        """Touch nothing yet.

        Args:
            path: Of the directory; made by the first entry.
            limit: Bytes that all files may have together.
        """
        self.path = path
        self.limit = limit

    def open(self, name: str) -> OpenEntry | None:
        """An entry, or None where there is none, or none that can be used; a damaged one is removed.

        Raises:
            ValueError: It was damaged.
        """
        path = self.path / name
        try:
            fd = os.open(path, os.O_RDONLY | _OPEN)
        except OSError:
            return None
        try:
            found = self._read(path, fd)
        except OSError:
            found = None
        if found is None:
            os.close(fd)
            self.remove(name)
            raise ValueError(str(path))
        return found

    @staticmethod
    def _read(path: Path, fd: int) -> OpenEntry | None:
        about = os.fstat(fd)
        trailer = os.pread(fd, plan.TRAILER, max(0, about.st_size - plan.TRAILER))
        length = plan.described_length(trailer)
        if length is None or length + plan.TRAILER > about.st_size:
            return None
        size = about.st_size - plan.TRAILER - length
        entry = plan.decode(os.pread(fd, length, size), trailer, size)
        return None if entry is None else OpenEntry(entry, path, fd, about.st_mtime)

    def remove(self, *names: str) -> None:
        """Forget entries, where there are any."""
        for name in names:
            with contextlib.suppress(OSError):
                (self.path / name).unlink()

    def begin(self, name: str, info: ObjectInfo) -> PendingEntry | None:
        """Start an entry, with room for it; None where it cannot have any.

        Raises:
            OSError: The directory cannot be written to.
        """
        blocks = -(-info.size // plan.BLOCK)
        size = info.size + len(plan.encode(plan.Entry(info, (bytes(32),) * blocks)))
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = PendingFile(path, replace=True, mode=PRIVATE)
        return PendingEntry(file, info, self._locked_total) if self._claim(file, size) else None

    def _claim(self, file: PendingFile, size: int) -> bool:
        """Open a file with room for it, by removing what was used longest ago; False if there is not enough.

        Raises:
            OSError: The file cannot be made.
        """
        if size > self.limit:
            return False
        with self._locked_total() as fd:
            told = os.pread(fd, 32, 0)
            total = int(told) if told.isdigit() else self.limit
            if total + size > self.limit:
                total = self._make_room(size)
            if total + size > self.limit:
                return False
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d" % (total + size), 0)
            file.open()
            try:
                os.ftruncate(file.fd, size)  # So that a scan by another process sees how much it will have.
            except OSError:
                file.close()
                raise
            return True

    @contextlib.contextmanager
    def _locked_total(self) -> Generator[int]:
        fd = os.open(self.path / "total", os.O_RDWR | os.O_CREAT | _OPEN, PRIVATE)
        try:
            if sys.platform != "win32":
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            unlock(fd)

    def _make_room(self, size: int) -> int:
        """Look at all files, remove some, and return how many bytes the others have."""
        held = 0
        found: list[plan.Found] = []
        for path, about in self._files():
            if not is_leftover(path.name):
                found.append(plan.Found(str(path), about.st_size, about.st_atime_ns))
            elif not remove_leftover(path):
                held += about.st_size
        removed = plan.to_remove(found, held=held, wanted=size, limit=self.limit)
        for each in removed:
            with contextlib.suppress(OSError):  # Another process was faster.
                Path(each.path).unlink()
        return held + sum(each.size for each in found) - sum(each.size for each in removed)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder in self.path.iterdir():
            if not folder.is_dir():
                continue
            for path in folder.iterdir():
                if not (plan.is_entry(folder.name, path.name) or is_leftover(path.name)):
                    continue  # Somebody else's, and not to be removed for room.
                with contextlib.suppress(OSError):  # Removed since.
                    yield path, path.lstat()
