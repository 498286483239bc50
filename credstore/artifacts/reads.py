"""Which ranges of packs bring back files, in few requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from credstore.artifacts.index import Chunk, FileEntry

_GROUP = 16 * 1024 * 1024
"""Bytes of files that are fetched one after the other; a larger file is a group of its own."""


@dataclass(slots=True)
class Piece:
    """A chunk, and where its bytes go: as often as it follows itself.

    Attributes:
        chunk: What is read.
        times: How often it is written.
        file: The file it goes to, as a place in the group.
    """

    chunk: Chunk
    file: int
    times: int = 1


@dataclass(slots=True)
class Run:
    """A range of one pack.

    Attributes:
        pack: Its name.
        start: First byte.
        pieces: One after the other, without a gap.
    """

    pack: str
    start: int
    pieces: list[Piece] = field(default_factory=list[Piece])

    @property
    def end(self) -> int:
        """One past the last byte."""
        last = self.pieces[-1].chunk
        return last.offset + last.stored


def grouped(files: Iterable[FileEntry]) -> Iterator[list[FileEntry]]:
    """Files that belong together, in their order."""
    group: list[FileEntry] = []
    size = 0
    for file in files:
        group.append(file)
        size += file.size
        if size >= _GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def runs(files: Iterable[FileEntry]) -> Iterator[Run]:
    """The ranges that hold the chunks of these files, in the order of the chunks."""
    run: Run | None = None
    for place, file in enumerate(files):
        for chunk in file.chunks:
            if run is not None and run.pack == chunk.pack:
                last = run.pieces[-1]
                if last.chunk.digest == chunk.digest and last.file == place:
                    last.times += 1
                    continue
                if run.end == chunk.offset:
                    run.pieces.append(Piece(chunk, place))
                    continue
            if run is not None:
                yield run
            run = Run(chunk.pack, chunk.offset, [Piece(chunk, place)])
    if run is not None:
        yield run
