"""A hundred thousand proofs on a local store: none of them makes another one dearer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from credstore.model import StorageItem
from credstore.proofs.store.repository import PAGE, ProofObjects
from tests.campaign.trial import Campaign, Trial
from tests.proofs.growing import Growing, Work, growth

FEW = 1_000
"""Proofs of the smaller store, or a quarter of those of the larger one."""
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
    if not trial.size:
        return
    with planted(trial.plant):
        asyncio.run(_compare(trial, min(FEW, trial.size // 4), trial.size))


async def _compare(trial: Trial, few: int, many: int) -> None:
    # In the smallest stores the markers of what stays would be read ahead: one page of 1,000 names.
    life = None if many <= FEW else LIFE
    async with Growing(trial.folder / "store", expires_in=life) as growing:
        before: dict[str, Work] = {}
        while growing.size < many:
            size = growing.size
            await growing.grow(min(many, size + STEP if size >= few else min(few, size + STEP)))
            if growing.size == few:
                before = await growing.costs()
            trial.ended(growing.size, None, growing.size - size)
        after = await growing.costs()
    for verb, work in after.items():
        trial.counts[f"calls of the system to {verb} 20"] = work.calls
    for problem in growth(before, after, many):
        trial.ended(many, problem, 0)


CAMPAIGN = Campaign(
    name="proofs",
    unit="proofs",
    about=(
        "A local store gets 100,000 proofs. To find 20 of them by their assets, to read 20, and to sweep 20 that have "
        "expired takes no more calls of the system, no more directories and no more bytes than with 1,000 proofs, or with "
        "a quarter of them. Of names, a removal reads those on one of 4,096 shelves of attributes."
    ),
    sizes={"quick": 240, "ci": 10_000, "campaign": 100_000, "release": 100_000},
    run=run,
    plants={"looks-through": 240},
)
