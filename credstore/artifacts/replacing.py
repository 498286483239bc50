"""Files of a folder replaced and removed, each on the condition that it is still what was looked at.

Rules of this file: every file is looked at again right before, and once more after it has left its name in
one step, so that nothing is lost that was written between the two; what changed is given its name back, kept
and named. Where nothing was, nothing is replaced. Where the disk cannot exchange two files, only the look
before counts. It blocks.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from credstore.artifacts.names import folders_of
from credstore.artifacts.sources import SourceFile
from credstore.files import FileState, exchange, hidden_beside, name_if_absent, sync_directory
from credstore.folders import remove_empty


class Replacing:
    """Brings fetched files into a folder, and removes those that are not wanted."""

    def __init__(self, folder: Path, seen: Mapping[str, SourceFile], *, discard: bool) -> None:
        """Look at what folders there are.

        Args:
            folder: Where the files are to be.
            seen: The files that are to be replaced or removed, by name, as they were found.
            discard: Whether files that have changed since are replaced and removed, too.
        """
        self._folder = folder
        self._seen = seen
        self._discard = discard
        self._touched: set[Path] = set()
        # As we have left files that have more names, which changes the time of all.
        self._left: dict[int, FileState] = {}
        # As they are spelled on the disk, which need not be the form that names are kept in.
        self._folders: dict[str, Path] = {}
        for root, _, _ in os.walk(folder):
            name = Path(root).relative_to(folder).as_posix()
            self._folders.setdefault(unicodedata.normalize("NFC", name), Path(root))

    def changed(self, names: Sequence[str]) -> list[str]:
        """Which of these files are no longer as they were found; none if that does not matter."""
        return [] if self._discard else [name for name in names if not self._is_as_seen(name)]

    def _is_as_seen(self, name: str) -> bool:
        file = self._seen.get(name)
        if file is not None:
            return (state := _state(file.path)) is None or self._is(state, file)
        place = self._place(name)
        return not os.path.lexists(place) or _is_folder(place)

    def run(self, pending: Path, fetched: Sequence[str], extra: Sequence[str]) -> list[str]:
        """Remove what is not wanted, then give what was fetched its names; what was kept instead, by name.

        Args:
            pending: The folder with what was fetched.
            fetched: Names of these files.
            extra: Names of the files that are not wanted.

        Raises:
            OSError: The disk failed; the folder has files of both versions.
        """
        kept = [name for name in extra if not self._removed(self._seen[name], pending)]
        self._remove_emptied()
        kept += [name for name in fetched if not self._placed(pending.joinpath(*name.split("/")), name)]
        for parent in self._touched:
            if parent.is_dir():
                sync_directory(parent)
        return sorted(kept)

    def _removed(self, file: SourceFile, pending: Path) -> bool:
        if self._discard:
            file.path.unlink(missing_ok=True)
        elif (state := _state(file.path)) is not None and not (
            self._is(state, file) and self._set_aside(file, hidden_beside(pending / "any"))
        ):
            return False
        self._touched.add(file.path.parent)
        return True

    def _remove_emptied(self) -> None:
        above = {each for path in self._touched for each in (path, *path.parents)}
        for parent in sorted(above, reverse=True):
            if parent != self._folder and parent.is_relative_to(self._folder):
                with suppress(OSError):  # Something is in it.
                    parent.rmdir()
                    self._touched.add(parent.parent)

    def _placed(self, source: Path, name: str) -> bool:
        file = self._seen.get(name)
        place = self._place(name) if file is None else file.path
        if file is None or (state := _state(place)) is None:
            placed = self._named(source, place)
        elif self._discard:
            source.replace(place)
            placed = True
        else:
            try:
                placed = self._is(state, file) and self._exchanged(source, file)
            except FileNotFoundError:  # It is gone by now.
                placed = self._named(source, place)
        if placed:
            self._touched.add(place.parent)
        return placed

    def _set_aside(self, file: SourceFile, aside: Path) -> bool:
        """Take a file away; False if it had changed by then, and has its name again."""
        try:
            file.path.rename(aside)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            file.path.unlink()  # It is on another disk than the folder.
            return True
        if self._was(aside, file):
            return True
        with suppress(FileExistsError):  # Somebody has written another since.
            name_if_absent(aside, file.path)
        return False

    def _exchanged(self, source: Path, file: SourceFile) -> bool:
        """Put one file in the place of another; False if that had changed by then, and has its name again."""
        new = _state(source)
        if not exchange(source, file.path):
            source.replace(file.path)
            return True
        if self._was(source, file):
            return True
        exchange(source, file.path)
        taken = _state(source)
        if new is not None and taken is not None and taken.inode != new.inode:
            exchange(source, file.path)  # Somebody has replaced what was there for this moment.
        return False

    def _was(self, path: Path, file: SourceFile) -> bool:
        """Whether a file that has another name now is as it was found."""
        state = _state(path)
        if state is None or not state.is_but_for_names(file.state):
            return False
        self._left[state.inode] = state
        return True

    def _is(self, state: FileState, file: SourceFile) -> bool:
        return state.has_bytes_of(file.state) or state == self._left.get(file.state.inode)

    def _named(self, source: Path, place: Path) -> bool:
        """Give a file a name that nothing had; False if something has it, or is where a folder has to be."""
        try:
            self._make_folder(place.parent)
            if _is_folder(place):
                remove_empty(place)
            if self._discard:
                source.replace(place)
            else:
                name_if_absent(source, place)
        except (FileExistsError, NotADirectoryError):
            if self._discard:
                raise
            return False
        return True

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._touched.add(folder.parent)

    def _place(self, name: str) -> Path:
        """Where a file is to be that is not there: in the folder that is, however that is spelled."""
        for above in folders_of(name):
            if above in self._folders:
                return self._folders[above].joinpath(*name[len(above) + 1 :].split("/"))
        return self._folder.joinpath(*name.split("/"))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _state(path: Path) -> FileState | None:
    try:
        return FileState.of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None
