"""Archiving: files that are old go to the store, and leave the folder once they were read back from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.index import FileEntry
from credstore.artifacts.loading import verify_stored
from credstore.artifacts.saving import Saving
from credstore.artifacts.sources import Source, SourceFile, find_files
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread
from credstore.errors import StorageIntegrityError
from credstore.model import Progress


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What an archival did.

    Attributes:
        version: The version with the archived files; None if no file was old enough.
        removed: Names of the files that left the folder, ascending.
        changed: Names of files that are in the version, but changed after they were read, and stayed.
    """

    version: ArtifactVersion | None
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


async def archive_files(
    catalog: Catalog, source: Source, before: datetime, progress: Progress | None
) -> ArchiveReport:
    """Save the files last changed before a time, read them back, then remove them from the folder."""
    limit = int(before.timestamp() * 1_000_000_000)
    found = await in_thread(find_files, source, catalog.provider)
    old = [file for file in found if file.modified < limit]
    if not old:
        return ArchiveReport(None)
    saved = await Saving(catalog, old, progress).run()
    # As a reader gets it, by the trust store and from the store: what was meant to be there proves nothing.
    version = await catalog.version(saved.version)
    if version != saved:
        raise StorageIntegrityError(
            f"version {saved.version} of the archive {saved.name!r} reads differently from what was saved"
        )
    stored = await verify_stored(catalog, version, None)
    removed, changed = await in_thread(_remove, old, stored)
    return ArchiveReport(version, removed, changed)


def _remove(
    files: Sequence[SourceFile], stored: Sequence[FileEntry]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    digests = {file.name: file.digest for file in stored}
    removed: list[str] = []
    changed: list[str] = []
    for file in files:
        try:
            same = _is_same(file, digests[file.name])
        except FileNotFoundError:
            continue  # Somebody else has removed it; it is in the version.
        if same:
            file.path.unlink()
        (removed if same else changed).append(file.name)
    return tuple(removed), tuple(changed)


def _is_same(file: SourceFile, digest: bytes) -> bool:
    with file.path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").digest() != digest:
            return False
    state = file.path.lstat()
    return (state.st_size, max(0, state.st_mtime_ns)) == (file.size, file.modified)
