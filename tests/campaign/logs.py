"""A log written by several processes at once that lose answers, stop, and are killed: nothing forks or is lost."""

import asyncio
from contextlib import contextmanager, suppress

from credstore.errors import StorageConnectionError, StorageError
from credstore.proofs import LogBusyError
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.objects import CHECKPOINT, LogObjects
from credstore.proofs.log.sequencing import Sequencing
from tests.campaign.trial import Campaign, Trial
from tests.proofs.log.logs import Killed, Shop, made

SUBMITTERS = 16
TURNS = 3


async def _plain_swap(objects, path, data, etag):
    """A checkpoint is written whatever is there."""
    result = await objects.provider.store(objects.prefix + path, data, compress=False)
    return result.etag


@contextmanager
def planted(name):
    """A log with one bug, while the block runs."""
    swap, settled, publish = LogObjects.swap, Sequencing.settled, Sequencing._publish

    async def swap_plainly(self, path, data, etag):
        if path == CHECKPOINT:
            return await _plain_swap(self, path, data, etag)
        return await swap(self, path, data, etag)

    async def publish_plainly(self, state):
        note = await self._signed(_checkpoint(self, state), state, await self.published())
        await _plain_swap(self.objects, CHECKPOINT, note.encode(), None)
        return True

    async def believe(self, state, before, entries):
        return True

    try:
        if name == "plain-checkpoint":
            LogObjects.swap, Sequencing._publish = swap_plainly, publish_plainly
        elif name == "unclear-is-done":
            Sequencing.settled = believe
        yield
    finally:
        LogObjects.swap, Sequencing.settled, Sequencing._publish = swap, settled, publish


def _checkpoint(steps, state):
    from credstore.proofs.log.checkpoint import Checkpoint

    return Checkpoint(steps.origin, state.lock.size, state.lock.root)


async def _one(chance, folder):
    """One log, until all its submitters are done; returns how many entries it has."""
    # Of a process that was killed no one looks at what its tasks end with.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    shop = Shop()
    await (await made(shop)).aclose()
    seed = chance.randrange(2**32)
    losing = chance.uniform(0.0, 0.4)
    acknowledged = {}
    running = []

    def start(number):
        sequencer = shop.open(seed=seed + len(shop.drivers), max_batch=chance.choice([8, 64, 512]))
        driver = sequencer.driver
        driver.losing = losing
        if chance.random() < 0.5:
            driver.nth = chance.randrange(60)
            driver.plan = chance.choice(["killed-before", "killed-after"])
        if chance.random() < 0.5:
            driver.hook = _pausing(chance)
        if number < len(running):
            running[number] = sequencer
        else:
            running.append(sequencer)

    for number in range(chance.choice([1, 2, 3])):
        start(number)

    async def submit(name):
        for turn in range(TURNS):
            batch = [b"%d %d %d" % (name, turn, each) for each in range(chance.randint(1, 12))]
            while True:
                number = chance.randrange(len(running))
                sequencer = running[number]
                try:
                    found = await sequencer.append(batch)
                except (StorageConnectionError, LogBusyError):
                    continue
                except (Killed, asyncio.CancelledError):
                    # Its process has ended, and another one takes over.
                    if running[number] is sequencer:
                        start(number)
                    continue
                acknowledged.update(zip(batch, found, strict=True))
                break

    await asyncio.gather(*(submit(name) for name in range(SUBMITTERS)))
    for sequencer in running:
        with suppress(StorageError):
            await sequencer.aclose()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        with suppress(Killed, StorageError, asyncio.CancelledError):
            await task
    async with shop.open(memory=LogMemory(folder)) as last:
        await last.recover()
    found = await shop.invariant(acknowledged)
    assert set(found) >= set(acknowledged), "an acknowledged entry is missing"
    return len(found), len(found) - len(set(found))


def _pausing(chance):
    """Stops now and then for some turns of the others, as a process that the system does not run."""

    async def pause(key):
        if chance.random() < 0.1:
            for _ in range(chance.randrange(400)):
                await asyncio.sleep(0)

    return pause


def run(trial: Trial) -> None:
    """Write so many logs; each must be what was acknowledged."""
    with planted(trial.plant):
        for unit in trial.units():
            problem = None
            try:
                entries, twice = asyncio.run(_one(trial.chance(unit), trial.folder / str(unit)))
                trial.counts["entries"] += entries
                trial.counts["entries logged twice"] += twice
            except (AssertionError, StorageError, IndexError) as error:
                problem = f"{type(error).__name__}: {error}"[:300]
            trial.ended(unit, problem)


CAMPAIGN = Campaign(
    name="logs",
    unit="logs",
    about=(
        "A transparency log is written by one to three sequencers at once for 16 submitters, over a store that loses "
        "up to 40 % of its responses. Sequencers stop in the middle, and are killed before or after any write, "
        "whereupon another takes over. Afterwards there is one root for each size, each published state continues "
        "the ones before, checkpoints only grew, none was ahead of its lock, and each acknowledged entry is at its "
        "index. Entries may be there twice, which is counted."
    ),
    sizes={"quick": 3, "ci": 30, "campaign": 100, "release": 2_000},
    run=run,
    plants={"plain-checkpoint": 30, "unclear-is-done": 30},
)
