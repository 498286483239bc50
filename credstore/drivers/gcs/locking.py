"""Retention and holds of objects: set, removed, read, and asked for with a write.

Rules of this file: a change is made to exactly what was looked at, under a condition on its metageneration,
so that it undoes no other writer's; after a lost race the object is looked at again, as after an unclear
change. What Google calls a temporary hold is a legal hold here; an event-based one counts as held too, and is
released with it.

Source: "Object Retention Lock", "Object holds" and "Bucket Lock" of cloud.google.com/storage/docs; "Objects:
patch" of the JSON API.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from credstore.causes import raise_explained
from credstore.driver.cleanup import ABORT_TIME
from credstore.driver.locked import made_under
from credstore.driver.refusals import RETENTION as NO_RETENTION
from credstore.driver.refusals import check_legal_holds, check_retention_mode
from credstore.driver.retention import changed
from credstore.driver.values import PutResult, ReadOptions
from credstore.driver.version_pages import DELETED
from credstore.drivers.gcs.bucket import Bucket, outcome, parsed
from credstore.drivers.gcs.capabilities import NAME
from credstore.drivers.gcs.deleting import delete
from credstore.drivers.gcs.errors import LOCK_OFF
from credstore.drivers.gcs.reading import resource_of
from credstore.drivers.gcs.requests import get_bucket, patch_lock
from credstore.drivers.gcs.resources import (
    EVENT_HOLD,
    HOLD,
    RETENTION,
    Resource,
    etag_of,
    own_retention,
    retention_of,
    retention_property,
)
from credstore.drivers.gcs.responses import parse_json, parse_resource
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.model import Retention

_ATTEMPTS = 4
"""Number of times that a change is made to what another writer has changed in the meantime."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be set, and whether that takes the permission to override an "Unlocked" retention."""

    said: Mapping[str, Any]
    override: bool = False


async def get_retention(
    bucket: Bucket, key: str, version_id: str | None, *, deadline: float | None
) -> Retention:
    """What keeps a version; see `RetainingDriver.get_retention`. Cost: 1 request."""
    bucket.check_usable(deadline)
    if not bucket.able.retention_modes:
        raise NO_RETENTION.of(NAME)
    if version_id == DELETED:
        return Retention()
    options = ReadOptions(version_id=version_id, deadline=deadline)
    return retention_of(await resource_of(bucket, key, options))


async def set_retention(
    bucket: Bucket,
    key: str,
    retain_until: datetime | None,
    mode: RetentionMode,
    *,
    version_id: str | None,
    bypass_governance: bool,
    deadline: float | None,
) -> None:
    """Set or remove the retention of an object itself; see `LockingDriver.set_retention`.

    To lock an "Unlocked" one takes the permission `storage.objects.overrideUnlockedRetention` too.

    Cost: 2 requests; 2 more for each other change that came in between.

    Raises:
        StorageRetainedError: It would be shortened or weakened.
        StorageUnsupportedError: The bucket has no object retention (code "RETENTION_DISABLED").
        StorageConflictError: Others were changing the object all the time.
        StorageError: Anything else.
    """
    bucket.check_usable(deadline)
    check_retention_mode(mode, bucket.able, NAME)

    def is_so(resource: Resource) -> bool:
        own = own_retention(resource)
        wanted = (None, None) if retain_until is None else (mode, retain_until)
        return (own.mode, own.retain_until) == wanted

    def planned(resource: Resource) -> _Change:
        own = own_retention(resource)
        changed(own, retain_until, mode, now=datetime.now(UTC), bypass_governance=bypass_governance)
        shorter = retain_until is None or (own.retain_until is not None and retain_until < own.retain_until)
        override = own.mode == "governance" and (shorter or mode != own.mode)
        return _Change({RETENTION: retention_property(retain_until, mode)}, override)

    options = ReadOptions(version_id=version_id, deadline=deadline)
    await _changed(bucket, key, options, is_so, planned)


async def set_legal_hold(
    bucket: Bucket, key: str, *, held: bool, version_id: str | None, deadline: float | None
) -> None:
    """Set a temporary hold, or release what is held; see `LockingDriver.set_legal_hold`.

    Cost: 1 request where it is so already, else 2.

    Raises:
        StorageError: As `set_retention`.
    """
    bucket.check_usable(deadline)
    check_legal_holds(bucket.able, NAME)

    def is_so(resource: Resource) -> bool:
        return resource.get(HOLD) is True if held else not own_retention(resource).legal_hold

    def planned(resource: Resource) -> _Change:
        if held:
            return _Change({HOLD: True})
        return _Change({name: False for name in (HOLD, EVENT_HOLD) if resource.get(name) is True})

    options = ReadOptions(version_id=version_id, deadline=deadline)
    await _changed(bucket, key, options, is_so, planned)


async def _changed(
    bucket: Bucket,
    key: str,
    options: ReadOptions,
    is_so: Callable[[Resource], bool],
    planned: Callable[[Resource], _Change],
) -> None:
    """Change an object until it is as it is to be.

    Args:
        bucket: Where it is.
        key: The object's key.
        options: Version and deadline.
        is_so: Whether an object is as it is to be.
        planned: What makes it so; raises what forbids that.
    """
    version_id, deadline = options.version_id, options.deadline
    if version_id == DELETED:
        raise StorageNotFoundError(
            "there is no such version of the object: it stands for its deletion",
            code=ErrorCode.VERSION_NOT_FOUND,
        )
    lost: StorageError | None = None
    for _ in range(_ATTEMPTS):
        resource = await resource_of(bucket, key, options)
        if is_so(resource):
            return
        change = planned(resource)
        request = patch_lock(
            key, change.said, etag_of(resource), version_id=version_id, override=change.override
        )
        try:
            reply = await bucket.call(request, deadline=deadline)
            made = await outcome(parse_resource, reply.body)
        except StorageError as error:
            if error.applied != "no":
                if await _happened(bucket, key, options, is_so, error):
                    return
                raise
            if isinstance(error, (StoragePreconditionFailedError, StorageNotFoundError)):
                lost = error
                continue
            if RETENTION not in change.said:
                raise
            raise_explained(await _explained(bucket, error, deadline), error)
        if not is_so(made):
            raise _ignored()
        return
    raise StorageConflictError(
        "others were changing the object all the time; nothing was changed",
        code=ErrorCode.CONCURRENT_WRITE,
        applied="no",
        retryable=True,
    ) from lost


async def _happened(
    bucket: Bucket,
    key: str,
    options: ReadOptions,
    is_so: Callable[[Resource], bool],
    error: StorageError,
) -> bool:
    """Whether an unclear change was made after all (P0)."""
    if not bucket.may_look():
        return False
    try:
        resource = await resource_of(bucket, key, options)
    except StorageError as unseen:
        raise error from unseen
    bucket.looked()
    return is_so(resource)


def _ignored() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider accepted the change of what keeps the object, and did not make it",
        code=ErrorCode.NOT_HONOURED,
        applied="maybe",
    )


async def _explained(bucket: Bucket, error: StorageError, deadline: float | None) -> StorageError:
    """The refusal of a retention, where the bucket has none said so.

    Cost: 1 request, only after a refusal for which that may be the reason.
    """
    if (
        not isinstance(error, StorageInvalidRequestError)
        or error.status_code is None
        or error.applied != "no"
    ):
        return error
    try:
        reply = await bucket.call(get_bucket("objectRetention"), deadline=deadline)
        told: Any = (await parsed(parse_json, reply.body)).get("objectRetention")
    except StorageError:
        return error  # Not everybody who may write objects may look at the bucket.
    if told == {"mode": "Enabled"}:
        return error
    facts = error.facts()
    facts["code"], facts["retryable"] = ErrorCode.RETENTION_DISABLED, False
    return LOCK_OFF.error(LOCK_OFF.message, **facts)


async def made_locked(
    bucket: Bucket, key: str, asked: Retention, make: Awaitable[PutResult], deadline: float | None
) -> PutResult:
    """The result of a write under retention or a hold.

    Cost: 1 request more for the first one at a server that is not Google's own.

    Raises:
        StorageUnsupportedError: The bucket has no object retention (code "RETENTION_DISABLED").
        StorageError: As `made_under`.
    """

    async def explain(error: StorageError) -> StorageError:
        return error if asked.mode is None else await _explained(bucket, error, deadline)

    async def look(made: PutResult) -> Retention:
        return await get_retention(bucket, key, made.version_id, deadline=deadline)

    async def remove(made: PutResult) -> None:
        if_match = made.etag if bucket.able.conditional_delete else None
        end = time.monotonic() + ABORT_TIME
        await delete(bucket, key, if_match=if_match, version_id=None, deadline=end)

    result = await made_under(
        asked, make, explain=explain, look=None if bucket.keeps_locks else look, remove=remove
    )
    bucket.keeps_locks = True
    return result
