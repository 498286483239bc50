"""Threads for file I/O, joined before a cancellation is let through.

A thread cannot be interrupted. So that nothing becomes visible after `CancelledError` (P15), the
error waits for the thread that is at work, and one that has not started never starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from credstore.concurrency import until_done

T = TypeVar("T")
P = ParamSpec("P")


class Workers:
    """A small pool of threads of one driver."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="credstore-local")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in a thread; a result that no caller will get is closed if it can be."""
        job = self._pool.submit(work, *args, **kwargs)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not job.cancel():
                await until_done([future])
                _drop(future)
            raise

    async def finish(self, work: Callable[[], object]) -> None:
        """Call `work` in a thread, even if this task is cancelled before it starts."""
        future = asyncio.wrap_future(self._pool.submit(work))
        cancelled = await until_done([future])
        future.result()
        if cancelled is not None:
            raise cancelled

    def close(self) -> None:
        """Wait for the threads and end them."""
        self._pool.shutdown(wait=True)


def _drop(future: asyncio.Future[T]) -> None:
    if future.cancelled() or future.exception() is not None:
        return
    close = getattr(future.result(), "close", None)
    if callable(close):
        close()
