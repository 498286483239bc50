"""What a process remembers of logs on its own disk: the last states it saw, and evidence of forks.

Rules of this file: a state is on the disk before anything relies on it; a smaller one never replaces a larger
one, whoever is slower; evidence is never removed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

from credstore.arguments import typed, typed_class
from credstore.concurrency import in_thread, joined
from credstore.errors import ErrorCode, StorageConfigurationError, StorageError
from credstore.files import locked, write_file
from credstore.proofs.log.note import LARGEST_NOTE
from credstore.threads import in_daemon

Role = Literal["client", "sequencer", "witness"]
_LOCK = ".lock"
# The second line of a checkpoint, or the third of a lock.
_SIZE = re.compile(rb"[^\n]*\n(?:[^\n]*\nsize )?([0-9]{1,19})\n")


@typed_class
class LogMemory:
    """A folder with the last signed state of each log that was seen.

    Attributes:
        folder: Made when something is first written.
    """

    def __init__(self, folder: str | Path) -> None:
        """Use a folder, which outlives the process and is restored with nothing else.

        Raises:
            StorageConfigurationError: It is empty.
        """
        if not str(folder):
            raise StorageConfigurationError("name the folder that remembers the state of logs")
        self.folder = Path(folder)

    def path(self, origin: str, role: Role = "client") -> Path:
        """Where a state is kept."""
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.{role}"

    async def load(self, origin: str, role: Role = "client") -> bytes | None:
        """The note that was kept last, or None.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """

        def work() -> bytes | None:
            try:
                with self.path(origin, role).open("rb") as file:
                    return file.read(LARGEST_NOTE + 1)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _failed(error, self.path(origin, role)) from None

        return await in_thread(work)

    @typed
    async def save(self, origin: str, note: bytes, role: Role = "client") -> None:
        """Keep a note, unless one of the same or a larger size is kept; it is on the disk when this returns.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """
        path = self.path(origin, role)

        def work() -> None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with locked(self.folder / _LOCK):
                    if _size_of(note) > _size_in(path):
                        write_file(path, note, replace=True)
            except OSError as error:
                raise _failed(error, path) from None

        await joined(in_daemon(work))  # Another process may have the lock.

    @typed
    async def save_fork(self, note_a: bytes, note_b: bytes) -> Path:
        """Keep the two notes of a fork; returns the file they are in, one after the other.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """
        both = note_a + b"\n" + note_b
        path = self.folder / "forks" / f"{hashlib.sha256(both).hexdigest()}.txt"

        def work() -> None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, both, replace=True)
            except OSError as error:
                raise _failed(error, path) from None

        await in_thread(work)
        return path


def _size_of(note: bytes) -> int:
    """The size that a note is about; 0 for what is neither a checkpoint nor a lock."""
    found = _SIZE.match(note)
    return 0 if found is None else int(found[1])


def _size_in(path: Path) -> int:
    """The size of the note that is kept; -1 where nothing is."""
    try:
        with path.open("rb") as file:
            return _size_of(file.read(LARGEST_NOTE))
    except FileNotFoundError:
        return -1


def _failed(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"what is remembered of the log cannot be used: {error.strerror}",
        code=ErrorCode.IO_ERROR,
        key=str(path),
    )
