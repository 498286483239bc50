"""The names of one directory in order, packed: read once, and kept until a listing ends.

Rules of this file: a directory is read once. What is packed is the names' UTF-8 with a slash, which no name
has, between them. The order is that of code points, which is the order of their UTF-8.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from math import isqrt

MOST_HELD = 16 * 1024 * 1024
"""Bytes of packed names that one listing keeps in memory; more are in a file without a name."""
LARGE = 64 * 1024 * 1024
"""Size of a directory in bytes from which on its names, more than a million, are never all unpacked."""
RUN = 256 * 1024
"""Names of such a directory that are sorted at once."""
_PIECE = 64 * 1024
_RUN = 4096
"""Names that are packed at once."""
_FEW = 256
"""Names that are not worth packing."""


class Spool:
    """The packed names of all directories that one listing is in; close it.

    Attributes:
        held: Bytes in memory.
    """

    __slots__ = ("_end", "_file", "_limit", "held")

    def __init__(self, limit: int = MOST_HELD) -> None:
        """Empty, and without a file as long as `limit` bytes are enough."""
        self.held = 0
        self._limit = limit
        self._file = -1
        self._end = 0

    def pack(self, names: list[str]) -> Packed:
        """Keep `names` in their order; empties the list."""
        data = bytearray()
        for start in range(0, len(names), _RUN):
            data += b"/" if start else b""
            data += "/".join(names[start : start + _RUN]).encode("utf-8", "surrogateescape")
        names.clear()
        if self.held + len(data) > self._limit:
            with contextlib.suppress(OSError):  # Where there is no room for a file, there may be memory.
                return Packed(self, None, self._write(data), len(data))
        self.held += len(data)
        return Packed(self, data, 0, len(data))

    def _write(self, data: bytearray) -> int:
        if self._file < 0:
            with tempfile.TemporaryFile(buffering=0) as file:
                self._file = os.dup(file.fileno())
        view, place = memoryview(data), self._end
        while view:
            done = os.pwrite(self._file, view, place)
            view, place = view[done:], place + done
        start, self._end = self._end, place
        return start

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self._file, size, start)

    def forget(self, start: int) -> None:
        """Cut the file off at `start`: what came last goes first."""
        if self._file >= 0:
            os.ftruncate(self._file, start)
            self._end = start

    def close(self) -> None:
        """Close the file; safe to call again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class Packed:
    """Names in their order; release it."""

    __slots__ = ("_data", "_size", "_spool", "_start")

    def __init__(self, spool: Spool, data: bytearray | None, start: int, size: int) -> None:
        self._spool = spool
        self._data = data
        self._start = start
        self._size = size

    def names(self) -> Iterator[str]:
        """All of them, unpacked piece by piece."""
        place = 0
        while place < self._size:
            piece = self._read(place, _PIECE)
            if place + len(piece) < self._size:
                piece = piece[: piece.rindex(b"/")]
            place += len(piece) + 1
            yield from piece.decode("utf-8", "surrogateescape").split("/")

    def _read(self, place: int, size: int) -> bytes | bytearray:
        if self._data is None:
            return self._spool.read(self._start + place, min(size, self._size - place))
        return self._data[place : place + size]

    def release(self) -> None:
        """Forget them; safe to call again."""
        if self._data is not None:
            self._spool.held -= self._size
            self._data = bytearray()
        elif self._size:
            self._spool.forget(self._start)
        self._size = 0


def ordered(
    directory: int, select: Callable[[list[str]], list[str]], spool: Spool, first: int
) -> Iterator[str]:
    """The wanted names of a directory, ascending; it is read before this returns.

    Args:
        directory: Where they are.
        select: Returns those of some names that are wanted, as they are to be sorted.
        spool: Keeps those that are still to come.
        first: How many are wanted soon; the others are sorted when they are.
    """
    if os.fstat(directory).st_size < LARGE:
        return _sorted(select(os.listdir(directory)), spool, first)
    runs: list[Packed] = []
    with os.scandir(directory) as entries:
        while run := [entry.name for entry in islice(entries, RUN)]:
            runs.append(spool.pack(sorted(select(run))))
    return _merged(runs)


def _sorted(names: list[str], spool: Spool, first: int) -> Generator[str, None, None]:
    if len(names) > 8 * first:
        soon = _least(names, first)
        rest = spool.pack(names)
        try:
            yield from soon
            names = [name for name in rest.names() if name > soon[-1]]
        finally:
            rest.release()
    names.sort()
    if len(names) <= _FEW:
        yield from names
        return
    packed = spool.pack(names)
    try:
        yield from packed.names()
    finally:
        packed.release()


def _least(names: list[str], first: int) -> list[str]:
    """The least `first` of at least as many names, ascending.

    A heap of the least would change at each name where they come in descending order, as from some disks. So
    the names are compared with one of a sample, which is as large as what is then sorted.
    """
    most = sorted(names[:: isqrt(len(names) // first)])[first - 1]
    return sorted([name for name in names if name <= most])[:first]


def _merged(runs: list[Packed]) -> Generator[str, None, None]:
    try:
        yield from heapq.merge(*(run.names() for run in runs))
    finally:
        for run in reversed(runs):
            run.release()
