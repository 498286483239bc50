"""A memory store copies what was stored, or nothing."""

import asyncio
from dataclasses import replace

import pytest

from credstore import MemoryConfig, StorageProvider
from credstore.drivers import memory
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import ErrorCode, StorageIntegrityError, StoragePreconditionFailedError
from credstore.strategies.fallback.driver import FallbackDriver


def make_driver(objects):
    return MemoryDriver(MemoryConfig(), objects=objects)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_damaged_source_is_neither_copied_nor_moved_and_stays(fallback, size):
    objects = MemoryObjects()
    driver = make_driver(objects)
    if fallback:
        driver = FallbackDriver(driver, make_driver(MemoryObjects()))
    store = StorageProvider(driver, MemoryConfig())

    async def run():
        await store.store("a", b"x" * size, compress=False)
        good = objects.by_key["a"]
        objects.by_key["a"] = replace(good, data=b"y" + good.data[1:])
        for call in (store.copy("a", "b"), store.move("a", "b")):
            with pytest.raises(StorageIntegrityError) as caught:
                await call
            assert (caught.value.code, caught.value.applied) == (ErrorCode.DIGEST_MISMATCH, "no")
        assert [item.key for item in await store.list()] == ["a"]
        objects.by_key["a"] = good
        await store.move("a", "b")
        assert await store.retrieve("b") == b"x" * size
        await store.aclose()

    asyncio.run(run())


def test_a_source_that_is_replaced_while_it_is_looked_at_is_not_copied(monkeypatch):
    objects = MemoryObjects()
    store = StorageProvider(make_driver(objects), MemoryConfig())

    async def run():
        await store.store("a", b"first", compress=False)
        real, left = memory.sha256, [1]

        async def sha256(data):
            found = await real(data)
            if data == b"first" and left:
                left.pop()
                await store.store("a", b"second", compress=False)
            return found

        monkeypatch.setattr(memory, "sha256", sha256)
        with pytest.raises(StoragePreconditionFailedError):
            await store.copy("a", "b")
        assert [item.key for item in await store.list()] == ["a"]
        await store.aclose()

    asyncio.run(run())
