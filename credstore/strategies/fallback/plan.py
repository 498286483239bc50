"""What the fallback strategy decides, without carrying it out. Pure.

- A write moves on to the fallback only where the primary's error proves that it did not apply it *and* says
  that the primary is down, not that the request is wrong. What a policy denies at the primary is not stored
  elsewhere.
- A read moves on after anything but a wrong request. "Not found" needs both to say so.
- Of two versions of one object the newer counts, and the primary's if that is unclear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from credstore.driver.values import Capabilities, DeleteOutcome, ObjectInfo
from credstore.errors import (
    RetentionMode,
    StorageAuthenticationError,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.model import Method
from credstore.strategies.health import is_absence, is_wrong_request

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
    return not is_wrong_request(error)


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


def either(first: DeleteOutcome, second: DeleteOutcome) -> DeleteOutcome:
    """Whether it existed at one of the members, where they can tell."""
    told = {first.existed, second.existed}
    return DeleteOutcome(
        existed=True if True in told else (None if None in told else False),
        version_id=first.version_id if second.version_id is None else second.version_id,
    )


def is_definite(error: StorageError) -> bool:
    """Whether a member says for certain that it does not have the object, or not this version of it."""
    return is_absence(error) or isinstance(error, StoragePreconditionFailedError)
