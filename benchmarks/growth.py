"""Growth: what a call, or an object of a call, costs while the store holds more and more."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import sys
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

from benchmarks.plot import Line, drawn
from benchmarks.proofs import CLAIMS, opened
from benchmarks.report import Figures, checked, spread
from benchmarks.worker import Scale, Stopwatch, add, run
from credstore import LocalConfig, LocalStorageProvider, MemoryConfig, MemoryStorageProvider
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.store.model import IssueRequest
from credstore.provider.provider import StorageProvider

TITLE = "Growth"
WORK = {
    "store": "call",
    "retrieve": "call",
    "list": "object",
    "stats": "object",
    "find": "call",
    "get": "call",
    "sweep": "proof",
}
"""What the cost of each is divided by; the cost of what it is divided by must not grow."""
OBJECTS, PROOFS = ("store", "retrieve", "list", "stats"), ("find", "get", "sweep")
STEEP = 0.3
"""Exponent from which on a line counts as steeper than its work, which is twice the cost for ten times the objects:
logarithms stay below it, a cost that is proportional to the number of objects has 1."""
MEASURED = 500
"""Calls of those that are counted by the call."""
Found = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Found:
    """Store and verb to number of objects, as text, to values."""
    found: Found = {}
    sizes = {
        ("memory", "objects"): scale.pick([1000, 10_000, 100_000], [1000, 10_000, 100_000, 1_000_000]),
        ("local", "objects"): scale.pick([1000, 10_000], [1000, 10_000, 100_000]),
        ("memory", "proofs"): scale.pick([1000, 5000], [1000, 10_000, 100_000, 1_000_000]),
        ("local", "proofs"): scale.pick([100, 1000], [1000, 10_000, 100_000]),
    }
    for (where, kind), numbers in sizes.items():
        for size in numbers:
            # Filling takes longer than measuring; the large ones are measured once.
            for number in range(scale.rounds if size < 10_000 else 1):
                print(f"growth, {size} {kind}, {where}, round {number + 1}", file=sys.stderr)
                for verb, value in run(__name__, where=where, kind=kind, size=size).items():
                    add(found.setdefault(f"{where}, {verb}", {}).setdefault(str(size), {}), {"cpu": value}, 2)
    return found


async def work(where: str, kind: str, size: int) -> dict[str, float]:
    """Microseconds of CPU for each call, object or proof."""
    place = tempfile.TemporaryDirectory() if where == "local" else nullcontext("")
    with place as root:
        store: StorageProvider = (
            LocalStorageProvider(LocalConfig(path=f"{root}/root", fsync=False))
            if where == "local"
            else MemoryStorageProvider(MemoryConfig())
        )
        return await (_objects if kind == "objects" else _proofs)(store, size)


async def _objects(store: StorageProvider, size: int) -> dict[str, float]:
    data, found, chance = bytes(256), {}, random.Random(7)
    async with store:
        for start in range(0, size, 16):
            await asyncio.gather(
                *(store.store(f"k{number:07}", data) for number in range(start, min(size, start + 16)))
            )
        # Written over: so the number of objects stays.
        keys = [f"k{chance.randrange(size):07}" for _ in range(MEASURED)]
        watch = Stopwatch()
        for key in keys:
            await store.store(key, data)
        found["store"] = watch.read()[0] / MEASURED * 1e6
        watch = Stopwatch()
        for key in keys:
            assert await store.retrieve(key) == data
        found["retrieve"] = watch.read()[0] / MEASURED * 1e6
        watch, count = Stopwatch(), 0
        async for _ in store.scan(""):
            count += 1
        assert count == size
        found["list"] = watch.read()[0] / size * 1e6
        watch = Stopwatch()
        stats = await store.get_stats()
        assert stats.total_objects == size
        found["stats"] = watch.read()[0] / size * 1e6
    return found


async def _proofs(provider: StorageProvider, size: int) -> dict[str, float]:
    now, found, chance = datetime.now(UTC), {}, random.Random(7)
    async with opened(provider, clock=lambda: now) as store:
        requests = (
            IssueRequest(asset=AssetDigest.of(b"%d" % number), claims=CLAIMS, expires_in=3600)
            for number in range(size)
        )
        async for outcome in store.issue_many(requests):
            if outcome.error is not None:
                raise outcome.error
        assets = [AssetDigest.of(b"%d" % chance.randrange(size)).sha256 for _ in range(MEASURED)]
        # Before it is measured: the memory store sorts its keys when they are first listed.
        ids = [(await store.find_by_hash(asset))[0].proof_id for asset in assets]
        watch = Stopwatch()
        for asset in assets:
            assert len(await store.find_by_hash(asset)) == 1
        found["find"] = watch.read()[0] / MEASURED * 1e6
        watch = Stopwatch()
        for proof_id in ids:
            await store.get(proof_id)
        found["get"] = watch.read()[0] / MEASURED * 1e6
        now += timedelta(hours=2)
        watch = Stopwatch()
        report = await store.sweep_expired(grace=0)
        assert report.swept == size
        found["sweep"] = watch.read()[0] / size * 1e6
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """The exponent of a power of the number of objects that fits the costs: 0 where they do not grow.

    Of all points, or of the last two if it is larger there: what grows faster than its work shows late.
    """
    logs = [(math.log(number), math.log(cost)) for number, cost in points]
    return max(statistics.linear_regression(*zip(*some, strict=True)).slope for some in (logs, logs[-2:]))


def lines(found: Found) -> list[Line]:
    """The medians as lines of the plot."""
    return [
        Line(
            *name.split(", "),
            [(int(size), statistics.median(figures["cpu"])) for size, figures in points.items() if figures],
        )
        for name, points in found.items()
    ]


def draw(found: Found) -> str:
    """The plot, as SVG."""
    return drawn(
        lines(found), "Microseconds of CPU for each call, object or proof", "objects or proofs in the store"
    )


def verdict(drawn_lines: list[Line]) -> str:
    """Which lines are steeper than their work."""
    steep = {
        f"{line.verb} ({line.where}, {found:.2f})"
        for line in drawn_lines
        if len(line.points) > 1 and (found := slope(line.points)) > STEEP
    }
    if not steep:
        return f"None is steeper than its work: no cost grows with a power of the number above {STEEP}."
    return f"**Steeper than their work** (exponent above {STEEP}): {', '.join(sorted(steep))}."


def render(found: Found) -> list[str]:
    """The results as Markdown."""
    all_lines = lines(found)
    sizes = sorted({int(size) for points in found.values() for size in points})
    table = [
        "| | for each | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |",
        "|---|---|" + "---|" * (len(sizes) + 1),
    ]
    for line in all_lines:
        points = found[f"{line.where}, {line.verb}"]
        cells = [spread(points[str(size)]["cpu"], 1) if str(size) in points else "" for size in sizes]
        fitted = f"{slope(line.points):.2f}" if len(line.points) > 1 else ""
        row = [f"{line.verb}, {line.where}", WORK[line.verb], *cells, fitted]
        table.append("| " + " | ".join(row) + " |")
    return [
        "Microseconds of CPU in a store of this many objects of 256 bytes or proofs (three objects each), of one call "
        "or divided by the objects that the call goes through. The local store is one directory, without fsync. The "
        "memory store sorts its keys when they are first listed, which is before this is measured.",
        "",
        checked({"credstore": "each read against its digest; each proof found, its signature and status; "
                 "each proof swept, that it has expired"}),
        "",
        "![cost of each by number of objects](growth.svg)",
        "",
        verdict(all_lines),
        "",
        *table,
    ]  # fmt: skip
