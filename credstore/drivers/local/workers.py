"""Threads for file I/O, joined before a cancellation is let through.

A thread cannot be interrupted. So that nothing becomes visible after `CancelledError` (P15), the
error waits for the thread that is at work, and one that has not started never starts.

What costs most in a small read is not the disk, but waking a thread and waking the loop again. So a thread
that is awake takes what else waits, and the loop is woken once for all that is done by then. Calls that are
`quick`, unless the disk is slow, have one thread for all of them: threads that do not wait for a disk take
Python's lock from each other, which costs more than such a call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar, cast

from credstore.concurrency import until_done

STALLED = 0.002
"""Seconds after which quick calls that wait get more threads if none has been taken since."""

T = TypeVar("T")


class _Results:
    """What threads have done for one loop, which is woken once for all that it has not taken yet."""

    __slots__ = ("_done", "_told", "loop", "watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._done: deque[_Job[Any]] = deque()
        self._told = False
        self.watched = False
        """Whether quick calls that wait are looked at soon."""

    def add(self, job: _Job[Any]) -> None:
        """Hand over a job that has ended; from any thread."""
        self._done.append(job)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # The loop is closed: no one waits now.
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._told = False  # First: what is done from now on is delivered by another call.
        while self._done:
            self._done.popleft().end()


class _Job(Generic[T]):
    """A call in a thread."""

    __slots__ = ("_ended", "_error", "_result", "_work", "future", "quick", "results")

    def __init__(self, work: Callable[[], T], results: _Results, *, quick: bool) -> None:
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended = False
        self.quick = quick
        self.results = results
        self.future: asyncio.Future[T] = results.loop.create_future()

    def run(self) -> None:
        """Do it, in a thread."""
        try:
            self._result = self._work()
        except StopIteration as error:  # No future takes one.
            self._error = RuntimeError(f"a call in a thread ended by {error!r}")
        except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for it
            self._error = error

    def end(self) -> None:
        """Tell who waits for it, on the loop."""
        self._ended = True
        if self.future.cancelled():
            return
        if self._error is None:
            self.future.set_result(cast("T", self._result))
        else:
            self.future.set_exception(self._error)

    def outlasting(self) -> asyncio.Future[T]:
        """What the thread is waited for by when `future` was cancelled with its task, on the loop.

        A shield around the future would do the same, at the cost of another turn of the loop for each job.
        """
        if self.future.cancelled():
            self.future = self.results.loop.create_future()
            if self._ended:
                self.end()
        return self.future


class Workers:
    """A small pool of threads of one driver."""

    def __init__(self, threads: int) -> None:
        """Start none yet.

        Args:
            threads: At most.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="credstore-local")
        self._most = threads
        self._waiting: deque[_Job[Any]] = deque()
        self._awake = 0
        """Threads that look whether anything waits before they sleep."""
        self._long = 0
        """Of those, the ones that do what is not quick."""
        self._taken = 0
        self._lock = Lock()
        self._results: _Results | None = None

    async def run(self, work: Callable[..., T], *args: object, quick: bool = False) -> T:
        """Call `work` in a thread; a result that no caller will get is closed if it can be."""
        job = self._begin(partial(work, *args), quick=quick)
        try:
            return await job.future
        except asyncio.CancelledError:
            if not self._withdraw(job):
                future = job.outlasting()
                await until_done([future])
                _drop(future)
            raise

    async def finish(self, work: Callable[[], object]) -> None:
        """Call `work` in a thread, even if this task is cancelled before it starts."""
        future = self._begin(work).future
        cancelled = await until_done([future])
        future.result()
        if cancelled is not None:
            raise cancelled

    def _begin(self, work: Callable[[], T], *, quick: bool = False) -> _Job[T]:
        loop = asyncio.get_running_loop()
        results = self._results
        if results is None or results.loop is not loop:
            results = self._results = _Results(loop)
        job = _Job(work, results, quick=quick)
        with self._lock:
            self._waiting.append(job)
            more = self._awake < (min(self._long + 1, self._most) if quick else self._most)
            self._awake += more
        if more:
            try:
                self._wake()
            except BaseException:
                self._withdraw(job)
                raise
        if len(self._waiting) > more and not results.watched:
            results.watched = True
            results.loop.call_later(STALLED, self._look, results, self._taken)
        return job

    def _wake(self) -> None:
        try:
            self._pool.submit(self._work_off)
        except BaseException:
            with self._lock:
                self._awake -= 1
            raise

    def _look(self, results: _Results, taken: int) -> None:
        """Wake a thread for each call that waits if none was taken for a while."""
        results.watched = False
        with self._lock:
            waiting, stalled, taken = len(self._waiting), taken == self._taken, self._taken
            if not waiting or self._awake == self._most:
                return
        with suppress(RuntimeError):  # Closed meanwhile, or the system has no more threads.
            for _ in range(waiting if stalled else 0):
                with self._lock:
                    if self._awake == self._most:
                        return
                    self._awake += 1
                self._wake()
        results.watched = True
        results.loop.call_later(STALLED, self._look, results, taken)

    def _withdraw(self, job: _Job[Any]) -> bool:
        """Whether a job never starts: no thread has it."""
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
                return True
        return False

    def _work_off(self) -> None:
        """Do what waits, in a thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._awake -= 1
                    return
                job = self._waiting.popleft()
                self._taken += 1
                self._long += not job.quick
                # What is quick does not wait for what is not.
                more = bool(self._waiting) and self._awake == self._long < self._most
                self._awake += more
            if more:
                with suppress(RuntimeError):  # Closed meanwhile: this thread does all that waits.
                    self._wake()
            job.run()
            with self._lock:
                self._long -= not job.quick
            job.results.add(job)
            del job

    def close(self) -> None:
        """Wait for the threads and end them."""
        self._pool.shutdown(wait=True)


def _drop(future: asyncio.Future[T]) -> None:
    if future.cancelled() or future.exception() is not None:
        return
    close = getattr(future.result(), "close", None)
    if callable(close):
        close()
