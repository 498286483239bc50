"""What is left to finish after a call has returned."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from credstore.concurrency import until_done


class Background:
    """Tasks that outlive the call that made them, but not the driver. They handle their own errors."""

    def __init__(self, lifetime: float) -> None:
        """Have nothing to do.

        Args:
            lifetime: Seconds after which a task is cancelled.
        """
        self._lifetime = lifetime
        self._tasks: set[asyncio.Task[None]] = set()

    def leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run on."""
        task = asyncio.ensure_future(self._bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bounded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(self._lifetime):
                await work
        except TimeoutError:
            return  # Whatever it did not reach, `scrub` finds.

    async def settled(self) -> None:
        """Wait until nothing is left to do, also what comes up meanwhile.

        Raises:
            CancelledError: This was cancelled; what it waited for runs on.
        """
        while tasks := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(tasks)

    async def aclose(self) -> None:
        """As `settled`, also when cancelled, which surfaces then."""
        cancelled = None
        while tasks := [task for task in self._tasks if not task.done()]:
            cancelled = await until_done(tasks) or cancelled
        if cancelled is not None:
            raise cancelled
