"""A folder that is made exactly a version of a dataset, and what is left alone because it is already.

The order keeps a folder repairable whatever ends the work: what differs is fetched into a folder next to it
and verified, then files are replaced and removed one by one. Nothing is needed to know afterwards what may be
replaced: a file that is in some version is in the store, and any other is only here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.index import FileEntry
from credstore.artifacts.loading import Loading
from credstore.artifacts.sources import SourceFile, find_files
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread
from credstore.errors import StorageConflictError
from credstore.files import PendingFolder, sync_directory
from credstore.model import Progress
from credstore.provider.homes import check_outside
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What bringing a folder to a version did.

    Attributes:
        version: The version that the folder is now.
        fetched: Names of the files that were added or replaced, ascending.
        removed: Names of the files that were removed, ascending.
    """

    version: ArtifactVersion
    fetched: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


async def sync_folder(
    catalog: Catalog, version: ArtifactVersion, folder: Path, progress: Progress | None, *, discard: bool
) -> SyncReport:
    """Make a folder exactly a version.

    Raises:
        StorageConflictError: Something is only here, and is not to be discarded.
        StorageError: Anything else.
        OSError: The disk failed.
    """
    # A folder that is not there yet counts too.
    await in_thread(check_outside, session_of(catalog.provider).homes, [folder])
    wanted = {file.name: file for file in await catalog.files(version)}
    there = await in_thread(_files, folder, catalog.provider)
    differing = await in_thread(_differing, there, wanted)
    missing = sorted(wanted.keys() - there.keys())
    extra = sorted(there.keys() - wanted.keys())
    touched = {name: there[name] for name in (*differing, *extra)}
    if touched and not discard:
        await _check_known(catalog, touched)
    fetched = sorted((*missing, *differing))
    if fetched or extra:
        pending = PendingFolder(folder)
        await in_thread(folder.mkdir, parents=True, exist_ok=True)
        await in_thread(pending.__enter__)
        try:
            await Loading(catalog, pending.path, progress).run([wanted[name] for name in fetched])
            await in_thread(_replace, folder, pending.path, fetched, extra)
        finally:
            await in_thread(pending.__exit__)
    await in_thread(folder.mkdir, parents=True, exist_ok=True)
    return SyncReport(version, tuple(fetched), tuple(extra))


async def has_changed(catalog: Catalog, version: ArtifactVersion, folder: Path) -> bool:
    """Whether a folder is no longer a version.

    Raises:
        StorageError: The version, or a file of the folder, cannot be read.
        OSError: The disk failed.
    """
    wanted = {file.name: file for file in await catalog.files(version)}
    there = await in_thread(_files, folder, catalog.provider)
    return wanted.keys() != there.keys() or bool(await in_thread(_differing, there, wanted))


async def _check_known(catalog: Catalog, touched: Mapping[str, SourceFile]) -> None:
    """Whether everything that would be lost is in some version; the newest are asked first."""
    lost = dict(touched)
    for number in reversed(await catalog.numbers()):
        if not lost:
            return
        for version in await catalog.versions([number]):
            known = {file.name: file for file in await catalog.files(version)}
            lost = await in_thread(_unknown, lost, known)
    if lost:
        names = sorted(lost)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise StorageConflictError(
            f"{', '.join(map(repr, names[:_SHOWN]))}{more} would be lost: no version of the dataset "
            f"{catalog.name!r} has that; save one first, or discard it"
        )


def _unknown(touched: Mapping[str, SourceFile], known: Mapping[str, FileEntry]) -> dict[str, SourceFile]:
    return {name: file for name, file in touched.items() if name not in known or not _is(file, known[name])}


def _files(folder: Path, store: StorageProvider) -> dict[str, SourceFile]:
    if not os.path.lexists(folder):
        return {}
    return {file.name: file for file in find_files(folder, store)}


def _differing(there: Mapping[str, SourceFile], wanted: Mapping[str, FileEntry]) -> list[str]:
    return sorted(name for name in there.keys() & wanted.keys() if not _is(there[name], wanted[name]))


def _is(file: SourceFile, entry: FileEntry) -> bool:
    """Whether a file is what an entry says; its time is set where only that differs."""
    if file.size != entry.size:
        return False
    if file.modified == entry.modified:
        return True
    with file.path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").digest() != entry.digest:
            return False
    os.utime(file.path, ns=(entry.modified, entry.modified))
    return True


def _replace(folder: Path, pending: Path, fetched: list[str], extra: list[str]) -> None:
    """Remove what is not wanted, then give what was fetched its names."""
    changed: set[Path] = set()
    for name in extra:
        path = folder.joinpath(*name.split("/"))
        path.unlink()
        changed.add(path.parent)
    for parent in sorted({each for path in changed for each in (path, *path.parents)}, reverse=True):
        if parent != folder and parent.is_relative_to(folder) and not any(parent.iterdir()):
            parent.rmdir()
            changed.discard(parent)
    for name in fetched:
        path = folder.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        pending.joinpath(*name.split("/")).replace(path)
        changed.add(path.parent)
    for parent in changed:
        if parent.is_dir():
            sync_directory(parent)
