"""Any sequence of operations: a driver answers as the memory driver, which is the specification."""

import asyncio
import tempfile
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.driver import ContentHeaders, CopyRequest, Precondition, ReadOptions
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageError
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.harness import Stream, request

KEYS = st.sampled_from(["a", "a/b", "a/b/c", "A", "é", "e\u0301", "z//", "\U0001f600"])
DATA = st.binary(max_size=40)
METADATA = st.dictionaries(st.sampled_from(["one", "two"]), st.sampled_from(["", "x", "Ünï"]), max_size=2)


def memory():
    return MemoryDriver(MemoryConfig())


class Comparison(RuleBasedStateMachine):
    """One driver beside the specification; subclasses say which."""

    @initialize()
    def open(self):
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.drivers = (memory(), self.make())
        self.etags = [{}, {}]

    def make(self):
        raise AssertionError

    def teardown(self):
        for driver in self.drivers:
            self.loop.run_until_complete(driver.aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.directory.cleanup()

    def both(self, action):
        """Do the same with both; their answers, errors by class, must be the same."""
        answers = []
        for number, driver in enumerate(self.drivers):
            try:
                answers.append(self.loop.run_until_complete(action(driver, self.etags[number])))
            except StorageError as error:
                answers.append((type(error).__name__, error.code, error.applied))
        assert answers[0] == answers[1]

    @rule(
        key=KEYS,
        data=DATA,
        metadata=METADATA,
        stream=st.booleans(),
        mode=st.sampled_from(["overwrite", "create", "replace"]),
    )
    def put(self, key, data, metadata, stream, mode):
        async def action(driver, etags):
            if mode != "overwrite" and not driver.capabilities.conditional_create:
                return None
            given = request(
                key,
                data,
                metadata=metadata,
                headers=ContentHeaders(content_type="text/plain"),
                precondition=Precondition(mode, etags.get(key, "none") if mode == "replace" else None),
            )
            if stream:
                given = replace(given, body=Stream(data[:7], data[7:]))
            result = await driver.put(given)
            etags[key] = result.etag
            return result.size, result.digest

        if all(driver.capabilities.conditional_create for driver in self.drivers) or mode == "overwrite":
            self.both(action)

    @rule(key=KEYS, start=st.integers(0, 45), length=st.none() | st.integers(0, 45), pinned=st.booleans())
    def get(self, key, start, length, pinned):
        async def action(driver, etags):
            end = None if length is None else start + length
            options = ReadOptions(start=start, end=end, if_match=etags.get(key) if pinned else None)
            async with await driver.get(key, options) as reader:
                info = reader.info
                return await reader.read(), info.size, dict(info.metadata), info.digest, info.headers

        self.both(action)

    @rule(key=KEYS, suffix=st.integers(-1, 45))
    def get_suffix(self, key, suffix):
        async def action(driver, _):
            async with await driver.get(key, ReadOptions(suffix=suffix)) as reader:
                return await reader.read(), reader.info.size

        self.both(action)

    @rule(key=KEYS)
    def head(self, key):
        async def action(driver, etags):
            info = await driver.head(key)
            etags[key] = info.etag
            return info.key, info.size, dict(info.metadata), info.digest, info.headers

        self.both(action)

    @rule(key=KEYS)
    def delete(self, key):
        async def action(driver, _):
            return (await driver.delete(key)).existed

        self.both(action)

    @rule(keys=st.sets(KEYS, min_size=1))
    def delete_many(self, keys):
        async def action(driver, _):
            outcomes = await driver.delete_many(sorted(keys))
            return {key: outcome.existed for key, outcome in outcomes.items()}

        self.both(action)

    @rule(source=KEYS, destination=KEYS)
    def copy(self, source, destination):
        async def action(driver, etags):
            info = await driver.head(source)
            result = await driver.copy(CopyRequest(source=info, destination=destination, write_id="0" * 32))
            etags[destination] = result.etag
            return result.size, result.digest

        self.both(action)

    @rule(key=KEYS, known=st.booleans())
    def delete_version(self, key, known):
        async def action(driver, etags):
            if not driver.capabilities.conditional_delete:
                return None
            return (await driver.delete(key, if_match=etags.get(key, "none") if known else "none")).existed

        if all(driver.capabilities.conditional_delete for driver in self.drivers):
            self.both(action)

    @rule(
        prefix=st.sampled_from(["", "a", "a/", "é", "zz"]),
        delimiter=st.sampled_from([None, "/", "/b", "\u0301"]),
        start_after=st.none() | KEYS | st.sampled_from(["a/", "a/b/", "a/zz", "z/"]),
        limit=st.integers(1, 5),
    )
    def list(self, prefix, delimiter, start_after, limit):
        async def action(driver, _):
            found, cursor = [], None
            options = {"delimiter": delimiter, "start_after": start_after, "limit": limit}
            while True:
                page = await driver.list(prefix, cursor, **options)
                found += [(entry.key, entry.size) for entry in page.entries]
                found += [(each, "prefix") for each in page.prefixes]
                cursor = page.cursor
                if cursor is None:
                    return sorted(found)

        self.both(action)


class Local(Comparison):
    def make(self):
        return LocalDriver(LocalConfig(path=self.directory.name, fsync=False))


class Fallback(Comparison):
    def make(self):
        return FallbackDriver(memory(), memory())


@pytest.mark.parametrize("machine", [Local, Fallback])
def test_it_answers_as_the_specification(machine):
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
