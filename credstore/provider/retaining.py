"""Retention and legal holds as users ask for them, and why a store refused what one of them forbids.

Rules of this file: a date without a time zone, or one that has passed, is refused before anything is sent; a
refusal of the store is explained by what keeps the object, where the store says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from credstore.causes import raise_explained
from credstore.driver.contract import RetainingDriver
from credstore.driver.refusals import check_retention
from credstore.driver.retention import NOT_RETAINED, in_force, keeps, retained
from credstore.driver.values import CopyRequest, PutRequest, PutResult
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAccessDeniedError,
    StorageError,
    StorageInvalidRequestError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import LockOptions, Retention, StoreOptions
from credstore.provider.session import Session
from credstore.provider.validation import check_flag
from credstore.times import checked_instant

_MODES: tuple[RetentionMode, ...] = get_args(RetentionMode)
LOCK_OPTIONS = frozenset(LockOptions.__annotations__)
DEFAULT_MODE: RetentionMode = "governance"
"""Of a retention for which no mode is given, since the other one cannot be undone by anybody."""


def checked_until(name: str, until: object) -> datetime:
    """The end of a retention in UTC, rounded up to whole seconds, as clouds keep it.

    Args:
        name: Of the argument.
        until: What was given.

    Raises:
        StorageInvalidRequestError: It is not a datetime with a time zone, or has passed.
    """
    if not isinstance(until, datetime):
        raise StorageInvalidRequestError(f"{name} is a datetime with a time zone, not {type(until).__name__}")
    instant = checked_instant(name, until)
    if instant <= datetime.now(UTC):
        raise StorageInvalidRequestError(f"{name} has passed, so it would keep nothing; give a later one")
    if instant.microsecond:
        instant = instant.replace(microsecond=0) + timedelta(seconds=1)
    return instant


def checked_mode(name: str, mode: object) -> RetentionMode:
    """The mode of a retention.

    Raises:
        StorageInvalidRequestError: It is not one of them.
    """
    if mode not in _MODES:
        shown = repr(mode) if isinstance(mode, str) else type(mode).__name__
        raise StorageInvalidRequestError(f"{name} is {' or '.join(map(repr, _MODES))}, not {shown}")
    return mode


def lock_of(options: LockOptions | StoreOptions, session: Session) -> Retention | None:
    """What a write puts its object under; None for nothing.

    Args:
        options: What the caller passed in.
        session: Of the store.

    Raises:
        StorageInvalidRequestError: One of them is wrong, or a mode is given without a date.
        StorageUnsupportedError: The provider would ignore it.
    """
    if not (options.keys() & LOCK_OPTIONS):
        return None
    held = options.get("legal_hold", False)
    check_flag("legal_hold", held)
    asked = Retention(legal_hold=held)
    if "retain_until" in options:
        asked = Retention(
            mode=checked_mode("retain_mode", options.get("retain_mode", DEFAULT_MODE)),
            retain_until=checked_until("retain_until", options["retain_until"]),
            legal_hold=held,
        )
    elif "retain_mode" in options:
        raise StorageInvalidRequestError("retain_mode needs retain_until, the end of the retention")
    check_retention(asked, session.capabilities, session.name)
    return asked if keeps(asked) else None


def lock_alone(options: LockOptions, session: Session) -> Retention | None:
    """The same for a verb that takes no other options.

    Raises:
        StorageInvalidRequestError: There is another one.
        StorageError: As `lock_of`.
    """
    for name in options:
        if name not in LOCK_OPTIONS:
            raise StorageInvalidRequestError(
                f"there is no option {name!r}; options are {', '.join(sorted(LOCK_OPTIONS))}"
            )
    return lock_of(options, session)


async def what_keeps(
    session: Session, error: StorageError, key: str, version_id: str | None
) -> tuple[Retention, StorageError]:
    """What forbids what the store refused, as far as it says so, and the error that says that.

    Args:
        session: Of the store.
        error: The refusal.
        key: Of the object.
        version_id: Of a kept version, or None.

    Cost: up to 3 requests, only where the store refused permission and gave no date.
    """
    if isinstance(error, StorageRetainedError) and (error.mode is not None or error.legal_hold):
        known = Retention(mode=error.mode, retain_until=error.retain_until, legal_hold=error.legal_hold)
        return known, error
    driver = session.driver
    if not isinstance(error, StorageAccessDeniedError) or not isinstance(driver, RetainingDriver):
        return NOT_RETAINED, error
    try:
        found = await driver.get_retention(key, version_id, deadline=session.deadline())
    except StorageUnsupportedError:
        return NOT_RETAINED, error
    except StorageError as unknown:
        error.add_note(f"what keeps it could not be looked up: {unknown}")
        return NOT_RETAINED, error
    kept = in_force(found, datetime.now(UTC))
    if not keeps(kept):
        return NOT_RETAINED, error
    explained = retained(kept, error.facts())
    explained.__cause__ = error
    return kept, explained


async def explained(
    session: Session, error: StorageError, key: str, version_id: str | None = None
) -> StorageError:
    """The refusal of a write or deletion, with what keeps the object where that is why.

    Without a version, only a refusal that speaks of a lock is looked into: what else a policy denies is not
    about the object.
    """
    if version_id is None and error.code != ErrorCode.LOCKED:
        return error
    return (await what_keeps(session, error, key, version_id))[1]


async def written(session: Session, request: PutRequest) -> PutResult:
    """Write, and explain a refusal to replace what is kept.

    Raises:
        StorageError: As `Driver.put`.
    """
    try:
        return await session.driver.put(request)
    except StorageRetainedError as error:
        raise_explained(await explained(session, error, request.key), error)


async def copied_by_store(session: Session, request: CopyRequest) -> PutResult:
    """Let the store copy, and explain a refusal to replace what is kept.

    Raises:
        StorageError: As `Driver.copy`.
    """
    try:
        return await session.driver.copy(request)
    except StorageRetainedError as error:
        raise_explained(await explained(session, error, request.destination), error)
