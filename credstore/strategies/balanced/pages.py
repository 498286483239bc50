"""Listings of members that share the objects: each name once, and no claims."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from credstore.concurrency import map_all
from credstore.driver.values import ObjectInfo, Page, ReadOptions
from credstore.errors import StorageError
from credstore.quick import changed
from credstore.strategies.balanced.claims import SIZE
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.pages import NOTE
from credstore.strategies.health import Member, is_absence
from credstore.strategies.merging import merge, position_of, read_page

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Pages:
    """Lists all members as one.

    Attributes:
        members: All of them.
        head: What readers find under a key.
    """

    members: Sequence[Member]
    head: Callable[[str, ReadOptions], Awaitable[ObjectInfo]]

    async def page(
        self,
        prefix: str,
        cursor: str | None,
        *,
        delimiter: str | None,
        start_after: str | None,
        limit: int,
        deadline: float | None,
    ) -> Page:
        """One page; see `BalancedDriver.list`.

        Raises:
            StorageError: A member failed.
        """
        position = position_of(cursor, len(self.members), start_after)

        async def read(member: Member) -> Page | None:
            place = position.places[member.index]
            if place.ended:
                return None
            page = await member.ask(
                read_page, member.driver, place, prefix, delimiter=delimiter, limit=limit, deadline=deadline
            )
            entries = [changed(each, {"served_by": member.label}) for each in page.entries]
            return replace(page, entries=entries)

        pages = await map_all(self.members, read, at_once=len(self.members))
        merged = merge(position, pages, limit, plan.newer)
        prefixes = [
            each
            for each in merged.prefixes
            if not NOTE.startswith(each) or await self._has_more(each, deadline)
        ]
        shown = [entry for entry in merged.entries if entry.key != NOTE]
        if any(entry.size == SIZE for entry in shown):
            looked = await map_all(shown, lambda entry: self._listed(entry, deadline), at_once=_AT_ONCE)
            shown = [entry for entry in looked if entry is not None]
        return replace(merged, entries=shown, prefixes=prefixes)

    async def _listed(self, entry: ObjectInfo, deadline: float | None) -> ObjectInfo | None:
        """An entry of a listing; for what may be a claim what readers get, or None."""
        if entry.size != SIZE:
            return entry
        try:
            found = await self.head(entry.key, ReadOptions(deadline=deadline))
        except StorageError as error:
            if is_absence(error):
                return None
            raise
        if (found.served_by, found.etag) == (entry.served_by, entry.etag):
            return entry
        return ObjectInfo.listed(
            key=entry.key,
            size=found.size,
            etag=found.etag,
            last_modified=found.last_modified,
            storage_class=found.storage_class,
            served_by=found.served_by,
        )

    async def _has_more(self, prefix: str, deadline: float | None) -> bool:
        """Whether there is anything besides the notes of outages under this prefix of their key."""
        cursor: str | None = None
        while True:
            page = await self.page(
                prefix, cursor, delimiter=None, start_after=None, limit=2, deadline=deadline
            )
            if page.entries or page.cursor is None:
                return bool(page.entries)
            cursor = page.cursor
