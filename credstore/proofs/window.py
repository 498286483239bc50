"""Work on many things at once, a bounded number at a time, with the results in order."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_in_order(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[R]], *, at_once: int
) -> AsyncGenerator[R, None]:
    """`await work(item)` for each item, at most `at_once` under way, results in the order of the items.

    Leaving early or an error of one cancels those under way and waits for them; no more than `at_once`
    results are held.

    Args:
        items: Taken as there is room.
        work: What to do with one.
        at_once: 1 or more.
    """
    window: deque[asyncio.Future[R]] = deque()
    try:
        async with aclosing(_each(items)) as taken:
            async for item in taken:
                if len(window) >= at_once:
                    yield await window[0]
                    window.popleft()
                window.append(asyncio.ensure_future(work(item)))
        while window:
            yield await window[0]
            window.popleft()
    finally:
        for task in window:
            task.cancel()
        if window:
            await asyncio.gather(*window, return_exceptions=True)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if inspect.isasyncgen(items):
                await items.aclose()
    else:
        for item in items:
            yield item
