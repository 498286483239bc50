"""The token of a resumable upload as a file: complete or absent, private, and checked when read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import cast

from credstore.concurrency import in_thread
from credstore.driver.values import ResumeToken
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.files import PRIVATE, write_file

VERSION = 1
_LARGEST = 64 * 1024
_TYPES = {each.name: int if each.name in {"size", "part_size"} else str for each in fields(ResumeToken)}


class FileJournal:
    """A `Journal` in one file of JSON."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the file; nothing is touched yet.

        Raises:
            StorageInvalidRequestError: The argument is not a path.
        """
        try:
            self._path = Path(path)
        except TypeError:
            raise StorageInvalidRequestError(
                f"resume is the path of a file, not {type(path).__name__}"
            ) from None

    async def load(self) -> ResumeToken | None:
        """The token; None if there is no file.

        Raises:
            StorageInvalidRequestError: The file cannot be read, or is not a token.
        """
        try:
            text = await in_thread(self._read)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from None
        token = _parse(text)
        if token is None:
            raise StorageInvalidRequestError(
                f"the file {str(self._path)!r} is not a valid resume file; delete it to start again",
                code=ErrorCode.RESUME_MISMATCH,
            )
        return token

    async def save(self, token: ResumeToken) -> None:
        """Write the file.

        Raises:
            StorageInvalidRequestError: It cannot be written.
        """
        try:
            await in_thread(
                write_file,
                self._path,
                json.dumps({"version": VERSION, **asdict(token)}).encode(),
                replace=True,
                mode=PRIVATE,
            )
        except OSError as error:
            raise self._failed("write", error) from None

    async def clear(self) -> None:
        """Remove the file; a missing one is not an error.

        Raises:
            StorageInvalidRequestError: It cannot be removed.
        """
        try:
            await in_thread(self._path.unlink, missing_ok=True)
        except OSError as error:
            raise self._failed("remove", error) from None

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(_LARGEST)

    def _failed(self, what: str, error: OSError) -> StorageInvalidRequestError:
        return StorageInvalidRequestError(
            f"cannot {what} the resume file {str(self._path)!r}: {error.strerror or error}"
        )


def _parse(text: bytes) -> ResumeToken | None:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    facts = cast("dict[str, object]", found)
    if facts.pop("version", None) != VERSION or facts.keys() != _TYPES.keys():
        return None
    if not all(type(value) is _TYPES[name] for name, value in facts.items()):
        return None
    token = ResumeToken(**cast("dict[str, str]", facts))  # type: ignore[arg-type]  # checked just above
    return token if token.size > 0 and token.part_size > 0 else None
