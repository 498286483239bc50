"""Versions as users see them, both in stores that keep them and in those that do not."""

from __future__ import annotations

from contextlib import aclosing

from credstore.driver.contract import VersionedDriver
from credstore.driver.internal import is_internal
from credstore.driver.refusals import LIST_VERSIONS
from credstore.errors import StorageInvalidRequestError
from credstore.model import StorageVersion, VersionsDeletedResult
from credstore.provider.call import Call
from credstore.provider.erasing import erase_below, erase_keys, erase_old
from credstore.provider.removal import Erased, version_pages
from credstore.provider.session import Session
from credstore.provider.validation import check_count, check_flag, check_prefix


async def list_versions(
    session: Session, prefix: str, *, exact: bool, max_versions: int | None
) -> list[StorageVersion]:
    """See `StorageProvider.list_versions`.

    Raises:
        StorageUnsupportedError: The provider keeps no versions, or cannot list them.
        StorageIntegrityError: The provider's listing repeats itself or does not end.
        StorageError: Anything else.
    """
    _check_prefix(session, prefix, exact=exact)
    if max_versions is not None:
        check_count("max_versions", max_versions)
    driver = session.driver
    if not isinstance(driver, VersionedDriver):
        raise LIST_VERSIONS.of(session.name)
    found: list[StorageVersion] = []
    async with aclosing(version_pages(session, driver, prefix, exact=exact)) as pages:
        async for entries, _ in pages:
            found += [each for each in entries if not is_internal(each.key)]
            if max_versions is not None and len(found) >= max_versions:
                return found[:max_versions]
            session.lifetime.check("list_versions")
    return found


async def delete_versions(
    session: Session, prefix: str, *, exact: bool, keep_latest: bool, call: Call
) -> VersionsDeletedResult:
    """See `StorageProvider.delete_versions`.

    Raises:
        StorageInvalidRequestError: An empty prefix, or a wrong argument.
        StorageVersionsRemainError: The credentials may not list versions.
        StorageError: It ended early; the same call continues.
    """
    check_flag("keep_latest", keep_latest)
    _check_prefix(session, prefix, exact=exact)
    if not prefix:
        raise StorageInvalidRequestError(
            "an empty prefix would delete every version of the whole store; pass a longer one"
        )
    if keep_latest:
        erased = await erase_old(session, prefix, exact=exact)
    elif exact:
        erased = await _erase_one(session, prefix)
    else:
        erased = await erase_below(session, prefix)
    call.attributes.update(deleted=erased.deleted, remaining=erased.remaining_count)
    for each in erased.remaining:
        call.explain(each.error)
    return VersionsDeletedResult(
        deleted=erased.deleted,
        remaining=tuple(erased.remaining),
        remaining_count=erased.remaining_count,
    )


async def _erase_one(session: Session, key: str) -> Erased:
    erased, failed = await erase_keys(session, [key])
    for error in failed.values():
        if not erased.remaining:
            raise error
    return erased


def _check_prefix(session: Session, prefix: str, *, exact: bool) -> None:
    check_flag("exact", exact)
    if exact:
        session.check_key(prefix)
    else:
        check_prefix(prefix, session.capabilities.max_key_size)
