"""Deletions that leave nothing: in a store that keeps versions, no version and no delete marker stays.

Rules of this file: older versions go first and what the key stands for now goes last, so that readers never
see an older version come up, and whatever stops, the same call finds its place again. A version that cannot
be removed is told with what keeps it, and hidden by a delete marker. Versions are removed by their ids, so
what is written meanwhile stays. Where nobody can tell whether versions are left, that is never a success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from credstore.driver.contract import Driver, VersionedDriver
from credstore.driver.internal import is_internal
from credstore.driver.refusals import LIST_VERSIONS
from credstore.errors import (
    RemainingVersion,
    StorageError,
    StorageUnavailableError,
)
from credstore.provider.bulk import PAGE, for_key, scan_infos
from credstore.provider.remaining import MOST_TOLD, is_refusal, is_untellable, remain, untold
from credstore.provider.removal import Deadline, Erased, Removal, plainly_deleted, version_pages


async def erase_keys(
    driver: Driver, keys: Sequence[str], deadline: Deadline
) -> tuple[Erased, dict[str, StorageError]]:
    """Remove objects in every version.

    Args:
        driver: Of the store.
        keys: Checked and distinct, in any number.
        deadline: Makes the deadline of each request.

    Returns:
        What was removed, and the error of each key of which something is left, or may be.

    Cost: where the driver can keep versions, 1 request to know whether it does. If not, 1 for each batch of
        keys; if so, 1 for each key and at most 2 for each batch of versions.
    """
    if not keys:
        return Erased(), {}
    try:
        versioned = await _versioned(driver, deadline)
    except StorageError as error:
        return Erased(), {key: for_key(error, key) for key in keys}
    failed: dict[str, StorageError] = {}
    erased = Erased()
    if versioned is None:
        erased, failed, keys = await _delete_all(driver, keys, deadline)
        if not keys:
            return erased, failed
        # Versions were switched on meanwhile, or the driver cannot say that they are.
        if not isinstance(driver, VersionedDriver):
            refused = LIST_VERSIONS.of(driver.name)
            return erased, failed | {key: untold(refused, key) for key in keys}
        versioned = driver
    removal = Removal(driver, versioned, deadline, counts=Counter())
    for start in range(0, len(keys), PAGE):
        failed |= await removal.keys(keys[start : start + PAGE])
    told = await removal.told()
    told.deleted += erased.deleted
    failed |= removal.unhidden
    remaining: dict[str, list[RemainingVersion]] = {}
    for each in told.remaining:
        remaining.setdefault(each.key, []).append(each)
    for key, count in removal.counts.items():
        failed.setdefault(key, remain(remaining.get(key, []), count, key))
    return told, failed


async def _delete_all(
    driver: Driver, keys: Sequence[str], deadline: Deadline
) -> tuple[Erased, dict[str, StorageError], list[str]]:
    """Delete objects as the store does: what is gone, what failed, and the keys that were only hidden."""
    erased, failed, marked = Erased(), dict[str, StorageError](), list[str]()
    for key, outcome in (await plainly_deleted(driver, keys, deadline)).items():
        if isinstance(outcome, StorageError):
            failed[key] = outcome
        elif outcome.version_id is not None:
            marked.append(key)
        else:
            erased.deleted += outcome.existed is not False
    return erased, failed, marked


async def erase_key(driver: Driver, key: str, deadline: Deadline) -> None:
    """Remove one object in every version.

    Raises:
        StorageVersionsRemainError: Readers do not find it any more, but versions stay, or may.
        StorageError: It may still be there.
    """
    _, failed = await erase_keys(driver, [key], deadline)
    for error in failed.values():
        raise error


async def erase_below(driver: Driver, prefix: str, deadline: Deadline) -> Erased:
    """Remove every object under a prefix in every version, in bounded memory; none of credstore's own.

    Args:
        driver: Of the store.
        prefix: Of the keys.
        deadline: Makes the deadline of each request.

    Raises:
        StorageError: It ended early; the same call again goes on.

    Cost: where the driver can keep versions, 1 request to know whether it does. If not, 1 listing and 1
        deletion per 1,000 objects; if so, 1 listing and at most 2 deletions per 1,000 versions.
    """
    versioned = await _versioned(driver, deadline)
    erased = Erased()
    if versioned is None:
        erased, is_marked = await _delete_below(driver, prefix, deadline)
        if not is_marked:
            return erased
        if not isinstance(driver, VersionedDriver):
            raise untold(LIST_VERSIONS.of(driver.name), None)
        versioned = driver
    removal = Removal(driver, versioned, deadline)
    try:
        await removal.pages(version_pages(versioned, prefix, deadline), hidden=is_internal)
    except StorageError as unclear:
        if is_untellable(unclear):
            for each in (await _delete_below(driver, prefix, deadline))[0].remaining:
                raise each.error from unclear
        raise untold(unclear, None) from unclear
    for error in removal.unhidden.values():
        raise error
    told = await removal.told()
    told.deleted += erased.deleted
    return told


async def _delete_below(driver: Driver, prefix: str, deadline: Deadline) -> tuple[Erased, bool]:
    """Delete the objects under a prefix as the store does, and whether it only hid some.

    Raises:
        StorageError: Of an object that no lock keeps.
    """
    total, is_marked = Erased(), False
    async with aclosing(_batches(driver, prefix, deadline)) as batches:
        async for keys in batches:
            erased, failed, marked = await _delete_all(driver, keys, deadline)
            total.deleted += erased.deleted
            is_marked = is_marked or bool(marked)
            for key, error in failed.items():
                if not is_refusal(error):
                    raise error
                total.remaining_count += 1
                if len(total.remaining) < MOST_TOLD:
                    total.remaining.append(RemainingVersion(key=key, version_id=None, error=error))
    return total, is_marked


async def erase_old(driver: Driver, prefix: str, deadline: Deadline, *, exact: bool) -> Erased:
    """Remove the versions and delete markers that are not the latest of their keys.

    Args:
        driver: Of the store.
        prefix: Of the keys.
        deadline: Makes the deadline of each request.
        exact: Only of this very key.

    Raises:
        StorageError: It ended early; the same call again goes on.

    Cost: 1 request; where versions are kept, 1 listing and 1 deletion per 1,000 versions.
    """
    versioned = await _versioned(driver, deadline)
    if versioned is None:
        return Erased()
    removal = Removal(driver, versioned, deadline, keep_latest=True)
    await removal.pages(version_pages(versioned, prefix, deadline, exact=exact), hidden=is_internal)
    return await removal.told()


async def _versioned(driver: Driver, deadline: Deadline) -> VersionedDriver | None:
    """The driver where there may be versions, None where a delete leaves nothing.

    Raises:
        StorageError: The store did not answer.
    """
    if isinstance(driver, VersionedDriver) and await driver.keeps_versions(deadline=deadline()):
        return driver
    return None


async def _batches(driver: Driver, prefix: str, deadline: Deadline) -> AsyncGenerator[list[str], None]:
    """The keys under a prefix, in batches."""
    keys: list[str] = []
    async for info in scan_infos(driver, prefix, None, deadline):
        if info.degraded:
            raise StorageUnavailableError(
                "a member of the store cannot be listed now, so what it has would stay",
                applied="maybe",
                retryable=True,
            )
        keys.append(info.key)
        if len(keys) == PAGE:
            yield keys
            keys = []
    if keys:
        yield keys
