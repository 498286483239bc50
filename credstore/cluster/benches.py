"""What a worker does with one object, job by job.

Rules of this file: each step may have been done before, by a worker that died before it could say so, and
then has the same result again.
"""

from __future__ import annotations

import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from credstore.cluster.contracts import Bench
from credstore.cluster.messages import Facts, Job, Kind, Request
from credstore.cluster.places import opened
from credstore.cluster.store_benches import facts_of, open_audit, open_issue, open_recompress, open_rotate
from credstore.errors import StorageAlreadyExistsError, StorageError, StorageInvalidRequestError
from credstore.transfer.moving import Mover
from credstore.transfer.plan import Entry
from credstore.transfer.sides import Flow, Side, Written
from credstore.transfer.store import Store
from credstore.wire.bandwidth import Bandwidth


class TransferBench:
    """From one place to another; see `Bench`."""

    def __init__(self, mover: Mover, bandwidth: int | None) -> None:
        """Take open ends.

        Args:
            mover: Between the two.
            bandwidth: Bytes per second, or None.
        """
        self.facts = identities(mover.source, mover.destination)
        self._mover = mover
        self._bandwidth = None if bandwidth is None else Bandwidth(bandwidth)

    async def do(self, request: Request, flow: Flow) -> object:
        """Do one step; see `Bench.do`."""
        mover, entry = replace(self._mover, flow=self._slowed(flow)), request.entry
        match request.step:
            case "look":
                return await mover.look(entry, request.there or entry, request.depth)
            case "copy":
                return await _copied(mover, entry)
            case "check":
                return await mover.check(entry)
            case "reread":
                return await mover.reread(entry)
            case "delete_source":
                await mover.delete_source(entry)
            case "delete_copy":
                await mover.delete_copy(entry)
            case _:
                raise StorageInvalidRequestError(f"a transfer has no step {request.step!r}")
        return None

    def _slowed(self, flow: Flow) -> Flow:
        async def slowed(size: int) -> None:
            await flow(size)
            if self._bandwidth is not None and size:
                wait = self._bandwidth.delay(time.monotonic(), size)
                if wait:
                    await sleep(wait)

        return slowed


async def _copied(mover: Mover, entry: Entry) -> Written:
    try:
        return await mover.copy(entry)
    except StorageAlreadyExistsError as error:
        try:
            digest = await mover.check(entry)
        except StorageError:
            raise error from None
        # A worker that has died since was there before.
        return Written("", digest, entry.tag)


def identities(source: Side, destination: Side) -> Facts:
    """Which two places a transfer is between."""
    return {**facts_of("the source", source), **facts_of("the destination", destination)}


async def _transfer(job: Job, stack: AsyncExitStack) -> Bench:
    source, destination = await stack.enter_async_context(opened(job.places, reading=job.reading))
    if isinstance(destination, Store):
        destination.store_options = job.store_options
    mover = Mover(
        source,
        destination,
        verify=job.verify,
        if_absent=job.if_absent,
        flow=_uncounted,
        keep_retention=job.keep_retention,
    )
    return TransferBench(mover, job.bandwidth)


async def _uncounted(size: int) -> None:
    del size


BENCHES: dict[Kind, Callable[[Job, AsyncExitStack], Awaitable[Bench]]] = {
    "transfer": _transfer,
    "rotate": open_rotate,
    "recompress": open_recompress,
    "issue": open_issue,
    "audit": open_audit,
}
"""By the kind of job."""
