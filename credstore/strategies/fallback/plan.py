"""What the fallback strategy decides, without carrying it out. Pure.

- A write moves on to the fallback only where the primary's error proves that it did not apply it *and* says
  that the primary is down, not that the request is wrong. What a policy denies at the primary is not stored
  elsewhere.
- A read moves on after anything but a wrong request. "Not found" needs both to say so.
- Of two versions of one object the newer counts, and the primary's if that is unclear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from credstore.driver.values import Capabilities, ObjectInfo, Page
from credstore.errors import (
    RetentionMode,
    StorageAuthenticationError,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.model import Method

_LINKS: frozenset[Method] = frozenset({"GET", "HEAD"})
"""A link for a write would bypass the strategy."""
_OUT_OF_ORDER = (
    StorageAuthenticationError,
    StorageConnectionError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
_WRONG_REQUEST = (StorageInvalidRequestError, StorageUnsupportedError)


def able_together(primary: Capabilities, fallback: Capabilities) -> Capabilities:
    """What two members can do as one store.

    Without versions there is no retention: a write that is diverted would replace what the other member
    keeps.
    """
    both = primary.meet(fallback)
    return replace(
        both,
        writable=primary.writable,  # What the fallback cannot take is not diverted.
        conditional_create=False,
        conditional_replace=False,
        conditional_delete=False,
        versions=False,
        ordered=True,  # A member that has an order of its own is sorted.
        resumable=False,
        upload_forms=False,  # What a form stores would bypass the strategy.
        presign=both.presign & _LINKS,
        retention_modes=both.retention_modes if both.versions else frozenset[RetentionMode](),
        legal_holds=both.legal_holds and both.versions,
    )


def write_moves_on(error: StorageError, *, repeatable: bool) -> bool:
    """Whether a write that failed at the primary with this error may go to the fallback.

    Args:
        error: Of the primary.
        repeatable: Whether the body can be sent again, or was not touched.
    """
    return error.applied == "no" and isinstance(error, _OUT_OF_ORDER) and repeatable


def read_moves_on(error: StorageError) -> bool:
    """Whether a read that failed at the primary with this error is tried at the fallback."""
    return not isinstance(error, _WRONG_REQUEST)


def is_absence(error: StorageError) -> bool:
    """Whether the member responded that it has no such object."""
    return isinstance(error, StorageObjectNotFoundError)


def of_both(first: StorageError, second: StorageError, label: str) -> StorageError:
    """The one error for a call that failed at both members.

    Args:
        first: Of the primary.
        second: Of the fallback.
        label: The fallback's.
    """
    if is_absence(second):
        return first
    if is_absence(first):
        return _named(second, f"the primary has no such object, and {label} could not be asked")
    error = _named(first, f"and {label} failed too ({second.message} [{second.code}])")
    error.applied = second.applied
    error.retryable = first.retryable or second.retryable
    return error


def not_diverted(error: StorageError, label: str) -> StorageError:
    """The primary's error for a write that a read-only fallback cannot take over.

    Args:
        error: Of the primary.
        label: The fallback's.
    """
    return _named(error, f"{label} is read-only, so it did not take over")


def undone(error: StorageError, *, failed: str, done: str) -> StorageError:
    """The error of a delete that reached only one member."""
    told = _named(error, f"deleted at {done}, but not at {failed}; deleting again is harmless")
    told.applied = "maybe"
    return told


def alone(error: StorageError, *, failed: str, works: str) -> StorageError:
    """The error of a health check that one member failed."""
    return _named(error, f"this is {failed}; {works} works")


def _named(error: StorageError, remark: str) -> StorageError:
    return type(error)(f"{error.message} ({remark})", **error.facts())


def newer(first: ObjectInfo, second: ObjectInfo) -> ObjectInfo:
    """Which of the members' versions of one object counts; `first` is the primary's."""
    if first.last_modified is None or second.last_modified is None:
        return first
    return second if second.last_modified > first.last_modified else first


@dataclass(frozen=True, slots=True)
class Position:
    """Where a merged listing continues.

    Attributes:
        after: Last key listed, or None at the start.
        cursors: Each member's cursor of the page to read next; None for its first.
        ended: Whether each member's listing has been used up.
    """

    after: str | None = None
    cursors: tuple[str | None, ...] = (None, None)
    ended: tuple[bool, ...] = (False, False)

    def text(self) -> str:
        """As an opaque cursor."""
        return json.dumps([self.after, self.cursors, self.ended], separators=(",", ":"))


def position_of(cursor: str | None) -> Position:
    """The inverse of `Position.text`.

    Raises:
        StorageInvalidRequestError: It is not a cursor of this strategy.
    """
    if cursor is None:
        return Position()
    try:
        after, cursors, ended = json.loads(cursor)
        return Position(after, tuple(cursors), tuple(ended))
    except (ValueError, TypeError, RecursionError):
        raise StorageInvalidRequestError("this is not a cursor of a fallback store") from None


def merge(position: Position, pages: Sequence[Page | None], limit: int) -> Page:
    """One page of the union.

    Names are listed only as far as every member has listed them: beyond the last name of a page that is not
    its member's last, a smaller one could still follow. A key and a common prefix never have the same name.

    Args:
        position: Where the pages were read.
        pages: Of the members, primary first; None for one that has ended or could not be read.
        limit: Maximum number of names to return.
    """
    after = None if position.after is None else position.after.encode()
    told: dict[bytes, ObjectInfo] = {}
    common: set[bytes] = set()
    horizon: bytes | None = None
    for page in pages:
        if page is None:
            continue
        for entry in page.entries:
            name = entry.key.encode()
            if after is None or name > after:
                told[name] = newer(told[name], entry) if name in told else entry
        common.update(name for name in map(str.encode, page.prefixes) if after is None or name > after)
        if page.cursor is not None:
            last = _last_of(page) or after or b""
            horizon = last if horizon is None else min(horizon, last)
    refused = {name: error for page in pages if page is not None for name, error in page.refused.items()}
    names = sorted(name for name in told.keys() | common if horizon is None or name <= horizon)[:limit]
    return Page(
        entries=[told[name] for name in names if name in told],
        prefixes=[name.decode() for name in names if name in common],
        cursor=_next(position, pages, names[-1] if names else after),
        refused=refused,
    )


def _last_of(page: Page) -> bytes:
    """The last name of a page, or nothing."""
    last_key = page.entries[-1].key.encode() if page.entries else b""
    return max(last_key, page.prefixes[-1].encode() if page.prefixes else b"")


def _next(position: Position, pages: Sequence[Page | None], last: bytes | None) -> str | None:
    cursors, ended = list(position.cursors), list(position.ended)
    for member, page in enumerate(pages):
        if page is None:
            continue
        used_up = _last_of(page) <= (last or b"")
        if used_up:
            cursors[member] = page.cursor
            ended[member] = page.cursor is None
    if all(done or page is None for done, page in zip(ended, pages, strict=True)):
        return None
    return Position(None if last is None else last.decode(), tuple(cursors), tuple(ended)).text()


def member_version(at: int, version_id: str | None) -> str:
    """A version of one member, or where its listing continues, as one text; None for its start."""
    return f"{at}" if version_id is None else f"{at}:{version_id}"


def version_place(text: str | None) -> tuple[int, str | None]:
    """The inverse of `member_version`; the start of the first member for None.

    Raises:
        StorageInvalidRequestError: It is not a version or cursor of this strategy.
    """
    if text is None:
        return 0, None
    at, colon, rest = text.partition(":")
    if at not in {"0", "1"}:
        raise StorageInvalidRequestError("this is not a version or a cursor of a fallback store")
    return int(at), rest if colon else None


def marked(entries: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """The entries of a listing in which one member could not take part."""
    return [replace(entry, degraded=True) for entry in entries]
