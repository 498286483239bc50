"""Any sequence of calls and weather over three members.

Nothing acknowledged is lost, no value is read that was never written, what was deleted stays deleted, and
after everything has healed and `scrub` ran, all replicas are equal.
"""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from credstore.errors import StorageError
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.plan import OWN
from credstore.testing.harness import fetched, put
from tests.strategies.virtual import VirtualLoop
from tests.strategies.weather import Weather, Weathered

KEYS = st.sampled_from(["a", "b/c"])
MEMBERS = st.integers(0, 2)
LIFETIME = 600.0
WEATHER = st.sampled_from(list(Weather))


class RedundantMachine(RuleBasedStateMachine):
    """Keeps, for each key, the values that a truthful store may answer with."""

    @initialize()
    def start(self):
        self.loop = VirtualLoop()
        self.now = 1_700_000_000.0
        self.members = [Weathered(f"m{number}") for number in range(3)]
        for member in self.members:
            member.takes = 0.01
        self.values = 0
        self.possible = {"a": {None}, "b/c": {None}}
        self.driver = self.make()

    def make(self):
        return RedundantDriver(
            self.members, patience=0.0001, lifetime=LIFETIME, wall=lambda: self.now, clock=lambda: self.now
        )

    def run(self, work):
        return self.loop.run_until_complete(work)

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.heal_and_compare()
        finally:
            self.run(self.driver.aclose())
            self.loop.close()

    @rule(member=MEMBERS, weather=WEATHER)
    def change(self, member, weather):
        self.members[member].weather = weather
        self.run(self.members[member].land())

    @rule(seconds=st.sampled_from([0.5, 40.0, 700.0]))
    def time_passes(self, seconds):
        if seconds > LIFETIME:  # No request is under way for longer.
            for member in self.members:
                self.run(member.land())
            self.run(asyncio.sleep(LIFETIME))  # Those of this process end as well, or are given up.
        self.now += seconds

    @rule()
    def another_process(self):
        self.run(self.driver.settled())
        self.driver = self.make()

    @rule(key=KEYS)
    def write(self, key):
        self.now += 0.001
        self.values += 1
        value = b"%d" % self.values
        try:
            self.run(put(self.driver, key, value))
        except StorageError as error:
            if error.applied != "no":
                self.possible[key].add(value)
        else:
            self.possible[key] = {value}

    @rule(key=KEYS)
    def delete(self, key):
        self.now += 0.001
        try:
            self.run(self.driver.delete(key))
        except StorageError as error:
            if error.applied != "no":
                self.possible[key].add(None)
        else:
            self.possible[key] = {None}

    @rule(member=MEMBERS, key=KEYS)
    def rot(self, member, key):
        """Damage a replica, while there is a good one of the same version."""
        mine = self.members[member].version(key)
        others = [
            each
            for each in self.members
            if each is not self.members[member] and each.version(key) == mine and not each.is_rotten(key)
        ]
        if mine is not None and others and not self.members[member].is_rotten(key):
            self.members[member].rot(key)

    @rule(key=KEYS, deleting=st.booleans())
    def write_twice_at_once(self, key, deleting):
        self.now += 0.001
        self.values += 2
        values = [b"%d" % self.values, None if deleting else b"%d" % (self.values - 1)]

        async def one(value):
            try:
                await (put(self.driver, key, value) if value else self.driver.delete(key))
            except StorageError as error:
                return error.applied
            return "yes"

        async def run():
            return await asyncio.gather(*map(one, values))

        applied = self.run(run())
        if "yes" in applied:
            self.possible[key] = set()
        self.possible[key] |= {value for value, told in zip(values, applied, strict=True) if told != "no"}

    @rule(deep=st.booleans())
    def scrubs(self, deep):
        try:
            report = self.run(self.driver.scrubber.scrub(deep=deep))
        except StorageError:
            return
        assert report.objects <= len(self.possible)

    @rule()
    def lists(self):
        async def run():
            page = await self.driver.list()
            return [entry.key for entry in page.entries]

        try:
            found = self.run(run())
        except StorageError:
            return
        for key, values in self.possible.items():
            assert key in found or None in values
            assert key not in found or values != {None}

    @invariant()
    def every_key_reads_as_it_should(self):
        if hasattr(self, "possible"):
            self.run(self.read())

    async def read(self, *, must=False):
        for key, possible in self.possible.items():
            try:
                value = await fetched(self.driver, key)
            except StorageError:
                assert not must
            else:
                assert value in possible

    def heal_and_compare(self):
        for member in self.members:
            member.weather = Weather.WELL
            self.run(member.land())
        self.now += 700.0
        self.run(self.driver.settled())
        for _ in range(2):
            report = self.run(self.driver.scrubber.scrub())
        assert report.equal
        assert not report.findings
        self.run(self.read(must=True))
        held = [
            {
                key: (each.data, each.info.write_id, each.info.system)
                for key, each in member._objects.by_key.items()
                if not key.startswith(OWN)
            }
            for member in self.members
        ]
        assert held[0] == held[1] == held[2]
        assert not any(key.startswith(OWN) for member in self.members for key in member._objects.by_key)


RedundantMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestRedundantMachine = RedundantMachine.TestCase
