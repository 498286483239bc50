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

from credstore.cluster.contracts import Bench, uncounted
from credstore.cluster.messages import Copied, Facts, Job, Kind, Request
from credstore.cluster.places import identity_of, opened
from credstore.cluster.store_benches import open_audit, open_issue, open_recompress, open_rotate
from credstore.errors import StorageAlreadyExistsError, StorageError, StorageInvalidRequestError
from credstore.transfer.moving import Mover
from credstore.transfer.sides import Side, Written
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

    async def do(self, request: Request) -> object:
        """Do one step; see `Bench.do`."""
        mover, entry = self._mover, request.entry
        match request.step:
            case "look":
                return await mover.look(entry, request.there or entry, request.depth)
            case "copy":
                return await self._copy(request)
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

    async def _copy(self, request: Request) -> Copied:
        moved = 0

        async def flow(size: int) -> None:
            nonlocal moved
            moved += size
            if self._bandwidth is not None and size:
                wait = self._bandwidth.delay(time.monotonic(), size)
                if wait:
                    await sleep(wait)

        mover = replace(self._mover, flow=flow)
        try:
            return Copied(await mover.copy(request.entry), moved)
        except StorageAlreadyExistsError as error:
            try:
                digest = await mover.check(request.entry)
            except StorageError:
                raise error from None
            # A worker that has died since was there before.
            return Copied(Written("", digest, request.entry.tag), moved)


def identities(source: Side, destination: Side) -> Facts:
    """Which two places a transfer is between."""
    return {"the source": identity_of(source), "the destination": identity_of(destination)}


async def _transfer(job: Job, stack: AsyncExitStack) -> Bench:
    source, destination = await stack.enter_async_context(opened(job.places, reading=job.reading))
    if isinstance(destination, Store):
        destination.store_options = job.store_options
    mover = Mover(source, destination, verify=job.verify, if_absent=job.if_absent, flow=uncounted)
    return TransferBench(mover, job.bandwidth)


BENCHES: dict[Kind, Callable[[Job, AsyncExitStack], Awaitable[Bench]]] = {
    "transfer": _transfer,
    "rotate": open_rotate,
    "recompress": open_recompress,
    "issue": open_issue,
    "audit": open_audit,
}
"""By the kind of job."""
