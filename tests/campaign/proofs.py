"""A hundred thousand proofs on a local store: none of them makes another one dearer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from credstore.model import StorageItem
from credstore.proofs.store.repository import PAGE, ProofObjects
from tests.campaign.trial import Campaign, Trial
from tests.proofs.growing import Growing, growth

SIZES = {"quick": (60, 240), "ci": (1_000, 10_000)}
FULL = (1_000, 100_000)
STEP = 100
"""Proofs between two looks at whether somebody asks for the end."""
LIFE = 10_000 * 3600.0


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """A store that looks through more than it has to."""
    if name == "looks-through":

        async def first(self: ProofObjects, prefix: str, most: int = PAGE) -> list[StorageItem]:
            items = [item async for item in self.scan(self.layout.assets)]
            return [item for item in items if item.key.startswith(prefix)][:most]

        with mock.patch.object(ProofObjects, "first", first):
            yield
    else:
        yield


def run(trial: Trial) -> None:
    """Count what finding, reading and sweeping take in a small store, and again in the large one that it becomes."""
    few, many = SIZES["quick"] if trial.plant else SIZES.get(trial.scale, FULL)
    with planted(trial.plant):
        for unit in trial.units():
            problems = asyncio.run(_compare(trial, unit, few, many))
            trial.ended(unit, "; ".join(problems) or None)


async def _compare(trial: Trial, unit: int, few: int, many: int) -> list[str]:
    # In the smallest stores the markers of what stays would be read ahead: one page of 1,000 names.
    life = None if many <= 1_000 else LIFE
    async with Growing(trial.folder / f"store-{unit}", expires_in=life) as growing:
        await growing.grow(few)
        before = await growing.costs()
        for size in range(few, many, STEP):
            await growing.grow(size)
            trial.ended(None, None, 0)
        await growing.grow(many)
        after = await growing.costs()
    trial.counts["proofs"] += many
    for verb, work in after.items():
        trial.counts[f"calls of the system to {verb} 20"] = work.calls
    return growth(before, after, many)


CAMPAIGN = Campaign(
    name="proofs",
    unit="comparisons",
    about=(
        "A local store gets 100,000 proofs (10,000 at `ci`, 240 at `quick`). To find 20 of them by their assets, to read "
        "20, and to sweep 20 that have expired takes no more calls of the system, no more directories and no more bytes "
        "than with 1,000 (60) proofs. Of names, a removal reads those on one of 4,096 shelves of attributes."
    ),
    sizes={"quick": 1, "ci": 1, "campaign": 1, "release": 1},
    run=run,
    plants={"looks-through": 1},
)
