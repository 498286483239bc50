"""A worker's side: from a task of the graph to what is done in this process.

Rules of this file: Dask runs a task in a thread, and the stores belong to an event loop; so a process has one
loop of its own for all of credstore's jobs, in a thread that is not Dask's. A job is opened in it once, and
closed when the coordinator says so, or when newer ones take its place.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from distributed import get_worker

from credstore.cluster.benches import BENCHES
from credstore.cluster.contracts import Bench
from credstore.cluster.messages import VERSION, Answer, Facts, Failed, Job, Request, topic_of
from credstore.cluster.places import disk_of
from credstore.concurrency import Joint, for_each, until_done
from credstore.errors import ErrorCode, StorageConfigurationError, StorageError
from credstore.transfer.pace import OVERLOAD, Pace

T = TypeVar("T")
MOST_OPEN = 4
"""Jobs of one process; the coordinator of an older one did not come to its end."""
SELDOM = 0.5
"""Seconds between two messages about bytes from one range."""
ENDED = 1000
"""Jobs that are remembered as ended."""


def dask_setup(worker: object) -> None:
    """Leave an interrupt at the terminal to the coordinator, as a preload module of a worker next to it."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def hello() -> str:
    """The version of credstore in this process."""
    return VERSION


async def prepare(job: Job) -> Facts:
    """Open a job, so that what is missing here is known before anything is done.

    Raises:
        StorageError: Something is missing.
    """
    return await asyncio.wrap_future(_hall().begin(_facts(job)))


async def finish(run: str) -> None:
    """End a job here: what is under way is cancelled and waited for, and what was opened is closed."""
    await asyncio.wrap_future(_hall().begin(_hall().end(run)))


def perform(job: Job, number: int, requests: tuple[Request, ...]) -> Answer:
    """The task of the graph: work on one range.

    Raises:
        StorageConfigurationError: This worker cannot work on the job.
    """
    worker = get_worker()

    def say(moved: int) -> None:
        worker.log_event(topic_of(job.run), {"range": number, "moved": moved})

    return _hall().begin(_performed(job, requests, worker.address, _Meter(say))).result()


class _Meter:
    """Counts bytes, and says how many there were, now and then."""

    def __init__(self, say: Callable[[int], None]) -> None:
        self.total = 0
        self._say = say
        self._said, self._when = 0, time.monotonic()

    async def flow(self, size: int) -> None:
        self.total += size
        now = time.monotonic()
        if now - self._when >= SELDOM and self.total > self._said:
            self._say(self.total - self._said)
            self._said, self._when = self.total, now


@dataclass(slots=True)
class _Open:
    bench: Bench
    facts: Facts
    pace: Pace
    stack: AsyncExitStack
    tasks: set[asyncio.Task[Any]]


class _Hall:
    """All jobs of this process, in a loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._opening: Joint[str, _Open] = Joint()
        self._ended: deque[str] = deque(maxlen=ENDED)
        threading.Thread(target=self._loop.run_forever, name="credstore-cluster", daemon=True).start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine in the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def opened(self, job: Job) -> _Open:
        """The job, opened if it is not.

        Raises:
            StorageError: It cannot be, or has ended.
        """
        if job.version != VERSION:
            raise StorageConfigurationError(
                f"it has credstore {VERSION}, and the coordinator has {job.version}; install the same",
                code=ErrorCode.WORKER_UNFIT,
            )
        if job.run in self._ended:
            raise StorageError("the job was ended by its coordinator")
        return self._open.get(job.run) or await self._opening.result(job.run, lambda: self._made(job))

    async def _made(self, job: Job) -> _Open:
        async with AsyncExitStack() as stack:
            bench = await BENCHES[job.kind](job, stack)
            facts = {**bench.facts, **disks_of(job.anchors)}
            check_facts(facts, job.facts, "others")
            made = _Open(bench, facts, Pace(most=job.concurrency), stack.pop_all(), set())
        self._open[job.run] = made
        for run in [run for run, each in self._open.items() if not each.tasks and each is not made]:
            if len(self._open) > MOST_OPEN:
                await self._close(run)
        return made

    async def end(self, run: str) -> None:
        """End a job for good."""
        self._ended.append(run)
        await self._close(run)

    async def _close(self, run: str) -> None:
        found = self._open.pop(run, None)
        if found is None:
            return
        for each in found.tasks:
            each.cancel()
        cancelled = await until_done(found.tasks)
        await found.stack.aclose()
        if cancelled is not None:
            raise cancelled


@cache
def _hall() -> _Hall:
    return _Hall()


async def _facts(job: Job) -> Facts:
    return (await _hall().opened(job)).facts


async def _performed(job: Job, requests: tuple[Request, ...], address: str, meter: _Meter) -> Answer:
    try:
        here = await _hall().opened(job)
    except StorageError as error:
        raise unfit(address, error) from None
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for type checkers: this is a coroutine of the loop
    here.tasks.add(task)
    results: list[object] = [None] * len(requests)

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(len(requests)):
            yield number

    async def one(number: int) -> None:
        request, start = requests[number], time.monotonic()
        try:
            results[number] = await here.bench.do(request, meter.flow)
        except StorageError as error:
            if isinstance(error, OVERLOAD):
                here.pace.overloaded()
            results[number] = Failed(error)
        else:
            here.pace.succeeded(time.monotonic() - start, request.entry.size)

    try:
        await for_each(numbers(), one, at_once=lambda: max(1, here.pace.width // len(here.tasks)))
    finally:
        here.tasks.discard(task)
    return Answer(address, tuple(results), meter.total)


def disks_of(anchors: tuple[str, ...]) -> Facts:
    """Which directories the anchors are in this process."""
    return {f"the directory {each!r}": disk_of(each) for each in anchors}


def check_facts(mine: Facts, theirs: Facts, who: str) -> None:
    """Compare what two processes have found, of what both have looked for.

    Raises:
        StorageConfigurationError: Something is another one here.
    """
    for what in sorted(mine.keys() & theirs.keys()):
        if mine[what] != theirs[what]:
            hint = (
                "name a store that all machines reach, or say that they share their paths"
                if what.startswith("the directory")
                else "compare the settings"
            )
            raise StorageConfigurationError(f"{what} is another one there than for {who}; {hint}")


def unfit(worker: str, error: StorageError) -> StorageConfigurationError:
    """The error of a worker that cannot work on a job, from what stood in its way."""
    return StorageConfigurationError(
        f"the worker {worker} cannot work on this: {error.message}", code=ErrorCode.WORKER_UNFIT
    )
