"""Small objects: what one store and one retrieve cost the client, peers taking turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.peers import PEERS
from benchmarks.report import Figures, comparison
from tests.servers.moto import running_moto

HERE = Path(__file__).parent
JAVASCRIPT = "AWS SDK for JavaScript v3"
NAMES = {"put_cpu": "store", "get_cpu": "retrieve"}
Cases = dict[str, dict[str, Figures]]


def measure(rounds: int, count: int) -> Cases:
    """Case to peer to figures."""
    cases: Cases = {}
    null = [*PEERS, JAVASCRIPT]
    with running_null_s3() as server:
        for size in (1024, 4096, 65536):
            for concurrency in (1, 32, 256):
                name = f"{size} bytes, concurrency {concurrency}, HTTP"
                cases[name] = _take_turns(null, server.url, (size, concurrency, count), rounds)
    with running_null_s3(tls=True) as server:
        for concurrency in (1, 32, 256):
            name = f"4096 bytes, concurrency {concurrency}, HTTPS"
            cases[name] = _take_turns(null, server.url, (4096, concurrency, count), rounds, server.ca_file)
    with running_moto() as moto:
        with urlopen(Request(f"{moto.url}/{BUCKET}", method="PUT")):
            pass
        everyone = [name for name in [*PEERS, JAVASCRIPT] if name != "aiohttp, unsigned (the floor)"]
        case = _take_turns(everyone, moto.url, (4096, 32, min(count, 300)), rounds)
        cases["4096 bytes, concurrency 32, moto"] = case
    return cases


def _take_turns(
    names: list[str], url: str, numbers: tuple[int, int, int], rounds: int, ca_file: str | None = None
) -> dict[str, Figures]:
    case: dict[str, Figures] = {}
    for number in range(rounds):
        for name in names:
            print(f"{numbers}, round {number + 1}: {name}", file=sys.stderr)
            for figure, value in _one(name, url, [*map(str, numbers)], ca_file).items():
                case.setdefault(name, {}).setdefault(figure, []).append(round(value, 1))
    return case


def _one(name: str, url: str, numbers: list[str], ca_file: str | None) -> dict[str, float]:
    """One peer in a process of its own; nothing where it fails."""
    command = (
        ["node", str(HERE / "worker.mjs"), url, *numbers]
        if name == JAVASCRIPT
        else [sys.executable, "-m", "benchmarks.small_worker", name, url, *numbers]
    )
    trust = {} if ca_file is None else {"BENCH_CA_FILE": ca_file, "NODE_EXTRA_CA_CERTS": ca_file}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **trust})
    if done.returncode:
        print(f"  {name} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout)


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    lines = [
        (
            "Client CPU per operation in microseconds, against a server on loopback in a process of its own that "
            "returns what was stored with its metadata and checks no signature, and against moto. Each peer has "
            "its own defaults, credstore all of its own (digest, signed payload, write-id, and each read compared "
            "with the digest that was stored). moto closes each connection after one request: that case is mostly "
            "connecting."
        ),
    ]
    for case, peers in cases.items():
        lines += ["", f"### {case}", "", *comparison(peers, "credstore", NAMES)]
    return lines
