"""A big listing far away: a million keys at a server that takes 50 ms for each page of 1,000.

The server is the tests' S3 server, in a process of its own; run as `python -m benchmarks.listing serve keys` it prints
its port and ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.report import Figures
from benchmarks.worker import Scale, add, run
from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret
from tests.faults.listing import Fixed
from tests.faults.objects import Stored
from tests.faults.origin import Origin
from tests.faults.script import Hold

TITLE = "A big listing"
BUCKET = "bench"
KEYS = 1_000_000
PAUSE = 0.05
"""Seconds for each page."""
AT_ONCE = (1, 4, 8)


def measure(scale: Scale) -> dict[str, Figures]:
    """Requests at once to figures."""
    found: dict[str, Figures] = {}
    keys = scale.pick(KEYS // 10, KEYS)
    with _server(keys) as url:
        for _ in range(scale.few):
            for parallel in AT_ONCE:
                figures = run(__name__, url=url, parallel=parallel, keys=keys)
                add(found.setdefault(str(parallel), {}), figures, 1)
    return found


def render(found: dict[str, Figures]) -> list[str]:
    """The results as Markdown."""
    lines = [
        (
            f"`list(parallel=n)` of {KEYS:,} keys (a tenth of them if quick) at a server that takes {PAUSE * 1000:.0f} ms for each page of "
            "1,000; medians, lowest to highest in brackets. Each run checks that all keys came once and in order."
        ),
        "",
        "| `parallel` | keys a second | client CPU a key (µs) |",
        "|---|---|---|",
    ]
    for parallel, figures in found.items():
        rate, used = sorted(figures["rate"]), sorted(figures["cpu"])
        lines.append(
            f"| {parallel} | {rate[len(rate) // 2]:,.0f} ({rate[0]:,.0f} to {rate[-1]:,.0f}) "
            f"| {used[len(used) // 2]} ({used[0]} to {used[-1]}) |"
        )
    return lines


@contextmanager
def _server(keys: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.listing", "serve", str(keys)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


class _Pause:
    """Stands in for the event that a test would open."""

    async def wait(self) -> None:
        await asyncio.sleep(PAUSE)


async def _serve(keys: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    async with Origin() as origin:
        one = Stored(b"x", "9e107d9d372bb6826bd81d3542a419d6", 0.0, {})
        origin.store.buckets[BUCKET] = Fixed({_key(number): one for number in range(keys)})
        pause: Any = _Pause()
        origin.plan("before-apply", Hold(pause), operation="ListObjectsV2", times=None)
        threading.Thread(target=wait_for_end, daemon=True).start()
        print(origin.url, flush=True)
        await ended.wait()


def _key(number: int) -> str:
    return f"records/{number:07d}"


async def work(url: str, parallel: int, keys: int) -> dict[str, float]:
    """Keys a second, and microseconds of CPU for each."""
    config = S3CompatibleConfig(
        bucket=BUCKET,
        endpoint=url,
        flavor="minio",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("s"),
    )
    async with S3CompatibleStorageProvider(config) as store:
        start, used = time.perf_counter(), time.process_time()
        found = await store.list("records/", parallel=parallel)
        took, used = time.perf_counter() - start, time.process_time() - used
        assert [item.key for item in found] == [_key(number) for number in range(keys)]
    return {"rate": keys / took, "cpu": used / keys * 1e6}


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[2])))
