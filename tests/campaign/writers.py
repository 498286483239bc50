"""Sixteen tasks that write, read and delete over some members at once, and check what they read."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager

from credstore.driver import Driver
from credstore.errors import StorageError
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.plan import OWN
from credstore.testing.harness import fetched, put
from tests.campaign.history import History
from tests.campaign.trial import Stop, Trial

WRITERS = 16
PROCESSES = 4
"""Drivers that they share, none of which knows of the others."""
SCRUBS = 40
"""After so many, replicas that are still not equal are a violation."""


class Store:
    """One store with replicas, and everything that is known about it.

    Attributes:
        history: What was written.
        problems: What was read that must not be.
        strict: Whether reads have to find the newest value now.
    """

    def __init__(
        self, make: Callable[[], RedundantDriver], trial: Trial, chance: random.Random, pause: float
    ) -> None:
        """Open it.

        Args:
            make: Another driver over the same members.
            trial: Counts what is done.
            chance: For what the writers do.
            pause: Seconds between two calls of a writer.
        """
        self._make = make
        self._trial = trial
        self._chance = chance
        self._pause = pause
        self._drivers = [make() for _ in range(PROCESSES)]
        self._values = 0
        self._writing = asyncio.Event()
        self._writing.set()
        self.history = History()
        self.problems: list[str] = []
        self.strict = True

    @asynccontextmanager
    async def written_to(self):
        """Let the writers work during the block."""
        tasks = [asyncio.ensure_future(self._write(number)) for number in range(WRITERS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self.problems += [
                f"a writer raised {each!r}" for each in ended if not isinstance(each, asyncio.CancelledError)
            ]

    async def _write(self, number: int) -> None:
        driver = self._drivers[number % PROCESSES]
        chance = random.Random(self._chance.random())
        # Keys of one writer, of two in one process, and of two in different ones.
        keys = [f"own/{number}", f"near/{number % 8 // 4}/{number % 4}", f"far/{number // 2}"]
        while True:
            await self._writing.wait()
            key = chance.choice(keys)
            kind = chance.random()
            if kind < 0.35:
                await self.read(driver, key)
            else:
                await self._change(driver, key, chance, delete=kind > 0.9)
            await asyncio.sleep(chance.uniform(0, 2 * self._pause))

    async def _change(self, driver: Driver, key: str, chance: random.Random, *, delete: bool) -> None:
        self._values += 1
        value = None if delete else b"%d %s" % (self._values, b"." * chance.choice([0, 9, 2000]))
        write = self.history.begin(key, value)
        applied = "maybe"  # Also where this task is cancelled.
        try:
            await (driver.delete(key) if value is None else put(driver, key, value))
            applied = "yes"
        except StorageError as error:
            applied = error.applied
        finally:
            self.history.end(key, write, applied)
        self._trial.counts[{"yes": "acknowledged", "no": "refused", "maybe": "unclear"}[applied]] += 1
        if applied != "yes":
            await asyncio.sleep(chance.uniform(0, 0.04))

    async def read(self, driver: Driver, key: str, *, must: bool = False) -> None:
        """Read a key and check what comes."""
        strict, since, before = self.strict, self.history.instant(), self.history.before(key)
        try:
            found = await fetched(driver, key)
        except StorageError as error:
            if must:
                self.problems.append(f"{key} cannot be read: {error}")
            return
        if strict and self.strict:
            problem = self.history.problem(key, found, since, before)
        else:
            problem = self.history.ever(key, found)
        self._trial.counts["read"] += 1
        if problem is not None:
            self.problems.append(problem)

    async def scrub(self, *, at_rest: bool = False) -> None:
        """Scrub until all replicas are equal, at first while it is written to; all members are well.

        Args:
            at_rest: With no writer from the first time on.
        """
        driver = self._make()
        try:
            for turn in range(SCRUBS):
                if Stop.asked:
                    return
                if turn or at_rest:
                    self._writing.clear()
                try:
                    report = await driver.scrubber.scrub()
                except StorageError:
                    continue
                self._trial.counts["mended"] += sum(each.mended for each in report.findings)
                if report.equal and not (at_rest and report.findings):
                    return
            self.problems.append(f"the replicas are not equal after {SCRUBS} scrubs")
        finally:
            self._writing.set()
            await driver.aclose()

    async def settled(self) -> None:
        """Wait until no driver has anything left to do."""
        for driver in self._drivers:
            await driver.settled()

    async def check(self, members: Sequence[Driver]) -> None:
        """At the end, when nobody writes: every key reads as it should, and the members hold the same."""
        driver = self._make()
        for key in self.history.written():
            await self.read(driver, key, must=True)
        await driver.aclose()
        held = [await _held(member) for member in members]
        for key in sorted(set().union(*held)):
            if any(each.get(key) != held[0].get(key) for each in held):
                self.problems.append(f"after the scrub, {key} differs: {[each.get(key) for each in held]}")

    async def aclose(self) -> None:
        """Close all drivers."""
        for driver in self._drivers:
            await driver.aclose()


async def _held(driver: Driver) -> dict[str, tuple[bytes | None, str | None]]:
    """The bytes and the write-id of every object of a member."""
    found = {}
    cursor = None
    while True:
        page = await driver.list("", cursor)
        for entry in page.entries:
            if not entry.key.startswith(OWN):
                found[entry.key] = (await fetched(driver, entry.key), (await driver.head(entry.key)).write_id)
        cursor = page.cursor
        if cursor is None:
            return found
