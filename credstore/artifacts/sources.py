"""Files to save: found, opened and cut into chunks. It blocks, and is called in threads.

Cutting is FastCDC (Xia et al., "The Design of Fast Content Defined Chunking for Data Deduplication Based
Storage Systems", IEEE TPDS 31(9), 2020): where a chunk ends depends on the bytes before it alone, so that
an insertion changes the chunks around it and no others.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from credstore.artifacts.index import EntryType
from credstore.artifacts.names import LONGEST_PATH, file_name, folders_of
from credstore.errors import ErrorCode, StorageInvalidRequestError, StorageNotFoundError
from credstore.files import FileState
from credstore.provider.homes import check_outside
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of

AVERAGE = 64 * 1024
"""Bytes; chunks have a quarter of it to four times as many."""
_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"))

Location = str | os.PathLike[str]
Source = Location | Iterable[Location] | Mapping[str, Location]
"""A folder, several files (kept under their last names), or the name and path of each file."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, link or empty folder to save.

    Attributes:
        name: Under which it is kept.
        path: Where it is.
        size: Bytes, when it was found.
        modified: Nanoseconds since 1970, when it was found.
        state: What it is to be as long as no one touches it.
        type: What it is.
        mode: Permission bits, when it was found.
        target: Where a link leads, as it says itself.
    """

    name: str
    path: Path
    size: int
    modified: int
    state: FileState
    type: EntryType = "file"
    mode: int = 0
    target: str = ""


def find_files(source: Source, store: StorageProvider, *, everything: bool = False) -> list[SourceFile]:
    """All files of a source, by name.

    Args:
        source: Where they are.
        store: Where they are saved.
        everything: Symbolic links too, as links, and empty folders.

    Raises:
        StorageNotFoundError: Something is not there.
        StorageInvalidRequestError: Something is neither a file nor a folder, two have one name, a name
            cannot be kept, or the store, or a cache of it, is in the folder.
        OSError: A folder cannot be read.
    """
    if isinstance(source, Iterator):
        source = list(source)  # It is gone through twice.
    check_outside(session_of(store).homes, _paths(source))
    found: dict[str, SourceFile] = {}
    for name, path in _named(source, everything=everything):
        try:
            state = path.lstat()
        except FileNotFoundError:
            raise StorageNotFoundError(f"there is no file {str(path)!r}") from None
        kind = _type(state.st_mode) if everything else "file"
        if kind == "file" and not stat.S_ISREG(state.st_mode):
            # A link could lead outside, or in a circle; a device or pipe has no end.
            raise StorageInvalidRequestError(
                f"{str(path)!r} is a symbolic link or a special file; only files and folders can be saved"
                if not everything
                else f"{str(path)!r} is a special file; only files, links and folders can be saved"
            )
        kept = file_name(name)
        if kept in found:
            raise StorageInvalidRequestError(f"two files would both be kept as {kept!r}")
        found[kept] = SourceFile(
            kept,
            path,
            state.st_size if kind == "file" else 0,
            max(0, state.st_mtime_ns),
            FileState.of(state),
            kind,
            stat.S_IMODE(state.st_mode) & 0o777,
            _target(path) if kind == "link" else "",
        )
    for name in found:
        for above in folders_of(name):
            if above in found:
                raise StorageInvalidRequestError(f"{above!r} would have to be a file and a folder at once")
    return [found[name] for name in sorted(found)]


def _paths(source: Source) -> Iterable[Location]:
    if isinstance(source, Mapping):
        return cast("Mapping[str, Location]", source).values()
    return [source] if isinstance(source, str | os.PathLike) else list(source)


def _type(mode: int) -> EntryType:
    if stat.S_ISLNK(mode):
        return "link"
    return "folder" if stat.S_ISDIR(mode) else "file"


def _target(path: Path) -> str:
    target = str(path.readlink())
    try:
        size = len(target.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= LONGEST_PATH:
        raise StorageInvalidRequestError(f"the link {str(path)!r} leads to what cannot be kept")
    return target


def _named(source: Source, *, everything: bool) -> Iterator[tuple[str, Path]]:
    if isinstance(source, Mapping):
        yield from ((name, Path(path)) for name, path in cast("Mapping[str, Location]", source).items())
    elif isinstance(source, str | os.PathLike):
        folder = Path(source)
        if not folder.is_dir():
            if not os.path.lexists(folder):
                raise StorageNotFoundError(f"there is no folder {str(folder)!r}")
            raise StorageInvalidRequestError(f"{str(folder)!r} is not a folder; give single files in a list")
        yield from walk(folder, empty=everything)
    else:
        yield from ((Path(path).name, Path(path)) for path in source)


def walk(folder: Path, *, empty: bool = False) -> Iterator[tuple[str, Path]]:
    """Relative path and place of what is in a folder, but for folders; links are not followed.

    Args:
        folder: Where to look.
        empty: Folders with nothing in them too.
    """
    waiting = [(folder, "")]
    while waiting:
        here, before = waiting.pop()
        with os.scandir(here) as entries:
            found = list(entries)
            if empty and before and not found:
                yield before[:-1], here
            for entry in found:
                name = f"{before}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), f"{name}/"))
                else:
                    yield name, Path(entry.path)


def size_of(path: Path) -> int:
    """Bytes of a file.

    Raises:
        StorageNotFoundError: It is not there.
        StorageInvalidRequestError: It is not a file.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise StorageNotFoundError(f"there is no file {str(path)!r}") from None
    if not stat.S_ISREG(state.st_mode):
        raise StorageInvalidRequestError(f"{str(path)!r} is not a file")
    return state.st_size


def name_of(folder: Location) -> str:
    """A folder's own name."""
    return Path(folder).resolve().name


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk as it was read.

    Attributes:
        digest: SHA-256 of its bytes.
        size: Bytes.
        data: Its bytes, or None if they are not needed.
    """

    digest: bytes
    size: int
    data: bytes | None


class CutFile:
    """Reads one file as chunks; a file that changes meanwhile is an error, never half of each state.

    Attributes:
        size: Bytes read so far.
        mode: Its permission bits, once it was opened.
        modified: Nanoseconds since 1970, once it was opened.
    """

    def __init__(self, source: SourceFile, is_known: Callable[[bytes], bool]) -> None:
        """Open nothing yet.

        Args:
            source: The file.
            is_known: Whether the bytes with this digest are not needed.
        """
        self._source = source
        self._is_known = is_known
        self._whole = hashlib.sha256()
        self._chunks = self._read()
        self.size = 0
        self.mode = 0
        self.modified = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 of all bytes read so far."""
        return self._whole.digest()

    def next(self, most: int) -> list[Cut]:
        """The next chunks: at most about `most` bytes; empty at the end.

        Raises:
            StorageNotFoundError: The file is gone.
            StorageInvalidRequestError: It is another or has changed (code "SOURCE_CHANGED").
            OSError: It cannot be read.
        """
        taken: list[Cut] = []
        for each in self._chunks:
            taken.append(each)
            most -= each.size
            if most <= 0:
                break
        return taken

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()

    def _read(self) -> Generator[Cut, None, None]:
        path = self._source.path
        try:
            fd = os.open(path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            raise StorageNotFoundError(f"the file {str(path)!r} is gone") from None
        with os.fdopen(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise self._changed()
            self.mode = stat.S_IMODE(before.st_mode) & 0o777
            self.modified = max(0, before.st_mtime_ns)
            for cut in _cuts(file):
                self.size += cut.length
                self._whole.update(cut.data)
                digest = hashlib.sha256(cut.data).digest()
                yield Cut(digest, cut.length, None if self._is_known(digest) else bytes(cut.data))
            after = FileState.of(os.fstat(fd))
            if self.size != after.size or not after.has_bytes_of(FileState.of(before)):
                raise self._changed()

    def _changed(self) -> StorageInvalidRequestError:
        return StorageInvalidRequestError(
            f"the file {str(self._source.path)!r} changed while it was being read; save again",
            code=ErrorCode.SOURCE_CHANGED,
            retryable=True,
        )


def cut_bytes(data: bytes, is_known: Callable[[bytes], bool]) -> list[Cut]:
    """Bytes as chunks; see `CutFile`."""
    found: list[Cut] = []
    for cut in _cuts(io.BytesIO(data)):
        digest = hashlib.sha256(cut.data).digest()
        found.append(Cut(digest, cut.length, None if is_known(digest) else bytes(cut.data)))
    return found


def _cuts(stream: io.RawIOBase | io.BytesIO) -> Iterator[Any]:
    from pyfastcdc import FastCDC

    yield from FastCDC(AVERAGE).cut_stream(cast("Any", stream))
