"""Instants that callers hand in, checked where they come in, so that no later conversion overflows. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from credstore.errors import StorageError, StorageInvalidRequestError

_ROOM = timedelta(days=2)
"""More than any zone differs from UTC, and than what is added to an instant or taken from it."""
_FIRST = datetime.min.replace(tzinfo=UTC) + _ROOM
_LAST = datetime.max.replace(tzinfo=UTC) - _ROOM


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
