"""What a process remembers of logs on its own disk: the last states it saw, and evidence of forks.

Rules of this file: a state is on the disk before anything relies on it; evidence is never removed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from credstore.arguments import typed, typed_class
from credstore.concurrency import in_thread
from credstore.errors import ErrorCode, StorageConfigurationError, StorageError
from credstore.files import write_file
from credstore.proofs.log.note import LARGEST_NOTE

Role = Literal["client", "sequencer", "witness"]


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

    def _path(self, origin: str, role: Role) -> Path:
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.{role}"

    async def load(self, origin: str, role: Role = "client") -> bytes | None:
        """The note that was kept last, or None.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """

        def work() -> bytes | None:
            try:
                with self._path(origin, role).open("rb") as file:
                    return file.read(LARGEST_NOTE + 1)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _failed(error, self._path(origin, role)) from None

        return await in_thread(work)

    @typed
    async def save(self, origin: str, note: bytes, role: Role = "client") -> None:
        """Keep a note; it is on the disk when this returns.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """
        await self._write(self._path(origin, role), note)

    @typed
    async def save_fork(self, note_a: bytes, note_b: bytes) -> Path:
        """Keep the two notes of a fork; returns the file they are in, one after the other.

        Raises:
            StorageError: The disk failed (code "IO_ERROR").
        """
        both = note_a + b"\n" + note_b
        path = self.folder / "forks" / f"{hashlib.sha256(both).hexdigest()}.txt"
        await self._write(path, both)
        return path

    async def _write(self, path: Path, data: bytes) -> None:
        def work() -> None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, data, replace=True)
            except OSError as error:
                raise _failed(error, path) from None

        await in_thread(work)


def _failed(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"what is remembered of the log cannot be used: {error.strerror}",
        code=ErrorCode.IO_ERROR,
        key=str(path),
    )
