"""What must not happen, tried out at size; the results are in docs/reliability.md.

make campaign                                      everything, within two hours
python -m tests.campaign kills cuts --scale ci     two of them, smaller
python -m tests.campaign cuts --seed 7 --start 1234 --size 1
                                                   one case again
"""

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

from tests.campaign.campaigns import BY_NAME
from tests.campaign.report import render, table
from tests.campaign.runner import Settings, failed, missing, perform
from tests.campaign.trial import SCALES, Stop
from tests.surroundings import with_signals, without_proxies

KEPT = Path(__file__).with_name("results.json")
LIMITS = {"campaign": 120.0, "release": float("inf")}
"""Minutes of a whole run; 60 at the other scales."""


def main(arguments: list[str] | None = None) -> int:
    """Run campaigns; 0 if nothing went wrong, 1 if something did, 3 if a program is missing, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("campaigns", nargs="*", metavar="campaign", help=", ".join(BY_NAME))
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("SCALE") or "campaign")
    parser.add_argument("--seed", type=int, default=os.environ.get("SEED") or secrets.randbelow(10**6))
    parser.add_argument("--size", type=int, help="instead of the scale's")
    parser.add_argument("--start", type=int, default=0, help="the first case")
    parser.add_argument(
        "--limit", type=float, help="minutes of the whole run (60; campaign: 120; release: none)"
    )
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="write the page, and the results it is from"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of this run")
    options = parser.parse_args(arguments)
    if unknown := set(options.campaigns) - BY_NAME.keys():
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}")
    if options.scale not in SCALES:
        parser.error(f"no such scale: {options.scale}")
    campaigns = [BY_NAME[name] for name in options.campaigns or BY_NAME]
    if programs := missing(campaigns):
        print(f"these programs are needed: {', '.join(programs)}", file=sys.stderr)
        return 3
    limit = LIMITS.get(options.scale, 60.0) if options.limit is None else options.limit
    settings = Settings(
        options.scale,
        options.seed,
        size=options.size,
        start=options.start,
        seconds=limit * 60,
        controls=not options.start,
    )
    print(f"scale {settings.scale}, seed {settings.seed}", file=sys.stderr, flush=True)
    without_proxies()
    with_signals()
    results = {}
    try:
        with Stop.by_signals():
            for campaign, found in perform(campaigns, settings):
                results[campaign.name] = found
    except BaseException:  # Ctrl-C reaches the children too, and a unit without them fails.
        if not Stop.asked:
            raise
        print(f"stopped; done before: {', '.join(results) or 'nothing'}", file=sys.stderr)
        return 130
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.write:
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept = {name: {**kept, **results}[name] for name in BY_NAME if name in {**kept, **results}}
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        options.write.write_text(render(kept))
    return int(any(map(failed, results.values())))


if __name__ == "__main__":
    sys.exit(main())
