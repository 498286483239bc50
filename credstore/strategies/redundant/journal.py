"""What members have missed: an empty object for each key, at the members that did not miss it.

It lies with the replicas and not on this machine, so any process can catch up after this one is gone. It is a
shortcut: `scrub` finds the same differences without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from secrets import token_hex

from credstore.concurrency import map_all
from credstore.driver.values import BytesBody, ObjectInfo, PutRequest, ReadOptions
from credstore.errors import StorageError
from credstore.model import strong_etag
from credstore.strategies.health import Member
from credstore.strategies.redundant.pages import Pages
from credstore.strategies.redundant.plan import JOURNAL


class Journal:
    """Keys that a member has missed a write or delete of.

    Attributes:
        on_note: Called when something is noted.
    """

    def __init__(self, members: Sequence[Member], pages: Pages, deadline: Callable[[], float]) -> None:
        """Know of nothing missed.

        Args:
            members: All of them.
            pages: Lists the journal.
            deadline: Of a request that starts now.
        """
        self._members = members
        self._pages = pages
        self._deadline = deadline
        self.on_note: Callable[[], None] | None = None

    async def note(self, key: str, having: Sequence[Member]) -> None:
        """Note at these members that others have missed a change of a key; as far as they can be reached."""
        if self.on_note is not None:
            self.on_note()

        async def one(member: Member) -> None:
            request = PutRequest(
                key=JOURNAL + key,
                body=BytesBody(b""),
                write_id=token_hex(16),
                digest=hashlib.sha256(b"").digest(),
                deadline=self._deadline(),
            )
            try:
                await member.ask(member.driver.put, request)
            except StorageError:
                return  # `scrub` finds it without.

        await map_all(having, one, at_once=len(self._members))
        if self.on_note is not None:
            self.on_note()

    async def missed(self) -> AsyncIterator[str]:
        """Every key that is noted anywhere."""
        async for name in self._pages.keys(JOURNAL, self._deadline):
            yield name[len(JOURNAL) :]

    async def notes(self, key: str) -> Mapping[Member, ObjectInfo]:
        """What is noted of a key, and where; as far as members can be reached."""

        async def one(member: Member) -> ObjectInfo | None:
            try:
                return await member.ask(member.driver.head, JOURNAL + key, self._reading())
            except StorageError:
                return None  # There is none, or it is looked at once more, which is harmless.

        found = await map_all(self._members, one, at_once=len(self._members))
        return {member: info for member, info in zip(self._members, found, strict=True) if info is not None}

    async def clear(self, key: str, notes: Mapping[Member, ObjectInfo]) -> None:
        """All replicas of a key are equal now.

        Args:
            key: Of the object.
            notes: As they were before the replicas were compared. A later one is of a change that was made
                meanwhile, and stays.
        """

        async def one(member: Member) -> None:
            driver, seen = member.driver, notes[member]
            etag = strong_etag(seen.etag) if driver.capabilities.conditional_delete else None
            try:
                if etag is None:
                    now = await member.ask(driver.head, JOURNAL + key, self._reading())
                    if now.write_id != seen.write_id:
                        return
                await member.ask(driver.delete, JOURNAL + key, if_match=etag, deadline=self._deadline())
            except StorageError:
                return  # It is looked at once more, which is harmless.

        await map_all(list(notes), one, at_once=len(self._members))

    def _reading(self) -> ReadOptions:
        return ReadOptions(deadline=self._deadline())
