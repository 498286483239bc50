"""Work on several things at once: on two, or on many with a bound and the results in order."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import aclosing
from functools import partial
from types import coroutine
from typing import Any, TypeVar, cast

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


async def both(first: Coroutine[Any, Any, T], second: Callable[[], Coroutine[Any, Any, R]]) -> tuple[T, R]:
    """The results of two coroutines that wait at the same time; an error of one cancels the other.

    Where the first has its answer without waiting, as a store in memory does, no task is made for the second:
    a task and a turn of the loop cost as much as a request there.
    """
    try:
        waited: object = first.send(None)
    except StopIteration as done:
        return done.value, await second()
    other = asyncio.ensure_future(second())
    try:
        return await _resumed(first, waited), await other
    except GeneratorExit:
        other.cancel()
        raise
    except BaseException:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        raise


@coroutine
def _resumed(started: Coroutine[Any, Any, T], waited: object) -> Generator[object, Any, T]:
    """Go on with a coroutine that was started in this task and waits for `waited`."""
    while True:
        try:
            answer: object = yield waited
        except GeneratorExit:
            started.close()
            raise
        except BaseException as error:  # noqa: BLE001 - a cancellation, too, is the coroutine's to handle
            step: Callable[[], object] = partial(started.throw, error)
        else:
            step = partial(started.send, answer)
        try:
            waited = step()
        except StopIteration as done:
            return cast("T", done.value)
