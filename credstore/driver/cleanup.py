"""What is still done after a write has failed or was cancelled: bounded, and not ended by further cancels."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

T = TypeVar("T")
ABORT_TIME = 5.0
"""Seconds that cleaning up may take after a write has failed or was cancelled."""


async def ended(task: asyncio.Future[T]) -> asyncio.CancelledError | None:
    """Wait for a task at most `ABORT_TIME`, whatever cancels arrive in the meantime; return the last one."""
    cancelled: asyncio.CancelledError | None = None
    end = time.monotonic() + ABORT_TIME
    while not task.done():
        left = end - time.monotonic()
        if left <= 0:
            task.cancel()
        try:
            await asyncio.wait([task], timeout=left if left > 0 else None)
        except asyncio.CancelledError as again:
            cancelled = again
    return cancelled
