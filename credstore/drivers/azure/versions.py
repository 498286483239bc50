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

from credstore.driver.refusals import LIST_VERSIONS, RETENTION
from credstore.driver.values import DeleteOutcome, ReadOptions, VersionPage
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.deleting import DELETED, delete, delete_each, still_kept
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import head_blob, list_blobs
from credstore.drivers.azure.xml import ListEntry, ListReply, parse_list, parse_time
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.model import Retention, StorageVersion

SOFT = "soft-deleted:"
"""Before the id of a version that only blob soft delete keeps."""
UNVERSIONED = "null"
"""Version id of a blob that was stored while versions were off."""
_PAGE = 1000
_MODES = {"unlocked": "GOVERNANCE", "locked": "COMPLIANCE"}
"""Of immutability policies, to those of `Retention`."""
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
    at = _cursor_of(cursor)
    found, following = await _groups(container, prefix, at, exact=exact, deadline=deadline)
    entries = [
        each for key in sorted(found, key=str.encode) for each in _left(container, key, found[key], at)
    ]
    if len(entries) > limit:
        last = entries[limit - 1]
        rest = _Cursor(at.marker, last.key, last.version_id)
        return VersionPage(entries=entries[:limit], cursor=str(rest))
    if following is None:
        return VersionPage(entries=entries, cursor=None)
    last = entries[-1]
    return VersionPage(entries=entries, cursor=str(_Cursor(following.marker, last.key, last.version_id)))


async def _groups(
    container: Container, prefix: str, at: _Cursor, *, exact: bool, deadline: float | None
) -> tuple[dict[str, list[ListEntry]], _Cursor | None]:
    """Keys of which all versions are known, some of them not shown yet, and where the next key begins."""
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
        # More versions of the last key may be on the next page.
        unfinished = next(reversed(groups), None)
        if any(_left(container, key, groups[key], at) for key in groups if key != unfinished):
            del groups[str(unfinished)]
            return groups, _Cursor(begins[str(unfinished)])


def _left(
    container: Container, key: str, entries: Sequence[ListEntry], at: _Cursor
) -> Sequence[StorageVersion]:
    """The versions of one key that have not been shown yet."""
    # In which of these orders Azure lists is not documented; rather twice than not at all.
    if key.encode() < at.key.encode() and key.encode("utf-16-be") < at.key.encode("utf-16-be"):
        return ()
    shown = _shown(container, key, entries)
    return _after(shown, at.version_id) if key == at.key else shown


async def _page(
    container: Container, prefix: str, marker: str | None, limit: int, deadline: float | None
) -> ListReply:
    request = list_blobs(prefix, marker, limit, include="deleted,versions")
    return await parsed(parse_list, (await container.call(request, deadline=deadline)).body)


def _shown(container: Container, key: str, entries: Sequence[ListEntry]) -> list[StorageVersion]:
    """The versions of one key, newest first, below what stands for its deletion."""
    newest_first = sorted(
        entries, key=lambda each: (each.is_current, not each.is_deleted, each.version_id or ""), reverse=True
    )
    shown = [
        StorageVersion(
            key=key,
            version_id=f"{SOFT if each.is_deleted else ''}{each.version_id or UNVERSIONED}",
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
    # What is only kept by soft delete comes last, and "s" after all times.
    is_soft = version_id.startswith(SOFT)
    return [
        each
        for each in shown
        if each.version_id != DELETED
        and (each.version_id.startswith(SOFT), version_id) > (is_soft, each.version_id)
    ]


async def get_retention(
    container: Container, key: str, version_id: str, *, deadline: float | None
) -> Retention:
    """What immutability policies and legal holds say about a version; see `RetainingDriver.get_retention`.

    Source: "Get Blob Properties", `x-ms-immutability-policy-mode`: "unlocked" policies can be removed.
    """
    if not container.able.versions:
        raise RETENTION.of(NAME)
    if version_id == DELETED or version_id.startswith(SOFT):
        return Retention()
    asked = None if version_id == UNVERSIONED else version_id
    request = head_blob(key, ReadOptions(version_id=asked), container.able)
    headers = (await container.call(request, deadline=deadline)).headers
    mode = _MODES.get(headers.get("x-ms-immutability-policy-mode", "").lower())
    until = parse_time(headers.get("x-ms-immutability-policy-until-date"))
    return Retention(
        mode=mode, retain_until=until, legal_hold=headers.get("x-ms-legal-hold", "").lower() == "true"
    )


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
