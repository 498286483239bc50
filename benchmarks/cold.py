"""Cold start: the first stores of a client that was just opened, and what one more connection costs."""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import PEERS
from benchmarks.report import Figures, checked, comparison
from benchmarks.worker import LOOPS, Scale, Stopwatch, add, run

TITLE = "Cold start"
COLD = ("credstore", "aiohttp, signed", "obstore")
FIRST = 64
NAMES = {
    "first": f"first {FIRST} stores",
    "first, wall": "of those, wall",
    "process": "with imports",
    "connection": "a new connection",
}
Cases = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Cases:
    """Case to peer to figures."""
    cases: Cases = {}
    connections = scale.pick(50, 200)
    with running_null_s3() as plain:
        for tls in (False, True):
            with running_null_s3(tls=tls) as server, running_null_s3(tls=tls, close=True) as closing:
                for loop in LOOPS:
                    case = cases.setdefault(f"{'HTTPS' if tls else 'HTTP'}, {loop}", {})
                    kinds = [
                        {"kind": "first", "server": server, "warm": plain.url},
                        {"kind": "connection", "server": closing, "count": connections},
                        {"kind": "process", "server": server},
                    ]
                    for number in range(scale.rounds):
                        for peer in COLD:
                            print(f"cold, {loop}, round {number + 1}: {peer}", file=sys.stderr)
                            for kind in kinds[: scale.pick(2, 3)]:
                                add(case.setdefault(peer, {}), run(__name__, loop, peer=peer, **kind), 2)
    return cases


async def work(
    peer: str, kind: str, server: tuple[str, str | None], warm: str | None = None, count: int = 0
) -> dict[str, float]:
    """Milliseconds for the first stores, or microseconds for a store that connects.

    Args:
        peer: Whose.
        kind: Of the figures.
        server: Its URL and its authority.
        warm: Another server, over HTTP, where another client has loaded all modules before.
        count: Of connections.
    """
    data = os.urandom(4096)
    url, ca_file = server
    if kind == "connection":
        client = PEERS[peer]()
        await client.open(url, 1, ca_file)
        await client.put("k", data)
        watch = Stopwatch()
        for number in range(count):
            await client.put(f"k{number}", data)
        return {kind: watch.read()[0] / count * 1e6}
    if warm is not None:
        client = PEERS[peer]()
        await client.open(warm, 1)
        await client.put("k", data)
        await client.close()
    watch = Stopwatch()
    client = PEERS[peer]()
    await client.open(url, FIRST, ca_file)
    await asyncio.gather(*(client.put(f"k{number}", data) for number in range(FIRST)))
    cpu, wall = watch.read()
    return {kind: cpu * 1e3, f"{kind}, wall": wall * 1e3}


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    lines = [
        f"A process opens a client and stores {FIRST} objects of 4 KiB at once: CPU and wall time in milliseconds, "
        "all modules loaded by another client's store over HTTP before, and CPU where they are not. A new connection: CPU in microseconds of one "
        "store of 4 KiB, one after another, at a server that closes the connection with each response.",
        "",
        checked({name: PEERS[name].checks for name in COLD} | {"TLS": "everyone verifies the certificate"}),
    ]
    for case, peers in cases.items():
        shown = {name: head for name, head in NAMES.items() if name in peers.get("credstore", {})}
        lines += ["", f"### {case}", "", *comparison(peers, "credstore", shown)]
    return lines
