"""Loading a version: every chunk and every file verified, and a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.index import FileEntry
from credstore.artifacts.packs import unpack
from credstore.artifacts.reads import Piece, Run, grouped, runs
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread, map_all
from credstore.errors import ErrorCode, StorageIntegrityError, StorageObjectNotFoundError
from credstore.files import CREATE, PRIVATE, flush_file
from credstore.folders import PendingFolder
from credstore.model import Progress

_AT_ONCE = 4
_BATCH = 1024 * 1024


class Loading:
    """Reads all files of a version, into a folder or only to verify them."""

    def __init__(
        self, catalog: Catalog, folder: Path | None, progress: Progress | None, *, permissions: bool = True
    ) -> None:
        """Plan it; nothing is sent.

        Args:
            catalog: The artifact.
            folder: An empty folder of our own; None writes nothing.
            progress: Called with (bytes written, bytes in total).
            permissions: Whether files get the permission bits they had, or those of a new file.
        """
        self._catalog = catalog
        self._folder = folder
        self._progress = progress
        self._permissions = permissions
        self._done = self._total = 0

    async def run(self, entries: Sequence[FileEntry]) -> None:
        """Read and verify these; links are made last, so that nothing is written through one.

        Raises:
            StorageIntegrityError: Something is missing, or not what was signed.
            StorageError: Anything else.
            OSError: A file cannot be written.
        """
        files = [entry for entry in entries if entry.type == "file"]
        self._total = sum(file.size for file in files)
        await map_all(grouped(files), self._group, at_once=_AT_ONCE)
        if self._folder is not None:
            await in_thread(self._make_others, self._folder, entries)

    def _make_others(self, folder: Path, entries: Sequence[FileEntry]) -> None:
        others = [
            (folder.joinpath(*entry.name.split("/")), entry) for entry in entries if entry.type != "file"
        ]
        for path, entry in others:
            if entry.type == "folder":
                path.mkdir(parents=True)
                if self._permissions:
                    path.chmod(entry.mode | stat.S_IRWXU)  # It is flushed and named after this.
                os.utime(path, ns=(entry.modified, entry.modified))
        for path, entry in others:
            if entry.type == "link":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(entry.target)

    async def _group(self, files: Sequence[FileEntry]) -> None:
        writer = _Writer(files, self._folder, permissions=self._permissions)
        try:
            for run in runs(files):
                async with aclosing(_pieces(self._catalog, run)) as pieces:
                    async for batch in pieces:
                        written = await in_thread(writer.write, batch)
                        self._done += written
                        if self._progress is not None:
                            self._progress(self._done, self._total)
            await in_thread(writer.finish)
        finally:
            writer.close()


async def _pieces(catalog: Catalog, run: Run) -> AsyncGenerator[list[tuple[Piece, bytes]], None]:
    """The pieces of a range with their stored bytes, some at a time."""
    key = catalog.layout.packs + run.pack
    waiting, buffer = iter(run.pieces), bytearray()
    piece = next(waiting, None)
    batch: list[tuple[Piece, bytes]] = []
    size = 0
    try:
        async with catalog.provider.open(key, start=run.start, end=run.end) as reader:
            async for data in reader:
                buffer += data
                while piece is not None and len(buffer) >= piece.chunk.stored:
                    batch.append((piece, bytes(buffer[: piece.chunk.stored])))
                    del buffer[: piece.chunk.stored]
                    size += piece.chunk.size * piece.times
                    piece = next(waiting, None)
                if size >= _BATCH:
                    yield batch
                    batch, size = [], 0
    except StorageObjectNotFoundError:
        raise StorageIntegrityError("a pack that the version needs is missing", key=key) from None
    if piece is not None:
        raise StorageIntegrityError(
            "a pack that the version needs is too short", key=key, code=ErrorCode.TRUNCATED
        )
    if batch:
        yield batch


async def read_file(catalog: Catalog, file: FileEntry) -> bytes:
    """The bytes of one small file of a version, verified.

    Raises:
        StorageIntegrityError: Something is missing, or not what was signed.
        StorageError: Anything else.
    """
    found: list[bytes] = []
    for run in runs([file]):
        async with aclosing(_pieces(catalog, run)) as pieces:
            async for batch in pieces:
                found += [unpack(piece.chunk, packed) * piece.times for piece, packed in batch]
    data = b"".join(found)
    if hashlib.sha256(data).digest() != file.digest:
        raise StorageIntegrityError(
            f"the file {file.name!r} is not what was saved", code=ErrorCode.DIGEST_MISMATCH
        )
    return data


class _Writer:
    """Writes the files of a group, one after the other; it blocks."""

    def __init__(self, files: Sequence[FileEntry], folder: Path | None, *, permissions: bool) -> None:
        self._files = files
        self._permissions = permissions
        self._folder = folder
        self._place = -1
        self._open: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def write(self, batch: Sequence[tuple[Piece, bytes]]) -> int:
        written = 0
        for piece, packed in batch:
            data = unpack(piece.chunk, packed)
            while self._place < piece.file:
                self._next()
            for _ in range(piece.times):
                self._digest.update(data)
                if self._open is not None:
                    with _named(self._files[self._place]):
                        self._open.write(data)
                written += len(data)
        return written

    def finish(self) -> None:
        """End the file that is open, and those without bytes after it."""
        while self._place < len(self._files):
            self._next()

    def _next(self) -> None:
        if self._place >= 0:
            self._end(self._files[self._place])
        self._place += 1
        if self._place < len(self._files) and self._folder is not None:
            path = self._folder.joinpath(*self._files[self._place].name.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            # Nothing is followed and nothing replaced, should a name mean two files on this disk.
            self._open = os.fdopen(os.open(path, CREATE, PRIVATE if self._permissions else 0o666), "wb")
        self._digest = hashlib.sha256()

    def _end(self, file: FileEntry) -> None:
        if self._digest.digest() != file.digest:
            raise StorageIntegrityError(
                f"the file {file.name!r} is not what was saved", code=ErrorCode.DIGEST_MISMATCH
            )
        if self._open is None:
            return
        with _named(file):
            self._open.flush()
            if self._permissions and hasattr(os, "fchmod"):
                os.fchmod(self._open.fileno(), file.mode)
            flush_file(self._open.fileno())
            self._open.close()
        if self._folder is not None:
            path = self._folder.joinpath(*file.name.split("/"))
            os.utime(path, ns=(file.modified, file.modified))
        self._open = None

    def close(self) -> None:
        if self._open is not None:
            with suppress(OSError):  # The folder is removed.
                self._open.close()


@contextmanager
def _named(file: FileEntry) -> Generator[None, None, None]:
    """A context that says which file it was that the disk did not take."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or "it cannot be written", file.name) from None


async def load_into(
    catalog: Catalog,
    version: ArtifactVersion,
    target: Path,
    progress: Progress | None,
    *,
    permissions: bool = True,
) -> None:
    """Bring a version back as a folder that appears whole, or not at all.

    Raises:
        StorageIntegrityError: Something is missing, or not what was signed.
        StorageError: Anything else.
        OSError: Something is at the target already, or it cannot be written.
    """
    pending = PendingFolder(target)
    try:
        await in_thread(pending.open)  # Which is made even if this is cancelled meanwhile.
        loading = Loading(catalog, pending.path, progress, permissions=permissions)
        await loading.run(await catalog.files(version))
        await in_thread(pending.publish)
    finally:
        await in_thread(pending.close)


async def verify_stored(
    catalog: Catalog, version: ArtifactVersion, progress: Progress | None
) -> tuple[FileEntry, ...]:
    """Read every chunk of a version from the store, and verify it; the files.

    Raises:
        StorageIntegrityError: Something is missing, or not what was signed.
        StorageError: Anything else.
    """
    files = await catalog.files(version)
    await Loading(catalog, None, progress).run(files)
    return files
