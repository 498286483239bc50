"""Prepared writes: to everyone but their caller the same as `store`, in fewer steps."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from credstore import MemoryConfig, MemoryStorageProvider
from credstore.driver import Capabilities, PutRequest
from credstore.drivers.memory import MemoryDriver
from credstore.encryption import ClientSide, CustomerKey
from credstore.errors import StorageAlreadyExistsError, StorageError, StorageUnsupportedError
from credstore.hashing import LOOP_BUDGET
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing
from credstore.provider import plans
from credstore.provider.encryption import begins_sealed
from credstore.provider.prepared import PreparedWrites
from credstore.provider.provider import StorageProvider

OPTIONS = {"content_type": "application/json", "cache_control": "no-store", "compress": False}


class Able(MemoryDriver):
    """A store whose capabilities are found out, and which keeps what it was asked."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.able: dict[str, object] = {}
        self.asked: list[PutRequest] = []

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, **self.able) if self.able else super().capabilities

    async def put(self, request):
        self.asked.append(request)
        if request.key == "broken":
            raise RuntimeError("unforeseen")
        return await super().put(request)


def shown(request):
    """A request without what each has for itself."""
    return {**vars(request), "write_id": None, "deadline": None, "body": request.body.data}


async def told(write, events):
    """What a write did to observers, and its error."""
    events.clear()
    try:
        await write
    except StorageError as error:
        facts = error.message, error.facts()
    else:
        facts = None
    return facts, [replace(event, duration=0) for event in events]


@pytest.mark.parametrize(
    ("options", "key", "data"),
    [
        ({}, "a/b", b"x"),
        (OPTIONS, "a/b", b""),
        ({**OPTIONS, "if_absent": True}, "there", b"x"),
        (OPTIONS, ".credstore/x", b"x"),
        (OPTIONS, "a/../b", b"x"),
        (OPTIONS, "", b"x"),
        (OPTIONS, "broken", b"x"),
        (OPTIONS, "large", bytes(LOOP_BUDGET + 1)),
        ({"compress": "gzip"}, "a", b"x" * 1000),
        ({"metadata": {"a": "b"}}, "a", b"x"),
        ({"encryption": CustomerKey(bytes(32))}, "a", b"x"),
        ({"colour": "blue"}, "a", b"x"),
        ({"content_type": "no\ntype"}, "a", b"x"),
        ({"timeout": -1}, "a", b"x"),
    ],
)
def test_writes_the_same_as_store(options, key, data):
    async def run():
        events = []
        driver = Able(MemoryConfig())
        async with StorageProvider(driver, MemoryConfig(), observers=[events.append]) as provider:
            await provider.store("there", b"")
            writes = PreparedWrites(provider, **options)
            with suppress(StorageError):
                await provider.store("before", b"", **options)  # What is planned for these options is there.
            driver.asked.clear()
            expected = await told(provider.store(key, data, **options), events)
            found = [await told(writes.store(key, data), events) for _ in range(3)]
            assert found == [expected] * 3
            requests = [shown(each) for each in driver.asked]
            assert requests == requests[:1] * (4 if requests else 0)

    asyncio.run(run())


def test_plans_once(monkeypatch):
    seen = []
    check = plans.check_options
    monkeypatch.setattr(plans, "check_options", lambda options: (seen.append(options), check(options)))

    async def run():
        async with MemoryStorageProvider(MemoryConfig()) as provider:
            writes = PreparedWrites(provider, **OPTIONS)
            for number in range(5):
                await writes.store(f"{number}", b"x")
            assert await provider.retrieve("4") == b"x"
            item = await provider.get_metadata("4")
            assert (item.content_type, item.cache_control) == ("application/json", "no-store")

    asyncio.run(run())
    assert seen == [OPTIONS]


def test_plans_again_where_the_store_turns_out_to_be_less_able():
    async def run():
        driver = Able(MemoryConfig())
        async with StorageProvider(driver, MemoryConfig()) as provider:
            writes = PreparedWrites(provider, if_absent=True, **OPTIONS)
            await writes.store("a", b"x")
            with pytest.raises(StorageAlreadyExistsError):
                await writes.store("a", b"y")
            driver.able = {"conditional_create": False}
            with pytest.raises(StorageUnsupportedError):
                await writes.store("b", b"x")
            driver.able = {"max_object_size": 3}
            await writes.store("b", b"xyz")
            with pytest.raises(StorageError, match="4 bytes; this provider keeps at most 3"):
                await writes.store("c", b"wxyz")
            driver.able = {"writable": False}
            with pytest.raises(StorageError, match="read_only"):
                await writes.store("c", b"x")

    asyncio.run(run())


def test_whoever_replaces_store_sees_every_write(monkeypatch):
    seen = []

    class Watched(MemoryStorageProvider):
        async def store(self, key, data, **options):
            seen.append((key, options))
            return await super().store(key, data, **options)

    async def run():
        async with Watched(MemoryConfig()) as provider:
            writes = PreparedWrites(provider, **OPTIONS)
            await writes.store("a", b"x")
            await writes.store("b", b"x")
        async with MemoryStorageProvider(MemoryConfig()) as provider:
            writes = PreparedWrites(provider, **OPTIONS)
            await writes.store("c", b"x")
            own = provider.store

            async def store(key, data, **options):
                seen.append((key, options))
                return await own(key, data, **options)

            with monkeypatch.context() as patched:
                patched.setattr(provider, "store", store)
                await writes.store("d", b"x")
            await writes.store("e", b"x")
            assert len(await provider.list("")) == 3

    asyncio.run(run())
    assert seen == [("a", OPTIONS), ("b", OPTIONS), ("d", OPTIONS)]


def test_a_closed_store_is_refused_and_counted_as_by_store():
    async def run():
        provider = MemoryStorageProvider(MemoryConfig())
        writes = PreparedWrites(provider, **OPTIONS)
        for _ in range(3):
            await writes.store("a", b"xy")
        verb = provider.metrics().verbs["store"]
        assert (verb.calls, verb.bytes) == (3, 6)
        await provider.aclose()
        with pytest.raises(StorageError, match="closed") as caught:
            await writes.store("a", b"x")
        assert (caught.value.code, caught.value.operation) == ("CLOSED", "store")

    asyncio.run(run())


@pytest.mark.parametrize("options", [{}, OPTIONS])
def test_what_a_store_encrypts_is_encrypted_each_time(options):
    async def run():
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")
        driver = Able(MemoryConfig())
        async with StorageProvider(driver, MemoryConfig(), encryption=policy) as provider:
            await provider.store("before", b"x", **options)
            writes = PreparedWrites(provider, **options)
            for number in range(3):
                await writes.store(f"{number}", b"x")
                assert await provider.retrieve(f"{number}") == b"x"
            assert all(begins_sealed(each.body.data) for each in driver.asked)
            assert len({each.body.data for each in driver.asked}) == len(driver.asked) == 4

    asyncio.run(run())
