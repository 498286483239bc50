"""Conditional and range requests. Pure.

Source: RFC 9110 §8.8.2.2 (what a date can prove), §8.8.3 (entity tags), §13 (conditions and their order),
§14 (ranges).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range")
"""The headers that are read here."""
_ELEMENT = re.compile(r'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\uffff]*"|\*|)[ \t]*(?:,|\Z)')
"""One of a list of entity tags, which may also be empty (RFC 9110 §5.6.1.2)."""
_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
SETTLING = 2.0
"""Seconds within which a version can be followed by another one with the same date: HTTP's dates have
seconds, and no common file system's times are coarser than two."""
_COLONS = 2
"""In a date of any of HTTP's three forms."""
_LONGEST = 20
"""Maximum number of digits in a position; far more than any object needs."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a representation.

    Attributes:
        start: First byte.
        end: One past the last byte; equal to `start` where the range cannot be satisfied.
    """

    start: int
    end: int


def entity_tag(version: str, coding: str) -> str:
    """A strong entity tag, quoted: different for each version and each coding of an object."""
    told = hashlib.sha256(f"{coding}\n{version}".encode("utf-8", "surrogateescape")).hexdigest()
    return f'"{told[:32]}"'


def is_settled(modified: datetime | None, now: float) -> bool:
    """Whether a date identifies the version: no later one can have the same date.

    Args:
        modified: When the object was written, or None.
        now: Unix time in seconds.
    """
    return modified is None or now >= int(modified.timestamp()) + SETTLING


def failed_condition(
    headers: Mapping[str, str], tag: str | None, modified: datetime | None, *, settled: bool = True
) -> int | None:
    """The status that ends the request, 304 or 412, or None if its conditions hold.

    Args:
        headers: Of the request, by the names in `CONDITIONS`, each with the values of all its lines.
        tag: Of the representation it would get, or None if there is none.
        modified: When the object was written, or None.
        settled: Whether that date belongs only to this version; if not, it counts as later than any in a
            condition.
    """
    if modified is not None and not settled:
        modified = datetime.max.replace(tzinfo=UTC)
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match is not None:
        stale = not _names(match, tag, weak=False)
    else:
        stale = _written_after(modified, headers.get("If-Unmodified-Since")) is True
    if stale:
        return 412
    if none_match is not None:
        known = _names(none_match, tag, weak=True)
    else:
        known = _written_after(modified, headers.get("If-Modified-Since")) is False
    return 304 if known else None


def chosen_span(headers: Mapping[str, str], tag: str | None, size: int) -> Span | None:
    """The one range asked for, or None if the whole representation is to be sent.

    Several ranges get the whole, and so does an If-Range that is not this representation's strong tag: a date
    in it only has seconds, and cannot tell two codings apart.

    Args:
        headers: As for `failed_condition`.
        tag: Of the representation.
        size: In bytes.
    """
    match = _RANGE.fullmatch(headers.get("Range", ""))
    condition = headers.get("If-Range")
    if match is None or (condition is not None and (tag is None or condition.strip() != tag)):
        return None
    first, last = match[1], match[2]
    if max(len(first), len(last)) > _LONGEST or not (first or last):
        return None
    if not first:
        start, end = size - min(int(last), size), size
    else:
        start, end = int(first), int(last) + 1 if last else size
        if last and end <= start:
            return None
    return Span(start, min(end, size)) if start < size else Span(0, 0)


def _names(listed: str, tag: str | None, *, weak: bool) -> bool:
    """Whether a list of entity tags, in which `*` is any, names this one."""
    # A comma may be part of a tag, so the list is read from the left, not split.
    position, named = 0, False
    while position < len(listed):
        match = _ELEMENT.match(listed, position)
        if match is None:
            return False
        each = match[1]
        named |= each == "*" or (each.removeprefix("W/") if weak else each) == tag
        position = match.end()
    return named


def _written_after(modified: datetime | None, text: str | None) -> bool | None:
    """Whether the object is newer than an HTTP date, in seconds; None if either is not known."""
    # Of two dates, neither counts (RFC 9110 §13.1.3), and the parser would take the first.
    if modified is None or text is None or text.count(":") > _COLONS:
        return None
    try:
        limit = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return modified.replace(microsecond=0) > (limit if limit.tzinfo else limit.replace(tzinfo=UTC))
