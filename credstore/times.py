"""Instants, checked where callers and stores hand them in, so that no later conversion overflows. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from credstore.errors import StorageError, StorageInvalidRequestError

_ROOM = timedelta(days=2)
"""More than any zone differs from UTC, and than what is added to an instant or taken from it."""
_FIRST = datetime.min.replace(tzinfo=UTC) + _ROOM
_LAST = datetime.max.replace(tzinfo=UTC) - _ROOM
_ISO_TIME = re.compile(r"\d{4}(-?)\d\d\1\d\d[Tt ]\d\d", re.ASCII)
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_LONGEST = 64
"""Characters of a date that is remembered: nothing keeps all that a server can send in place of one."""
_NOT_A_DATE = (ValueError, OverflowError, TypeError, IndexError)
"""What reading a text raises that is not a date, or one before year 1 or after 9999 in UTC."""
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


def checked_instant(
    name: str, time: datetime, error: type[StorageError] = StorageInvalidRequestError
) -> datetime:
    """An instant in UTC.

    Args:
        name: Of the argument, for the message.
        time: With its time zone.
        error: Class of the error.

    Raises:
        StorageError: Of this class: the time has no zone, or is within two days of an end of the calendar.
    """
    if time.tzinfo is None or time.utcoffset() is None:
        raise error(f"`{name}` has no time zone; give it one, such as datetime.UTC")
    if not _FIRST <= time <= _LAST:  # Comparing does not overflow, unlike converting.
        raise error(f"`{name}` is not within the years 1 to 9999 in UTC")
    return time.astimezone(UTC)


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 (XML) or HTTP (header) date as UTC, or None if `datetime` cannot hold it."""
    if not text or not (text := text.strip()):
        return None
    if text[-1] == "T" and len(text) <= _LONGEST:
        return _in_gmt(text)
    found: datetime | None
    try:
        if text[-1] == "Z" and text[4] == text[7] == "-" and text[10] == "T":  # As S3 writes it.
            found = datetime.fromisoformat(text)
        else:
            found = _parsed(text)
        return found if found is None or found.tzinfo is UTC else _in_utc(found)
    except _NOT_A_DATE:
        return None


@lru_cache(maxsize=1024)
def _in_gmt(text: str) -> datetime | None:
    """An HTTP date, which ends in GMT; nearly all headers have one, and many the same."""
    try:
        found = _parsed(text)
        return None if found is None else _in_utc(found)
    except _NOT_A_DATE:
        return None


def _parsed(text: str) -> datetime | None:
    if not text[:1].isdigit():
        return _parse_http_date(text)
    # Not seconds since 1970, say, some of which would pass for a date.
    return datetime.fromisoformat(text) if _ISO_TIME.match(text) else None


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _parse_http_date(text: str) -> datetime:
    """An HTTP date; the usual form (RFC 9110 §5.6.7) takes a tenth of the library's time."""
    match = _IMF_FIXDATE.fullmatch(text)
    month = _MONTHS.find(match[2]) if match else -1
    if match is None or month < 0:
        from email.utils import (
            parsedate_to_datetime,  # Loads all of email, for forms of a date that are rare.
        )

        return parsedate_to_datetime(text)
    day, _, year, hour, minute, second = match.groups()
    return datetime(int(year), month // 3 + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
