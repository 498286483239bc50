"""Version stamps: which of two versions of one object is the newer, whatever any clock says later. Pure.

A stamp is the instant of the write in nanoseconds, except that it never goes backwards: it is always greater
than any stamp that this process has made or seen (a hybrid logical clock, Kulkarni and others, 2014). It is
kept with the object as system metadata, 16 hex digits, the same on all replicas. Equal instants are ordered
by write-id, so that every reader picks the same version; both together are its entity tag. An object without
a stamp was stored past the strategy; it is older than any with one, and such objects are ordered by when they
were last modified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple

from credstore.driver.values import SYSTEM_PREFIX, ObjectInfo
from credstore.model import NOTHING
from credstore.quick import changed

STAMP = f"{SYSTEM_PREFIX}stamp"
"""Name of the stamp in system metadata; the strategy alone sees it."""
_DIGITS = 16
_STEP = 1000
"""Nanoseconds from a stamp to the next one at least; copies of an object onto itself lie between."""
_LIMIT = 1 << 63
_USUAL = re.compile(r"(?!0{16})[0-7][0-9a-f]{15}-[0-9a-f]{32}").fullmatch


class Stamp(NamedTuple):
    """Orders versions of one object.

    Attributes:
        time: Nanoseconds since 1970; 0 for an object that was stored past the strategy.
        tie: Decides between equal instants.
    """

    time: int
    tie: str


class HybridClock:
    """Makes stamps that ascend, also beyond those that others have made."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """Have seen nothing yet.

        Args:
            wall: Unix seconds.
        """
        self._wall = wall
        self._last = 0

    def next(self) -> int:
        """The time of a new stamp."""
        self._last = max(int(self._wall() * 1_000_000_000), self._last + _STEP)
        return self._last

    def saw(self, stamp: Stamp) -> None:
        """Make all later stamps greater than this one."""
        self._last = max(self._last, stamp.time)


def stamped(system: Mapping[str, str], time: int) -> dict[str, str]:
    """System metadata with a stamp."""
    return {**system, STAMP: f"{time:0{_DIGITS}x}"}


def stamp_of(info: ObjectInfo) -> Stamp:
    """The stamp of what `head` reports; a damaged one counts as none."""
    text = (info.system or {}).get(STAMP, "")
    try:
        time = int(text, 16) if len(text) == _DIGITS and text.isalnum() else 0
    except ValueError:
        time = 0
    if 0 < time < _LIMIT:
        return Stamp(time, info.write_id or "")
    modified = 0.0 if info.last_modified is None else info.last_modified.timestamp()
    return Stamp(0, f"{modified:020.6f} {info.write_id or ''}")


def same_version(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether two members hold the same version of an object.

    Without stamps, as when replicas were made by other tools, equal write-ids or digests decide; without
    either, only what one member says of the same version twice is equal.
    """
    first, second = stamp_of(one), stamp_of(other)
    if first.time or second.time:
        return first == second
    if one.write_id is not None and other.write_id is not None:
        return one.write_id == other.write_id
    if one.digest or other.digest:
        return one.digest == other.digest
    return (one.etag, one.size, one.last_modified) == (other.etag, other.size, other.last_modified)


def etag_of(stamp: Stamp) -> str:
    """The entity tag of a version with a stamp: the same whichever member responds, and after any repair.

    >>> etag_of(Stamp(0x18B5C2F0A1B2C3D4, "6f1d0c3b5a494e0f8f4f7f0b1c2d3e4f"))
    '18b5c2f0a1b2c3d4-6f1d0c3b5a494e0f8f4f7f0b1c2d3e4f'
    """
    tie = stamp.tie  # A write-id as any other program left it may end up in a header.
    if not (tie.isalnum() and tie.isascii()):
        tie = sha256(tie.encode(errors="surrogatepass")).hexdigest()[: _DIGITS * 2]
    return f"{stamp.time:0{_DIGITS}x}-{tie}"


def etag_at_once(info: ObjectInfo) -> str | None:
    """The same as `etag_of(stamp_of(info))` where both parts are as this strategy writes them; else None."""
    etag = f"{(info.system or NOTHING).get(STAMP)}-{info.write_id}"
    return etag if _USUAL(etag) else None


def etag_shown(info: ObjectInfo, stamp: Stamp) -> str | None:
    """The entity tag that readers get; for an object without a stamp of what `same_version` goes by, too.

    Args:
        info: As a member reports it.
        stamp: Of it.
    """
    if stamp.time:
        return etag_of(stamp)
    if info.write_id is not None:
        return etag_of(Stamp(0, info.write_id))
    return etag_of(Stamp(0, info.digest.hex())) if info.digest else info.etag


def unstamped(system: Mapping[str, str] | None) -> dict[str, str]:
    """System metadata as the writer gave it, without the stamp."""
    kept = dict(system or {})
    kept.pop(STAMP, None)
    return kept


def as_shown(info: ObjectInfo, etag: str | None, label: str, *, degraded: bool = False) -> ObjectInfo:
    """The facts as the writer gave them, without the stamp.

    Args:
        info: As a member reports it.
        etag: As `etag_shown` makes it.
        label: Of the member.
        degraded: See `ObjectInfo`.
    """
    return changed(
        info,
        {
            "system": unstamped(info.system),
            "etag": etag,
            "served_by": label,
            "degraded": degraded,
        },
    )
