"""Waits other than for a request: bounded by the call's deadline, and never what keeps a process alive.

Rules of this file: blocking work runs in a daemon thread of its own, since the pool's threads are joined
when the interpreter ends; nothing here knows what is waited for but its name.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Generic, ParamSpec, TypeVar

from credstore.errors import StorageError, StorageTimeoutError

T = TypeVar("T")
P = ParamSpec("P")


async def within(deadline: float | None, awaited: Awaitable[T], what: str) -> T:
    """What is awaited, if it comes before the deadline; nothing has been sent until then.

    Args:
        deadline: Instant of `time.monotonic()`, or None.
        awaited: Cancelled at the deadline.
        what: Name of what is waited for, as the end of a sentence.

    Raises:
        StorageTimeoutError: It did not come in time; `applied` is "no".
    """
    if deadline is None:
        return await awaited
    limit = asyncio.timeout(deadline - time.monotonic())
    try:
        async with limit:
            return await awaited
    except TimeoutError:
        if not limit.expired():
            raise
    raise StorageTimeoutError(f"the time for the call was over before {what} came", applied="no")


class Shared(Generic[T]):
    """One run of blocking work at a time; whoever asks meanwhile shares its outcome.

    A caller who stops waiting ends only its own wait. An outcome is not kept: the next who asks after it
    begins a new run.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Begin nothing.

        Args:
            work: Runs in a daemon thread.
        """
        self._work = work
        self._running: asyncio.Future[T] | None = None

    async def result(self) -> T:
        """What the work returns.

        Raises:
            StorageError: As the work raised it, a copy for each who waits.
        """
        running = self._running
        if running is None or running.done() or running.get_loop() is not asyncio.get_running_loop():
            running = self._running = in_daemon(self._work)
        try:
            return await asyncio.shield(running)
        except StorageError as error:
            failure = type(error)(error.message, **error.facts())
        raise failure

    def forget(self) -> None:
        """Let a run that is under way end for those who wait for it already, and no one else."""
        self._running = None


def in_daemon(work: Callable[[], T]) -> asyncio.Future[T]:
    """The outcome of blocking work in a daemon thread of its own, which ends with the interpreter."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    # Where no one waits any more, no one misses the outcome either.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())

    def run() -> None:
        try:
            settle = partial(_succeed, outcome, work())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            settle = partial(_fail, outcome, error)
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(settle)

    Thread(target=contextvars.copy_context().run, args=(run,), name="credstore-waiting", daemon=True).start()
    return outcome


def _succeed(outcome: asyncio.Future[T], value: T) -> None:
    if not outcome.done():
        outcome.set_result(value)


def _fail(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)


class DaemonExecutor(ThreadPoolExecutor):
    """An event loop's executor whose threads do not keep the interpreter from ending."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run in a daemon thread of its own."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        Thread(target=run, name="credstore-executor", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's
        """Wait for nothing."""


def daemon_loop() -> asyncio.AbstractEventLoop:
    """A new event loop none of whose threads keeps the interpreter from ending."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(DaemonExecutor())
    return loop
