"""What a disk of this machine makes of names, found out without writing to it, and what it says."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from credstore.driver.internal import SEGMENT
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageQuotaExceededError,
)
from credstore.files import is_leftover

_MAX_NAME = 255
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
UNFIT = re.compile(r"[\x00\ud800-\udfff]")


def ignores_case(path: Path) -> bool:
    """Whether a name in a folder, or the folder that is to be there, is found in another case, too.

    Found out by a name that is there, so that nothing is written; without one with a letter, it is not known,
    and False.
    """
    while True:
        with suppress(OSError), os.scandir(path) as found:
            names = (each.name for each in found if each.name.swapcase() != each.name)
            name = next(names, None)
            if name is not None:
                other = name.swapcase()  # Which may be there as another name of the same file.
                return _same(path / name, path / other) and other not in os.listdir(path)  # noqa: PTH208
        name = path.name
        if name.swapcase() != name and path.exists():
            return _same(path, path.with_name(name.swapcase()))
        if path.parent == path:
            return False
        path = path.parent


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one thing."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except OSError:
        return False


def unfit(name: str) -> str | None:
    """Why no file can have this name, or None where one can."""
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "a part of the name is empty, '.' or '..', which cannot be a file"
    if any(len(os.fsencode(part)) > _MAX_NAME for part in parts if not UNFIT.search(part)):
        return f"a part of the name has more than {_MAX_NAME} bytes"
    if UNFIT.search(name) or (os.sep != "/" and os.sep in name):
        return "the name has a character that the name of a file cannot have"
    if any(is_leftover(part) or part == SEGMENT for part in parts):
        return "the name is one of credstore's own"
    return None


def translated(error: OSError, name: str) -> StorageError:
    """What the operating system said, as one of credstore's errors."""
    said = error.strerror or "it failed"
    if error.errno in _FULL:
        return StorageQuotaExceededError(f"the disk is full: {said}", key=name)
    if error.errno in _DENIED:
        return StorageAccessDeniedError(f"the folder does not permit it: {said}", key=name)
    code = ErrorCode.IN_THE_WAY
    if error.errno == errno.EISDIR:
        said = "there is a folder of that name; remove it first"
    elif error.errno == errno.ENOTDIR:
        said = "there is a file where its folder has to be; remove that first"
    else:
        code = ErrorCode.IO_ERROR
    return StorageError(f"the file cannot be written: {said}", code=code, key=name)


def leads_into(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path, links followed, is one of these resolved directories, or is in one."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(root) for root in roots)


def count_below(folder: Path) -> int:
    """What is in a folder and those in it, except folders; 0 where there is none."""
    found = 0
    for root, folders, files in os.walk(folder):
        here = Path(root)
        found += len(files) + sum((here / each).is_symlink() for each in folders)
    return found
