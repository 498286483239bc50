"""Waits other than for a request: bounded by the call's deadline, and never what keeps a process alive.

Rules of this file: blocking work runs in a daemon thread of its own, since threads of a pool are joined
when the interpreter ends; nothing here knows what is waited for but its name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Generic, ParamSpec, TypeVar

from credstore.errors import StorageError, StorageTimeoutError
from credstore.threads import in_daemon

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


class Abandonment:
    """How blocking work learns that no one waits for it any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told = False
        self._calls: list[Callable[[], None]] = []

    def on(self, call: Callable[[], None]) -> None:
        """Have something called once no one waits, in the thread of the last who did, or at once."""
        with self._lock:
            told = self._told
            self._calls.append(call)
        if told:
            call()

    @property
    def told(self) -> bool:
        """Whether no one waits any more."""
        return self._told

    def tell(self) -> None:
        """Say that no one waits any more."""
        with self._lock:
            self._told, calls, self._calls = True, self._calls, []
        for call in calls:
            call()


_abandonment: ContextVar[Abandonment | None] = ContextVar("credstore_abandonment", default=None)


def abandonment() -> Abandonment:
    """That of the run of `Shared` that calls this; elsewhere one that never comes."""
    return _abandonment.get() or Abandonment()


@dataclass(slots=True)
class _Run(Generic[T]):
    outcome: asyncio.Future[T]
    abandonment: Abandonment
    waiting: int = 0


class Shared(Generic[T]):
    """One run of blocking work at a time; whoever asks meanwhile shares its outcome.

    A caller who stops waiting ends only its own wait; the last one of them abandons the run, which the work
    learns from its `abandonment`. An outcome is not kept: the next who asks after it begins a new run.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        """Begin nothing.

        Args:
            work: Runs in a daemon thread.
        """
        self._work = work
        self._running: _Run[T] | None = None

    async def result(self, *, abandon: bool = True) -> T:
        """What the work returns.

        Args:
            abandon: Whether the work serves no one where this caller, the last one, stops waiting.

        Raises:
            StorageError: As the work raised it, a copy for each who waits.
        """
        while True:
            run = self._begun()
            abandoned = run.abandonment.told
            run.waiting += 1
            try:
                return await asyncio.shield(run.outcome)
            except asyncio.CancelledError:
                if abandon and run.waiting == 1:
                    run.abandonment.tell()
                raise
            except StorageError as error:
                failure = type(error)(error.message, **error.facts())
            finally:
                run.waiting -= 1
            if not abandoned:  # Else it failed since others had stopped waiting.
                raise failure

    def _begun(self) -> _Run[T]:
        run = self._running
        if run is None or run.outcome.done() or run.outcome.get_loop() is not asyncio.get_running_loop():
            told = Abandonment()
            token = _abandonment.set(told)
            try:
                run = self._running = _Run(in_daemon(self._work), told)
            finally:
                _abandonment.reset(token)
        return run

    def forget(self) -> None:
        """Let a run that is under way end for those who wait for it already, and no one else."""
        run, self._running = self._running, None
        if run is not None and run.waiting == 0:
            run.abandonment.tell()


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
