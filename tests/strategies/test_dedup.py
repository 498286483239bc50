"""Equal bodies are stored once, and no object ever loses its own, whoever is killed when."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    MemoryConfig,
    StorageCodecError,
    StorageFactory,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageProvider,
    StorageReadOnlyError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
    collect,
)
from credstore.driver import READ_ALL, ContentHeaders, CopyRequest, PutRequest, ReadOptions, SignRequest
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageConflictError, StorageError
from credstore.proofs import ProofError, ProofStore
from credstore.provider.layering import layered
from credstore.strategies.dedup import plan
from credstore.strategies.dedup.driver import DedupDriver
from credstore.testing.harness import Stream, fetched, keys, put, request
from tests.conformance.test_dedup import shared
from tests.proofs.material import ASSET, SIGNER, TRUST
from tests.strategies.test_prefixed import Plain

DATA = bytes(range(256)) * 100
GRACE = timedelta(hours=1)


class KilledError(BaseException):
    """SIGKILL."""


class World:
    """A store with a clock, and what happens at which of its calls."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.now = 1_000_000.0
        self.steps = 0
        self.kill_at = self.pause_at = -1
        self.meanwhile = None
        self.calls: list[str] = []

    def driver(self) -> DedupDriver:
        return shared(Timed(self))

    async def step(self, name: str) -> None:
        self.calls.append(name)
        self.steps += 1
        if self.steps == self.kill_at:
            raise KilledError
        if self.steps == self.pause_at and self.meanwhile is not None:
            work, self.meanwhile = self.meanwhile, None
            kill_at, self.kill_at = self.kill_at, -1
            steps = self.steps
            await work()
            self.steps, self.kill_at = steps, kill_at

    def bodies(self) -> list[str]:
        return [
            key for key in self.objects.by_key if key.startswith(plan.BODIES) and not key.endswith(plan.OUT)
        ]


class Timed(MemoryDriver):
    """A memory store whose times are the world's."""

    def __init__(self, world: World) -> None:
        super().__init__(MemoryConfig(), objects=world.objects)
        self.world = world

    def _publish(self, stored, precondition):
        modified = datetime.fromtimestamp(self.world.now, UTC)
        return super()._publish(
            replace(stored, info=replace(stored.info, last_modified=modified)), precondition
        )

    async def put(self, request: PutRequest):
        await self.world.step("put")
        return await super().put(request)

    async def get(self, key: str, options: ReadOptions = READ_ALL):
        await self.world.step("get")
        return await super().get(key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL):
        await self.world.step("head")
        return await super().head(key, options)

    async def list(self, *given, **named):
        await self.world.step("list")
        return await super().list(*given, **named)

    async def delete(self, key, **named):
        await self.world.step("delete")
        return await super().delete(key, **named)

    async def copy(self, request):
        await self.world.step("copy")
        return await super().copy(request)


def dedup(world: World) -> DedupDriver:
    driver = world.driver()
    driver._clock = lambda: world.now
    return driver


def test_equal_bodies_are_stored_once_and_deleted_one_by_one():
    async def main():
        world = World()
        driver = dedup(world)
        for key in ("a", "b", "c/d"):
            result = await driver.put(request(key, DATA, metadata={"of": key}))
            assert (result.size, result.key) == (len(DATA), key)
        assert len(world.bodies()) == 1
        assert await keys(driver) == ["a", "b", "c/d"]
        assert [entry.size for entry in (await driver.list()).entries] == [len(DATA)] * 3
        assert (await driver.head("b")).metadata == {"of": "b"}
        await driver.delete("a")
        await driver.put(request("b", b"other"))
        assert await fetched(driver, "c/d") == DATA
        assert await fetched(driver, "c/d", ReadOptions(start=10, end=20)) == DATA[10:20]
        assert await fetched(driver, "c/d", ReadOptions(suffix=5)) == DATA[-5:]

    asyncio.run(main())


def test_a_body_that_is_there_is_not_sent_again():
    async def main():
        world = World()
        driver = dedup(world)
        await driver.put(request("a", DATA))
        world.calls.clear()
        await driver.put(request("b", DATA))
        assert world.calls == ["list", "put"]
        stream = Stream(DATA[:1000], DATA[1000:], length=len(DATA))
        await driver.put(request("c", body=stream, digest=request("x", DATA).digest))
        wrong = Stream(DATA[:-1], b"?", length=len(DATA))
        with pytest.raises(StorageIntegrityError):
            await driver.put(request("d", body=wrong, digest=request("x", DATA).digest))
        short = Stream(DATA[:-1], length=len(DATA))
        with pytest.raises(StorageInvalidRequestError):
            await driver.put(request("d", body=short, digest=request("x", DATA).digest))
        assert await keys(driver) == ["a", "b", "c"]
        assert len(world.bodies()) == 1

    asyncio.run(main())


def test_a_stream_of_which_nothing_is_known_is_shared_too():
    async def main():
        world = World()
        driver = dedup(world)
        await driver.put(request("a", DATA))
        for key in ("b", "c"):
            result = await driver.put(request(key, body=Stream(DATA), digest=None))
            assert (result.size, result.digest) == (len(DATA), request("x", DATA).digest)
        assert len(world.bodies()) == 1
        await driver.put(request("d", body=Stream(b"new", b"body"), digest=None))
        assert len(world.bodies()) == 2
        assert await fetched(driver, "d") == b"newbody"
        assert not [key for key in world.objects.by_key if key.startswith(plan.INCOMING)]

    asyncio.run(main())


def test_what_nothing_refers_to_is_removed_a_grace_after_it_was_marked():
    async def main():
        world = World()
        driver = dedup(world)
        for number in range(3):
            await driver.put(request(f"k{number}", DATA + bytes([number])))
        await driver.delete("k0")
        fresh = await driver.collect(GRACE)
        assert (fresh.references, fresh.bodies, fresh.marked, fresh.removed) == (2, 3, 0, 0)
        world.now += GRACE.total_seconds()
        assert (await driver.collect(GRACE)).marked == 1
        world.now += GRACE.total_seconds() - 1
        assert (await driver.collect(GRACE)).removed == 0
        world.now += 1
        done = await driver.collect(GRACE)
        assert (done.removed, done.removed_bytes) == (1, len(DATA) + 1)
        assert len(world.bodies()) == 2
        assert (await driver.collect(GRACE)).removed == 0
        for number in (1, 2):
            assert await fetched(driver, f"k{number}") == DATA + bytes([number])
        world.now += 31 * GRACE.total_seconds()
        await driver.collect(GRACE)
        assert not [key for key in world.objects.by_key if key.endswith(plan.OUT)]
        with pytest.raises(StorageInvalidRequestError):
            await driver.collect(timedelta(minutes=29))

    asyncio.run(main())


def test_a_body_that_is_marked_gets_no_more_references():
    async def main():
        world = World()
        driver = dedup(world)
        await driver.put(request("a", DATA))
        await driver.delete("a")
        world.now += GRACE.total_seconds()
        await driver.collect(GRACE)
        await driver.put(request("b", DATA))
        assert len(world.bodies()) == 2
        world.now += GRACE.total_seconds()
        assert (await driver.collect(GRACE)).removed == 1
        assert await fetched(driver, "b") == DATA
        await driver.put(request("c", DATA))
        assert len(world.bodies()) == 1

    asyncio.run(main())


def test_a_copy_shares_the_body_and_of_a_marked_one_makes_another():
    async def main():
        world = World()
        driver = dedup(world)
        await driver.put(request("a", DATA, metadata={"a": "b"}))
        source = await driver.head("a")
        result = await driver.copy(CopyRequest(source=source, destination="b", write_id="0" * 32))
        assert (result.size, len(world.bodies())) == (len(DATA), 1)
        body, _ = plan.target_of(world.objects.by_key["a"].info)
        await put(Timed(world), body.mark, b"")
        await driver.copy(CopyRequest(source=source, destination="c", write_id="1" * 32))
        assert len(world.bodies()) == 2
        await driver.delete("a")
        await driver.delete("b")
        world.now += GRACE.total_seconds()
        assert (await driver.collect(GRACE)).removed == 1
        assert await fetched(driver, "c") == DATA
        assert (await driver.head("c")).metadata == {"a": "b"}

    asyncio.run(main())


def test_a_listing_goes_past_the_bodies_at_once():
    async def main():
        world = World()
        driver = dedup(world)
        for number in range(50):
            await driver.put(request(f"k{number:02}", DATA + bytes([number])))
        world.calls.clear()
        assert await keys(driver, limit=10) == [f"k{number:02}" for number in range(50)]
        assert world.calls.count("list") <= 7
        assert list((await driver.list(delimiter="/")).prefixes) == []

    asyncio.run(main())


def test_a_link_leads_to_the_body_with_the_headers_of_the_object():
    class Cloud(Plain):
        signed = []  # noqa: RUF012

        async def sign(self, request):
            self.signed.append(request)
            return await self._inner.sign(request)

    async def main():
        driver = DedupDriver(Cloud(MemoryDriver(MemoryConfig())), smallest=1)
        headers = ContentHeaders(content_type="text/x", cache_control="no-store")
        await driver.put(request("a", DATA, headers=headers))
        await driver.sign(SignRequest(key="a", overrides={"content-type": "text/y"}))
        (asked,) = Cloud.signed
        assert asked.key.startswith(plan.BODIES)
        assert asked.overrides == {"content-type": "text/y", "cache-control": "no-store"}
        with pytest.raises(StorageUnsupportedError):
            await driver.sign(SignRequest(key="a", method="PUT"))

    asyncio.run(main())


def test_a_body_that_is_gone_is_an_error():
    async def main():
        world = World()
        driver = dedup(world)
        await driver.put(request("a", DATA))
        world.objects.remove(world.bodies()[0])
        with pytest.raises(StorageIntegrityError) as caught:
            await fetched(driver, "a")
        assert caught.value.code == "BODY_MISSING"

    asyncio.run(main())


def test_users_open_it_with_a_setting(tmp_path):
    async def main():
        config = LocalConfig(path=tmp_path, fsync=False, dedup=True)
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(config)
            for key in ("a", "b"):
                await provider.store(key, DATA, compress=False, metadata={"k": key})
            await provider.store("small", b"1")
            assert await provider.retrieve("b") == DATA
            assert (await provider.get_metadata("b")).metadata == {"k": "b"}
            item = {each.key: each.size for each in await provider.list()}
            assert sorted(item) == ["a", "b", "small"]
            assert (await provider.get_stats()).total_objects == 3
            await provider.copy("a", "c")
            await provider.move("c", "d")
            await provider.delete("a")
            found = await collect(provider)
            assert (found.references, found.bodies) == (2, 1)
            await provider.copy("b", "e")
            with pytest.raises(StorageVersionsRemainError):
                await provider.delete_versions("e")
            assert await provider.retrieve("b") == DATA
            plain = factory.create(f"file://{tmp_path}")
            assert await plain.retrieve("small") == b"1"
            with pytest.raises(StorageCodecError, match="dedup=True"):
                await plain.retrieve("b")
            with pytest.raises(StorageUnsupportedError, match="dedup=True"):
                await collect(plain)
            frozen = factory.create(f"file://{tmp_path}?dedup=true&read_only=true")
            assert await frozen.retrieve("d") == DATA
            with pytest.raises(StorageReadOnlyError):
                await collect(frozen)

    asyncio.run(main())


def test_what_is_encrypted_by_the_client_is_stored_as_it_is_read():
    async def main():
        config = MemoryConfig(dedup=True)
        driver = layered(MemoryDriver(MemoryConfig()), config)
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")
        async with StorageProvider(driver, config, encryption=policy) as provider:
            for key in ("a", "b"):
                await provider.store(key, DATA)
                assert await provider.retrieve(key) == DATA
            async with provider.open("b", start=10, end=20) as reader:
                assert await reader.read() == DATA[10:20]

    asyncio.run(main())


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([b"one", b"two"])
SHORT = st.floats(0, plan.HURRY / 4)
"""How long a process that is then killed was stopped before."""
LONG = st.sampled_from([0.0, plan.HURRY / 4, 2 * plan.HURRY, 3 * GRACE.total_seconds()])
POINTS = st.none() | st.integers(1, 8)


class DedupMachine(RuleBasedStateMachine):
    """Keeps, for each key, the values that a truthful store may have."""

    @initialize()
    def start(self):
        self.world = World()
        self.possible = {key: {None} for key in "abc"}

    def run(self, work, kill, pause, meanwhile):
        """Run a call in which, at one of its requests, others come first, and at another it is killed."""
        world = self.world
        world.steps = 0
        world.kill_at = -1 if kill is None else kill
        world.pause_at = -1 if pause is None else pause
        world.meanwhile = meanwhile
        try:
            return asyncio.run(work())
        finally:
            world.kill_at = world.pause_at = -1

    def change(self, key, value, work, *, kill, pause=None, meanwhile=None):
        try:
            self.run(work, kill, pause, meanwhile)
        except KilledError:
            self.possible[key] = self.possible[key] | {value}
        except StorageError as error:
            if error.applied != "no":
                self.possible[key] = self.possible[key] | {value}
        else:
            self.possible[key] = {value}

    def others(self, data, kill):
        """What happens while a call stands still."""
        key, value = data.draw(KEYS), data.draw(VALUES)
        what = data.draw(st.sampled_from(["put", "delete", "collect", "collect twice", "nothing"]))
        time = data.draw(LONG if kill is None else SHORT)

        async def meanwhile():
            driver = dedup(self.world)
            if what == "put":
                await driver.put(request(key, value))
                self.possible[key] = self.possible[key] | {value}
            elif what == "delete":
                await driver.delete(key)
                self.possible[key] = self.possible[key] | {None}
            elif what.startswith("collect"):
                await driver.collect(GRACE)
            self.world.now += time
            if what == "collect twice":
                await driver.collect(GRACE)

        return meanwhile

    @rule(key=KEYS, value=VALUES, kill=POINTS, pause=POINTS, data=st.data())
    def put(self, key, value, kill, pause, data):
        async def work():
            await dedup(self.world).put(request(key, value))

        self.change(key, value, work, kill=kill, pause=pause, meanwhile=self.others(data, kill))

    @rule(key=KEYS, value=VALUES, kill=POINTS, pause=POINTS, data=st.data())
    def stream(self, key, value, kill, pause, data):
        async def work():
            await dedup(self.world).put(request(key, body=Stream(value), digest=None))

        self.change(key, value, work, kill=kill, pause=pause, meanwhile=self.others(data, kill))

    @rule(key=KEYS, kill=POINTS)
    def delete(self, key, kill):
        async def work():
            await dedup(self.world).delete(key)

        self.change(key, None, work, kill=kill)

    @precondition(lambda self: any(None not in each and len(each) == 1 for each in self.possible.values()))
    @rule(destination=KEYS, kill=POINTS, pause=POINTS, data=st.data())
    def copy(self, destination, kill, pause, data):
        certain = [key for key, each in self.possible.items() if None not in each and len(each) == 1]
        source = data.draw(st.sampled_from(certain))
        (value,) = self.possible[source]
        info = asyncio.run(dedup(self.world).head(source))

        async def work():
            order = CopyRequest(source=info, destination=destination, write_id="0" * 32)
            await dedup(self.world).copy(order)

        before = self.possible[source]
        self.change(destination, value, work, kill=kill, pause=pause, meanwhile=self.others(data, kill))
        if self.possible[source] != before:  # Replaced in between, before or after it was read.
            self.possible[destination] = self.possible[destination] | {b"one", b"two"}

    @rule(kill=st.none() | st.integers(1, 25), pause=POINTS, data=st.data())
    def collect(self, kill, pause, data):
        async def work():
            await dedup(self.world).collect(GRACE)

        with suppress(KilledError, StorageError):
            self.run(work, kill, pause, self.others(data, kill))

    @rule(time=LONG)
    def wait(self, time):
        self.world.now += time

    @invariant()
    def every_object_has_its_body(self):
        async def look():
            driver = dedup(self.world)
            listed = await keys(driver)
            for key in "abc":
                found = await fetched(driver, key)
                assert found in self.possible[key], (key, found, self.possible[key])
                assert (key in listed) == (found is not None)
                self.possible[key] = {found}

        asyncio.run(look())

    @invariant()
    def nothing_is_kept_for_ever(self):
        assert len(self.world.bodies()) <= 2 * 31


DedupMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestDedup = DedupMachine.TestCase


def test_a_proof_is_hidden_but_never_called_erased():
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(MemoryConfig(dedup=True))
            store = ProofStore(provider, trust=TRUST, signer=SIGNER)
            proof = await store.issue(ASSET, manifest=bytes(10_000))
            with pytest.raises(StorageVersionsRemainError, match="collect"):
                await store.delete(proof.proof_id, reason="withdrawn")
            with pytest.raises(ProofError):
                await store.get(proof.proof_id)

    asyncio.run(main())


def test_a_write_whose_body_is_collected_after_its_reference_was_made_is_no_certain_no():
    async def main():
        world = World()

        async def meanwhile():
            driver = dedup(world)
            await driver.collect(GRACE)
            world.now += 3 * GRACE.total_seconds()
            await driver.collect(GRACE)

        world.meanwhile, world.pause_at = meanwhile, 7
        with pytest.raises(StorageConflictError) as caught:
            await dedup(world).put(request("a", body=Stream(b"one"), digest=None))
        assert caught.value.applied == "maybe"
        assert await fetched(dedup(world), "a") in {None, b"one"}

    asyncio.run(main())
