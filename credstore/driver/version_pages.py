"""Versions of objects, newest first, from a store that lists those of a key from the oldest to the newest.

Rules of this file: the versions of a key are shown once all are known. Where a store has no delete
markers, one is shown in the place of a deleted object, so that whoever removes versions sees what readers
see; removing it does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from credstore.driver.values import VersionPage
from credstore.errors import ErrorCode, StorageIntegrityError, StorageInvalidRequestError
from credstore.model import StorageVersion

DELETED = "deleted"
"""Version id of what is shown where no version is the current one."""


@dataclass(frozen=True, slots=True)
class OldestFirst:
    """A page as the store lists it: versions without markers, and where the next page begins."""

    entries: Sequence[StorageVersion]
    marker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Whose versions to show.

    Attributes:
        page: The store's page at a marker; None for the first.
        age: Of a version id: the newer, the greater; text counts where numbers are equal.
        label: The provider's.
        exact: The one key to show, or None.
    """

    page: Callable[[str | None], Awaitable[OldestFirst]]
    age: Callable[[str], tuple[int, str]]
    label: str
    exact: str | None


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a listing continues: in the store's page of this marker, after this version of this key."""

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
    except (ValueError, TypeError, RecursionError):
        raise StorageInvalidRequestError("this cursor is not of a listing of versions") from None


async def newest_first(versions: Versions, cursor: str | None, limit: int) -> VersionPage:
    """One page; see `VersionedDriver.list_versions`. Cost: 1 page of the store, more for a key of many."""
    at = _cursor_of(cursor)
    found, following = await _groups(versions, at)
    entries = [each for key in sorted(found, key=str.encode) for each in _left(versions, key, found[key], at)]
    if len(entries) > limit:
        last = entries[limit - 1]
        return VersionPage(entries=entries[:limit], cursor=str(_Cursor(at.marker, last.key, last.version_id)))
    if following is None:
        return VersionPage(entries=entries, cursor=None)
    last = entries[-1]
    return VersionPage(entries=entries, cursor=str(_Cursor(following.marker, last.key, last.version_id)))


async def _groups(versions: Versions, at: _Cursor) -> tuple[dict[str, list[StorageVersion]], _Cursor | None]:
    """Keys of which all versions are known, some of them not shown yet, and where the next key begins."""
    marker = at.marker
    groups: dict[str, list[StorageVersion]] = {}
    begins: dict[str, str | None] = {}
    while True:
        page = await versions.page(marker)
        for each in page.entries:
            if versions.exact is not None and each.key != versions.exact:
                return groups, None
            begins.setdefault(each.key, marker)
            groups.setdefault(each.key, []).append(each)
        if page.marker is None:
            return groups, None
        if page.marker == marker:
            raise StorageIntegrityError(
                "the provider's listing goes round in circles", code=ErrorCode.LISTING
            )
        marker = page.marker
        # More versions of the last key may be on the next page.
        unfinished = next(reversed(groups), None)
        if any(_left(versions, key, groups[key], at) for key in groups if key != unfinished):
            del groups[str(unfinished)]
            return groups, _Cursor(begins[str(unfinished)])


def _left(
    versions: Versions, key: str, entries: Sequence[StorageVersion], at: _Cursor
) -> Sequence[StorageVersion]:
    """The versions of one key that have not been shown yet."""
    # In which of these orders some stores list is not documented; rather twice than not at all.
    if key.encode() < at.key.encode() and key.encode("utf-16-be") < at.key.encode("utf-16-be"):
        return ()
    shown = _shown(versions, key, entries)
    return _after(versions, shown, at.version_id) if key == at.key else shown


def _shown(versions: Versions, key: str, entries: Sequence[StorageVersion]) -> list[StorageVersion]:
    """The versions of one key, newest first, below what stands for its deletion."""
    shown = sorted(entries, key=lambda each: (each.is_latest, versions.age(each.version_id)), reverse=True)
    if any(each.is_latest for each in shown):
        return shown
    deleted = StorageVersion(
        key=key, version_id=DELETED, is_latest=True, is_delete_marker=True, served_by=versions.label
    )
    return [deleted, *shown]


def _after(versions: Versions, shown: Sequence[StorageVersion], version_id: str) -> list[StorageVersion]:
    """Those that come after a version, which may be gone."""
    names = [each.version_id for each in shown]
    if version_id in names:
        return list(shown[names.index(version_id) + 1 :])
    if version_id == DELETED:
        return list(shown)
    age = versions.age(version_id)
    return [each for each in shown if each.version_id != DELETED and versions.age(each.version_id) < age]
