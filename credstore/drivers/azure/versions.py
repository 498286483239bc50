"""Versions of blobs, where the account keeps them: listed, and removed for good.

Rules of this file: Azure lists the versions of a name from the oldest to the newest, the contract the other
way round, so they are shown once all are known. Azure has no delete markers: of a deleted blob no version is
the current one. One is shown in its place, so that whoever removes versions sees what readers see; removing
it does nothing.

Source: "Blob versioning" and "List Blobs" of the REST API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from credstore.driver.refusals import LIST_VERSIONS
from credstore.driver.values import DeleteOutcome, ReadOptions, VersionPage
from credstore.driver.version_pages import DELETED, OldestFirst, Versions, newest_first
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.deleting import delete, delete_each, still_kept
from credstore.drivers.azure.errors import CURRENT_VERSION
from credstore.drivers.azure.locking import SOFT, UNVERSIONED
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import list_blobs
from credstore.drivers.azure.xml import ListEntry, ListReply, parse_list
from credstore.errors import StorageError
from credstore.model import StorageVersion

_PAGE = 1000
_Versions = dict[tuple[str, str], tuple[str, str | None]]


async def keeps_versions(container: Container, *, deadline: float | None) -> bool:
    """Whether a deletion may leave versions; see `VersionedDriver.keeps_versions`.

    Only the responses to writes and deletions say whether versions and blob soft delete are on now.
    """
    if not container.able.versions:
        return False
    known = True if container.soft_deletes else container.versioned
    if known is None:
        await _page(container, "", None, 1, deadline)  # So that who may not list versions learns it now.
    return known is not False


async def list_versions(
    container: Container,
    prefix: str,
    cursor: str | None,
    *,
    exact: bool,
    limit: int,
    deadline: float | None,
) -> VersionPage:
    """One page of versions; see `VersionedDriver.list_versions`.

    Cost: 1 request, and 1 for each further 1,000 versions of one key.
    """
    if not container.able.versions:
        raise LIST_VERSIONS.of(NAME)
    versions = Versions(
        page=lambda marker: _shown(container, prefix, marker, deadline),
        age=_age,
        label=container.label,
        exact=prefix if exact else None,
    )
    return await newest_first(versions, cursor, limit)


def _age(version_id: str) -> tuple[int, str]:
    """Ids of versions are their times; what is only kept by soft delete comes last."""
    return (0 if version_id.startswith(SOFT) else 1), version_id


async def _shown(
    container: Container, prefix: str, marker: str | None, deadline: float | None
) -> OldestFirst:
    page = await _page(container, prefix, marker, _PAGE, deadline)
    return OldestFirst([_version(container, each) for each in page.entries], page.marker)


def _version(container: Container, entry: ListEntry) -> StorageVersion:
    return StorageVersion(
        key=entry.name,
        version_id=f"{SOFT if entry.is_deleted else ''}{entry.version_id or UNVERSIONED}",
        is_latest=entry.is_current,
        size=entry.size or 0,
        last_modified=entry.last_modified,
        etag=entry.etag,
        storage_class=entry.tier,
        served_by=container.label,
    )


async def _page(
    container: Container, prefix: str, marker: str | None, limit: int, deadline: float | None
) -> ListReply:
    request = list_blobs(prefix, marker, limit, include="deleted,versions")
    return await parsed(parse_list, (await container.call(request, deadline=deadline)).body)


async def delete_versions(
    container: Container, versions: Sequence[tuple[str, str]], *, deadline: float | None
) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
    """Remove versions in one request; see `VersionedDriver.delete_versions`.

    Azure does not remove the current version by its id, so that is deleted first, which leaves it as an
    earlier one, and then removed for good.
    """
    if not container.able.versions:
        raise LIST_VERSIONS.of(NAME)
    outcomes: dict[tuple[str, str], DeleteOutcome | StorageError] = {
        each: still_kept(container, each[0]) if each[1].startswith(SOFT) else DeleteOutcome(existed=None)
        for each in versions
        if each[1] == DELETED or each[1].startswith(SOFT)
    }
    plain: _Versions = {each: (each[0], None) for each in versions if each[1] == UNVERSIONED}
    named: _Versions = {each: each for each in versions if each not in outcomes and each not in plain}
    outcomes |= await delete_each(container, plain | named, deadline, for_good=True)
    current = {
        each: found
        for each, found in outcomes.items()
        if isinstance(found, StorageError) and found.provider_code in CURRENT_VERSION
    }
    for each in current:
        outcomes[each] = await _removed_current(container, each, deadline)
    return outcomes


async def _removed_current(
    container: Container, version: tuple[str, str], deadline: float | None
) -> DeleteOutcome | StorageError:
    """Make the current version an earlier one, if it still is the current one, and remove that."""
    key, version_id = version
    try:
        now = await head(container, key, ReadOptions(deadline=deadline))
        if now.version_id == version_id:
            await delete(container, key, if_match=now.etag, version_id=None, deadline=deadline)
        return await delete(container, key, if_match=None, version_id=version_id, deadline=deadline)
    except StorageError as error:
        error.key = key
        return error
