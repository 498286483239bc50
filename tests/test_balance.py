"""Stores that share the objects: one is added, and only its share moves, whatever is done meanwhile."""

import asyncio
import json
from dataclasses import replace

import pytest

from credstore import MemoryConfig, StorageFactory, StorageProvider, StorageUnsupportedError
from credstore.balance import rebalance, suggested_weights
from credstore.cli.main import run
from credstore.drivers.memory import MemoryDriver
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.balanced.plan import adjusted, ranking
from credstore.testing.harness import fetched, put, request
from tests.strategies.weather import Weather, Weathered

NAMES = [f"key/{number}" for number in range(40)]


def url_of(stores):
    return "multi://load_balanced?" + "&".join(f"store={store}" for store in stores)


@pytest.fixture
def urls(tmp_path):
    for number in range(3):
        (tmp_path / f"m{number}").mkdir()
    return [f"file://{tmp_path}/m{number}" for number in range(3)]


def held(tmp_path):
    return [
        {str(path.relative_to(root)) for path in root.glob("key/*")}
        for root in (tmp_path / f"m{number}" for number in range(3))
    ]


def test_a_store_that_is_added_gets_its_share_and_no_others_move(urls, tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            store = factory.create(url_of(urls[:2]))
            for name in NAMES:
                await store.store(name, name.encode(), metadata={"of": name})
        before = held(tmp_path)
        async with StorageFactory(environ={}) as factory:
            store = factory.create(url_of(urls))
            assert await rebalance(store, "other/") == 0
            moved = await rebalance(store)
            assert moved == len(held(tmp_path)[2]) > 0
            assert await rebalance(store) == 0
            for name in NAMES:
                assert await store.retrieve(name) == name.encode()
                assert (await store.get_metadata(name)).metadata == {"of": name}
        after = held(tmp_path)
        assert after[0] < before[0]
        assert after[1] < before[1]

    asyncio.run(main())


def test_the_command_moves_and_says_how_many(urls, tmp_path, capsys):
    async def main():
        async with StorageFactory(environ={}) as factory:
            store = factory.create(url_of(urls[:2]))
            for name in NAMES:
                await store.store(name, b"data")

    asyncio.run(main())
    assert run(["--store", url_of(urls), "--json", "rebalance"]) == 0
    moved = json.loads(capsys.readouterr().out)["moved"]
    assert moved == len(held(tmp_path)[2]) > 0
    assert run(["--store", url_of(urls), "rebalance"]) == 0
    assert "0 objects moved" in capsys.readouterr().err
    assert run(["--store", urls[0], "rebalance"]) != 0
    assert "load_balanced" in capsys.readouterr().err.lower()


class Interrupted(Weathered):
    """Does something else first when one of its calls comes, once."""

    before = None

    async def _weather(self, operation):
        if self.before is not None and self.before[0] == operation:
            (_, work), self.before = self.before, None
            await work()
        await super()._weather(operation)


def misplaced(count):
    """Members, a driver over all of them, and a key whose object is at another member than its home."""
    members = [Interrupted(f"m{number}") for number in range(count)]
    driver = BalancedDriver(members)
    home, second, *_ = ranking("key", (1.0,) * count)
    return members, driver, members[home], members[second]


async def put_at(member, data=b"data"):
    await MemoryDriver.put(member, request("key", data))


@pytest.mark.parametrize("operation", ["put", "head", "delete"])
@pytest.mark.parametrize("where", ["home", "holder"])
@pytest.mark.parametrize("what", ["delete", "write"])
@pytest.mark.parametrize("at", [1, 2])
def test_what_is_done_meanwhile_stays_done(operation, where, what, at):
    async def main():
        members, driver, home, _ = misplaced(3)
        holder = members[ranking("key", (1.0,) * 3)[at]]
        await put_at(holder)
        user = BalancedDriver(members)

        async def meanwhile():
            await (user.delete("key") if what == "delete" else put(user, "key", b"new"))

        (home if where == "home" else holder).before = operation, meanwhile
        await driver.rebalance()
        await driver.rebalance()
        done = (home if where == "home" else holder).before is None
        wanted = b"data" if not done else b"new" if what == "write" else None
        assert await fetched(user, "key") == wanted
        assert sum("key" in member._objects.by_key for member in members) == (wanted is not None)

    asyncio.run(main())


def test_a_deletion_between_whose_two_halves_an_object_moves_home_is_one():
    async def main():
        members, driver, home, second = misplaced(2)
        await put_at(second)
        second.before = "delete", driver.rebalance
        await BalancedDriver(members).delete("key")
        assert [member._objects.by_key for member in members] == [{}, {}]
        assert home.calls.count("delete") == 1

    asyncio.run(main())


def test_stores_without_conditions_take_part_only_alone():
    async def main():
        _, driver, home, second = misplaced(2)
        await put_at(second)
        second._capabilities = replace(second.capabilities, conditional_delete=False)
        with pytest.raises(StorageUnsupportedError, match="exclusive"):
            await driver.rebalance()
        assert await driver.rebalance(exclusive=True) == 1
        assert ("key" in home._objects.by_key, "key" in second._objects.by_key) == (True, False)

    asyncio.run(main())


def test_only_a_store_that_spreads_its_objects_is_balanced():
    async def main():
        async with StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig()) as provider:
            with pytest.raises(StorageUnsupportedError, match="LOAD_BALANCED"):
                await rebalance(provider)
            with pytest.raises(StorageUnsupportedError, match="LOAD_BALANCED"):
                suggested_weights(provider)

    asyncio.run(main())


def test_faster_stores_are_suggested_more_and_nothing_moves_by_itself():
    async def main():
        now = [1.0]
        members = [Weathered(f"m{number}") for number in range(3)]

        driver = BalancedDriver(members, monotonic=lambda: now[0])
        async with StorageProvider(driver, MemoryConfig()) as provider:
            assert suggested_weights(provider) == {"m0": 1.0, "m1": 1.0, "m2": 1.0}
            takes = {"m0": 0.1, "m1": 0.2, "m2": 0.3}
            for member in members:
                get = member.get

                async def slow(key, options, get=get, member=member):
                    now[0] += takes[member.label]
                    return await get(key, options)

                member.get = slow
            places = {}
            for name in NAMES:
                places[name] = (await provider.store(name, b"data")).provider
                await provider.retrieve(name)
            found = suggested_weights(provider)
            assert found == {"m0": 2.0, "m1": 1.0, "m2": pytest.approx(2 / 3)}
            for name in NAMES:
                assert (await provider.store(name, b"again")).provider == places[name]

    asyncio.run(main())


def test_weights_change_by_half_or_double_at_most():
    assert adjusted((1.0, 2.0), (0.001, 10.0), (False, False)) == (2.0, 2.0)
    assert adjusted((1.0, 1.0, 1.0), (0.001, 0.1, 10.0), (False, False, False)) == (2.0, 1.0, 0.5)
    assert adjusted((1.0, 1.0), (None, None), (False, True)) == (1.0, 0.5)


def test_a_member_that_is_down_is_suggested_less():
    async def main():
        _, driver, home, _ = misplaced(2)
        await put(driver, "key")
        home.weather = Weather.DOWN
        await put(driver, "key")
        async with StorageProvider(driver, MemoryConfig()) as provider:
            assert suggested_weights(provider)[home.label] == 0.5

    asyncio.run(main())
