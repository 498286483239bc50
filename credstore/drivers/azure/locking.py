"""Immutability policies and legal holds of blob versions: set, removed, read, and asked for with a write.

Rules of this file: whoever may set a policy may shorten or remove one that is "Unlocked", and Azure knows no
condition against that, so what is there is looked at first and weakened only on request. Every request says
what is to be there in the end, so repeating one does no harm, and an unclear one is settled by a look.

Source: "Set Blob Immutability Policy", "Delete Blob Immutability Policy", "Set Blob Legal Hold" and "Get
Container Properties" of the REST API; "Version-level WORM policies for immutable blob data".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from credstore.causes import raise_explained
from credstore.driver.cleanup import ABORT_TIME
from credstore.driver.locked import made_under
from credstore.driver.refusals import RETENTION, check_legal_holds, check_retention_mode
from credstore.driver.retention import changed, in_force
from credstore.driver.values import PutResult, ReadOptions
from credstore.driver.version_pages import DELETED
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.deleting import delete
from credstore.drivers.azure.errors import LOCK_OFF, NO_VERSION
from credstore.drivers.azure.headers import LEGAL_HOLD, policy_headers
from credstore.drivers.azure.reading import of_version
from credstore.drivers.azure.requests import AzureRequest, head_blob, version_query
from credstore.drivers.azure.responses import read_retention
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import Retention

SOFT = "soft-deleted:"
"""Before the id of a version that only blob soft delete keeps."""
UNVERSIONED = "null"
"""Version id of a blob that was stored while versions were off."""
_ENABLED = "x-ms-immutable-storage-with-versioning-enabled"
_ODD = (StorageInvalidRequestError, StorageUnsupportedError, StorageConflictError)
"""What Azure may call a lock in a container that knows none; it documents no code for that."""
_OF_CONDITIONS = (StorageAlreadyExistsError, StoragePreconditionFailedError)


def _asked(version_id: str | None) -> str | None:
    """The version as Azure names it.

    Raises:
        StorageNotFoundError: It is only shown in a listing, and nothing can be asked about it.
    """
    if version_id is not None and (version_id == DELETED or version_id.startswith(SOFT)):
        raise NO_VERSION.error(
            "there is no such version any more: it is deleted, and at most blob soft delete keeps it",
            code=ErrorCode.VERSION_NOT_FOUND,
        )
    return None if version_id == UNVERSIONED else version_id


async def get_retention(
    container: Container, key: str, version_id: str | None, *, deadline: float | None
) -> Retention:
    """What immutability policies and legal holds say about a version; see `RetainingDriver.get_retention`.

    What only blob soft delete keeps has none. Cost: 1 request.
    Source: "Get Blob Properties".
    """
    container.check_usable(deadline)
    if not container.able.retention_modes:
        raise RETENTION.of(NAME)
    if version_id is not None and (version_id == DELETED or version_id.startswith(SOFT)):
        return Retention()
    options = ReadOptions(version_id=_asked(version_id))
    request = head_blob(key, options, container.able)
    try:
        return read_retention((await container.call(request, deadline=deadline)).headers)
    except StorageObjectNotFoundError as error:
        raise of_version(error, options) from None


async def set_retention(
    container: Container,
    key: str,
    retain_until: datetime | None,
    mode: RetentionMode,
    *,
    version_id: str | None,
    bypass_governance: bool,
    deadline: float | None,
) -> None:
    """Set or remove the immutability policy of a version; see `LockingDriver.set_retention`.

    Cost: 2 requests.

    Raises:
        StorageRetainedError: It would be shortened or weakened.
        StorageUnsupportedError: The container has no version-level immutability (code "RETENTION_DISABLED").
        StorageError: Anything else.
    """
    container.check_usable(deadline)
    check_retention_mode(mode, container.able, NAME)
    query = (("comp", "immutabilityPolicies"), *version_query(_asked(version_id)))
    found = await get_retention(container, key, version_id, deadline=deadline)
    now = datetime.now(UTC)
    changed(found, retain_until, mode, now=now, bypass_governance=bypass_governance)
    if retain_until is None:
        if in_force(found, now).mode is None:
            return
        request = AzureRequest(
            operation="DeleteBlobImmutabilityPolicy", method="DELETE", key=key, query=query, mutation=True
        )
    else:
        request = AzureRequest(
            operation="SetBlobImmutabilityPolicy",
            method="PUT",
            key=key,
            query=query,
            headers=policy_headers(retain_until, mode),
            mutation=True,
        )

    def done(kept: Retention) -> bool:
        wanted = (None, None) if retain_until is None else (mode, retain_until)
        return (kept.mode, kept.retain_until) == wanted

    await _sent(container, request, version_id, done, deadline)


async def set_legal_hold(
    container: Container, key: str, *, held: bool, version_id: str | None, deadline: float | None
) -> None:
    """Put a version under legal hold, or release it; see `LockingDriver.set_legal_hold`.

    Cost: 1 request.

    Raises:
        StorageError: As `set_retention`.
    """
    container.check_usable(deadline)
    check_legal_holds(container.able, NAME)
    request = AzureRequest(
        operation="SetBlobLegalHold",
        method="PUT",
        key=key,
        query=(("comp", "legalhold"), *version_query(_asked(version_id))),
        headers={LEGAL_HOLD: "true" if held else "false"},
        mutation=True,
    )
    await _sent(container, request, version_id, lambda kept: kept.legal_hold == held, deadline)


async def _sent(
    container: Container,
    request: AzureRequest,
    version_id: str | None,
    done: Callable[[Retention], bool],
    deadline: float | None,
) -> None:
    """Send one of the two above, and find out what became of it where that is unclear (P0)."""
    try:
        await container.call(request, deadline=deadline)
    except StorageObjectNotFoundError as error:
        raise of_version(error, ReadOptions(version_id=version_id)) from None
    except StorageError as error:
        if error.applied == "no":
            raise_explained(await _explained(container, error, deadline), error)
        if not container.may_look():
            raise
        try:
            found = await get_retention(container, request.key or "", version_id, deadline=deadline)
        except StorageError as unseen:
            raise error from unseen
        container.looked()
        if not done(found):
            raise


async def _explained(container: Container, error: StorageError, deadline: float | None) -> StorageError:
    """The refusal of a lock, where the container has no locks said so.

    Cost: 1 request, only after a refusal for which that may be the reason.
    """
    odd = isinstance(error, _ODD) and not isinstance(error, _OF_CONDITIONS)
    if not odd or error.status_code is None or error.applied != "no":
        return error
    asking = AzureRequest(operation="GetContainerProperties", method="GET", query=(("restype", "container"),))
    try:
        told = (await container.call(asking, deadline=deadline)).headers
    except StorageError:
        return error  # Not everybody who may write blobs may look at the container.
    if told.get(_ENABLED, "").lower() == "true":
        return error
    facts = error.facts()
    facts["code"], facts["retryable"] = ErrorCode.RETENTION_DISABLED, False
    return LOCK_OFF.error(LOCK_OFF.message, **facts)


async def made_locked(
    container: Container, key: str, asked: Retention, make: Awaitable[PutResult], deadline: float | None
) -> PutResult:
    """The result of a write under retention or legal hold.

    Cost: 1 request more for the first one at a server that is not Azure's own.

    Raises:
        StorageUnsupportedError: The container has no version-level immutability (code "RETENTION_DISABLED").
        StorageError: As `made_under`.
    """

    async def look(made: PutResult) -> Retention:
        return await get_retention(container, key, made.version_id, deadline=deadline)

    async def remove(made: PutResult) -> None:
        end = time.monotonic() + ABORT_TIME
        await delete(container, key, if_match=made.etag, version_id=None, deadline=end)

    result = await made_under(
        asked,
        make,
        explain=lambda error: _explained(container, error, deadline),
        look=None if container.keeps_locks else look,
        remove=remove,
    )
    container.keeps_locks = True
    return result
