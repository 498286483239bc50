"""Which reads under way have become slow: one timer for all of them, since most end long before theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Late = Callable[[], None]


class Watch:
    """Calls back for what takes too long."""

    __slots__ = ("_due", "_loop", "_timer")

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._due: dict[Late, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, late: Late, delay: float) -> None:
        """Call `late` once in `delay` seconds, unless it is forgotten before."""
        loop = self.loop
        due = loop.time() + delay
        self._due[late] = due
        if self._timer is None or due < self._timer.when():
            self._set(loop, due)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that calls back; a driver has one."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def forget(self, late: Late) -> None:
        """It has ended."""
        self._due.pop(late, None)

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._ring)

    def _ring(self) -> None:
        loop, self._timer = self.loop, None
        now = loop.time()
        for late in [late for late, due in self._due.items() if due <= now]:
            del self._due[late]
            late()
        if self._due:
            self._set(loop, min(self._due.values()))
