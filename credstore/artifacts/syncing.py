"""A folder that is made exactly a version of a dataset, and what is left alone because it is already.

The order keeps a folder repairable whatever ends the work: what differs is fetched into a folder next to it
and verified, then files are replaced and removed one by one, each only if it is still what was looked at.
Nothing is needed to know afterwards what may be replaced: a file that is in some version is in the store, and
any other is only here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.index import FileEntry
from credstore.artifacts.loading import Loading
from credstore.artifacts.replacing import Replacing
from credstore.artifacts.sources import SourceFile, find_files
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread
from credstore.errors import Applied, StorageConflictError
from credstore.files import FileState
from credstore.folders import PendingFolder, remove_leftover_folders
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
        StorageConflictError: Something is only here, and is not to be discarded, or changed meanwhile.
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
    await in_thread(folder.mkdir, parents=True, exist_ok=True)
    if not fetched and not extra:
        await in_thread(remove_leftover_folders, folder.parent)
        return SyncReport(version)
    pending = PendingFolder(folder)
    try:
        await in_thread(pending.open)  # Which is made even if this is cancelled meanwhile.
        await Loading(catalog, pending.path, progress).run([wanted[name] for name in fetched])
        replacing = await in_thread(Replacing, folder, touched, discard=discard)
        if changed := await in_thread(replacing.changed, sorted((*fetched, *extra))):
            raise _changed(changed, applied="no")
        if kept := await in_thread(replacing.run, pending.path, fetched, extra):
            raise _changed(kept, applied="maybe")
    finally:
        await in_thread(pending.close)
    await in_thread(folder.mkdir, parents=True, exist_ok=True)
    return SyncReport(version, tuple(fetched), tuple(extra))


async def states_of(folder: Path, store: StorageProvider) -> dict[str, FileState]:
    """The state of each file in a folder, by name.

    Raises:
        StorageError: A file cannot be read, or not be kept.
        OSError: The disk failed.
    """
    there = await in_thread(_files, folder, store)
    return {name: file.state for name, file in there.items()}


async def has_changed(
    catalog: Catalog, version: ArtifactVersion, folder: Path, since: Mapping[str, FileState]
) -> bool:
    """Whether a folder is no longer a version.

    Args:
        catalog: The artifact.
        version: The version.
        folder: The folder.
        since: The states of its files when it was that version. A file in another one is read, since its size
            and time can be set to be the same.

    Raises:
        StorageError: The version, or a file of the folder, cannot be read.
        OSError: The disk failed.
    """
    wanted = {file.name: file for file in await catalog.files(version)}
    there = await in_thread(_files, folder, catalog.provider)
    return wanted.keys() != there.keys() or bool(await in_thread(_differing, there, wanted, since))


async def _check_known(catalog: Catalog, touched: Mapping[str, SourceFile]) -> None:
    """Whether everything that would be lost is in some version; the newest are asked first.

    Each is read, since size and time do not show it: a program may have set the time back.
    """
    lost = await in_thread(lambda: {name: _digest(file) for name, file in touched.items()})
    for number in reversed(await catalog.numbers()):
        if not lost:
            return
        for version in await catalog.versions([number]):
            known = {file.name: file.digest for file in await catalog.files(version)}
            lost = {name: digest for name, digest in lost.items() if digest != known.get(name, b"")}
    if lost:
        raise StorageConflictError(
            f"{_shown(lost)} would be lost: no version of the dataset {catalog.name!r} has that; "
            "save one first, or discard it"
        )


def _changed(names: Sequence[str], *, applied: Applied) -> StorageConflictError:
    what = "nothing was changed here" if applied == "no" else "all else was brought to the version"
    return StorageConflictError(
        f"{_shown(names)} changed while the version was fetched, and stayed as it is; {what}", applied=applied
    )


def _shown(lost: Iterable[str]) -> str:
    names = sorted(lost)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(map(repr, names[:_SHOWN]))}{more}"


def _files(folder: Path, store: StorageProvider) -> dict[str, SourceFile]:
    if not os.path.lexists(folder):
        return {}
    return {file.name: file for file in find_files(folder, store)}


def _differing(
    there: Mapping[str, SourceFile],
    wanted: Mapping[str, FileEntry],
    since: Mapping[str, FileState] | None = None,
) -> list[str]:
    return sorted(name for name in there.keys() & wanted.keys() if not _is(there[name], wanted[name], since))


def _is(file: SourceFile, entry: FileEntry, since: Mapping[str, FileState] | None) -> bool:
    """Whether a file is what an entry says; its time is set where only that differs."""
    if file.size != entry.size:
        return False
    if file.modified == entry.modified and (since is None or since.get(file.name) == file.state):
        return True
    if _digest(file) != entry.digest:
        return False
    if file.modified != entry.modified and FileState.of(file.path.lstat()) == file.state:
        os.utime(file.path, ns=(entry.modified, entry.modified))
    return True


def _digest(file: SourceFile) -> bytes | None:
    """SHA-256 of a file; None if it is no longer as it was found."""
    try:
        with file.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").digest()
            return found if FileState.of(os.fstat(stream.fileno())) == file.state else None
    except FileNotFoundError:
        return None
