"""The balanced strategy: each object at one member, found wherever it is, moved where it belongs."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.config.stores import MemoryConfig
from credstore.driver import CopyRequest, SignRequest
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageConfigurationError, StorageError, StorageNotFoundError
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.balanced.plan import checked_weights, ranking
from credstore.strategies.fallback.pages import NOTE
from credstore.testing.harness import fetched, keys, put
from tests.strategies.weather import Weather, Weathered

NAMES = [f"key/{number}" for number in range(300)]


def made(count, **settings):
    members = [Weathered(f"m{number}") for number in range(count)]
    return members, BalancedDriver(members, monotonic=lambda: 0.0, **settings)


def held(member):
    return set(member._objects.by_key) - {NOTE}


@given(st.text(min_size=1, max_size=20), st.integers(2, 6))
def test_a_new_store_moves_only_what_it_wins(key, count):
    before, after = ranking(key, (1.0,) * count), ranking(key, (1.0,) * (count + 1))
    assert [index for index in after if index != count] == before


def test_shares_follow_the_weights():
    firsts = [ranking(f"{number}", (1.0, 1.0, 2.0))[0] for number in range(8000)]
    shares = [firsts.count(index) / len(firsts) for index in range(3)]
    assert shares == [
        pytest.approx(0.25, abs=0.02),
        pytest.approx(0.25, abs=0.02),
        pytest.approx(0.5, abs=0.02),
    ]


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_there_is_a_weight_for_each(weights):
    with pytest.raises(StorageConfigurationError, match="weights"):
        checked_weights(weights, 2)


def test_each_object_is_at_one_member_and_read_there():
    async def main():
        members, driver = made(3)
        for key in NAMES:
            result = await put(driver, key)
            assert len(result.replicas) == 1
        assert sum(len(held(member)) for member in members) == len(NAMES)
        assert min(len(held(member)) for member in members) > 60
        for member in members:
            member.calls.clear()
        for key in NAMES:
            assert await fetched(driver, key) == b"data"
        assert sum(member.calls.count("get") for member in members) <= len(NAMES) + 3
        assert await keys(driver) == sorted(NAMES)

    asyncio.run(main())


def test_a_store_is_added_while_objects_are_read_and_written():
    async def main():
        stores = [MemoryObjects() for _ in range(4)]

        def drivers(count):
            return [MemoryDriver(MemoryConfig(), objects=objects) for objects in stores[:count]]

        old = BalancedDriver(drivers(3))
        for key in NAMES:
            await put(old, key)
        new = BalancedDriver(drivers(4))
        for key in NAMES:
            assert await fetched(new, key) == b"data"
        await put(new, NAMES[0], b"written meanwhile")
        moved = await new.rebalance()
        assert 40 < moved < 120
        assert await new.rebalance() == 0
        assert sum(len(objects.by_key) for objects in stores) == len(NAMES)
        assert await fetched(new, NAMES[0]) == b"written meanwhile"
        assert await keys(new) == sorted(NAMES)

    asyncio.run(main())


def test_while_a_member_is_down_the_next_one_takes_its_writes():
    async def main():
        members, driver = made(3)
        first, second, _ = ranking("key", (1.0,) * 3)
        await put(driver, "key", b"old")
        members[first].weather = Weather.DOWN
        result = await put(driver, "key", b"new")
        assert (result.served_by, result.degraded) == (f"m{second}", True)
        members[first].weather = Weather.WELL
        assert await fetched(driver, "key") == b"new"

    asyncio.run(main())


def test_a_listing_never_leaves_a_member_out():
    async def main():
        members, driver = made(2)
        await put(driver, "key")
        members[0].weather = Weather.DOWN
        with pytest.raises(StorageError):
            await driver.list()

    asyncio.run(main())


def test_what_is_deleted_is_gone_everywhere():
    async def main():
        members, driver = made(3)
        for member in members:
            await MemoryDriver.put(member, (await _request("key")))
        assert (await driver.delete("key")).existed
        assert [held(member) for member in members] == [set(), set(), set()]
        with pytest.raises(StorageNotFoundError):
            await driver.head("key")

    asyncio.run(main())


async def _request(key):
    from credstore.testing.harness import request

    return request(key)


def test_copies_and_links_are_where_they_belong():
    async def main():
        members, driver = made(3)
        await put(driver, "key", b"data")
        for number in range(12):
            order = CopyRequest(
                source=await driver.head("key"), destination=f"copy/{number}", write_id=f"{number:032x}"
            )
            await driver.copy(order)
            home = ranking(f"copy/{number}", (1.0,) * 3)[0]
            assert f"copy/{number}" in held(members[home])
            link = await driver.sign(SignRequest(key=f"copy/{number}"))
            assert link.served_by == f"m{home}"
        await driver.ping()
        await driver.aclose()

    asyncio.run(main())
