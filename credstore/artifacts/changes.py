"""What differs between two versions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from credstore.artifacts.index import FileEntry


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of files, ascending; modes and times are not compared.

    Attributes:
        added: Only in the newer version.
        removed: Only in the older version.
        changed: In both, with other bytes.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def changes(older: Iterable[FileEntry], newer: Iterable[FileEntry]) -> Changes:
    """Compare the files of two versions by name and SHA-256."""
    before = {file.name: (file.type, file.digest) for file in older}
    after = {file.name: (file.type, file.digest) for file in newer}
    return Changes(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )
