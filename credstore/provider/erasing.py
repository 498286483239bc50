"""Deletions that leave nothing: in a store that keeps versions, no version and no delete marker remains.

Rules of this file: older versions are removed first and the current one last, so that readers never see an
older version reappear, and after any interruption the same call finds its place again. A version that cannot
be removed is reported with what keeps it, and hidden by a delete marker. Versions are removed by their ids,
so whatever is written in the meantime remains. If it is unknown whether versions are left, the call never
succeeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from credstore.driver.contract import VersionedDriver
from credstore.driver.internal import internal_key, is_internal
from credstore.driver.refusals import LIST_VERSIONS
from credstore.errors import (
    RemainingVersion,
    StorageError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.provider.bulk import for_key
from credstore.provider.detached_keys import DetachedKeys, place_of
from credstore.provider.encryption import header_of, read_head
from credstore.provider.remaining import (
    MAX_REPORTED,
    is_listing_refused,
    is_refusal,
    may_remain,
    remain,
    remaining_of,
)
from credstore.provider.removal import Erased, Removal, plainly_deleted, version_pages
from credstore.provider.retaining import explained
from credstore.provider.scanning import PAGE, scan_infos
from credstore.provider.session import Session


async def erase_keys(session: Session, keys: Sequence[str]) -> tuple[Erased, dict[str, StorageError]]:
    """Remove objects in every version.

    Args:
        session: Of the store.
        keys: Checked and distinct, in any number.

    Returns:
        What was removed, and an error for each key that has something left, or may have.

    Cost: where the driver can keep versions, 1 request to find out whether it does. If not, 1 for each batch
        of keys; if so, 1 for each key and at most 2 for each batch of versions.
    """
    if not keys:
        return Erased(), {}
    try:
        versioned = await _versioned(session)
    except StorageError as error:
        return Erased(), {key: for_key(error, key) for key in keys}
    failed: dict[str, StorageError] = {}
    erased = Erased()
    if versioned is None:
        erased, failed, keys = await _delete_all(session, keys)
        if not keys:
            return erased, failed
        # Versioning was switched on in the meantime, or the driver cannot say that it is.
        if not isinstance(session.driver, VersionedDriver):
            refused = LIST_VERSIONS.of(session.name)
            return erased, failed | {key: may_remain(refused, key) for key in keys}
        versioned = session.driver
    removal = Removal(session, versioned, counts=Counter())
    for start in range(0, len(keys), PAGE):
        failed |= await removal.keys(keys[start : start + PAGE])
    report = await removal.report()
    report.deleted += erased.deleted
    failed |= removal.unhidden
    remaining: dict[str, list[RemainingVersion]] = {}
    for each in report.remaining:
        remaining.setdefault(each.key, []).append(each)
    for key, count in removal.counts.items():
        failed.setdefault(key, remain(remaining.get(key, []), count, key))
    return report, failed


async def _delete_all(
    session: Session, keys: Sequence[str]
) -> tuple[Erased, dict[str, StorageError], list[str]]:
    """Delete objects as the store does; return what is gone, what failed, and the keys only hidden."""
    erased, failed, marked = Erased(), dict[str, StorageError](), list[str]()
    for key, outcome in (await plainly_deleted(session, keys)).items():
        if isinstance(outcome, StorageError):
            failed[key] = await explained(session, outcome, key)
        elif outcome.version_id is not None:
            marked.append(key)
        else:
            erased.deleted += outcome.existed is not False
    return erased, failed, marked


async def erased_errors(session: Session, keys: Sequence[str]) -> Mapping[str, StorageError]:
    """Remove objects in every version; return an error for each key that has something left, or may have."""
    return (await erase_keys(session, keys))[1]


async def forget_key(session: Session, key: str) -> bool:
    """Remove every version of an object's detached key; see `StorageProvider.forget_key`.

    Raises:
        StorageUnsupportedError: Its key is in the object itself, or the store does not encrypt.
        StorageVersionsRemainError: Versions of the key remain, or may remain.
        StorageError: The key may still be there.
    """
    if session.policy is None:
        raise StorageUnsupportedError(
            "the store was opened without encryption on the client (`encryption=` or `wrapping_key`), so "
            "there is no key to forget"
        )
    options = session.reading()
    info, head = await read_head(session.driver, key, options)
    place = place_of((await header_of(session.driver, key, options, info, head)).key_id)
    keys = session.policy.keyring
    if place is None or not isinstance(keys, DetachedKeys):
        raise StorageUnsupportedError(
            "the object's key is in the object itself; store it with ClientSide(..., "
            "shreddable=True), or remove its wrapping key from the key ring"
        )
    existed = await keys.exists(place)
    await _erase_key(session, internal_key(place))
    keys.forget()
    return existed


async def _erase_key(session: Session, key: str) -> None:
    """Remove one object in every version.

    Raises:
        StorageVersionsRemainError: Readers no longer find it, but versions remain, or may remain.
        StorageError: It may still be there.
    """
    _, failed = await erase_keys(session, [key])
    for error in failed.values():
        raise error


async def erase_below(session: Session, prefix: str) -> Erased:
    """Remove every object under a prefix in every version, in bounded memory, except credstore's own.

    Args:
        session: Of the store.
        prefix: Of the keys.

    Raises:
        StorageError: It ended early; the same call continues.

    Cost: where the driver can keep versions, 1 request to find out whether it does. If not, 1 listing and 1
        deletion per 1,000 objects; if so, 1 listing and at most 2 deletions per 1,000 versions.
    """
    versioned = await _versioned(session)
    erased = Erased()
    if versioned is None:
        erased, is_marked = await _delete_below(session, prefix)
        if not is_marked:
            return erased
        if not isinstance(session.driver, VersionedDriver):
            raise may_remain(LIST_VERSIONS.of(session.name), None)
        versioned = session.driver
    removal = Removal(session, versioned)
    try:
        await removal.pages(version_pages(session, versioned, prefix), hidden=is_internal)
    except StorageError as unclear:
        if is_listing_refused(unclear):
            for each in (await _delete_below(session, prefix))[0].remaining:
                raise each.error from unclear
        raise may_remain(unclear, None) from unclear
    for error in removal.unhidden.values():
        raise error
    report = await removal.report()
    report.deleted += erased.deleted
    return report


async def _delete_below(session: Session, prefix: str) -> tuple[Erased, bool]:
    """Delete the objects under a prefix as the store does; return whether it only hid some.

    Raises:
        StorageError: An object that no lock keeps could not be deleted.
    """
    total, is_marked = Erased(), False
    async with aclosing(_batches(session, prefix)) as batches:
        async for keys in batches:
            erased, failed, marked = await _delete_all(session, keys)
            total.deleted += erased.deleted
            is_marked = is_marked or bool(marked)
            for key, error in failed.items():
                if not is_refusal(error):
                    raise error
                total.remaining_count += 1
                if len(total.remaining) < MAX_REPORTED:
                    total.remaining.append(remaining_of(key, None, error))
    return total, is_marked


async def erase_old(session: Session, prefix: str, *, exact: bool) -> Erased:
    """Remove the versions and delete markers that are not the latest of their keys.

    Args:
        session: Of the store.
        prefix: Of the keys.
        exact: Only of exactly this key.

    Raises:
        StorageError: It ended early; the same call continues.

    Cost: 1 request; where versions are kept, 1 listing and 1 deletion per 1,000 versions.
    """
    versioned = await _versioned(session)
    if versioned is None:
        return Erased()
    removal = Removal(session, versioned, keep_latest=True)
    await removal.pages(version_pages(session, versioned, prefix, exact=exact), hidden=is_internal)
    return await removal.report()


async def _versioned(session: Session) -> VersionedDriver | None:
    """The driver if there may be versions, None if a delete leaves nothing behind.

    Raises:
        StorageError: The store did not respond.
    """
    driver = session.driver
    if isinstance(driver, VersionedDriver) and await driver.keeps_versions(deadline=session.deadline()):
        return driver
    return None


async def _batches(session: Session, prefix: str) -> AsyncGenerator[list[str], None]:
    """The keys under a prefix, in batches."""
    keys: list[str] = []
    async for info in scan_infos(session, prefix):
        if info.degraded:
            raise StorageUnavailableError(
                "a member of the store cannot be listed now, so what it holds would remain",
                applied="maybe",
                retryable=True,
            )
        keys.append(info.key)
        if len(keys) == PAGE:
            yield keys
            keys = []
    if keys:
        yield keys
