"""What credstore costs, compared with its peers, in one run.

make bench                              everything; writes results.json and README.md
python -m benchmarks large many         these sections alone, the others as they were
python -m benchmarks small --dry        print, write nothing
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import large, listing, many, pipeline, proofs, small

HERE = Path(__file__).parent
SECTIONS = {
    "small": small,
    "pipeline": pipeline,
    "large": large,
    "many": many,
    "listing": listing,
    "proofs": proofs,
}
TITLES = {
    "small": "Small objects",
    "pipeline": "Codecs",
    "large": "Large objects",
    "many": "Many objects",
    "listing": "A big listing",
    "proofs": "Proofs",
}


def main() -> None:
    """Measure, and write results.json and README.md."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*TITLES, []], help="all of them unless given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=600, help="small operations in one measurement")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    kept = HERE / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name in options.sections or TITLES:
        if name == "small":
            results[name] = small.measure(options.rounds, options.count)
        else:
            results[name] = SECTIONS[name].measure(options.rounds)
        results.setdefault("about", {})[name] = (
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} cores, "
            f"{options.rounds} rounds"
        )
    text = render(results)
    print(text)
    if not options.dry:
        kept.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "README.md").write_text(text)


def render(results: dict[str, dict]) -> str:
    """All results as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        (
            "Written by `make bench`. Peers take turns within each round, each in a process of its own; figures "
            "are medians of the rounds (lowest to highest in brackets), with credstore's as a multiple of the peer's."
        ),
    ]
    for name, title in TITLES.items():
        if name in results:
            lines += [
                "",
                f"## {title}",
                "",
                f"{results['about'][name]}.",
                "",
                *SECTIONS[name].render(results[name]),
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
