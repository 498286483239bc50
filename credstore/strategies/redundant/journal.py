"""What members have missed: an empty object for each key, at the members that did not miss it.

It lies with the replicas and not on this machine, so any process can catch up after this one is gone. It is a
shortcut: `scrub` finds the same differences without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from secrets import token_hex

from credstore.concurrency import map_all
from credstore.driver.values import BytesBody, PutRequest
from credstore.errors import StorageError
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

    async def clear(self, key: str) -> None:
        """All replicas of a key are equal now."""

        async def one(member: Member) -> None:
            try:
                await member.ask(member.driver.delete, JOURNAL + key, deadline=self._deadline())
            except StorageError:
                return  # It is looked at once more, which is harmless.

        await map_all(self._members, one, at_once=len(self._members))
