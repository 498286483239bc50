"""Pure: which file holds a key, and which key a file holds.

Rules of this file: no I/O. A key's segments (split at "/") are file names as they are, so files of
other tools keep their names and credstore's can be read by them. What a file system cannot hold, or what
starts with the reserved word, is escaped below names that start with `.credstore`:

- `.credstore-TEXT` is the segment that TEXT spells, with `%xx` for every byte outside `a-z0-9_.-`, and
  with `fold` for a dot at the end of a name;
- `.credstore+TEXT/` is the beginning of a segment too long for one name, continued inside;
- `.credstore=TEXT` is an object whose own name is taken by a directory (`a` next to `a/b`).

There is exactly one spelling of a segment, so keys never collide; `fold` escapes what a file system
that ignores case or normalises Unicode would confuse.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

RESERVED = ".credstore"
CONTROL = RESERVED
"""The directory of attributes, locks and temporary files."""
ESCAPED, CONTINUED, ASIDE = (RESERVED + mark for mark in "-+=")
MAX_NAME = 255
"""Bytes of one file name on every common file system."""
MAX_KEY = 1024
_PIECE = 240 // 3 * 3

_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.-")
_ITSELF = re.compile(rf"[a-z0-9_][a-z0-9_.-]{{0,{_PIECE - 2}}}[a-z0-9_-]")
"""What most segments are, and what needs no escape."""
_RUN = 4096
"""Names that are searched as one text."""
_RESERVED = re.compile(f"/({re.escape(RESERVED)}[^/]*)")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_FOLDABLE = re.compile(r"[^\x20-\x40\x5b-\x7d]")
"""What is not the same in every case and form; and `~`, which is in the second, short name that file
systems of this kind may give a file: `credst~1` is the control directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object can be: the directories, starting at the root, and the file's name."""

    directories: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Spelling:
    """What one directory entry means.

    Attributes:
        text: The segment, or the beginning of its escaped text where `continued`.
        aside: The entry is an object next to a directory of its name.
        continued: The entry is a directory inside which the segment continues.
    """

    text: str
    aside: bool = False
    continued: bool = False


def primary(key: str, *, fold: bool = False) -> Place:
    """The file where the object `key` is unless a directory has that name."""
    path, last = _parted(key, fold=fold)
    *more, name = _names(last, fold=fold)
    return Place((*path, *more), name)


def aside(key: str, *, fold: bool = False) -> Place:
    """The file where the object `key` is if its primary name is taken by something else."""
    path, last = _parted(key, fold=fold)
    *more, name = _escape(last, ASIDE, fold=fold)
    return Place((*path, *more), name)


def places(key: str, *, fold: bool = False) -> tuple[Place, Place]:
    """Both, which in an ordinary key have the same directories."""
    path, last = _parted(key, fold=fold)
    *more, name = _names(last, fold=fold)
    *beside, other = _escape(last, ASIDE, fold=fold)
    return Place((*path, *more), name), Place((*path, *beside), other)


def _parted(key: str, *, fold: bool) -> tuple[tuple[str, ...], str]:
    """The directory of a key's last segment, and that."""
    above, slash, last = key.rpartition("/")
    return (_directory(above, fold=fold) if slash else ()), last


@lru_cache(1024)
def _directory(above: str, *, fold: bool) -> tuple[str, ...]:
    """Many keys have the same segments above their last one."""
    return directory(above.split("/"), fold=fold)


@lru_cache(1024)
def key_digest(key: str) -> str:
    """SHA-256 of a key in hex, which names what is kept with its object; a write needs it three times."""
    return hashlib.sha256(key.encode()).hexdigest()


def directory(segments: Sequence[str], *, fold: bool = False) -> tuple[str, ...]:
    """The directory below which all keys that begin with these segments are."""
    return tuple(name for segment in segments for name in _names(segment, fold=fold))


def _names(segment: str, *, fold: bool) -> tuple[str, ...]:
    return (segment,) if _is_plain(segment, fold=fold) else _escape(segment, ESCAPED, fold=fold)


def _is_plain(segment: str, *, fold: bool) -> bool:
    return (
        segment not in {"", ".", ".."}
        and not segment.lower().startswith(RESERVED)
        and len(segment.encode()) <= MAX_NAME
        and not (fold and (_FOLDABLE.search(segment) is not None or segment.endswith((".", " "))))
    )


def _escape(segment: str, last: str, *, fold: bool) -> tuple[str, ...]:
    if _ITSELF.fullmatch(segment) is not None:
        return (last + segment,)
    atoms = [chr(byte) if byte in _PLAIN_BYTES else f"%{byte:02x}" for byte in segment.encode()]
    pieces: list[str] = [""]
    for atom in atoms:
        if len(pieces[-1]) + len(atom) > _PIECE:
            pieces.append("")
        pieces[-1] += atom
    # FAT drops the dots at the end of a name, so that two names would be one; the control directory's own
    # name has no second spelling even before the file system is known.
    if fold or segment.lower().startswith(RESERVED):
        pieces = [f"{piece[:-1]}%2e" if piece.endswith(".") else piece for piece in pieces]
    return (*(CONTINUED + piece for piece in pieces[:-1]), last + pieces[-1])


def reserved(names: list[str]) -> list[str]:
    """Those of many names that start with the reserved word, in their order.

    One search of all of them as one text takes a fifth of the time of a look at each.
    """
    found: list[str] = []
    for start in range(0, len(names), _RUN):
        found += _RESERVED.findall("/" + "/".join(names[start : start + _RUN]))
    return found


def parse(name: str, start: str = "", *, fold: bool = False) -> Spelling | None:
    """What the directory entry `name` means; None where it is not part of any key.

    Args:
        name: The entry, as `os.fsdecode` gives it.
        start: Escaped text of the continued directories it is in, joined.
        fold: As given when the names were made.
    """
    if _UNFIT.search(name) or len(name) < 1:
        return None
    if name.startswith(CONTINUED):
        return Spelling(start + name[len(CONTINUED) :], continued=True)
    for mark in (ESCAPED, ASIDE):
        if name.startswith(mark):
            return _unescape(start + name[len(mark) :], mark, fold=fold)
    if start or not _is_plain(name, fold=fold):
        return None
    return Spelling(name)


def _unescape(escaped: str, mark: str, *, fold: bool) -> Spelling | None:
    try:
        segment = unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return None
    if _UNFIT.search(segment) or "/" in segment:
        return None
    if mark == ESCAPED and _is_plain(segment, fold=fold):
        return None
    joined = "".join(name[len(mark) :] for name in _escape(segment, mark, fold=fold))
    return Spelling(segment, aside=mark == ASIDE) if joined == escaped else None
