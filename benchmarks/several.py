"""Several stores as one: what a strategy adds to a read, and what a write to three costs, side by side."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.report import Figures, spread
from benchmarks.worker import Scale, Stopwatch, add, run
from credstore import S3CompatibleConfig, Secret, StorageProvider
from credstore.config.stores import MemoryConfig
from credstore.driver import Driver, PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.redundant.driver import RedundantDriver

TITLE = "Several stores as one"
SIZE = 4096
KEYS = 64
TURNS = 25
"""Times that everyone takes a turn within a round; their medians count."""
BARE = "one store"
READS: dict[str, Callable[[Callable[[], Driver]], Driver]] = {
    BARE: lambda make: make(),
    "fallback": lambda make: FallbackDriver(make(), make()),
    "balanced": lambda make: BalancedDriver([make(), make(), make()]),
    "fastest": lambda make: FastestDriver([make(), make(), make()]),
    "redundant": lambda make: RedundantDriver([make(), make(), make()]),
}
TAKES = (0.010, 0.020, 0.080)
"""Seconds that a write takes each of three members, where it is the time that counts."""
Results = dict[str, Figures]


def measure(scale: Scale) -> Results:
    """Part to its figures."""
    found: Results = {"reads": {}, "writes": {}}
    for number in range(scale.rounds):
        print(f"several, round {number + 1}", file=sys.stderr)
        add(found["reads"], run(__name__, part="reads", urls=[], count=max(50, scale.count // TURNS)), 2)
        with running_null_s3() as one, running_null_s3() as two, running_null_s3() as three:
            urls = [one.url, two.url, three.url]
            add(found["writes"], run(__name__, part="writes", urls=urls, count=scale.count), 2)
    return found


async def work(part: str, urls: list[str], count: int) -> dict[str, float]:
    """Figures of one part."""
    return await (_reads(count) if part == "reads" else _writes(urls))


async def _turns(
    calls: dict[str, Callable[[int], Awaitable[object]]], count: int, *, turns: int = TURNS
) -> dict[str, float]:
    """Microseconds of CPU for one call of each, the median of all turns."""
    seen: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            watch = Stopwatch()
            for number in range(count):
                await call(number)
            seen[name].append(watch.read()[0] / count * 1e6)
    return {name: statistics.median(values) for name, values in seen.items()}


async def _reads(count: int) -> dict[str, float]:
    stores = {
        name: StorageProvider(make(lambda: MemoryDriver(MemoryConfig())), MemoryConfig())
        for name, make in READS.items()
    }
    data = bytes(SIZE)
    for store in stores.values():
        for number in range(KEYS):
            await store.store(f"k{number}", data)
        for number in range(4 * KEYS):
            assert await store.retrieve(f"k{number % KEYS}") == data
    calls = {
        name: lambda number, store=store: store.retrieve(f"k{number % KEYS}")
        for name, store in stores.items()
    }
    found = await _turns(calls, count)
    for store in stores.values():
        await store.aclose()
    return found


class _Slow(MemoryDriver):
    """Takes `takes` seconds for a write."""

    takes = 0.0

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object, after a while."""
        await asyncio.sleep(self.takes)
        return await super().put(request)


async def _writes(urls: list[str]) -> dict[str, float]:
    def member(url: str) -> S3Driver:
        keys = {"access_key_id": "a", "secret_access_key": Secret("s")}
        return S3Driver(S3CompatibleConfig(bucket=BUCKET, endpoint=url, **keys))

    config = MemoryConfig()
    several = RedundantDriver([member(url) for url in urls])
    one, three = StorageProvider(member(urls[0]), config), StorageProvider(several, config)
    data = bytes(SIZE)

    async def to_three(number: int) -> None:
        await three.store(f"k{number % KEYS}", data)
        if number % KEYS == KEYS - 1:
            await several.settled()  # The third one's part is paid for, too.

    for number in range(2 * KEYS):
        await one.store(f"k{number % KEYS}", data)
        await to_three(number)
    calls = {"CPU, one": lambda number: one.store(f"k{number % KEYS}", data), "CPU, three": to_three}
    found = await _turns(calls, KEYS, turns=11)
    await one.aclose()
    await three.aclose()
    return found | await _waits()


async def _waits() -> dict[str, float]:
    members = [_Slow(MemoryConfig()) for _ in TAKES]
    for each, takes in zip(members, TAKES, strict=True):
        each.takes = takes
    second = StorageProvider(members[1], MemoryConfig())
    three = StorageProvider(RedundantDriver(list(members)), MemoryConfig())
    found: dict[str, list[float]] = {"wall, second fastest": [], "wall, three": []}
    for number in range(15):
        for name, store in (("wall, second fastest", second), ("wall, three", three)):
            began = time.perf_counter()
            await store.store(f"k{number}", b"data")
            found[name].append((time.perf_counter() - began) * 1e6)
    await three.aclose()
    return {name: statistics.median(values) for name, values in found.items()}


def render(results: Results) -> list[str]:
    """The results as Markdown."""
    reads, writes = results["reads"], results["writes"]
    lines = [
        f"CPU of one `retrieve` of {SIZE} bytes in microseconds, over stores in memory, so that all of it is the "
        "client's; everyone takes turns in one process, and the differences are those of the same round.",
        "",
        "| | retrieve | more than one store |",
        "|---|---|---|",
    ]
    for name, values in reads.items():
        more = [each - bare for each, bare in zip(values, reads[BARE], strict=True)]
        lines.append(f"| {name} | {spread(values, 1)} | {'' if name == BARE else spread(more, 1)} |")
    cpu = [three / one for three, one in zip(writes["CPU, three"], writes["CPU, one"], strict=True)]
    wall = [
        three / second
        for three, second in zip(writes["wall, three"], writes["wall, second fastest"], strict=True)
    ]
    return [
        *lines,
        "",
        "A `store` to three stores (`REDUNDANT`, W = 2) as a multiple of one: CPU over HTTP, the third store's part "
        "included; and wall time, where the three take "
        + ", ".join(f"{takes * 1000:.0f}" for takes in TAKES)
        + " ms, of the second fastest's.",
        "",
        "| | one | three | ratio |",
        "|---|---|---|---|",
        f"| CPU, µs | {spread(writes['CPU, one'])} | {spread(writes['CPU, three'])} | {spread(cpu, 2)} |",
        f"| wall, µs | {spread(writes['wall, second fastest'])} | {spread(writes['wall, three'])} | "
        f"{spread(wall, 2)} |",
    ]
