"""Names of files, artifacts and tags: one spelling each, and none that leads out of a folder. Pure.

Names of files come from a store that others may write to, and become paths on this machine.
"""

from __future__ import annotations

import re
import unicodedata

from credstore.errors import StorageInvalidRequestError

LONGEST_PATH = 4096
"""Bytes of UTF-8 in the path of a file, as Linux's PATH_MAX."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DRIVE = re.compile(r"[A-Za-z]:")


def checked_name(what: str, name: str) -> str:
    """The name of an artifact or tag: 1 to 100 of `A-Z a-z 0-9 . _ -`, the first a letter or digit.

    Raises:
        StorageInvalidRequestError: It is invalid.
    """
    if not _NAME.fullmatch(name):
        raise StorageInvalidRequestError(
            f"{name[:120]!r} is not the name of a {what}: 1 to 100 letters, digits, '.', '_' and '-'"
        )
    return name


def file_name(path: str) -> str:
    """The one spelling of a file's relative path: segments joined by "/", in Unicode's form NFC.

    Raises:
        StorageInvalidRequestError: It cannot be a file's path on every system, or leads elsewhere.
    """
    name = unicodedata.normalize("NFC", path)
    if reason := _refusal(name):
        raise StorageInvalidRequestError(f"the file {path[:200]!r} cannot be kept: its path {reason}")
    return name


def is_file_name(name: str) -> bool:
    """Whether `name` is the one spelling of a relative path that stays inside its folder."""
    return unicodedata.normalize("NFC", name) == name and stays_inside(name)


def folders_of(name: str) -> list[str]:
    """The folders that a name is in.

    >>> folders_of("a/b/c")
    ['a/b', 'a']
    """
    found: list[str] = []
    while (end := name.rfind("/")) > 0:
        name = name[:end]
        found.append(name)
    return found


def stays_inside(name: str) -> bool:
    """Whether `name` is a relative path that stays inside its folder, in any spelling."""
    return not _refusal(name)


def _refusal(name: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not 1 <= size <= LONGEST_PATH:
        return f"does not have 1 to {LONGEST_PATH} bytes"
    if "\\" in name or any(unicodedata.category(each) == "Cc" for each in name):
        return "has a backslash or a control character"
    if _DRIVE.match(name):
        return "starts with the letter of a drive"
    if any(segment in {"", ".", ".."} for segment in name.split("/")):
        return "is absolute, or has an empty segment, '.' or '..'"
    return ""
