"""Threads: a pool for the library's own work, and others for whatever may wait for anything.

Rules of this file: what runs in the pool waits for no event loop, no other process and no code of users,
which may wait for the library itself. Such code runs in daemon threads: a few, and more only where all of
them wait, so that what they wait for can always run. It cannot be interrupted, so nothing waits for it for
ever. The executor of a loop is the program's, which may have filled it with calls that wait for a store; only
asyncio uses it, to look up names.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from threading import Condition, Event, Lock, Thread
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from credstore import forks
from credstore.errors import StorageUnavailableError

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that what was abandoned has to end at the end of the program."""
USUAL = 16
"""Threads for what may wait, as long as they take it."""
MOST = 1000
"""Such threads at most."""
STALLED = 0.02
"""Seconds without one of them taking anything after which there are more."""
KEPT = 10.0
"""Seconds that one of them is kept for without work."""

_pools: dict[int, Executor] = {}
"""That of this process, under its `forks.count`: the threads of a pool do not come along into a fork."""
_abandoned: set[Event] = set()
"""Of what is still to be called, when no one waits for it."""


def in_pool(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """The outcome of the library's own work on the processor or on files, in a thread of the pool.

    Whoever is cancelled does not wait for a thread at work, unlike with `credstore.concurrency.in_thread`.
    """
    called = partial(contextvars.copy_context().run, work, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(_pool(), called)


def _pool() -> Executor:
    found = _pools.get(forks.count)
    if found is None:
        from concurrent.futures import ThreadPoolExecutor

        # Threads that come here at once get the same one; the other one never starts a thread.
        found = _pools.setdefault(forks.count, ThreadPoolExecutor(thread_name_prefix="credstore-work"))
    return found


def in_daemon(work: Callable[[], T]) -> asyncio.Future[T]:
    """The outcome of work that may wait for anything, in a thread that no exit waits for.

    Raises:
        StorageUnavailableError: The system starts no thread.
    """
    outcome, run = _prepared(work, _nothing)
    _daemons().do(run)
    return outcome


class OneByOne:
    """Calls of one thing of a user's, which need not be fit for several threads, as `in_daemon` does them."""

    __slots__ = ("_busy", "_calls", "_lock", "_running")

    def __init__(self) -> None:
        """Nothing was called yet."""
        self._calls: deque[Callable[[], None]] | None = None
        self._lock = Lock()
        self._running = False
        self._busy = False

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """The outcome of a call, which begins when those before it have ended.

        Raises:
            StorageUnavailableError: The system starts no thread.
        """
        outcome, run = _prepared(work, self._rest)
        with self._lock:
            if self._calls is None:
                self._calls = deque()
            self._calls.append(run)
            begins = not self._running
            self._running = True
        self._busy = True
        if begins:
            try:
                _daemons().do(self._work_off)
            except BaseException:
                with self._lock:
                    self._calls.clear()
                    self._running = self._busy = False
                raise
        return outcome

    def end(self, last: Callable[[], object]) -> asyncio.Future[object] | None:
        """One more call, if there was any before.

        Returns:
            The outcome of that call; None where a call that no one waits for is still under way: it may take
            for ever, and the last one comes after it.
        """
        if self._calls is None:
            return None
        if not self._busy:
            return self.call(last)
        ended = Event()

        def tell() -> None:
            try:
                last()
            finally:
                ended.set()
                _abandoned.discard(ended)

        _abandoned.add(ended)
        self.call(tell)
        return None

    def _rest(self) -> None:
        self._busy = False

    def _work_off(self) -> None:
        """Do one call after another, and keep none of them; in a thread."""
        while True:
            with self._lock:
                if not self._calls:
                    self._running = False
                    return
                call = self._calls.popleft()
            call()
            del call


class _Daemons:
    """Daemon threads: few as long as they take what waits, else one for each call that waits."""

    def __init__(self) -> None:
        self._ready = Condition(Lock())
        self._jobs: deque[Callable[[], None]] = deque()
        self._count = self._idle = self._taken = 0
        self._watching: WeakSet[asyncio.AbstractEventLoop] = WeakSet()

    def do(self, job: Callable[[], None]) -> None:
        """Let a thread do it; from an event loop.

        Raises:
            StorageUnavailableError: There is no thread, and the system starts none.
        """
        with self._ready:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._ready.notify()
                return
            starts = self._count < USUAL
            self._count += starts
        if starts and not self._start() and not self._count:
            with self._ready, suppress(ValueError):
                self._jobs.remove(job)
            raise StorageUnavailableError(
                "the system starts no more threads, and what was passed needs one", applied="no"
            )
        self._watch(asyncio.get_running_loop())

    def _start(self) -> bool:
        try:
            Thread(target=self._serve, name="credstore-waiting", daemon=True).start()
        except RuntimeError:  # There are as many as the system allows.
            with self._ready:
                self._count -= 1
            return False
        return True

    def _serve(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                self._ready.wait_for(lambda: self._jobs, KEPT)
                self._idle -= 1
                if not self._jobs:
                    self._count -= 1
                    return
                job = self._jobs.popleft()
                self._taken += 1
            job()
            del job

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._watching:
            self._watching.add(loop)
            loop.call_later(STALLED, self._look, loop, self._taken)

    def _look(self, loop: asyncio.AbstractEventLoop, taken: int) -> None:
        """Start a thread for each call that waits, if none was taken for a while."""
        self._watching.discard(loop)
        with self._ready:
            waiting = len(self._jobs) - self._idle
            more = max(0, min(waiting, MOST - self._count)) if taken == self._taken else 0
            self._count += more
        for number in range(more):
            if not self._start():
                with self._ready:
                    self._count -= more - number - 1
                break
        if waiting > 0:
            self._watch(loop)


_of_process: dict[int, _Daemons] = {}
"""Those of this process, as `_pools`."""


def _daemons() -> _Daemons:
    found = _of_process.get(forks.count)
    return _of_process.setdefault(forks.count, _Daemons()) if found is None else found


def _prepared(
    work: Callable[[], T], then: Callable[[], None]
) -> tuple[asyncio.Future[T], Callable[[], None]]:
    """The outcome of work, and what a thread has to call, in the context of the caller of this.

    Args:
        work: To be called.
        then: Called on the loop once it has ended, even if no one waits for it any more.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    # Where no one waits any more, no one misses the outcome either.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())

    run = partial(_run, loop, outcome, work, then)
    return outcome, partial(contextvars.copy_context().run, run)


def _run(
    loop: asyncio.AbstractEventLoop,
    outcome: asyncio.Future[T],
    work: Callable[[], T],
    then: Callable[[], None],
) -> None:
    try:
        settle = partial(_succeed, outcome, work())
    except StopIteration as error:  # No future takes one.
        settle = partial(_fail, outcome, RuntimeError(f"a call in a thread ended by {error!r}"))
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
        settle = partial(_fail, outcome, error)
    with suppress(RuntimeError):  # The loop has ended.
        loop.call_soon_threadsafe(_settle, settle, then)
    del outcome, settle  # The error has this frame, and would keep itself.


def _settle(settle: Callable[[], None], then: Callable[[], None]) -> None:
    then()
    settle()


def _succeed(outcome: asyncio.Future[T], value: T) -> None:
    if not outcome.done():
        outcome.set_result(value)


def _fail(outcome: asyncio.Future[T], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)


def _nothing() -> None:
    """Do nothing."""


@atexit.register
def _wait_for_abandoned() -> None:
    """Let generators that were left while they ran be closed, as they would have been by then."""
    end = time.monotonic() + PATIENCE
    for ended in list(_abandoned):
        ended.wait(max(0.0, end - time.monotonic()))
