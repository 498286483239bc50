"""Which versions a rule keeps: "7d,4w,12m" or a number. Pure.

As in Borg's and restic's rules, "7d" keeps the last version of each of the last seven days that have one,
"4w" of the last four ISO weeks, "12m" of the last twelve months, in UTC; a number keeps that many of the last
ones. What any part keeps is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from credstore.errors import StorageInvalidRequestError

_PART = re.compile(r"([1-9][0-9]{0,5})([hdwmy]?)")
_PERIODS: Mapping[str, Callable[[datetime], object]] = MappingProxyType(
    {
        "h": lambda time: (time.date(), time.hour),
        "d": lambda time: time.date(),
        "w": lambda time: time.isocalendar()[:2],
        "m": lambda time: (time.year, time.month),
        "y": lambda time: time.year,
    }
)
_SPANS = MappingProxyType(
    {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)},
)

Keep = int | str
"""How many of the last versions to keep, or a rule such as "7d,4w,12m"; units are h, d, w, m and y."""


def checked_keep(keep: Keep) -> tuple[tuple[int, str], ...]:
    """The parts of a rule: numbers with their units, "" for the last versions.

    Raises:
        StorageInvalidRequestError: It is invalid.
    """
    text = str(keep) if type(keep) is int else keep
    found = [_PART.fullmatch(part.strip()) for part in text.split(",")] if isinstance(text, str) else [None]
    parts = tuple((int(part[1]), part[2]) for part in found if part)
    if len(parts) != len(found):
        raise StorageInvalidRequestError(
            f"`keep` is a number from 1, or a rule such as '7d,4w,12m', not {keep!r}"
        )
    return parts


def kept(versions: Sequence[tuple[int, datetime]], keep: Keep) -> frozenset[int]:
    """Numbers of the versions that a rule keeps; the last one is always among them.

    Args:
        versions: Number and time of each.
        keep: The rule.

    Raises:
        StorageInvalidRequestError: The rule is invalid.
    """
    parts = checked_keep(keep)
    newest = sorted(versions, key=lambda each: (each[1], each[0]), reverse=True)
    # The largest number is never removed, so that no number is given twice.
    keeping = {max(number for number, _ in versions)} if versions else set[int]()
    for count, unit in parts:
        seen: set[object] = set()
        for number, time in newest:
            period = _PERIODS[unit](time.astimezone(UTC)) if unit else number
            if period in seen:
                continue
            if len(seen) == count:
                break
            seen.add(period)
            keeping.add(number)
    return frozenset(keeping)


def checked_age(age: str | timedelta) -> timedelta:
    """An age such as "7d", "12h" or "2w".

    Raises:
        StorageInvalidRequestError: It is invalid or negative.
    """
    if isinstance(age, timedelta):
        if age < timedelta(0):
            raise StorageInvalidRequestError("an age cannot be negative")
        return age
    part = _PART.fullmatch(age.strip())
    if part is None or part[2] not in _SPANS:
        raise StorageInvalidRequestError(f"an age is such as '12h', '7d' or '2w', not {age[:40]!r}")
    return int(part[1]) * _SPANS[part[2]]
