"""Pages of listings: objects and prefixes of both members as one."""

from __future__ import annotations

from dataclasses import replace

from credstore.concurrency import both
from credstore.driver.contract import Driver
from credstore.driver.internal import FAILOVER, internal_key
from credstore.driver.values import Page
from credstore.errors import StorageError
from credstore.strategies.fallback import plan
from credstore.strategies.merging import merge, position_of, read_page
from credstore.strategies.outcomes import outcome_of

NOTE = internal_key(FAILOVER)
"""What `Detours` keeps at the fallback is internal: it is not listed, and nothing else writes it."""


class Pages:
    """What both members list, each name once."""

    def __init__(self, primary: Driver, fallback: Driver, first: str, second: str) -> None:
        """Look at two members.

        Args:
            primary: Whose object counts if both are equally new.
            fallback: Keeps the note of detours.
            first: Label of the primary.
            second: Label of the fallback.
        """
        self._members = (primary, fallback)
        self._labels = (first, second)

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
        """One page of the union; see `Driver.list`.

        Raises:
            StorageError: A member failed, and without it there is nothing to list.
        """
        position = position_of(cursor, 2, start_after)

        async def read(member: int) -> Page | StorageError | None:
            if position.places[member].ended:
                return None
            return await outcome_of(
                read_page(
                    self._members[member],
                    position.places[member],
                    prefix,
                    delimiter=delimiter,
                    limit=limit,
                    deadline=deadline,
                )
            )

        read_pages = await both(read(0), lambda: read(1))
        failures = [page for page in read_pages if isinstance(page, StorageError)]
        pages = [
            await self._shown(page, label, deadline) if isinstance(page, Page) else None
            for page, label in zip(read_pages, self._labels, strict=True)
        ]
        merged = merge(position, pages, limit, plan.newer)
        if not failures:
            return merged
        wrong = [error for error in failures if not plan.read_moves_on(error)]
        if wrong or not (merged.entries or merged.prefixes):
            raise (wrong or failures)[0]
        return replace(merged, entries=plan.marked(merged.entries), degraded=True)

    async def _shown(self, page: Page, label: str, deadline: float | None) -> Page:
        """A member's page without the note, and without a prefix that contains nothing else."""
        shown = [replace(entry, served_by=label) for entry in page.entries if entry.key != NOTE]
        prefixes = [
            each
            for each in page.prefixes
            if label != self._labels[1] or not NOTE.startswith(each) or await self._has_more(each, deadline)
        ]
        return replace(page, entries=shown, prefixes=prefixes)

    async def _has_more(self, prefix: str, deadline: float | None) -> bool:
        """Whether the fallback has anything besides the note under this prefix of the note's key."""
        cursor: str | None = None
        while True:
            try:
                page = await self._members[1].list(prefix, cursor, limit=2, deadline=deadline)
            except StorageError:
                return True
            if any(entry.key != NOTE for entry in page.entries):
                return True
            if page.cursor is None or page.cursor == cursor:
                return False
            cursor = page.cursor
