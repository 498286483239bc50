"""The strategies over one store and over several work on top of each other, in every order that users can ask for."""

import asyncio
from itertools import product

import pytest

from credstore import (
    LocalConfig,
    StorageError,
    StorageFactory,
    StorageReadOnlyError,
    StorageUnavailableError,
    cached,
    collect,
)
from credstore.config.stores import MemoryConfig
from credstore.driver import BytesBody, Driver, ReadOptions
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.provider.layering import layered
from credstore.strategies.cached.driver import cached_driver
from credstore.strategies.dedup import plan
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness, fetched, keys, put, request
from tests.conformance.memory import fetch_at, peek_at, poke_at
from tests.strategies.faulty import Faulty

DATA = bytes(range(256)) * 100
LAYERS = [each for each in product([False, True], repeat=4) if any(each)]


@pytest.mark.parametrize(("prefix", "dedup", "cache", "read_only"), LAYERS)
def test_a_store_with_layers_is_a_store(tmp_path, prefix, dedup, cache, read_only):
    config = LocalConfig(
        path=tmp_path / "store",
        prefix="team/a" if prefix else "",
        dedup=dedup,
        cache=tmp_path / "cache" if cache else None,
        fsync=False,
    )

    async def main():
        async with StorageFactory(environ={}) as factory:
            writer = factory.create(config)
            for key in ("a/x", "b"):
                await writer.store(key, DATA, compress=False, metadata={"k": key})
            provider = factory.create(config, read_only=read_only)
            assert provider.capabilities.writable != read_only
            for _ in range(2):
                assert await provider.retrieve("a/x") == DATA
                async with provider.open("b", start=100, end=200) as reader:
                    assert await reader.read() == DATA[100:200]
            assert {each.key: each.size for each in await provider.list()} == {
                "a/x": len(DATA),
                "b": len(DATA),
            }
            assert (await provider.get_stats()).total_size == 2 * len(DATA)
            assert (await provider.get_metadata("b")).metadata == {"k": "b"}
            if read_only:
                for change in (
                    lambda: provider.store("c", b"1"),
                    lambda: provider.delete("b"),
                    lambda: provider.copy("b", "c"),
                ):
                    with pytest.raises(StorageReadOnlyError):
                        await change()
                await writer.store("b", b"new")
            else:
                await provider.copy("b", "c")
                await provider.delete("a/x")
                assert await provider.retrieve("a/x") is None
                assert await provider.retrieve("c") == DATA
                await provider.store("b", b"new")
            assert await provider.retrieve("b") == b"new"
            if dedup and not read_only:
                assert (await collect(provider)).references == 1

    asyncio.run(main())


def layers(objects, tmp_path, **settings):
    config = MemoryConfig(cache=tmp_path, **settings)
    return layered(MemoryDriver(MemoryConfig(), objects=objects), config)


@pytest.mark.parametrize("frozen", [(), ("primary",), ("fallback",), ("primary", "fallback")])
@pytest.mark.parametrize("dedup", [False, True])
def test_members_of_a_fallback_have_layers_of_their_own(tmp_path, frozen, dedup):
    async def main():
        first, second = MemoryObjects(), MemoryObjects()
        for objects in (first, second):
            await put(layers(objects, tmp_path / "w", prefix="p/", dedup=dedup), "k", DATA)
        both = FallbackDriver(
            layers(first, tmp_path / "1", prefix="p/", dedup=dedup, read_only="primary" in frozen),
            layers(second, tmp_path / "2", prefix="p/", dedup=dedup, read_only="fallback" in frozen),
        )
        before = dict(first.by_key), dict(second.by_key)
        for _ in range(2):
            assert await fetched(both, "k") == DATA
            assert await fetched(both, "k", ReadOptions(start=5, end=9)) == DATA[5:9]
        assert await keys(both) == ["k"]
        if "primary" in frozen:
            for change in (lambda: put(both, "k"), lambda: both.delete("k")):
                with pytest.raises(StorageReadOnlyError):
                    await change()
            assert (first.by_key, second.by_key) == before
        elif "fallback" in frozen:
            await put(both, "new", DATA)
            with pytest.raises(StorageReadOnlyError):
                await both.delete("k")
            assert second.by_key == before[1]
        else:
            await both.delete("k")
            assert await keys(both) == []

    asyncio.run(main())


def test_a_cache_over_a_fallback_serves_what_the_fallback_confirms(tmp_path):
    async def main():
        first, second = Faulty("first"), Faulty("second")
        driver = cached_driver(FallbackDriver(first, second), tmp_path, space="s", max_size=2**20)
        await put(driver, "k", DATA)
        for _ in range(2):
            assert await fetched(driver, "k") == DATA
        assert driver.counts["hit"] == 1
        first.mode = "down"
        await put(driver, "k", b"diverted")
        found = await driver.head("k")
        assert (found.served_by, found.degraded) == ("second", True)
        for _ in range(2):
            assert await fetched(driver, "k") == b"diverted"
        assert driver.counts["hit"] == 1  # What one member serves in place of the other is not kept.
        second.mode = "down"
        with pytest.raises(StorageUnavailableError):
            await fetched(driver, "k")

    asyncio.run(main())


def test_a_fallback_that_is_opened_as_a_whole_can_be_cached(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            paths = [LocalConfig(path=tmp_path / each, fsync=False) for each in "ab"]
            async with cached(factory.create_with_fallback(*paths), tmp_path / "cache") as provider:
                result = await provider.store("k", DATA)
                assert result.served_by == "local (primary)"
                for _ in range(3):
                    assert await provider.retrieve("k") == DATA
                assert provider.metrics().verbs["retrieve"].notes == {
                    "cache_miss": 1, "cache_hit": 2, "cache_hit_bytes": 2 * len(DATA),
                }  # fmt: skip

    asyncio.run(main())


def test_a_failure_below_all_layers_is_the_stores_own(tmp_path):
    class Down(MemoryDriver):
        async def put(self, request):
            raise StorageUnavailableError("down", applied="maybe")

    async def main():
        driver = layered(Down(MemoryConfig()), MemoryConfig(prefix="p/", dedup=True, cache=tmp_path))
        with pytest.raises(StorageError) as caught:
            await driver.put(request("k", body=BytesBody(DATA), digest=None))
        assert isinstance(caught.value, StorageUnavailableError)

    asyncio.run(main())


class TestAllLayers(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path) -> Harness:
        objects = MemoryObjects()
        peek, poke = peek_at(objects), poke_at(objects)

        def open_driver() -> Driver:
            return layers(objects, tmp_path, prefix="p/", dedup=True)

        def place(key: str) -> str:
            found = plan.target_of(objects.by_key[f"p/{key}"].info) if f"p/{key}" in objects.by_key else None
            return f"p/{key}" if found is None else f"p/{found[0].key}"

        return Harness(
            open=open_driver,
            peek=lambda key: peek(place(key)),
            poke=lambda key, data: poke(place(key), data),
            fetch=fetch_at(open_driver),
        )
