"""What the files of a folder are as entries of a transfer. Pure."""

from __future__ import annotations

from os import stat_result

from credstore.transfer.plan import Entry
from credstore.transfer.sides import seconds


def tag_of(found: stat_result) -> str:
    """The same as long as no one has written to a file, or put another in its place."""
    return f"{found.st_mtime_ns}-{found.st_ino}"


def entry_of(name: str, found: stat_result) -> Entry:
    """A file in the state that it was found in."""
    tag = tag_of(found)
    return Entry(name, found.st_size, seconds(found.st_mtime_ns), tag, tag)


def marker_of(name: str, found: stat_result) -> Entry:
    """An empty folder, which has no state but that it is there."""
    return Entry(name, 0, None, f"folder-{found.st_ino}", f"folder-{found.st_ino}")


def refused(name: str, why: str, *, fault: bool) -> Entry:
    """What cannot be transferred, and why."""
    return Entry(name, 0, None, "", "", why, fault)
