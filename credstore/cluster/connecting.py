"""To a cluster, and to workers that can do a job."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import dask.config
from distributed import Client, LocalCluster

from credstore.cluster.crew import Crew
from credstore.cluster.messages import VERSION, Facts, Job, topic_of
from credstore.cluster.working import check_facts, disks_of, hello, prepare, unfit
from credstore.errors import ErrorCode, StorageConfigurationError, StorageConnectionError, StorageError

LOCAL = "local"
"""Instead of an address: workers on this machine, for as long as they are needed."""
PATIENCE = 30.0
"""Seconds in which a scheduler has to respond."""
COMES_BACK = {"distributed.deploy.lost-worker-timeout": "1 hour"}
"""Dask's settings for local workers: on a busy machine it may take long until a dead one is replaced."""


def beside(workers: int) -> dict[str, Any]:
    """How a local cluster is started: processes, loopback only, no dashboard, silent.

    Args:
        workers: How many.
    """
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "processes": True,
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,
        # It has a server for its health without a dashboard, too.
        "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        "preload": ["credstore.cluster.working"],
    }


@asynccontextmanager
async def connected(address: str, *, workers: int | None) -> AsyncGenerator[Client]:
    """A client of the cluster at an address.

    Args:
        address: Of the scheduler; or "local".
        workers: Processes of a local cluster; one for each processor where None.

    Raises:
        StorageConnectionError: No scheduler responds there (code "CLUSTER_UNREACHABLE").
        StorageConfigurationError: It is not an address.
    """
    async with AsyncExitStack() as stack:
        if address == LOCAL:
            stack.enter_context(dask.config.set(COMES_BACK))
            cluster = LocalCluster(asynchronous=True, **beside(workers or os.cpu_count() or 1))
            address = (await stack.enter_async_context(cluster)).scheduler_address
        try:
            client = Client(
                address, asynchronous=True, set_as_default=False, timeout=PATIENCE, name="credstore"
            )
            stack.push_async_callback(client.close)  # Also where it never got through.
            await client
        except ValueError as error:
            raise StorageConfigurationError(
                f"{address!r} is not the address of a scheduler: {error}"
            ) from None
        except (OSError, TimeoutError):
            raise StorageConnectionError(
                f"no scheduler responds at {address}", code=ErrorCode.CLUSTER_UNREACHABLE, retryable=True
            ) from None
        yield client


@asynccontextmanager
async def crew_for(client: Client, job: Job, mine: Facts, bandwidth: int | None) -> AsyncGenerator[Crew]:
    """The workers of a cluster, once all of them can do a job.

    Args:
        client: Of the cluster.
        job: What is to be done.
        mine: What must be the same here and at each worker, by what it is called.
        bandwidth: Bytes per second of all workers together; None for no limit.

    Raises:
        StorageConnectionError: There are no workers (code "CLUSTER_UNREACHABLE").
        StorageConfigurationError: A worker has another version of credstore, lacks a setting, or finds
            something else by the same name (code "WORKER_UNFIT").
    """
    threads = await client.nthreads()
    if not threads:
        raise StorageConnectionError(
            "the cluster has no workers", code=ErrorCode.CLUSTER_UNREACHABLE, retryable=True
        )
    _check_versions(await client.run(hello, on_error="return"))
    if bandwidth is not None:
        job = replace(job, bandwidth=max(1, bandwidth // len(threads)))
    crew = Crew(client, job, [*threads.values()])
    client.subscribe_topic(topic_of(job.run), crew.hear)
    try:
        agreed = _agreed({**mine, **disks_of(job.anchors)}, await client.run(prepare, job, on_error="return"))
        crew.job = replace(job, facts=agreed)  # For those that come later.
        yield crew
    finally:
        client.unsubscribe_topic(topic_of(job.run))
        await crew.aclose()


def _check_versions(found: Mapping[str, object]) -> None:
    for worker, said in sorted(found.items()):
        if isinstance(said, BaseException):
            raise unfit(
                worker, StorageError(f"it has no credstore with the extra `dask` ({_spoken(said)})")
            ) from None
        if said != VERSION:
            raise unfit(
                worker,
                StorageError(f"it has credstore {said}, and the coordinator has {VERSION}; install the same"),
            )


def _agreed(mine: Facts, found: Mapping[str, object]) -> Facts:
    """What all of them have found."""
    known = dict(mine)
    for worker, facts in sorted(found.items()):
        if isinstance(facts, StorageError):
            raise unfit(worker, facts)
        if isinstance(facts, BaseException):
            raise unfit(worker, StorageError(_spoken(facts))) from facts
        theirs = cast("Facts", facts)
        try:
            check_facts(theirs, mine, "the coordinator")
            check_facts(theirs, known, "other workers")
        except StorageConfigurationError as error:
            raise unfit(worker, error) from None
        known.update(theirs)
    return known


def _spoken(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
