"""Processes: operations a second with one and with two, each with one store on one event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import PEERS
from benchmarks.report import Figures, checked, ratio, spread
from benchmarks.worker import Scale, Stopwatch, add, run
from credstore import LocalConfig, LocalStorageProvider, MemoryConfig, MemoryStorageProvider

TITLE = "Processes"
WHERE = ("credstore, memory", "credstore, local disk", "credstore, HTTP", "obstore, HTTP")
QUICK = ("credstore, memory", "credstore, HTTP")
VERBS = {"put": "stores", "get": "retrieves"}
PROCESSES = (1, 2)
AT_ONCE = 32
KEYS = 64
STARTING = 2.0
"""Seconds until all processes are up and begin together."""
PAUSE = 0.5
"""Seconds between two measurements, in which the slower process ends the first."""
Found = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Found:
    """Store to number of processes, as text, to figures."""
    found: Found = {}
    seconds = scale.pick(1.0, 5.0)
    with running_null_s3() as server, tempfile.TemporaryDirectory() as place:
        for number in range(scale.few):
            for where in scale.pick(QUICK, WHERE):
                for processes in PROCESSES:
                    print(f"processes, round {number + 1}: {processes} with {where}", file=sys.stderr)
                    values = _together(where, processes, f"{place}/root", server.url, seconds)
                    add(found.setdefault(where, {}).setdefault(str(processes), {}), values, 1)
    return found


def _together(where: str, processes: int, root: str, url: str, seconds: float) -> dict[str, float]:
    """Operations a second of all processes, and microseconds of CPU for one."""
    begin = time.time() + STARTING
    rest = {"where": where, "root": root, "url": url, "begin": begin, "seconds": seconds}
    with ThreadPoolExecutor(processes) as threads:
        waiting = [threads.submit(run, __name__, name=f"p{each}", **rest) for each in range(processes)]
        found = [each.result() for each in waiting]
    if not all(found):
        return {}
    return {
        name: sum(values[name] for values in found) / (processes if name.endswith("cpu") else 1)
        for name in found[0]
    }


async def work(
    *, where: str, begin: float, seconds: float, name: str, root: str, url: str
) -> dict[str, float]:
    """Operations a second of this process, which begins when the others do."""
    client = await _opened(where, root, url)
    found: dict[str, float] = {}
    data = os.urandom(4096)
    # ext4 looks at each file that was replaced in the last minutes before it makes one.
    new = where.endswith("local disk")
    for number in range(KEYS):
        await client.put(f"{name}-{number}", data)
    for turn, verb in enumerate(VERBS):
        await asyncio.sleep(begin + turn * (seconds + PAUSE) - time.time())
        end = time.monotonic() + seconds

        async def lane(start: int, verb: str = verb, end: float = end) -> int:
            count = 0
            while time.monotonic() < end:
                number = start + count * AT_ONCE
                key = f"{name}-{number if new and verb == 'put' else number % KEYS}"
                await (client.put(key, data) if verb == "put" else client.get(key))
                count += 1
            return count

        watch = Stopwatch()
        done = sum(await asyncio.gather(*map(lane, range(AT_ONCE))))
        cpu, wall = watch.read()
        found |= {verb: done / wall, f"{verb} cpu": cpu / done * 1e6}
    await client.close()
    return found


async def _opened(where: str, root: str, url: str):
    """A peer as those of `peers.py`."""
    name, _, kind = where.partition(", ")
    client = PEERS[name]()
    if kind == "memory":
        client.store = MemoryStorageProvider(MemoryConfig())
    elif kind == "local disk":
        client.store = LocalStorageProvider(LocalConfig(path=root, fsync=False))
    else:
        await client.open(url, AT_ONCE)
    return client


def render(found: Found) -> list[str]:
    """The results as Markdown."""
    heads = ["1 process", "2 processes", "times as many", "CPU with 1", "CPU with 2"]
    lines = [
        f"Operations of 4 KiB a second, {AT_ONCE} at once in each process, and microseconds of CPU for one. A process "
        "has one event loop and one store of its own: that is how credstore scales, since a store belongs to its loop "
        "and nothing is shared between processes but what is stored. The local disk is without fsync, and each object "
        "stored there is a new one; elsewhere they are the same few. Over HTTP the server is a third process on the "
        "same cores, so operations a second say less there than that the CPU for one stays what it was.",
        "",
        checked({name: PEERS[name].checks for name in ("credstore", "obstore")}),
        "",
        "| | " + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for where, processes in found.items():
        one, two = (processes.get(str(number), {}) for number in PROCESSES)
        for verb, shown in VERBS.items():
            if verb in one and verb in two:
                cells = [spread(one[verb]), spread(two[verb]), ratio(two[verb], one[verb])]
                cells += [spread(each[f"{verb} cpu"]) for each in (one, two)]
                lines.append(f"| {where}: {shown} | " + " | ".join(cells) + " |")
    return lines
