"""Cancels at random points, on S3 and on a local disk."""

import shutil
from contextlib import ExitStack

import pytest

from tests.campaign.trial import Campaign, Trial
from tests.faults.storm import LEAKS, over_local, over_s3
from tests.faults.storm import run as run_storm

STORM = 500
"""Cancels of one storm, after which everything is looked at."""


def run(trial: Trial) -> None:
    """Cancel so many calls, in storms of `STORM`."""
    overs = (over_s3, over_local)
    with ExitStack() as stack:
        if trial.plant is not None:
            over, leak = LEAKS[trial.plant]
            overs = (over, over)
            leak(stack.enter_context(pytest.MonkeyPatch.context()))
        while trial.done < trial.size:
            unit = trial.start + trial.done // STORM
            folder = trial.folder / "storm"
            folder.mkdir()
            problem = None
            try:
                ended = run_storm(overs[unit % 2], folder / "file", STORM, f"{trial.seed} {unit}")
                trial.counts["calls"] += ended.total()
                trial.counts["ended by the cancel"] += sum(
                    count for (_, how), count in ended.items() if how == "cancelled"
                )
            except (AssertionError, TimeoutError) as error:
                problem = repr(error)
            shutil.rmtree(folder)
            trial.ended(unit, problem, STORM)


CAMPAIGN = Campaign(
    name="cancels",
    unit="cancels",
    about=(
        "Twelve tasks use a store (writes of every kind, reads, copies, moves, deletes, listings) and each call is "
        "cancelled after a random number of turns of the event loop, some twice; half of the storms go to the fault "
        "server over S3, half to a local disk. After every 500 cancels: all connections are in the pool, no task, no "
        "descriptor, no temporary file and no multipart upload is left, and every object is whole."
    ),
    sizes={"quick": 1_000, "ci": 5_000, "campaign": 20_000, "release": 100_000},
    run=run,
    plants=dict.fromkeys(LEAKS, 4 * STORM),
)
