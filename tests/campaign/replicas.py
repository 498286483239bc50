"""Kills of three local stores behind one, any at any time: nothing acknowledged is lost or read as it was."""

import asyncio
import random
import shutil
import time
from functools import partial
from pathlib import Path

from credstore.drivers.local.driver import LocalDriver
from credstore.strategies.redundant.driver import RedundantDriver
from tests.campaign.plants import planted
from tests.campaign.trial import Campaign, Stop, Trial
from tests.campaign.writers import Store
from tests.drivers.distant import Distant, Keeper
from tests.drivers.local.support import make_driver

KILLS = 12
"""In the life of one store."""
LONGEST = 0.2
"""Seconds for which a member is away at most, and half of those between two kills."""

HASTE = 50
"""How much faster time goes for those who leave a dead member alone for a moment."""


async def _one(trial: Trial, chance: random.Random, folder: Path) -> list[str]:
    """One store through its kills; what went wrong."""
    roots = [folder / f"m{number}" for number in range(3)]
    locals_: list[LocalDriver] = [make_driver(root, fsync=False) for root in roots]
    keepers = [Keeper(folder, root.name, partial(make_driver, str(root), fsync=False)) for root in roots]
    for keeper in keepers:
        keeper.start()

    def make() -> RedundantDriver:
        return RedundantDriver(
            [
                Distant(keeper, root.name, like)
                for keeper, root, like in zip(keepers, roots, locals_, strict=True)
            ],
            clock=lambda: time.monotonic() * HASTE,
        )

    async def away(keeper: Keeper) -> None:
        keeper.kill()
        await asyncio.sleep(chance.uniform(0, LONGEST))
        await asyncio.to_thread(keeper.start)

    try:
        store = Store(make, trial, chance, 0.005)
        async with store.written_to():
            for _ in range(KILLS):
                if Stop.asked or store.problems:
                    break
                await asyncio.sleep(chance.uniform(0, 2 * LONGEST))
                dying = chance.sample(keepers, chance.choice([1, 1, 1, 1, 1, 2, 3]))
                trial.counts["kills"] += len(dying)
                await asyncio.gather(*map(away, dying))
        if not Stop.asked:
            await store.settled()
            await store.scrub(at_rest=True)
            await store.check(locals_)
        await store.aclose()
        return store.problems
    finally:
        for keeper in keepers:
            keeper.kill()
        for driver in locals_:
            await driver.aclose()


def run(trial: Trial) -> None:
    """So many stores, each through its kills."""
    with planted(trial.plant):
        for unit in trial.units():
            folder = trial.folder / str(unit)
            folder.mkdir()
            problems = asyncio.run(_one(trial, trial.chance(unit), folder))
            shutil.rmtree(folder)
            trial.ended(unit, problems[0] if problems else None)


CAMPAIGN = Campaign(
    name="replicas",
    unit="stores",
    about=(
        "Sixteen writers in four drivers write, read and delete over three local stores with W = R = 2, each store "
        "served by a process of its own. One, two or three of these at once are killed with SIGKILL at any time, "
        "twelve times for each store, and started again. Every read finds the newest acknowledged value, or one that "
        "was written at the same time or whose outcome was unclear; after `scrub` so does every key, and all three "
        "hold the same."
    ),
    sizes={"quick": 1, "ci": 12, "campaign": 40, "release": 1_000},
    run=run,
    plants={"one-is-enough": 20, "no-tombstones": 20},
)
