"""What is left to finish after a call has returned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from credstore.concurrency import until_done
from credstore.strategies.watch import Watch


class Remaining(Protocol):
    """Tasks that end by themselves, and then say so with `Background.forget`."""

    @property
    def running(self) -> Collection[asyncio.Future[Any]]:
        """Those that have not ended."""
        ...

    def expire(self) -> None:
        """Cancel them."""
        ...


class Background:
    """Tasks that outlive the call that made them, but not the driver. They handle their own errors."""

    def __init__(self, lifetime: float) -> None:
        """Have nothing to do.

        Args:
            lifetime: Seconds after which a task is cancelled.
        """
        self._lifetime = lifetime
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: dict[Remaining, Callable[[], None]] = {}
        self._late = Watch()

    def leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run on."""
        task = asyncio.ensure_future(self._bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep(self, remaining: Remaining) -> None:
        """Let tasks that run already run on, which costs no task more."""
        late = self._kept[remaining] = remaining.expire
        self._late.watch(late, self._lifetime)

    def forget(self, remaining: Remaining) -> None:
        """They have ended."""
        self._late.forget(self._kept.pop(remaining))

    async def _bounded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(self._lifetime):
                await work
        except TimeoutError:
            return  # Whatever it did not reach, `scrub` finds.

    def _running(self) -> list[asyncio.Future[Any]]:
        kept = (task for each in self._kept for task in each.running)
        return [task for task in (*self._tasks, *kept) if not task.done()]

    async def settled(self) -> None:
        """Wait until nothing is left to do, also what comes up meanwhile.

        Raises:
            CancelledError: This was cancelled; what it waited for runs on.
        """
        while (tasks := self._running()) or self._kept:
            if tasks:
                await asyncio.wait(tasks)
            else:
                await asyncio.sleep(0)  # They have ended, and are about to say so.

    async def aclose(self) -> None:
        """As `settled`, also when cancelled, which surfaces then."""
        cancelled = None
        while (tasks := self._running()) or self._kept:
            try:
                cancelled = await until_done(tasks) or cancelled
                if not tasks:
                    await asyncio.sleep(0)
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled
