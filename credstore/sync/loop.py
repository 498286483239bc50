"""The event loop of one blocking store, in a thread of its own.

Rules of this file: no loop is shared, and none runs before a store is made. Whoever waits can be interrupted:
what runs for them is then cancelled, and ends before they learn of it. A forked child has no such thread, so
it is refused instead of waiting for ever. Stores that are still open at the end of the program are closed
then.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar, cast

from credstore import forks
from credstore.errors import ErrorCode, StorageInvalidRequestError

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that a store has to close at the end of the program."""


class LoopThread:
    """Runs coroutines of other threads, any number at a time."""

    def __init__(self, aclose: Callable[[], Awaitable[None]]) -> None:
        """Start the thread.

        Args:
            aclose: Closes what runs on the loop.
        """
        self._loop = asyncio.new_event_loop()
        self._forks = forks.count
        self._aclose = aclose
        self._thread = threading.Thread(target=_serve, args=(self._loop,), name="credstore", daemon=True)
        self._thread.start()
        self._ending = threading.Lock()
        self._runs: set[_Run] = set()
        self._stopping = False
        self._forget = weakref.finalize(self, _abandon, self._loop, self._forks, aclose)
        self._forget.atexit = False  # `_close_all` waits; a collected store must not.
        _running.add(self)

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._stopping or self._loop.is_closed()

    def check(self) -> None:
        """Refuse a call that could not succeed.

        Raises:
            StorageInvalidRequestError: Closed ("CLOSED"), made before this process was forked ("FORKED"), or
                called by a callback of the same store, which would wait for itself ("WRONG_LOOP").
        """
        if self._forks != forks.count:
            raise StorageInvalidRequestError(
                "this store was made before this process was forked; make a new one here",
                code=ErrorCode.FORKED,
            )
        if self.closed:
            raise StorageInvalidRequestError("this store is closed; open a new one", code=ErrorCode.CLOSED)
        if threading.current_thread() is self._thread:
            raise StorageInvalidRequestError(
                "a callback of this store calls it, and would wait for itself; do so once the call is done",
                code=ErrorCode.WRONG_LOOP,
            )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, in the context of the caller.

        Raises:
            StorageInvalidRequestError: As `check`; nothing was started.
            BaseException: As the coroutine raised it; or what interrupted the caller, such as Ctrl-C, once
                the coroutine was cancelled and has ended.
        """
        try:
            self.check()
        except BaseException:
            work.close()
            raise
        run = _Run(work, self._loop, contextvars.copy_context())
        self._runs.add(run)  # Before it is on its way, so that whoever closes the store knows of it.
        try:
            self._loop.call_soon_threadsafe(run.start)
            return cast("T", run.result())
        except (RuntimeError, CancelledError):
            if not run.started:
                work.close()
            self.check()  # Another thread has closed the store since.
            raise
        finally:
            self._runs.discard(run)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an async iterator, one by one; leaving early closes it."""
        try:
            while True:
                try:
                    yield self.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            aclose = getattr(items, "aclose", None)
            if aclose is not None and not self.closed and self._forks == forks.count:
                self.run(aclose())

    def close(self, patience: float | None = None) -> None:
        """Close what runs on the loop, and end the thread; safe to call again.

        Args:
            patience: Seconds to wait at most; None for as long as it takes.

        Raises:
            StorageInvalidRequestError: As `check`, except that it is closed.
        """
        if self._forks != forks.count:
            raise StorageInvalidRequestError(
                "this store was made before this process was forked; it is closed there",
                code=ErrorCode.FORKED,
            )
        with self._ending:
            if self.closed:
                return
            self.check()
            run = _Run(_closing(self._aclose), self._loop, contextvars.copy_context())
            self._loop.call_soon_threadsafe(run.start)
            try:
                run.result(patience)
            finally:
                self._stopping = True  # Later calls are refused, and those before are cancelled.
                self._forget.detach()
                _running.discard(self)
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join(patience)
                for late in list(self._runs):  # They came in between, and no loop will run them any more.
                    late.give_up()


class _Run:
    """One coroutine on its way."""

    def __init__(
        self, work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, context: contextvars.Context
    ) -> None:
        self._work = work
        self._loop = loop
        self._context = context
        self._task: asyncio.Task[Any] | None = None
        self._ended: Future[Any] = Future()

    def start(self) -> None:
        """Begin, on the loop."""
        self._task = self._loop.create_task(self._work, context=self._context)
        self._task.add_done_callback(self._end)

    @property
    def started(self) -> bool:
        """Whether its coroutine is the loop's."""
        return self._task is not None

    def give_up(self) -> None:
        """End it for whoever waits, where the loop has not."""
        with suppress(InvalidStateError):
            self._ended.set_exception(CancelledError())

    def _end(self, task: asyncio.Task[Any]) -> None:
        if self._ended.done():
            return
        if task.cancelled():
            self._ended.set_exception(CancelledError())
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())

    def result(self, patience: float | None = None) -> Any:
        """Wait for the end.

        Raises:
            BaseException: See `LoopThread.run`.
        """
        try:
            return self._ended.result(patience)
        except BaseException:
            if not self._ended.done():
                self._loop.call_soon_threadsafe(self._cancel)
                with suppress(CancelledError, Exception):
                    self._ended.result(patience)
            raise

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _closing(aclose: Callable[[], Awaitable[None]]) -> None:
    await aclose()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        while True:
            with suppress(KeyboardInterrupt, SystemExit):  # What a user raised ends only the user's own call.
                loop.run_forever()
                break
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _abandon(loop: asyncio.AbstractEventLoop, forked: int, aclose: Callable[[], Awaitable[None]]) -> None:
    """Let the loop of a store that was collected end by itself, whichever thread is collecting."""

    async def end() -> None:
        try:
            await aclose()
        finally:
            loop.stop()

    def begin() -> None:
        task = loop.create_task(end())
        _kept.add(task)  # The loop itself does not keep it.
        task.add_done_callback(_kept.discard)

    if forked == forks.count and not loop.is_closed():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(begin)


_kept: set[asyncio.Task[None]] = set()
_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _close_all() -> None:
    for each in list(_running):
        with suppress(Exception):  # Nothing can be done about it any more.
            each.close(PATIENCE)


atexit.register(_close_all)
