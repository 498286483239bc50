"""What to report where versions remain, or may remain. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from credstore.errors import (
    ErrorCode,
    RemainingVersion,
    StorageAccessDeniedError,
    StorageError,
    StorageRetainedError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
)

MAX_REPORTED = 1000
"""Number of remaining versions per call that are reported, and looked up for what keeps them."""


def remain(remaining: Sequence[RemainingVersion], count: int, key: str | None) -> StorageError:
    """The one error for versions that could not be removed.

    Args:
        remaining: Those to report.
        count: All of them.
        key: Of the object, or None for several.
    """
    stay = "1 version remains" if count == 1 else f"{count:,} versions remain"
    other = next((each.error for each in remaining if not is_refusal(each.error)), None)
    if other is not None:
        facts = other.facts()
        facts["key"], facts["applied"] = key, "maybe"
        error = type(other)(f"{other.message}; readers no longer find anything, but {stay}", **facts)
        error.__cause__ = other
        return error
    return StorageVersionsRemainError(
        f"readers no longer find anything, but {stay} in the store: {_keeper(remaining)}",
        key=key,
        applied="maybe",
        remaining=tuple(remaining),
    )


def remaining_of(key: str, version_id: str | None, error: StorageError) -> RemainingVersion:
    """What could not be removed, with what keeps it where the error says so."""
    if not isinstance(error, StorageRetainedError):
        return RemainingVersion(key=key, version_id=version_id, error=error)
    return RemainingVersion(
        key=key,
        version_id=version_id,
        error=error,
        retain_until=error.retain_until,
        mode=error.mode,
        legal_hold=error.legal_hold,
    )


def merged(errors: Sequence[StorageVersionsRemainError]) -> StorageVersionsRemainError:
    """One error for several; the first one that does not know what remains, if there is one."""
    if len(errors) == 1 or any(not each.remaining for each in errors):
        return next((each for each in errors if not each.remaining), errors[0])
    remaining = [version for each in errors for version in each.remaining][:MAX_REPORTED]
    found = remain(remaining, len(remaining), None)
    return found if isinstance(found, StorageVersionsRemainError) else errors[0]


def is_refusal(error: StorageError) -> bool:
    """Whether the store does not permit it, because of a policy or a lock."""
    return isinstance(error, StorageAccessDeniedError)


def _keeper(remaining: Sequence[RemainingVersion]) -> str:
    """What keeps them, for people to read."""
    found: list[str] = []
    until = max((each.retain_until for each in remaining if each.retain_until is not None), default=None)
    if until is not None:
        modes = sorted({each.mode for each in remaining if each.retain_until is not None and each.mode})
        found.append(f"a retention ({', '.join(modes) or 'unknown'}) until {until:%Y-%m-%dT%H:%M:%SZ}")
    if any(each.legal_hold for each in remaining):
        found.append("a legal hold until it is released")
    if found:
        return "kept by " + " and ".join(found)
    return (
        "the credentials may not remove versions (on S3: s3:DeleteObjectVersion), or they are kept by a "
        "lock that the credentials may not read"
    )


def is_listing_refused(error: StorageError) -> bool:
    """Whether the store does not permit listing versions."""
    return isinstance(error, StorageAccessDeniedError | StorageUnsupportedError)


def may_remain(error: StorageError, key: str | None) -> StorageError:
    """The error where it is unknown whether versions remain."""
    facts = error.facts()
    facts["key"], facts["applied"] = key, "maybe"
    if is_listing_refused(error):
        why = (
            "the credentials may not list versions (on S3: s3:ListBucketVersions)"
            if is_refusal(error)
            else error.message
        )
        facts["code"] = ErrorCode.VERSIONS_REMAIN
        found: StorageError = StorageVersionsRemainError(
            f"readers no longer find anything, but it is unknown whether versions remain in the store: {why}",
            **facts,
        )
    else:
        found = type(error)(error.message, **facts)
    found.__cause__ = error
    return found
