"""Work on several things at once: on two, on many with a bound and the results in order, or on one for many.

Rules of this file: the first error is raised as it is, never in a group; an error, a cancellation or leaving
early cancels what is under way and waits for it, whatever further cancellations come; sources are read by the
caller's own task.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from types import coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from credstore.errors import StorageError
from credstore.threads import in_pool

K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class _Closable(Protocol):
    """What is to be closed."""

    def close(self) -> object:
        """Close it."""
        ...


C = TypeVar("C", bound=_Closable | None)


async def map_in_order(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[R]], *, at_once: int
) -> AsyncGenerator[R, None]:
    """`await work(item)` for each item, at most `at_once` under way, results in the order of the items.

    A slow item holds up those behind it, so no more than `at_once` results are held, the one being yielded
    included. `map_all` is for results that are all wanted together.

    Args:
        items: Taken one at a time, each when there is room for it.
        work: What to do with one.
        at_once: 1 or more.
    """
    window: deque[asyncio.Future[R]] = deque()
    try:
        async with aclosing(_each(items)) as taken:
            async for item in taken:
                window.append(asyncio.ensure_future(work(item)))
                if len(window) >= at_once:
                    yield await window[0]
                    window.popleft()
        while window:
            yield await window[0]
            window.popleft()
    finally:
        await _end(window)


async def one_ahead(
    fetch: Callable[[], Coroutine[Any, Any, tuple[R, bool]]],
) -> AsyncGenerator[R, None]:
    """What `fetch` returns, again and again; while one result is consumed, the next is fetched.

    Leaving early cancels what is being fetched. An error of it is raised when its turn comes.

    Args:
        fetch: Returns a result, and whether there is another one; not called again until it has returned.
    """
    found, more = await fetch()
    while more:
        ahead = asyncio.ensure_future(fetch())
        try:
            yield found
            found, more = await ahead
        finally:
            await _end([ahead])
    yield found


async def map_all(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[R]], *, at_once: int
) -> list[R]:
    """The results of `await work(item)` for all items in their order, at most `at_once` under way.

    A slow item does not hold up the others. What fails first is raised, and ends the others. One item of a
    sequence is worked on in the caller's own task.

    Args:
        items: Taken one at a time, each when there is room for it.
        work: What to do with one.
        at_once: 1 or more.
    """
    if isinstance(items, Sequence) and len(items) <= 1:
        return [await work(item) for item in items]
    room = asyncio.Semaphore(at_once)
    found: list[R | None] = []
    failures: list[BaseException] = []  # In the order of time, which a group of exceptions does not keep.

    async def run(number: int, item: T) -> None:
        try:
            found[number] = await work(item)
        except Exception as error:
            failures.append(error)
            raise
        finally:
            room.release()

    async def start(taken: AsyncGenerator[T, None], group: asyncio.TaskGroup) -> None:
        while True:
            await room.acquire()
            try:
                item = await anext(taken)
            except StopAsyncIteration:
                return
            found.append(None)
            group.create_task(run(len(found) - 1, item))

    try:
        async with aclosing(_each(items)) as taken, asyncio.TaskGroup() as group:
            try:
                await start(taken, group)
            except Exception as error:
                failures.append(error)
                raise
    except BaseExceptionGroup as failed:
        raise (failures or failed.exceptions)[0] from None
    return cast("list[R]", found)


async def for_each(
    items: AsyncIterable[T], work: Callable[[T], Awaitable[None]], *, at_once: Callable[[], int]
) -> None:
    """`await work(item)` for all items in no order; nothing is kept of those that are done.

    Args:
        items: Taken one at a time, each when there is room for it.
        work: What to do with one.
        at_once: How many may be under way now, asked before each start; less than 1 counts as 1.
    """
    running: set[asyncio.Future[None]] = set()

    async def wait_for_one() -> None:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        running.difference_update(done)
        failures = [error for each in done if (error := each.exception()) is not None]
        if failures:
            raise failures[0]

    try:
        async with aclosing(_each(items)) as taken:
            async for item in taken:
                running.add(asyncio.ensure_future(work(item)))
                while len(running) >= max(1, at_once()):
                    await wait_for_one()
        while running:
            await wait_for_one()
    finally:
        await _end(running)


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


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` in a thread; a cancellation surfaces when it is done, so that it changes nothing later."""
    return await joined(in_pool(work, *args, **kwargs))


async def joined(thread: asyncio.Future[T]) -> T:
    """The outcome of what a thread does; a cancellation surfaces when it is done."""
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await until_done([thread])
        if not thread.cancelled():
            thread.exception()  # Looked at: the cancellation is what the caller learns.
        raise


async def opened_in_thread(opening: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> C:
    """What `opening` returns, called in a thread; if this is cancelled meanwhile, that is closed."""
    opened: list[C] = []

    def work() -> None:
        opened.append(opening(*args, **kwargs))

    try:
        await in_thread(work)
    except BaseException:
        for each in opened:
            if each is not None:
                await in_thread(each.close)
        raise
    return opened[0]


async def until_done(tasks: Collection[asyncio.Future[Any]]) -> asyncio.CancelledError | None:
    """Wait for all of them, whatever cancellations of this task come meanwhile; the last of those."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as again:
            cancelled = again
    return cancelled


class Outcome(Generic[T]):
    """What became of a coroutine; shows nothing of it in its repr.

    Attributes:
        error: What it raised, or None.
    """

    __slots__ = ("_value", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._value: T | None = None

    async def of(self, work: Coroutine[Any, Any, T]) -> None:
        """Take the coroutine's."""
        try:
            self._value = await work
        except Exception as error:  # noqa: BLE001 - it is the caller's, who looks at it
            self.error = error

    @property
    def value(self) -> T:
        """What it returned, where it raised nothing."""
        return cast("T", self._value)


async def apart(work: Coroutine[Any, Any, T]) -> Outcome[T]:
    """Do `work` in a task, so that its frames and its result, which may be secret, are in no traceback.

    Raises:
        CancelledError: This task was cancelled, or the other one; that has ended.
    """
    outcome: Outcome[T] = Outcome()
    task = asyncio.ensure_future(outcome.of(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await until_done([task])
        raise
    task.result()
    return outcome


async def _end(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel what is under way, and wait for it."""
    for task in tasks:
        task.cancel()
    cancelled = await until_done(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Looked at: one error is raised, and these are others.
    if cancelled is not None:
        raise cancelled


async def both(first: Coroutine[Any, Any, T], second: Callable[[], Coroutine[Any, Any, R]]) -> tuple[T, R]:
    """The results of two coroutines that wait at the same time; an error of one cancels the other.

    Where the first has its result without waiting, as with a store in memory, no task is made for the second;
    there a task and a turn of the loop cost as much as a request.
    """
    started = begin(first)
    if isinstance(started, Done):
        return started.value, await second()
    other = asyncio.ensure_future(second())
    try:
        return await started, await other
    except GeneratorExit:
        other.cancel()
        raise
    except BaseException:
        await _end([other])
        raise


@dataclass(slots=True)
class Done(Generic[T]):
    """A coroutine's result."""

    value: T


def begin(work: Coroutine[Any, Any, T]) -> Done[T] | Awaitable[T]:
    """Start a coroutine in the caller's task: its result if it need not wait, else what to await for it.

    That is to be awaited before anything else is.
    """
    try:
        waited: object = work.send(None)
    except StopIteration as done:
        return Done(done.value)
    return _resumed(work, waited)


@coroutine
def _resumed(started: Coroutine[Any, Any, T], waited: object) -> Generator[object, Any, T]:
    """Continue a coroutine that was started in this task and waits for `waited`."""
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


class Joint(Generic[K, T]):
    """One run of a piece of work at a time for each key; whoever asks meanwhile shares its outcome.

    For what would otherwise be checked, awaited and set by everyone who comes while it is missing. It runs in
    the task of who asks first, so there is none to be left behind; if that one stops waiting, another begins
    from the start. An outcome is not kept: the work itself keeps what is worth keeping.
    """

    def __init__(self) -> None:
        """Begin nothing."""
        self._turns: dict[K, asyncio.Future[_Outcome[T] | None]] = {}

    async def result(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """What the work returns.

        Args:
            key: The same for callers who want the same.
            work: Called only if no one is at it.

        Raises:
            Exception: As the work raised it; a copy for each who shares it.
        """
        while (turn := self._turns.get(key)) is not None:
            outcome = await asyncio.shield(turn)
            if outcome is not None:
                return outcome.given()
        turn = self._turns[key] = asyncio.get_running_loop().create_future()
        told: _Outcome[T] | None = None
        try:
            found = await work()
        except Exception as error:
            told = _Outcome(error=error)
            raise
        else:
            told = _Outcome(found)
            return found
        finally:
            del self._turns[key]
            turn.set_result(told)


class _Outcome(Generic[T]):
    """What became of a run."""

    def __init__(self, value: T | None = None, *, error: Exception | None = None) -> None:
        self._value = value
        self._error = error

    def given(self) -> T:
        error = self._error
        if error is None:
            return cast("T", self._value)
        if isinstance(error, StorageError):
            raise type(error)(error.message, **error.facts())
        raise type(error)(*error.args)
