"""Three servers behind one store, of which one at a time stops, loses connections, is slow, or forgets all."""

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.redundant.driver import RedundantDriver
from tests.campaign.plants import planted
from tests.campaign.trial import Campaign, Stop, Trial
from tests.campaign.writers import Store
from tests.drivers.s3.support import make_driver
from tests.servers.moto import MotoProcess
from tests.servers.relay import Relay, relaying

PATIENCE = 2.0
"""Seconds that one request may take."""

PAUSE = 0.1
"""Seconds between two calls of a writer: the servers have to have time for `scrub`, too."""


class Cloud:
    """One server, reached through a relay, so that it is at the same place whatever happens to it."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.start()

    def start(self) -> None:
        """Start it with one empty bucket; only then can it be reached."""
        self._process = MotoProcess()
        self.bucket = self._process.server.make_bucket()
        self.relay.target = urlsplit(self._process.server.url).port

    async def stop(self, seconds: float) -> None:
        """Let it stand still for so long."""
        self._process.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send(signal.SIGCONT)

    async def cut(self, seconds: float) -> None:
        """Cut all connections now, and new ones for so long."""
        target, self.relay.target = self.relay.target, None
        self.relay.cut()
        await asyncio.sleep(seconds)
        self.relay.target = target

    async def delay(self, seconds: float, chance: random.Random) -> None:
        """Hold back what it is sent and what it sends, each piece for a while of its own."""
        self.relay.delay = lambda: chance.uniform(0, 0.3)
        await asyncio.sleep(seconds)
        self.relay.delay = lambda: 0.0

    async def forget(self) -> None:
        """Kill it and start another one, which has nothing."""
        self.relay.target = None
        self._process.kill()
        self.relay.cut()
        await asyncio.to_thread(self.start)

    def end(self) -> None:
        """End it for good."""
        self._process.kill()

    def driver(self) -> S3Driver:
        """A driver for its bucket."""
        return make_driver(self.relay.url, self.bucket, timeout=PATIENCE, max_retries=1)


async def _outage(cloud: Cloud, store: Store, trial: Trial, chance: random.Random) -> None:
    """What befalls one server, until it is well again."""
    for _ in range(chance.randint(1, 3)):
        kind = chance.choice(["stop", "cut", "delay", "forget"])
        trial.counts[kind] += 1
        if kind == "stop":
            await cloud.stop(chance.uniform(0.1, 1.0))
        elif kind == "cut":
            await cloud.cut(chance.uniform(0.0, 0.5))
        elif kind == "delay":
            await cloud.delay(chance.uniform(0.2, 1.0), chance)
        else:
            store.strict = False  # A server that has forgotten what it acknowledged has nothing to say.
            await cloud.forget()
        await asyncio.sleep(chance.uniform(0.0, 0.3))


async def _all(trial: Trial) -> None:
    async with AsyncExitStack() as stack:
        clouds = []
        for _ in range(3):
            cloud = Cloud(await stack.enter_async_context(relaying()))
            stack.callback(cloud.end)
            clouds.append(cloud)

        def make() -> RedundantDriver:
            return RedundantDriver([cloud.driver() for cloud in clouds])

        store = Store(make, trial, trial.chance("writers"), PAUSE)
        stack.push_async_callback(store.aclose)
        began = time.monotonic()
        async with store.written_to():
            for unit in trial.units():
                chance = trial.chance(unit)
                await _outage(chance.choice(clouds), store, trial, chance)
                if not Stop.asked:
                    await store.scrub()
                store.strict = True
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                trial.ended(unit, store.problems[0] if store.problems else None)
                store.problems.clear()
        trial.counts["seconds"] += round(time.monotonic() - began)
        await store.settled()
        await store.scrub(at_rest=True)
        members = [cloud.driver() for cloud in clouds]
        await store.check(members)
        for member in members:
            await member.aclose()
        if store.problems:
            trial.ended("the end", store.problems[0], 0)


def run(trial: Trial) -> None:
    """So many outages of one store, one after the other."""
    (trial.folder / "running").touch()
    with planted(trial.plant):
        asyncio.run(_all(trial))


CAMPAIGN = Campaign(
    name="outages",
    unit="outages",
    about=(
        "Sixteen writers in four drivers write, read and delete over three moto servers with W = R = 2, all the time. "
        "One server after the other has an outage: it is stopped with SIGSTOP and continued, its connections are cut, "
        "what it sends and gets is held back, or it is killed with SIGKILL and comes back empty, up to three of these "
        "in a row. The next one has its outage once `scrub` reports that all replicas are equal. Every read finds the "
        "newest acknowledged value, or one that was written at the same time or whose outcome was unclear; only from "
        "a kill to the end of the scrub, while one server denies what it acknowledged, may a read find an older one "
        "or none. At the end so does every key, and all three hold the same."
    ),
    sizes={"quick": 2, "ci": 16, "campaign": 40, "release": 1_000},
    run=run,
    plants={"one-answers": 30},
)
