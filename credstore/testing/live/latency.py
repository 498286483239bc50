"""How long the verbs of a store take on small objects, next to the figures of the original design.

Rules of this file: one call after the other on a connection that is there already, as the original's figures
are of single calls; what has to be there for a call is made without being measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Sequence
from secrets import token_bytes
from typing import Any

from credstore.concurrency import map_all
from credstore.driver.capability_report import Latency
from credstore.errors import StorageUnavailableError
from credstore.provider.provider import StorageProvider

ORIGINAL = {
    "store": 200,
    "retrieve": 150,
    "delete": 100,
    "batch_delete": 500,
    "get_signed_url": 10,
    "health_check": 50,
}
"""Milliseconds: the figures of the original design for one call."""
SIZE = 4096
BATCH = 10
"""Keys of one batch."""
AT_ONCE = 8
Step = Callable[[], None]


async def measure(provider: StorageProvider, samples: int, step: Step) -> tuple[Latency, ...]:
    """The latencies of all verbs that the store has.

    Args:
        provider: Of a store in which nothing else is.
        samples: Calls of each verb; of batches a fifth, at least 3.
        step: Called after each measured call.

    Raises:
        StorageError: A call failed.
    """
    data = token_bytes(SIZE)
    keys = [f"latency/{number:05d}" for number in range(samples)]
    taken: dict[str, list[int]] = {}

    async def timed(verb: str, call: Coroutine[Any, Any, object]) -> None:
        begun = time.perf_counter_ns()
        await call
        taken.setdefault(verb, []).append((time.perf_counter_ns() - begun) // 1000)
        step()

    async def store(key: str) -> None:
        await provider.store(key, data)

    await _healthy(provider)
    for key in keys:
        await timed("store", provider.store(key, data))
    for key in keys:
        await timed("retrieve", provider.retrieve(key))
    if "GET" in provider.capabilities.presign:
        for key in keys:
            await timed("get_signed_url", provider.get_signed_url(key))
    for _ in keys:
        await timed("health_check", _healthy(provider))
    for key in keys:
        await timed("delete", provider.delete(key))
    for number in range(batches(samples)):
        batch = [f"batch/{number:05d}/{each}" for each in range(BATCH)]
        await map_all(batch, store, at_once=AT_ONCE)
        await timed("batch_delete", provider.batch_delete(batch))
    return tuple(_latency(verb, taken[verb]) for verb in ORIGINAL if verb in taken)


def batches(samples: int) -> int:
    """How many batches are measured."""
    return max(3, samples // 5)


def steps(samples: int) -> int:
    """How many calls `measure` measures at most."""
    return 5 * samples + batches(samples)


async def _healthy(provider: StorageProvider) -> None:
    result = await provider.health_check()
    if not result.healthy:
        raise StorageUnavailableError(f"the store is not healthy: {'; '.join(result.errors)}")


def _latency(verb: str, taken: Sequence[int]) -> Latency:
    ranked = sorted(taken)
    return Latency(
        verb=verb,
        samples=len(ranked),
        p50=percentile(ranked, 50),
        p95=percentile(ranked, 95),
        p99=percentile(ranked, 99),
        original=ORIGINAL[verb] * 1000,
    )


def percentile(ranked: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of ascending numbers: the least that `percent` of 100 do not exceed.

    >>> [percentile([1, 2, 3, 4], percent) for percent in (50, 95, 99)]
    [2, 4, 4]
    """
    return ranked[max(0, math.ceil(percent * len(ranked) / 100) - 1)]
