"""A log of what a local store does to its file system, taken at Python's `os`.

Every call of the driver that changes a file or a directory is noted with what it changed, not with paths:
files and directories are numbers, and an entry of a directory names one of them. Flushes are noted and not
done. Source of the method: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014 (ALICE).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from unittest import mock

from credstore.drivers.local import flushing
from tests.drivers.local.steps import Lane, Step

ROOT = 0


@dataclass(frozen=True)
class Op:
    """One change.

    Attributes:
        node: The file that was changed, or the directory.
        changed: Change times in nanoseconds of the files that it touched, by their numbers.
    """

    node: int
    changed: dict[int, int]


@dataclass(frozen=True)
class Entry(Op):
    """A name in the directory `node`.

    Attributes:
        name: Which.
        child: What it leads to from then on, or None.
        needs: Position of the change without which this one cannot be: a rename takes no name away that
            it did not give.
    """

    name: str
    child: int | None
    needs: int | None = None


@dataclass(frozen=True)
class Data(Op):
    """Bytes written to a file."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Size(Op):
    """A file cut to a size."""

    size: int


@dataclass(frozen=True)
class Time(Op):
    """A modification time given to a file, in nanoseconds."""

    moment: int


@dataclass(frozen=True)
class Flush(Op):
    """All changes of the file or directory so far are on the disk."""


@dataclass(frozen=True)
class Told:
    """A step began, or (None) the step of the lane was acknowledged."""

    lane: Lane
    step: Step | None


@dataclass
class Log:
    """What happened to one root.

    Attributes:
        ops: In their order.
        inodes: Of each file and directory, by its number.
        folders: The numbers of directories.
    """

    ops: list[Op | Told] = field(default_factory=list)
    inodes: dict[int, int] = field(default_factory=dict)
    folders: set[int] = field(default_factory=lambda: {ROOT})


class Recorder:
    """Stands in for `os` while a driver works on one root."""

    def __init__(self, root: Path) -> None:
        self.log = Log()
        self._lock = threading.Lock()
        self._numbers: dict[tuple[int, int], int] = {}
        self._know(root.stat())

    def _know(self, status: os.stat_result) -> int:
        """A number for a file or directory that is there since now."""
        number = self._numbers[status.st_dev, status.st_ino] = len(self.log.inodes)
        self.log.inodes[number] = status.st_ino
        return number

    def _of(self, place: int | None) -> int | None:
        """The number of an open file or directory; None for those outside the root."""
        if place is None:
            return None
        status = os.fstat(place)
        return self._numbers.get((status.st_dev, status.st_ino))

    def _at(self, name: str, directory: int | None) -> tuple[int, int] | None:
        """The number and the change time of what an entry leads to."""
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return self._numbers[status.st_dev, status.st_ino], status.st_ctime_ns

    def told(self, lane: Lane, step: Step | None) -> None:
        """Note a step's beginning or end."""
        with self._lock:
            self.log.ops.append(Told(lane, step))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Take part in every call of `os` that changes something."""
        names = (
            "open", "write", "pwrite", "ftruncate", "utime", "fsync", "rename", "link", "unlink", "mkdir",
            "rmdir", "copy_file_range",
        )  # fmt: skip
        real = {name: getattr(os, name) for name in names if hasattr(os, name)}

        def taking_part(name):
            does, noted = real[name], getattr(self, f"_{name}")

            @wraps(does)
            def call(*arguments, **options):
                with self._lock:
                    return noted(does, *arguments, **options)

            return call

        try:
            for name in real:
                setattr(os, name, taking_part(name))
            with mock.patch.object(flushing, "flush_all", self._flush_all):
                yield
        finally:
            for name, does in real.items():
                setattr(os, name, does)

    def _flush_all(self, _fd):
        with self._lock:
            for number in self.log.inodes:
                self._note(Flush(number, {}))

    def _open(self, does, path, flags, mode=0o777, *, dir_fd=None):
        parent = self._of(dir_fd)
        if parent is None or not flags & (os.O_CREAT | os.O_TRUNC):
            return does(path, flags, mode, dir_fd=dir_fd)
        before = self._at(path, dir_fd)
        fd = does(path, flags, mode, dir_fd=dir_fd)
        status = os.fstat(fd)
        if before is None:
            number = self._know(status)
            self._note(Entry(parent, {number: status.st_ctime_ns}, path, number))
        elif flags & os.O_TRUNC:
            self._note(Size(before[0], {before[0]: status.st_ctime_ns}, 0))
        return fd

    def _note(self, op: Op) -> int:
        self.log.ops.append(op)
        return len(self.log.ops) - 1

    def _touched(self, fd: int, number: int) -> dict[int, int]:
        return {number: os.fstat(fd).st_ctime_ns}

    def _write(self, does, fd, data):
        number = self._of(fd)
        if number is None:
            return does(fd, data)
        offset = os.lseek(fd, 0, os.SEEK_CUR)
        count = does(fd, data)
        self._note(Data(number, self._touched(fd, number), offset, bytes(memoryview(data)[:count])))
        return count

    def _pwrite(self, does, fd, data, offset):
        number = self._of(fd)
        count = does(fd, data, offset)
        if number is not None:
            self._note(Data(number, self._touched(fd, number), offset, bytes(memoryview(data)[:count])))
        return count

    def _copy_file_range(self, does, source, target, count, *arguments, **options):
        number, offset = self._of(target), os.lseek(target, 0, os.SEEK_CUR)
        count = does(source, target, count, *arguments, **options)
        assert number is not None
        self._note(Data(number, self._touched(target, number), offset, os.pread(target, count, offset)))
        return count

    def _ftruncate(self, does, fd, size):
        number = self._of(fd)
        does(fd, size)
        if number is not None:
            self._note(Size(number, self._touched(fd, number), size))

    def _utime(self, does, fd, *, ns):
        number = self._of(fd)
        does(fd, ns=ns)
        if number is not None:
            self._note(Time(number, self._touched(fd, number), os.fstat(fd).st_mtime_ns))

    def _fsync(self, does, fd):
        number = self._of(fd)
        if number is None:
            does(fd)
        else:
            self._note(Flush(number, {}))

    def _rename(self, does, source, target, *, src_dir_fd=None, dst_dir_fd=None):
        old, new = self._of(src_dir_fd), self._of(dst_dir_fd)
        does(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if old is not None and new is not None:
            found = self._at(target, dst_dir_fd)
            assert found is not None
            given = self._note(Entry(new, dict([found]), target, found[0]))
            self._note(Entry(old, {}, source, None, given))

    def _link(self, does, source, target, *, src_dir_fd=None, dst_dir_fd=None, **options):
        new = self._of(dst_dir_fd)
        does(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **options)
        if new is not None:
            found = self._at(target, dst_dir_fd)
            assert found is not None
            self._note(Entry(new, dict([found]), target, found[0]))

    def _unlink(self, does, name, *, dir_fd=None):
        self._remove(does, name, dir_fd)

    def _rmdir(self, does, name, *, dir_fd=None):
        self._remove(does, name, dir_fd)

    def _remove(self, does, name, dir_fd):
        parent = self._of(dir_fd)
        if parent is None:
            does(name, dir_fd=dir_fd)
            return
        fd = None
        found = self._at(name, dir_fd)
        if found is not None and found[0] not in self.log.folders:
            fd = os.open.__wrapped__(name, os.O_RDONLY, dir_fd=dir_fd)
        try:
            does(name, dir_fd=dir_fd)
            self._note(
                Entry(parent, {} if fd is None or found is None else self._touched(fd, found[0]), name, None)
            )
        finally:
            if fd is not None:
                os.close(fd)

    def _mkdir(self, does, name, mode=0o777, *, dir_fd=None):
        parent = self._of(dir_fd)
        does(name, mode, dir_fd=dir_fd)
        if parent is not None:
            status = os.stat(name, dir_fd=dir_fd)
            number = self._know(status)
            self.log.folders.add(number)
            self._note(Entry(parent, {}, name, number))
