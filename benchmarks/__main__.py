"""What credstore costs, compared with its peers, in one run.

make bench                                everything; writes results.json, README.md and growth.svg
python -m benchmarks --quick              in about five minutes on two cores that do nothing else
python -m benchmarks --only large,many    these sections alone, the others as they were
python -m benchmarks --only small --dry   print, write nothing
"""

import argparse
import json
import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from time import perf_counter

from benchmarks.peers import versions
from benchmarks.worker import Scale

HERE = Path(__file__).parent
SECTIONS = (
    "small",
    "shares",
    "several",
    "clouds",
    "cold",
    "start",
    "large",
    "many",
    "moves",
    "listing",
    "local",
    "processes",
    "growth",
    "pipeline",
    "proofs",
    "logs",
)
"""Modules, each with `TITLE`, `measure(scale)` and `render(results)`."""


def chosen(text: str) -> list[str]:
    """The sections that are named, in their order."""
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is not among {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=chosen, default=list(SECTIONS), help=",".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="fewer peers, sizes and repetitions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, help="small operations in one measurement")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # A program compiles its modules on its first start alone.
    count = options.count or (400 if options.quick else 2000)
    scale = Scale(options.rounds, count, options.quick)
    kept = HERE / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name in options.only:
        began = perf_counter()
        results[name] = import_module(f"benchmarks.{name}").measure(scale)
        results.setdefault("about", {})[name] = (
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {scale.rounds} rounds"
            f"{', quick' if scale.quick else ''}, in {perf_counter() - began:.0f} s. {versions()}"
        )
    text = render(results)
    print(text)
    if not options.dry:
        kept.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "README.md").write_text(text)
        if "growth" in results:
            (HERE / "growth.svg").write_text(import_module("benchmarks.growth").draw(results["growth"]))


def render(results: dict[str, dict]) -> str:
    """All results as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Peers take turns within each round, each in a process of its own; figures are "
        "medians of the rounds (lowest to highest in brackets), with credstore's as a multiple of the peer's "
        "(the median of the rounds' ratios).",
    ]
    about = results.get("about", {})
    for name in SECTIONS:
        if name in results:
            module = import_module(f"benchmarks.{name}")
            lines += ["", f"## {module.TITLE}", "", f"{about[name]}.", "", *module.render(results[name])]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
