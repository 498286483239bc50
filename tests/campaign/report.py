"""The page of the last run: written from its results, so that it says nothing else."""

import textwrap
from collections.abc import Mapping
from typing import Any

from tests.campaign.campaigns import CAMPAIGNS
from tests.campaign.trial import Campaign

WIDTH = 118
INTRODUCTION = """\
# Reliability

What must not happen when processes die, power fails, disks report errors, servers fail, calls are cancelled and stored
bytes are changed is tried out at size, not only by single tests. This page is written by the run itself; a test compares it
with the stored results of the last run (`tests/campaign/results.json`).

`make campaign` runs everything within two hours on two cores. `SCALE=ci` takes the sizes of a quick check,
`SCALE=release` those before a release (several hours); `SEED=7` chooses other random numbers. It prints its seed, a
line of progress with the rate and the time at which it ends, and the results as a table; it fails on any violation,
on a planted bug that was not found, and when the time was over before the size was reached. Ctrl-C ends it and
leaves nothing behind.

Every campaign starts with planted bugs: rules of credstore that are switched off one by one. Each must be found, since
a harness that has never failed proves nothing.

To repeat one case of a violation, take its campaign, seed and number:
`python -m tests.campaign cuts --seed 7 --start 1234 --size 1`. Cancels, kills and injections repeat the same plan; when
exactly the system stops a process is up to the system.
"""

LIMITS = """\
## What this does not show

- Power cuts are simulated: the states are those that a file system may leave by its contract, not those that one
  disk did leave. A disk that acknowledges a flush and loses it is beyond any program.
- Errors are injected at system calls. What a kernel does with its caches after a failed flush is why credstore never
  flushes the same file again.
- The S3 side runs on a fault server in the same process, or on moto in its own, not on a provider's service.
- An old version of an encrypted object that is put back in its place is accepted by a plain read; only the proof
  store notices it.
"""


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page.

    Args:
        results: Of the last run of each campaign, by its name.
    """
    parts = [INTRODUCTION, "## Last run\n\n" + table(results)]
    parts += [section(campaign, results[campaign.name]) for campaign in CAMPAIGNS if campaign.name in results]
    return "\n".join([*parts, LIMITS])


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each campaign."""
    lines = [
        "| campaign | done | violations | planted bugs found | minutes | scale | seed | date |",
        "|---|---:|---:|---:|---:|---|---:|---|",
    ]
    for campaign in CAMPAIGNS:
        if campaign.name in results:
            found = results[campaign.name]
            red = sum(units is not None for units in found["controls"].values())
            lines.append(
                f"| {campaign.name} | {done(campaign, found)} | {len(found['violations'])} | "
                f"{red} of {len(found['controls'])} | {found['seconds'] / 60:.1f} | {found['scale']} | "
                f"{found['seed']} | {found['date']} |"
            )
    return "\n".join(lines) + "\n"


def done(campaign: Campaign, found: Mapping[str, Any]) -> str:
    """How much was done, and of what if that was less than planned."""
    of = "" if found["complete"] else f" of {found['size']:,}"
    return f"{found['done']:,}{of} {campaign.unit}"


def section(campaign: Campaign, found: Mapping[str, Any]) -> str:
    """What one campaign does and what came of it."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in campaign.sizes.items())
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(found["counts"].items()))
    controls = ", ".join(
        f"`{plant}` " + ("not found" if units is None else f"after {units:,}")
        for plant, units in found["controls"].items()
    )
    where = f"{found['cores']} cores, Python {found['python']}"
    wrong = len(found["violations"])
    lines = [
        f"## {campaign.name.capitalize()}",
        "",
        *textwrap.wrap(campaign.about, WIDTH),
        "",
        f"- Sizes ({campaign.unit}, at most): {sizes}.",
        f"- Last run: {done(campaign, found)} in {found['seconds']:,.0f} s on {where}: {wrong} violations.",
        f"- Counted: {counts}.",
        f"- Planted bugs found: {controls}.",
        *(f"- Violation: `{each}`" for each in found["violations"]),
    ]
    if campaign.programs:
        lines.append(f"- Needs {', '.join(campaign.programs)}.")
    return "\n".join(lines) + "\n"
