"""Runs campaigns one after the other, each after its planted bugs."""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.trial import Campaign, FoundError, OutOfTimeError, Trial

KEPT = 20
"""Violations of a campaign that are kept in full."""


@dataclass(frozen=True)
class Settings:
    """How to run.

    Attributes:
        scale: Which sizes to take.
        seed: Of everything random.
        size: Instead of the scale's, or None.
        start: The first unit.
        seconds: Of the whole run, at most.
        quiet: Whether no progress is shown.
        controls: Whether planted bugs are looked for.
    """

    scale: str
    seed: int
    size: int | None = None
    start: int = 0
    seconds: float = float("inf")
    quiet: bool = False
    controls: bool = True


def missing(campaigns: Sequence[Campaign]) -> list[str]:
    """The programs that are needed and not there."""
    wanted = {program for campaign in campaigns for program in campaign.programs}
    return sorted(program for program in wanted if shutil.which(program) is None)


def perform(campaigns: Sequence[Campaign], settings: Settings) -> Iterator[tuple[Campaign, dict[str, Any]]]:
    """Run each; its results as soon as it is over, also when its time is."""
    until = time.monotonic() + settings.seconds
    for campaign in campaigns:
        yield campaign, _results(campaign, settings, until)


def failed(results: dict[str, Any]) -> bool:
    """Whether something was violated, a planted bug was not found, or not all was done."""
    return bool(results["violations"]) or None in results["controls"].values() or not results["complete"]


@contextmanager
def _trial(campaign: Campaign, settings: Settings, until: float, **changes: Any) -> Iterator[Trial]:
    with tempfile.TemporaryDirectory(prefix="credstore-campaign-") as folder:
        size = campaign.sizes[settings.scale] if settings.size is None else settings.size
        given: dict[str, Any] = {"size": size, "start": settings.start, "quiet": settings.quiet, **changes}
        yield Trial(
            campaign.name, seed=settings.seed, folder=Path(folder), scale=settings.scale, until=until, **given
        )


def _control(campaign: Campaign, plant: str, settings: Settings, until: float) -> int | None:
    """After how many units a planted bug is found; None if it is not."""
    changes = {"size": campaign.plants[plant], "start": 0, "plant": plant, "quiet": True}
    with _trial(campaign, settings, until, **changes) as trial:
        try:
            campaign.run(trial)
        except FoundError:
            return trial.done
    return None


def _results(campaign: Campaign, settings: Settings, until: float) -> dict[str, Any]:
    controls: dict[str, int | None] = {}
    began = time.monotonic()
    with _trial(campaign, settings, until) as trial:
        complete = True
        try:
            for plant in campaign.plants if settings.controls else ():
                controls[plant] = _control(campaign, plant, settings, until)
            trial.began = time.monotonic()
            campaign.run(trial)
        except OutOfTimeError:
            complete = trial.done >= trial.size
        if not settings.quiet:
            trial.show(time.monotonic())
    for plant in campaign.plants if settings.controls else ():
        controls.setdefault(plant, None)
    for violation in trial.violations[:KEPT]:
        print(f"{campaign.name}, seed {settings.seed}: {violation}", file=sys.stderr)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "scale": settings.scale,
        "seed": settings.seed,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - began, 1),
        "size": trial.size,
        "done": trial.done,
        "complete": complete,
        "counts": dict(trial.counts),
        "violations": trial.violations[:KEPT],
        "controls": controls,
    }
