"""Writes that wait for their group, on the event loop.

Rules of this file: a write that no group has taken is withdrawn when its caller is cancelled; one that is in
a group is waited for, so that nothing becomes visible later (P15). Two groups work at once, one on the
processor while the other waits for the disk, and never on keys with the same lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from credstore.concurrency import until_done
from credstore.drivers.local.atomic import Token
from credstore.drivers.local.together import MOST, Write
from credstore.errors import StorageUnavailableError

AT_ONCE = 2
"""Groups under way."""


class Gathering:
    """The writes of one store; used on its event loop alone."""

    def __init__(self, publish: Callable[[Sequence[Write]], Awaitable[object]]) -> None:
        """Empty.

        Args:
            publish: Stores a group, and notes the outcome of each write in it.
        """
        self._publish = publish
        self._waiting: dict[Write, asyncio.Future[None]] = {}
        self._locked: set[int] = set()
        self._ends: dict[Write, asyncio.Future[None]] = {}
        """Of the group that has a write."""
        self._groups: set[asyncio.Task[None]] = set()

    async def store(self, write: Write) -> Token:
        """The version that was published, durable.

        Raises:
            StorageError: The outcome of this write.
        """
        done = self._waiting[write] = asyncio.get_running_loop().create_future()
        if len(self._groups) < AT_ONCE:
            group = asyncio.ensure_future(self._work())
            self._groups.add(group)
        try:
            await done
        except asyncio.CancelledError:
            self._waiting.pop(write, None)
            if write in self._ends:
                await until_done([self._ends[write]])
            raise
        if write.error is not None:
            raise write.error
        if write.token is None:
            raise StorageUnavailableError(
                "the store was closed before the object was stored", applied="maybe"
            )
        return write.token

    async def _work(self) -> None:
        """Store one group after the other until none is waiting."""
        try:
            await self._work_off()
        finally:
            # In the step that found no write waiting: one that came before a later step would be left alone.
            me = asyncio.current_task()
            if me is not None:
                self._groups.discard(me)

    async def _work_off(self) -> None:
        while True:
            before = -1
            while before < len(self._waiting) < MOST:  # Those that the last group has woken come, too.
                before = len(self._waiting)
                await asyncio.sleep(0)
            group = self._take()
            if not group:
                return
            end = asyncio.get_running_loop().create_future()
            self._ends |= dict.fromkeys(group, end)
            try:
                await self._publish(list(group))
            except Exception as error:  # noqa: BLE001 - each caller learns it
                for write in group:
                    write.error = write.error or error
            finally:
                end.set_result(None)
                for write, done in group.items():
                    self._locked.discard(write.stripe)
                    del self._ends[write]
                    if not done.done():
                        done.set_result(None)

    def _take(self) -> dict[Write, asyncio.Future[None]]:
        """Those that have waited longest, whose keys have locks of their own."""
        group: dict[Write, asyncio.Future[None]] = {}
        for write in list(self._waiting):
            if write.stripe not in self._locked and len(group) < MOST:
                self._locked.add(write.stripe)
                group[write] = self._waiting.pop(write)
        return group

    async def close(self) -> None:
        """Wait for what is under way."""
        cancelled = await until_done(list(self._groups))
        if cancelled is not None:
            raise cancelled
