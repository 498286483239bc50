"""`Crew`: from requests about single objects to ranges, and back.

What plans (`transfer/run.py`, `jobs.py`) asks for one object after the other, in the order of the keys, many
at once. What is asked for while no worker is free becomes the next range, so ranges are as long as the
workers are busy, within bounds: a result comes back soon, and what a dead worker had is little.

Rules of this file: a range is a run of neighbouring keys that the coordinator has listed, so that no worker
lists anything. A request has exactly one outcome; a range whose worker dies is done again by another one, by
Dask, and only one that has killed several is given up.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from distributed import Client, KilledWorker

from credstore.cluster.messages import Answer, Failed, Job, Request
from credstore.cluster.working import finish, perform
from credstore.concurrency import until_done
from credstore.errors import ErrorCode, StorageConnectionError, StorageError, StorageUnavailableError
from credstore.transfer.sides import Flow

LONGEST = 64
"""Objects of a range."""
HEAVIEST = 64 * 1024 * 1024
"""Bytes of the objects of a range, where it has several."""
AHEAD = 1
"""Ranges that wait at each worker, so that it need not wait for the next one."""
RECOUNT = 10.0
"""Seconds between two counts of the workers."""
WIDEST = 8192
"""Requests at once, however many workers there are."""
FAREWELL = 30.0
"""Seconds that workers have to stop and close what they opened."""


class LostClusterError(Exception):
    """The scheduler is gone, so nothing can be asked for any more."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(error.message)
        self.error = error


class Crew:
    """The workers of one cluster, on one job.

    Attributes:
        job: What for.
        width: Requests that keep all of them busy.
        flow: Awaited with the bytes that were moved since the last time, by all of them.
    """

    def __init__(self, client: Client, job: Job, threads: Collection[int]) -> None:
        """Ask for nothing yet.

        Args:
            client: Of the cluster.
            job: What for.
            threads: Of each worker.
        """
        self._client, self.job = client, job
        self._fit(threads)
        self._counted = time.monotonic()
        self.flow: Flow = _uncounted
        self._waiting: deque[tuple[Request, asyncio.Future[object]]] = deque()
        self._ranges: set[asyncio.Task[None]] = set()
        self._early: dict[int, int] = {}
        self._count = 0
        self._is_due = self._closed = False

    def _fit(self, threads: Collection[int]) -> None:
        self._slots = sum(threads) + AHEAD * len(threads)
        self.width = min(WIDEST, self._slots * LONGEST)

    async def _recount(self) -> None:
        """Have something for workers that have come, and no more than the others can take."""
        now = time.monotonic()
        if now - self._counted >= RECOUNT:
            self._counted = now
            with suppress(OSError):  # Whether the scheduler is gone is for the next range to find out.
                threads = await self._client.nthreads()
                if threads:  # Else those that died are being replaced.
                    self._fit([*threads.values()])

    async def ask(self, request: Request) -> object:
        """The result of one step.

        Raises:
            StorageError: It was not done; or its workers died, one after the other (code "WORKER_LOST").
            LostClusterError: The scheduler is gone.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[object] = loop.create_future()
        self._waiting.append((request, outcome))
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._start)  # With all that is asked for in this turn of the loop.
        return await outcome

    async def hear(self, event: tuple[float, Any]) -> None:
        """What a worker says about a range that it is at; at its end, one done again counts once."""
        said = event[1]
        if said["range"] in self._early:
            self._early[said["range"]] += said["moved"]
            await self.flow(said["moved"])

    def _start(self) -> None:
        """Make ranges for the workers that are free."""
        self._is_due = False
        while self._waiting and not self._closed and len(self._ranges) < self._slots:
            free = self._slots - len(self._ranges)
            most = min(LONGEST, -(-len(self._waiting) // free))
            taken: list[tuple[Request, asyncio.Future[object]]] = []
            weight = 0
            while self._waiting and len(taken) < most:
                request, outcome = self._waiting[0]
                if taken and weight + request.entry.size > HEAVIEST:
                    break
                self._waiting.popleft()
                if not outcome.done():  # Else whoever asked has gone.
                    taken.append((request, outcome))
                    weight += request.entry.size
            if taken:
                self._count += 1
                task = asyncio.create_task(self._range(taken, self._count))
                self._ranges.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ranges.discard(task)
        self._start()

    async def _range(self, taken: list[tuple[Request, asyncio.Future[object]]], number: int) -> None:
        """Have one range done, and pass on what became of each object."""
        outcomes = [outcome for _, outcome in taken]
        self._early[number] = 0
        try:
            answer = await self._answer(tuple(request for request, _ in taken), number)
            await self.flow(answer.moved - self._early[number])
        except Exception as error:  # noqa: BLE001 - whoever asked has to learn of it
            for each in outcomes:
                _fail(each, copy.copy(error) if isinstance(error, StorageError) else error)
            return
        finally:
            del self._early[number]
        for each, result in zip(outcomes, answer.results, strict=True):
            if isinstance(result, Failed):
                _fail(each, result.error)
            elif not each.done():
                each.set_result(result)

    async def _answer(self, requests: tuple[Request, ...], number: int) -> Answer:
        """What the workers answer.

        Raises:
            StorageError: Not one of them could.
            LostClusterError: The scheduler is gone.
        """
        job = self.job
        key = f"credstore_{job.kind}-{job.run}-{number}"
        future = self._client.submit(perform, job, number, requests, key=key, pure=False, priority=-number)
        try:
            answer = await future
            await self._recount()
            return answer
        except asyncio.CancelledError:
            await asyncio.shield(self._client.cancel([future], force=True))
            raise
        except KilledWorker as error:
            first, last = requests[0].entry.name, requests[-1].entry.name
            raise StorageUnavailableError(
                f"several workers died over the objects from {first!r} to {last!r}, so no other one got them",
                code=ErrorCode.WORKER_LOST,
                retryable=False,
                applied="maybe",
            ) from error
        except CancelledError:
            raise LostClusterError(
                StorageConnectionError(
                    "the scheduler of the cluster is gone", code=ErrorCode.CLUSTER_UNREACHABLE, retryable=True
                )
            ) from None
        finally:
            future.release()

    async def aclose(self) -> None:
        """Stop what is under way, and have the workers close what they opened."""
        self._closed = True
        for each in self._ranges:
            each.cancel()
        cancelled = await until_done([*self._ranges])
        for _, outcome in self._waiting:
            outcome.cancel()
        self._waiting.clear()
        farewell = asyncio.ensure_future(self._farewell())
        cancelled = await until_done([farewell]) or cancelled
        if cancelled is not None:
            raise cancelled

    async def _farewell(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL):
                await self._client.run(finish, self.job.run, on_error="ignore")
        except (OSError, TimeoutError):
            return  # A worker that does not respond ends what it has, and is not given more.


async def _uncounted(size: int) -> None:
    del size


def _fail(outcome: asyncio.Future[object], error: Exception) -> None:
    if not outcome.done():
        outcome.set_exception(error)
