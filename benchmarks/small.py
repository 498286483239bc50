"""Small objects: what one store and one retrieve cost the client, peers taking turns."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.null_s3 import BUCKET, Server, running_null_s3
from benchmarks.peers import MAIN, PEERS
from benchmarks.report import Figures, checked, comparison, paired, spread
from benchmarks.worker import LOOPS, Scale, Stopwatch, add, run
from tests.servers.moto import running_moto

TITLE = "Small objects"
HERE = Path(__file__).parent
JAVASCRIPT = "AWS SDK for JavaScript v3"
NAMES = {"put": "store", "get": "retrieve"}
AT_ONCE = (1, 32, 256)
SUMMARY = 4096
Cases = dict[str, dict[str, Figures]]


def measure(scale: Scale) -> Cases:
    """Case to peer to figures."""
    cases: Cases = {}
    everyone = scale.pick(MAIN, [*PEERS, JAVASCRIPT])
    for tls in (False, True):
        with running_null_s3(tls=tls) as server:
            for loop in LOOPS:
                names = everyone if loop == "asyncio" else MAIN
                for size in scale.pick([SUMMARY], [1024, SUMMARY, 65536] if not tls else [SUMMARY]):
                    peers = names if size == SUMMARY else MAIN
                    cases |= _take_turns(peers, server, size, loop, scale)
    if not scale.quick:
        with running_moto() as moto:
            with urlopen(Request(f"{moto.url}/{BUCKET}", method="PUT")):
                pass
            signed = [
                name for name in everyone if name not in {"bare protocol (the floor)", "aiohttp, unsigned"}
            ]
            few = Scale(scale.rounds, min(scale.count, 300))
            found = _take_turns(signed, Server(moto.url, None), SUMMARY, "asyncio", few, at_once=[32])
            cases |= {f"{name}, moto": case for name, case in found.items()}
    return cases


def _take_turns(
    peers: Sequence[str],
    server: Server,
    size: int,
    loop: str,
    scale: Scale,
    *,
    at_once: Sequence[int] = AT_ONCE,
) -> Cases:
    cases: Cases = {_case(size, number, server.ca_file is not None, loop): {} for number in at_once}
    for number in range(scale.rounds):
        for peer in peers:
            print(f"small, {size} bytes, {loop}, round {number + 1}: {peer}", file=sys.stderr)
            arguments = [server.url, size, scale.count, list(at_once)]
            found = (
                _javascript(server, arguments)
                if peer == JAVASCRIPT
                else run(__name__, loop, peer=peer, arguments=arguments, ca_file=server.ca_file)
            )
            for name, value in found.items():
                verb, each = name.split()
                case = cases[_case(size, int(each), server.ca_file is not None, loop)]
                add(case.setdefault(peer, {}), {verb: value}, 1)
    return cases


def _case(size: int, at_once: int, tls: bool, loop: str) -> str:  # noqa: FBT001
    return f"{size} bytes, {at_once} at once, {'HTTPS' if tls else 'HTTP'}, {loop}"


def _javascript(server: Server, arguments: list[object]) -> dict[str, float]:
    environ = {**os.environ, "NODE_EXTRA_CA_CERTS": server.ca_file or ""}
    command = ["node", str(HERE / "worker.mjs"), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        print(f"no figures: {JAVASCRIPT}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout)


async def work(
    peer: str, arguments: tuple[str, int, int, list[int]], ca_file: str | None
) -> dict[str, float]:
    """Microseconds of CPU for one operation, for each verb and number at once."""
    url, size, count, at_once = arguments
    found: dict[str, float] = {}
    data = os.urandom(size)
    for number in at_once:
        client = PEERS[peer]()
        await client.open(url, number, ca_file)
        try:
            for verb in NAMES:

                async def one(index: int, client=client, verb: str = verb) -> None:
                    key = f"k{index % 64}"
                    if verb == "put":
                        await client.put(key, data)
                    else:
                        assert await client.get(key) == data

                await one(0)
                await lanes(one, max(64, number), number)
                watch = Stopwatch()
                await lanes(one, count, number)
                found[f"{verb} {number}"] = watch.read()[0] / count * 1e6
        finally:
            await client.close()
    return found


async def lanes(one, total: int, at_once: int) -> None:
    """Call `one` with each number below `total`, at most `at_once` at a time."""

    async def lane(start: int) -> None:
        for number in range(start, total, at_once):
            await one(number)

    await asyncio.gather(*(lane(start) for start in range(min(at_once, total))))


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    lines = [
        "Client CPU per operation in microseconds, against a server on loopback in a process of its own that "
        "returns what was stored with its metadata and checks no signature, and against moto. Each peer has its "
        "own defaults, credstore all of its own. moto closes each connection after one request: that case is "
        "mostly connecting.",
        "",
        checked(
            {"the benchmark": "that each retrieve returns the bytes that were stored"}
            | {name: PEERS[name].checks for name in PEERS if any(name in case for case in cases.values())}
            | {JAVASCRIPT: "as aiobotocore", "TLS": "everyone verifies the certificate"}
        ),
        "",
        "credstore's CPU as a multiple of obstore's, 4096 bytes: the median of the rounds' ratios, their lowest "
        "and highest.",
        "",
        *summary(cases, "obstore"),
        "",
        "The same as a multiple of the bare protocol's, below which no client on this loop can be:",
        "",
        *summary(cases, "bare protocol (the floor)"),
    ]
    for case, peers in cases.items():
        lines += ["", f"### {case}", "", *comparison(peers, "credstore", NAMES)]
    return lines


def summary(cases: Cases, peer: str) -> list[str]:
    """One row for each scheme and verb, one column for each loop and number at once."""
    heads = [(loop, number) for loop in LOOPS for number in AT_ONCE]
    lines = [
        "| | " + " | ".join(f"{loop}, {number}" for loop, number in heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for tls in (False, True):
        for verb, shown in NAMES.items():
            cells = [f"{'HTTPS' if tls else 'HTTP'} {shown}"]
            for loop, number in heads:
                case = cases.get(_case(SUMMARY, number, tls, loop), {})
                ratios = paired(case.get("credstore", {}).get(verb, []), case.get(peer, {}).get(verb, []))
                cells.append(spread(ratios, 2) if ratios else "")
            lines.append("| " + " | ".join(cells) + " |")
    return lines
