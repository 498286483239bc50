"""Versions of both members as one listing: the primary's first, each labelled with its member.

Rules of this file: objects of a member without versions count as one version each, so that removing every
version of a key leaves nothing anywhere; a member that cannot be reached is an error, never left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from credstore.driver.contract import Driver, LockingDriver, RetainingDriver, VersionedDriver
from credstore.driver.refusals import LIST_VERSIONS, RETENTION, check_writable
from credstore.driver.values import DeleteOutcome, ReadOptions, VersionPage
from credstore.errors import StorageError, StorageUnsupportedError
from credstore.model import Retention, StorageVersion
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.pages import NOTE
from credstore.strategies.health import is_absence
from credstore.strategies.merging import Place, read_page

_WHOLE = ""
"""The version of an object at a member that keeps no versions; no store uses this as an id."""
Pair = tuple[str, str]
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MemberVersions:
    """The versions that two members keep.

    Attributes:
        members: Primary and fallback.
        labels: Their labels.
    """

    members: tuple[Driver, Driver]
    labels: tuple[str, str]

    async def kept(self, deadline: float | None) -> bool:
        """See `VersionedDriver.keeps_versions`."""
        for member in self.members:
            if isinstance(member, VersionedDriver) and await member.keeps_versions(deadline=deadline):
                return True
        return False

    async def page(
        self, prefix: str, cursor: str | None, *, exact: bool, limit: int, deadline: float | None
    ) -> VersionPage:
        """See `FallbackDriver.list_versions`."""
        if not any(isinstance(member, VersionedDriver) for member in self.members):
            raise LIST_VERSIONS.of("fallback")
        at, below = plan.version_place(cursor)
        page = await _page_of(self.members[at], prefix, below, exact=exact, limit=limit, deadline=deadline)
        entries = [
            replace(each, version_id=plan.member_version(at, each.version_id), served_by=self.labels[at])
            for each in page.entries
            if each.key != NOTE
        ]
        if page.cursor is not None:
            return VersionPage(entries=entries, cursor=plan.member_version(at, page.cursor))
        return VersionPage(entries=entries, cursor=plan.member_version(1, None) if at == 0 else None)

    async def remove(
        self, versions: Sequence[Pair], deadline: float | None
    ) -> dict[Pair, DeleteOutcome | StorageError]:
        """See `VersionedDriver.delete_versions`."""
        outcomes: dict[Pair, DeleteOutcome | StorageError] = {}
        for at, member in enumerate(self.members):
            mine = {
                (key, below or _WHOLE): (key, version_id)
                for key, version_id in versions
                for where, below in (plan.version_place(version_id),)
                if where == at
            }
            found = await _removed(member, list(mine), deadline)
            outcomes |= {asked: found[pair] for pair, asked in mine.items()}
        return outcomes

    async def retention(self, key: str, version_id: str | None, deadline: float | None) -> Retention:
        """See `FallbackDriver.get_retention`."""
        if version_id is None:
            having: list[tuple[Driver, str | None]] = [
                (member, None) for _, member in await self._having(key, deadline)
            ]
        else:
            having = [self._place(version_id)]
        found = [
            await member.get_retention(key, version, deadline=deadline)
            for member, version in having
            if isinstance(member, RetainingDriver)
        ]
        return longest(found)

    async def lock(
        self,
        key: str,
        version_id: str | None,
        apply: Callable[[LockingDriver, str | None], Awaitable[None]],
        deadline: float | None,
    ) -> None:
        """See `FallbackDriver.set_retention`."""
        if version_id is not None:
            only, version = self._place(version_id)
            await apply(_locking(only), version)
            return
        found = await self._having(key, deadline)
        for label, one in found:  # Before the other one is changed.
            check_writable(one.capabilities, label)
        having = [(label, _locking(member)) for label, member in found]
        done: str | None = None
        for label, member in having:
            try:
                await apply(member, None)
            except StorageError as error:
                if done is None:
                    raise
                error.applied = "maybe"
                error.message += f" (at {label}; it was done at {done})"
                raise
            done = label

    def _place(self, version_id: str) -> tuple[Driver, str | None]:
        at, below = plan.version_place(version_id)
        return self.members[at], below or None

    async def _having(self, key: str, deadline: float | None) -> list[tuple[str, Driver]]:
        """The members that have an object now, with their labels.

        Raises:
            StorageObjectNotFoundError: Neither has it.
            StorageError: One of them could not be asked.
        """
        found: list[tuple[str, Driver]] = []
        absent: StorageError | None = None
        for label, member in zip(self.labels, self.members, strict=True):
            try:
                await member.head(key, ReadOptions(deadline=deadline))
            except StorageError as error:
                if not is_absence(error):
                    raise
                absent = error
            else:
                found.append((label, member))
        if absent is not None and not found:
            raise absent
        return found


def longest(found: Sequence[Retention]) -> Retention:
    """What keeps something that several stores keep: the retention that ends last, and any legal hold."""
    ends = [each for each in found if each.mode is not None]
    held = any(each.legal_hold for each in found)
    last = max(ends, key=lambda each: each.retain_until or _NEVER, default=Retention())
    return replace(last, legal_hold=held)


def _locking(member: Driver) -> LockingDriver:
    if not isinstance(member, LockingDriver):
        raise RETENTION.of(member.name)
    return member


async def _page_of(
    member: Driver, prefix: str, cursor: str | None, *, exact: bool, limit: int, deadline: float | None
) -> VersionPage:
    """A page of one member's versions; its objects where it keeps no versions."""
    if isinstance(member, VersionedDriver):
        try:
            return await member.list_versions(prefix, cursor, exact=exact, limit=limit, deadline=deadline)
        except StorageUnsupportedError:
            if await member.keeps_versions(deadline=deadline):
                raise
    if exact and not member.capabilities.ordered:
        page = await read_page(member, Place(), prefix, delimiter=None, limit=limit, deadline=deadline)
    else:
        # Where names ascend, the key itself comes first among all that start with it.
        page = await member.list(prefix, cursor, limit=1 if exact else limit, deadline=deadline)
    entries = [
        StorageVersion(
            key=each.key,
            version_id=_WHOLE,
            is_latest=True,
            size=each.size,
            last_modified=each.last_modified,
            etag=each.etag,
            storage_class=each.storage_class,
        )
        for each in page.entries
        if not exact or each.key == prefix
    ]
    return VersionPage(entries=entries, cursor=None if exact else page.cursor)


async def _removed(
    member: Driver, pairs: Sequence[Pair], deadline: float | None
) -> dict[Pair, DeleteOutcome | StorageError]:
    """What became of versions at their member; a failure of the whole request counts for each of them."""
    found: dict[Pair, DeleteOutcome | StorageError] = {}
    whole = [key for key, version_id in pairs if version_id == _WHOLE]
    named = [(key, version_id) for key, version_id in pairs if version_id != _WHOLE]
    if whole:
        try:
            gone = await member.delete_many(whole, deadline=deadline)
            found |= {(key, _WHOLE): gone[key] for key in whole}
        except StorageError as error:
            found |= {(key, _WHOLE): error for key in whole}
    if named:
        try:
            if not isinstance(member, VersionedDriver):
                raise LIST_VERSIONS.of(member.name)
            found |= await member.delete_versions(named, deadline=deadline)
        except StorageError as error:
            found |= dict.fromkeys(named, error)
    return found
