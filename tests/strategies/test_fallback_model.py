"""Any sequence of calls and outages: no acknowledged write is lost, hidden or made up."""

import asyncio
import time

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from credstore.driver import CopyRequest
from credstore.errors import StorageError, StorageNotFoundError
from credstore.strategies.fallback.detours import FRESH
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.harness import put
from tests.strategies.faulty import Faulty

KEYS = st.sampled_from(["a", "b"])
MODES = st.sampled_from(["well", "down", "lost"])


class FallbackMachine(RuleBasedStateMachine):
    """Keeps, for each key, the values that a truthful store may answer with."""

    @initialize()
    def start(self) -> None:
        self.primary, self.fallback = Faulty("first"), Faulty("second")
        self.now = time.time()
        self.values = 0
        self.possible: dict[str, set[bytes | None]] = {"a": {None}, "b": {None}}
        self.past: dict[str, set[bytes | None]] = {"a": {None}, "b": {None}}
        self.driver = self.make()

    def make(self) -> FallbackDriver:
        return FallbackDriver(self.primary, self.fallback, clock=lambda: self.now)

    @rule(mode=MODES)
    def weather_at_primary(self, mode):
        self.primary.mode = mode

    @rule(mode=MODES)
    def weather_at_fallback(self, mode):
        self.fallback.mode = mode

    @rule()
    def another_process(self):
        self.now += FRESH
        self.driver = self.make()

    @rule(key=KEYS)
    def write(self, key):
        self.values += 1
        value = b"%d" % self.values
        try:
            asyncio.run(put(self.driver, key, value))
        except StorageError as error:
            if error.applied != "no":
                self.may_be(key, value)
        else:
            self.is_now(key, value)

    @rule(key=KEYS)
    def delete(self, key):
        try:
            asyncio.run(self.driver.delete(key))
        except StorageError:
            self.may_be(key, None)
        else:
            self.is_now(key, None)

    @rule(source=KEYS, destination=KEYS)
    def copy(self, source, destination):
        async def run():
            info = await self.driver.head(source)
            order = CopyRequest(source=info, destination=destination, write_id=f"{self.values:032x}")
            return info, await self.driver.copy(order)

        if source == destination:
            return
        try:
            info, _ = asyncio.run(run())
        except StorageError as error:
            if error.applied != "no":
                for value in self.past[source]:
                    self.may_be(destination, value)
        else:
            values = self.past[source] if info.degraded else self.possible[source]
            self.possible[destination] = set(values) - {None}
            self.past[destination] |= values

    @invariant()
    def every_key_reads_as_it_should(self):
        for key in getattr(self, "possible", ()):
            self.read(key)

    def read(self, key):
        async def run():
            async with await self.driver.get(key) as reader:
                return await reader.read(), reader.info.degraded

        try:
            value, degraded = asyncio.run(run())
        except StorageNotFoundError:
            value, degraded = None, False
        except StorageError:
            return
        assert value in (self.past[key] if degraded else self.possible[key])

    def may_be(self, key, value):
        self.possible[key].add(value)
        self.past[key].add(value)

    def is_now(self, key, value):
        self.possible[key] = {value}
        self.past[key].add(value)


FallbackMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestFallbackMachine = FallbackMachine.TestCase
