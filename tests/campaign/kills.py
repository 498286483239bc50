"""Random kill -9: writers die in the middle of their work, again and again on one store."""

import asyncio
import shutil
from multiprocessing.connection import Connection

from tests.campaign.trial import Campaign, Trial
from tests.drivers.local.children import child
from tests.drivers.local.plants import planted
from tests.drivers.local.steps import Expected, draw, examine, lanes
from tests.drivers.local.support import make_driver

LANES = lanes(4)
LIFE = 8
"""Kills that one store lives through."""
LONGEST = 0.04
"""Seconds that a writer lives at most once it works."""


def write(pipe: Connection, root: str, seed: str, plant: str | None, fsync: bool) -> None:
    """Work without end; every step is reported before it begins and once it is acknowledged."""
    import random

    async def lane_of(driver, lane):
        chance = random.Random(f"{seed} {lane}")
        while True:
            step = draw(chance)
            pipe.send((lane, step))
            await step.run(driver, lane)
            pipe.send((lane, None))

    async def main():
        driver = make_driver(root, fsync=fsync, group_commit=int(seed[-1]) % 2 == 0)
        await asyncio.gather(*(lane_of(driver, lane) for lane in LANES))

    with planted(plant):
        asyncio.run(main())


def run(trial: Trial) -> None:
    """Kill so many writers; after each, the store must hold what was acknowledged."""
    root = trial.folder / "store"
    expected = Expected.nothing(LANES)
    for unit in trial.units():
        if unit % LIFE == 0:
            shutil.rmtree(root, ignore_errors=True)
            expected = Expected.nothing(LANES)
        chance = trial.chance(unit)
        sent = []
        seed, fsync = f"{trial.seed} {unit}", chance.random() < 0.5
        with child(write, str(root), seed, trial.plant, fsync) as writer:
            writer.pipe.poll(60)
            sent += writer.watch(chance.uniform(0, LONGEST))
            sent += writer.kill()
            failed = writer.process.exitcode != -9
        expected = expected.after(sent)
        trial.counts["steps acknowledged"] += sum(step is None for _, step in sent)
        trial.counts["steps cut off"] += sum(len(states) > 1 for states in expected.states.values())
        problem, found = examine(root, expected.states, fsync=False)
        expected = Expected({lane: [state] for lane, state in found.items()})
        problem = "the writer failed by itself" if failed else problem
        trial.ended(unit, problem)
        if problem is not None:
            shutil.rmtree(root)
            expected = Expected.nothing(LANES)


CAMPAIGN = Campaign(
    name="kills",
    unit="kills",
    about=(
        "A process works on a local store in four tasks (put, create, copy, move, delete) and is killed with "
        "SIGKILL at a random moment, eight times on each store. Each time the store is opened, read, listed and "
        "written to: every acknowledged step is there, a step that was cut off has happened or has not, bytes and "
        "attributes belong together, and no temporary file and no superseded attribute is left."
    ),
    sizes={"quick": 24, "ci": 300, "campaign": 1_000, "release": 10_000},
    run=run,
    plants={"no-rename": 200},
)
