"""Versions of blobs, where the account keeps them: listed, and removed for good.

Rules of this file: Azure lists the versions of a name from the oldest to the newest, the contract the other
way round, so they are shown once all are known. Azure has no delete markers: of a deleted blob no version is
the current one. One is shown in its place, so that whoever removes versions sees what readers see; removing
it does nothing.

Source: "Blob versioning" and "List Blobs" of the REST API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from credstore.driver.refusals import LIST_VERSIONS
from credstore.driver.values import DeleteOutcome, ReadOptions, VersionPage
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.deleting import delete, delete_each
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import list_blobs
from credstore.drivers.azure.xml import ListEntry, ListReply, parse_list
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.model import StorageVersion

DELETED = "deleted"
"""Version id of what is shown where no version is the current one."""
UNVERSIONED = "null"
"""Version id of a blob that was stored while versions were off."""
_PAGE = 1000
_IS_CURRENT = frozenset({"OperationNotAllowedOnRootBlob", "CannotDeleteCurrentVersion"})
"""Codes for the removal of the current version by its id."""
_Versions = dict[tuple[str, str], tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a listing continues: in the service's page of this marker, after this version of this key."""

    marker: str | None = None
    key: str = ""
    version_id: str = ""

    def __str__(self) -> str:
        return json.dumps([self.marker, self.key, self.version_id])


def _cursor_of(text: str | None) -> _Cursor:
    if text is None:
        return _Cursor()
    try:
        marker, key, version_id = json.loads(text)
        return _Cursor(None if marker is None else str(marker), str(key), str(version_id))
    except (ValueError, TypeError):
        raise StorageInvalidRequestError("this cursor is not of a listing of versions") from None


async def keeps_versions(container: Container, *, deadline: float | None) -> bool:
    """Whether a deletion may leave versions; see `VersionedDriver.keeps_versions`.

    Only the responses to writes say whether versions are on now, and a listing, whether there are some.
    """
    if not container.able.versions:
        return False
    if container.versioned is not None:
        return container.versioned
    page = await _page(container, "", None, 1, deadline)
    if any(each.version_id is not None for each in page.entries):
        container.versioned = True
    return True


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
    at = _cursor_of(cursor)
    found, following = await _groups(container, prefix, at, exact=exact, deadline=deadline)
    entries: list[StorageVersion] = []
    for key in sorted(found, key=str.encode):
        if key.encode() < at.key.encode():
            continue
        shown = _shown(container, key, found[key])
        if key == at.key:
            shown = _after(shown, at.version_id)
        entries += shown
    if len(entries) > limit:
        last = entries[limit - 1]
        return VersionPage(entries=entries[:limit], cursor=str(_Cursor(at.marker, last.key, last.version_id)))
    if following is None:
        return VersionPage(entries=entries, cursor=None)
    last_key = max(found, key=str.encode, default=at.key)
    oldest = entries[-1].version_id if entries else at.version_id
    return VersionPage(entries=entries, cursor=str(_Cursor(following, last_key, oldest)))


async def _groups(
    container: Container, prefix: str, at: _Cursor, *, exact: bool, deadline: float | None
) -> tuple[dict[str, list[ListEntry]], str | None]:
    """Keys of which all versions are known, and the marker of the page where the next key begins, or None."""
    marker = at.marker
    groups: dict[str, list[ListEntry]] = {}
    begins: dict[str, str | None] = {}
    while True:
        page = await _page(container, prefix, marker, _PAGE, deadline)
        for each in page.entries:
            if exact and each.name != prefix:
                return groups, None
            begins.setdefault(each.name, marker)
            groups.setdefault(each.name, []).append(each)
        if page.marker is None:
            return groups, None
        if page.marker == marker:
            raise StorageIntegrityError(
                "the provider's listing goes round in circles", code=ErrorCode.LISTING
            )
        marker = page.marker
        if len(groups) > 1 and not exact:
            open_key = page.entries[-1].name if page.entries else next(reversed(groups))
            del groups[open_key]
            return groups, begins[open_key]


async def _page(
    container: Container, prefix: str, marker: str | None, limit: int, deadline: float | None
) -> ListReply:
    request = list_blobs(prefix, marker, limit, include="versions")
    return await parsed(parse_list, (await container.call(request, deadline=deadline)).body)


def _shown(container: Container, key: str, entries: Sequence[ListEntry]) -> list[StorageVersion]:
    """The versions of one key, newest first, below what stands for its deletion."""
    newest_first = sorted(entries, key=lambda each: (each.is_current, each.version_id or ""), reverse=True)
    shown = [
        StorageVersion(
            key=key,
            version_id=each.version_id or UNVERSIONED,
            is_latest=each.is_current,
            size=each.size or 0,
            last_modified=each.last_modified,
            etag=each.etag,
            storage_class=each.tier,
            served_by=container.label,
        )
        for each in newest_first
    ]
    if any(each.is_latest for each in shown):
        return shown
    deleted = StorageVersion(
        key=key, version_id=DELETED, is_latest=True, is_delete_marker=True, served_by=container.label
    )
    return [deleted, *shown]


def _after(shown: Sequence[StorageVersion], version_id: str) -> list[StorageVersion]:
    """Those that come after a version, which may be gone: ids of versions are their times."""
    names = [each.version_id for each in shown]
    if version_id in names:
        return list(shown[names.index(version_id) + 1 :])
    if version_id == DELETED:
        return list(shown)
    return [each for each in shown if each.version_id < version_id and each.version_id != DELETED]


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
        each: DeleteOutcome(existed=None) for each in versions if each[1] == DELETED
    }
    plain: _Versions = {each: (each[0], None) for each in versions if each[1] == UNVERSIONED}
    named: _Versions = {each: each for each in versions if each[1] not in {DELETED, UNVERSIONED}}
    outcomes |= await delete_each(container, plain | named, deadline)
    current = {
        each: found
        for each, found in outcomes.items()
        if isinstance(found, StorageError) and found.provider_code in _IS_CURRENT
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
