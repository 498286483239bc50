"""Where the time of a small object goes: the client's CPU sampled while it stores and retrieves, by layer.

A timer of the process's own CPU interrupts it a thousand times a second, and the innermost frame that belongs to a
layer is counted, so a C function counts for the code that called it. Sampling costs little and moves nothing, unlike
a profiler that instruments each call.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import credstore
from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import PEERS
from benchmarks.report import spread
from benchmarks.small import lanes
from benchmarks.worker import LOOPS, Scale, Stopwatch, add, run

TITLE = "Where the time of a small object goes"
HOME = f"{Path(credstore.__file__).parent}{os.sep}"
LAYERS = {
    "wire/aws/": (
        "signature",
        "the SHA-256 of the body and two HMACs: what a bucket that is not public demands",
    ),
    "wire/connecting": ("connections", "TLS and sockets, made once and kept"),
    "wire/connection": (
        "HTTP",
        "a request's head to bytes, a response from bytes (llhttp), one write to the socket",
    ),
    "wire/http": ("HTTP", ""),
    "wire/pool": ("HTTP", ""),
    "wire/": ("retries and deadlines", "that a lost response is settled, and no call outlives its deadline"),
    "drivers/": ("request and result", "headers of this object, what the response says of it, its condition"),
    "driver/": ("request and result", ""),
    "pipeline/": ("provider", ""),
    "provider/": (
        "provider",
        "arguments checked, the digest of what was read, events, counters, close waits",
    ),
    "": ("provider", ""),
}
"""Beginning of a module's path below the package to its layer, and what that buys; the first that fits."""
OUTSIDE = ("event loop", "asyncio or uvloop, the selector, and this benchmark's own lanes")
SIZE, AT_ONCE = 4096, 32
EVERY = 0.001
Found = dict[str, dict[str, dict[str, list[float]]]]


def measure(scale: Scale) -> Found:
    """Loop to verb to layer to microseconds, with the whole."""
    found: Found = {}
    with running_null_s3() as server:
        for loop in LOOPS:
            for number in range(scale.rounds):
                print(f"shares, {loop}, round {number + 1}", file=sys.stderr)
                for verb in ("store", "retrieve"):
                    values = run(__name__, loop, url=server.url, verb=verb, count=scale.pick(10_000, 40_000))
                    add(found.setdefault(loop, {}).setdefault(verb, {}), values, 1)
    return found


async def work(url: str, verb: str, count: int) -> dict[str, float]:
    """Microseconds of one operation, in all and by layer."""
    client = PEERS["credstore"]()
    await client.open(url, AT_ONCE)
    data, samples = os.urandom(SIZE), Counter[str]()

    async def one(number: int) -> None:
        key = f"k{number % 64}"
        if verb == "store":
            await client.put(key, data)
        else:
            assert await client.get(key) == data

    for number in range(64):
        await client.put(f"k{number}", data)
    await lanes(one, 500, AT_ONCE)

    def sample(_number: int, frame: FrameType | None) -> None:
        samples[layer_of(frame)] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    watch = Stopwatch()
    await lanes(one, count, AT_ONCE)
    cpu = watch.read()[0] / count * 1e6
    signal.setitimer(signal.ITIMER_PROF, 0)
    await client.close()
    whole = samples.total()
    return {"all": cpu} | {name: cpu * times / whole for name, times in samples.items()}


def layer_of(frame: FrameType | None) -> str:
    """The layer of the innermost frame that has one; without such a frame, that of the loop."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(HOME):
            module = name[len(HOME) :].replace(os.sep, "/")
            return next(layer for start, (layer, _) in LAYERS.items() if module.startswith(start))
        if "asyncio" in name or "benchmarks" in name:
            break
        frame = frame.f_back
    return OUTSIDE[0]


def render(found: Found) -> list[str]:
    """The results as Markdown."""
    bought = {layer: what for layer, what in [*LAYERS.values(), OUTSIDE] if what}
    verbs = [(loop, verb) for loop in found for verb in found[loop]]
    lines = [
        f"CPU of one operation of {SIZE} bytes over HTTP, {AT_ONCE} at once, in microseconds, sampled a thousand "
        "times a second of the client's CPU, which the sampling itself raises a little. Each layer is "
        "next to what it buys.",
        "",
        "| | what it buys | " + " | ".join(f"{verb}, {loop}" for loop, verb in verbs) + " |",
        "|---|---|" + "---|" * len(verbs),
    ]
    for layer in ["all", *sorted(bought, key=lambda name: -_middle(found, verbs[0], name))]:
        cells = [spread(found[loop][verb].get(layer, [0.0])) for loop, verb in verbs]
        lines.append(f"| {layer} | {bought.get(layer, '')} | " + " | ".join(cells) + " |")
    return lines


def _middle(found: Found, of: tuple[str, str], layer: str) -> float:
    return statistics.median(found[of[0]][of[1]].get(layer, [0.0]))
