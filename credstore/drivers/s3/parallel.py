"""The spans of one object, fetched a few at a time and yielded in order.

Rules of this file: at most `concurrency` spans are in memory or in flight; the first failure ends all;
whoever stops reading, even through a cancel, leaves no task behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

Span = tuple[int, int]
"""First byte, and one past the last."""


def cut_spans(start: int, end: int, size: int) -> list[Span]:
    """The bytes from `start` up to `end` in spans of `size`, the last one shorter."""
    return [(at, min(at + size, end)) for at in range(start, end, size)]


async def in_order(
    first: AsyncGenerator[bytes, None],
    spans: Sequence[Span],
    fetch: Callable[[int, int], Awaitable[list[bytes]]],
    *,
    concurrency: int,
) -> AsyncIterator[bytes]:
    """What `first` yields, then the bytes of each span.

    Args:
        first: The start, as it arrives; closed here.
        spans: The rest.
        fetch: All bytes of one span, in chunks.
        concurrency: Number of spans at once, including the one that is being yielded.
    """
    waiting = deque(spans)
    running: deque[asyncio.Task[list[bytes]]] = deque()

    def start_more() -> None:
        while waiting and len(running) < concurrency - 1:
            running.append(asyncio.ensure_future(fetch(*waiting.popleft())))

    try:
        start_more()
        async with aclosing(first):
            async for chunk in first:
                yield chunk
        while running:
            data = await running[0]
            running.popleft()
            start_more()
            for chunk in data:
                yield chunk
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
