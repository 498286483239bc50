"""Small objects: what one store and one retrieve cost the client, beside its peers, in one run.

    make bench                              all peers, sizes and concurrencies
    python -m benchmarks --sizes 4096 --concurrencies 32 --rounds 3

Peers take turns within each round, each in a process of its own, against the same null S3. The
figures are client CPU (user and system) per operation: medians of the rounds with their spread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import PEERS

HERE = Path(__file__).parent
JAVASCRIPT = "AWS SDK for JavaScript v3"
OURS = "credstore"
_ABOUT = (
    "Written by `make bench`. Client CPU per operation in microseconds, median of {rounds} rounds of {count} "
    "operations (lowest to highest in brackets), and credstore's cost as a multiple of the peer's. Peers "
    "take turns against nginx with WebDAV on loopback; each has its own defaults, credstore all of its own "
    "(digest, signed payload, write-id, verified reads). OpenDAL and miniopy-async accept only status 200 "
    "for a write where nginx answers 201, so they have no figures here."
)


def main() -> None:
    """Measure, and write results.json and README.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 4096, 65536], help="bytes")
    parser.add_argument("--concurrencies", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000, help="operations in one measurement")
    parser.add_argument("--peers", nargs="+", default=[*PEERS, JAVASCRIPT], help="names as in the tables")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    results = measure_all(options)
    table = render(results, options)
    print(table)
    if not options.dry:
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "README.md").write_text(table)


def measure_all(options: argparse.Namespace) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Case to peer to figure to its values, one for each round."""
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    with running_null_s3() as url:
        for size in options.sizes:
            for concurrency in options.concurrencies:
                case = results.setdefault(f"{size} bytes, concurrency {concurrency}", {})
                for round_number in range(options.rounds):
                    for peer in options.peers:
                        print(f"{size} x {concurrency}, round {round_number + 1}: {peer}", file=sys.stderr)
                        found = measure(peer, url, size, concurrency, options.count)
                        for figure, value in found.items():
                            case.setdefault(peer, {}).setdefault(figure, []).append(round(value, 1))
    return results


def measure(peer: str, url: str, size: int, concurrency: int, count: int) -> dict[str, float]:
    """One peer in one process; nothing where it is not installed."""
    numbers = [str(size), str(concurrency), str(count)]
    command = (
        ["node", str(HERE / "worker.mjs"), url, *numbers]
        if peer == JAVASCRIPT
        else [sys.executable, "-m", "benchmarks.worker", peer, url, *numbers]
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  {peer} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout)


def render(results: dict[str, dict[str, dict[str, list[float]]]], options: argparse.Namespace) -> str:
    """The results as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        _ABOUT.format(rounds=options.rounds, count=options.count),
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} cores.",
    ]
    for case, peers in results.items():
        lines += [
            "",
            f"## {case}",
            "",
            "| | store | credstore is | retrieve | credstore is |",
            "|---|---|---|---|---|",
        ]
        for peer, figures in peers.items():
            cells = [peer]
            for figure in ("put_cpu", "get_cpu"):
                values, ours = figures[figure], peers.get(OURS, {}).get(figure)
                middle = statistics.median(values)
                cells.append(f"{middle:.0f} ({min(values):.0f} to {max(values):.0f})")
                cells.append(f"{statistics.median(ours) / middle:.2f}x" if ours and peer != OURS else "")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
