"""Threads: a pool for the library's own work, and threads apart for whatever may wait for anything.

Rules of this file: what runs in the pool waits for no event loop and for no code of users, which may wait for
the library itself. Such code runs in daemon threads of its own, as many as there are such calls; it cannot be
interrupted, so nothing waits for it for ever. The executor of a loop is the program's, which may have filled
it with calls that wait for a store; only asyncio uses it, to look up names.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from credstore import forks

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that what was abandoned has to end at the end of the program."""

_pools: dict[int, Executor] = {}
"""That of this process, under its `forks.count`: the threads of a pool do not come along into a fork."""
_abandoned: WeakSet[Thread] = WeakSet()


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
    """The outcome of work that may wait for anything, in a thread of its own that no exit waits for."""
    outcome, run = _prepared(work, _nothing)
    Thread(target=run, name="credstore-waiting", daemon=True).start()
    return outcome


class OwnThread:
    """A daemon thread for the calls of one thing of a user's, which need not be fit for several threads.

    It is started by the first call, and ends with `end` or once no one has this object any more.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._busy = False

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """The outcome of a call, which begins when those before it have ended."""
        outcome, run = _prepared(work, self._rest)
        if self._thread is None:
            thread = Thread(target=_serve, args=(self._calls,), name="credstore-own", daemon=True)
            thread.start()
            self._thread = thread
        self._busy = True
        self._calls.put(run)
        return outcome

    def end(self, last: Callable[[], object]) -> asyncio.Future[object] | None:
        """End the thread after one more call, if it was started.

        Returns:
            The outcome of that call; None where a call that no one waits for is still under way: it may take
            for ever, and the last one comes after it.
        """
        thread, busy = self._thread, self._busy
        if thread is None:
            return None
        outcome = self.call(last)
        self._calls.put(None)
        if not busy:
            return outcome
        _abandoned.add(thread)
        return None

    def _rest(self) -> None:
        self._busy = False

    def __del__(self) -> None:
        self._calls.put(None)


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    """Do one call after another, and keep none of them."""
    while (call := calls.get()) is not None:
        call()
        del call


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
    for thread in list(_abandoned):
        thread.join(max(0.0, end - time.monotonic()))
