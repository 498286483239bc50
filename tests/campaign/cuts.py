"""Power cuts: any state of the disk that the flushes allow, reopened and checked."""

import asyncio
import random
import shutil
from pathlib import Path
from unittest import mock

from credstore.drivers.local import together
from credstore.errors import StorageError
from tests.campaign.disk import Disk, kept, told
from tests.campaign.oplog import Log, Recorder
from tests.campaign.trial import Campaign, Trial
from tests.drivers.local.plants import planted
from tests.drivers.local.steps import Expected, draw, examine, lanes
from tests.drivers.local.support import make_driver

LANES = lanes(2)
STEPS = 6
"""Steps of each lane in one history."""
ALONE = ("no-data-fsync", "attributes-late")
"""Bugs of a write that is no part of a group."""
CUTS = 40
"""Cuts of one history."""


def history(root: Path, chance: random.Random, plant: str | None = None) -> Log:
    """What a store does to its disk while two tasks work on it, from its very first call on."""
    root.mkdir()
    recorder = Recorder(root)

    async def work(driver, lane, steps):
        for step in steps:
            recorder.told(lane, step)
            await step.run(driver, lane)
            recorder.told(lane, None)

    whole = chance.random() < 0.5  # For any number of flushes, and on any file system: they are only noted.

    async def main():
        driver = make_driver(root, group_commit=chance.random() < 0.5 and plant not in ALONE)
        plans = [(lane, [draw(chance) for _ in range(STEPS)]) for lane in LANES]
        await asyncio.gather(*(work(driver, lane, steps) for lane, steps in plans))
        await driver.aclose()

    with (
        planted(plant),
        recorder.recording(),
        mock.patch.multiple(together, can_flush_all=lambda _: whole, MANY=1),
    ):
        asyncio.run(main())
    return recorder.log


def run(trial: Trial) -> None:
    """Cut the power so many times."""
    log, made = Log(), None
    for unit in trial.units():
        number = unit // CUTS
        if made != number:
            root = trial.folder / "history"
            shutil.rmtree(root, ignore_errors=True)
            made = number
            try:
                log = history(root, trial.chance(f"history {number}"), trial.plant)
            except StorageError as error:
                trial.ended(unit, f"it failed by itself: {error!r}")
                continue
            trial.counts["histories"] += 1
            trial.counts["operations logged"] += len(log.ops)
        chance = trial.chance(unit)
        cut = chance.randint(0, len(log.ops))
        root = trial.folder / "cut"
        Disk.of(log, kept(log, cut, chance)).write(root, log)
        expected = Expected.nothing(LANES).after((each.lane, each.step) for each in told(log, cut))
        trial.counts["cuts in a step"] += any(len(states) > 1 for states in expected.states.values())
        problem, _ = examine(root, expected.states, tidy=False, fsync=False)
        shutil.rmtree(root)
        trial.ended(unit, problem and f"cut at {cut}: {problem}")


CAMPAIGN = Campaign(
    name="cuts",
    unit="cuts",
    about=(
        "A log of every change that a local store makes to files and directories is cut at a random position. "
        "What was flushed by then is on the disk; of the rest, any part may be: each change independently, bytes "
        "also torn or as zeros. The directory that this makes is opened, read, listed and written to: every "
        "acknowledged step is there, a step that was cut off has happened or has not, and no temporary file is "
        "left."
    ),
    sizes={"quick": 80, "ci": 600, "campaign": 2_000, "release": 12_000},
    run=run,
    plants={
        "no-data-fsync": 400,
        "no-directory-fsync": 400,
        "no-parent-fsync": 400,
        "no-group-fsync": 400,
        "attributes-late": 1_000,
    },
)
