"""Credentials that are looked up by blocking work and end: renewed in time, once for all who wait.

Rules of this file: the work runs in a daemon thread; if a renewal fails or takes long while what there is
still works, that stays in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from credstore.errors import StorageAuthenticationError, StorageConfigurationError
from credstore.wire.waiting import Shared

T = TypeVar("T")
PAUSE = timedelta(minutes=1)
"""Time between two attempts to get newer ones while the current ones still work."""
PATIENCE = 1.0
"""Seconds to wait for newer ones while the current ones still work; the search continues by itself."""


class Renewed(Generic[T]):
    """What one piece of blocking work finds, looked up again before it ends.

    Cancellation: ends only the caller's wait; others keep waiting for the same renewal.
    """

    def __init__(
        self,
        look: Callable[[], T],
        ends: Callable[[T], datetime | None],
        *,
        early: timedelta,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Look nothing up yet.

        Args:
            look: Blocks, so it runs in a daemon thread.
            ends: When what it found ends, UTC; None if never.
            early: How long before that it is looked up again.
            now: The present, timezone-aware; None for the machine's clock.
        """
        self._ends = ends
        self._early = early
        self._now = now or _present
        self._current: T | None = None
        self._look_again: datetime | None = None
        self._looking = Shared(look)

    def ready(self) -> T | None:
        """What works now and for some time; None if `get` has to look."""
        current = self._current
        if current is None:
            return None
        ends = self._ends(current)
        return current if ends is None or self._now() < ends - self._early else None

    async def get(self) -> T:
        """What works now; cheap while it is cached.

        Raises:
            StorageError: As `look` raised it.
        """
        current = self._current
        if current is None or self._ended(current):
            return await self.refresh()
        ends, now = self._ends(current), self._now()
        due = ends is not None and now >= ends - self._early
        if not due or (self._look_again is not None and now < self._look_again):
            return current
        self._look_again = now + PAUSE
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.refresh()
        except (StorageAuthenticationError, StorageConfigurationError, TimeoutError):
            if self._ended(current):
                raise
            return current

    async def refresh(self) -> T:
        """Look it up again; concurrent callers share one result.

        Raises:
            StorageError: As `look` raised it.
        """
        found = self._current = await self._looking.result()
        return found

    def forget(self) -> None:
        """Drop what was found; a later `get` looks it up again."""
        self._current = None
        self._looking.forget()

    def _ended(self, current: T) -> bool:
        ends = self._ends(current)
        return ends is not None and ends <= self._now()


def _present() -> datetime:
    return datetime.now(UTC)
