"""The fastest strategy: one member is read, the one that has been fast, and nothing stale for it."""

import asyncio
from dataclasses import replace

import pytest

from credstore.driver import ReadOptions
from credstore.driver.pinning import is_same
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageNotFoundError, StoragePreconditionFailedError
from credstore.strategies.fastest.driver import EXPLORE, FRESH, FastestDriver
from credstore.strategies.latencies import SPAN, Latencies
from credstore.strategies.redundant.plan import JOURNAL
from credstore.testing.harness import fetched, put
from tests.strategies.weather import Weather, Weathered


class Timed(Weathered):
    """Its calls take so many seconds of a clock that only they move."""

    takes = 0.01
    clock = None
    gate = None

    async def get(self, key, options=ReadOptions()):  # noqa: B008
        if self.gate is not None:
            await self.gate.wait()
        self.clock[0] += self.takes
        return await super().get(key, options)


def made(*takes):
    clock = [1000.0]
    members = [Timed(f"m{number}") for number in range(len(takes))]
    for member, each in zip(members, takes, strict=True):
        member.takes, member.clock = each, clock
    return clock, members, FastestDriver(members, clock=lambda: clock[0], patience=60.0)


def gets(members):
    return [member.calls.count("get") for member in members]


def test_percentiles_forget():
    latencies = Latencies()
    assert latencies.typical(0.0) is None
    for number in range(8):
        latencies.seen(1.0, float(number))
    assert latencies.typical(8.0) == 1.0
    for number in range(16):
        latencies.seen(0.1, SPAN + 10 + number)
    assert latencies.typical(SPAN + 30) == 0.1
    assert latencies.typical(4 * SPAN) is None


def test_the_fastest_is_read_and_the_others_now_and_then():
    async def main():
        _, members, driver = made(0.05, 0.01, 0.2)
        await put(driver, "key")
        for _ in range(EXPLORE - 1):
            assert await fetched(driver, "key") == b"data"
        found = gets(members)
        assert found[1] > EXPLORE - 8
        for _ in range(4 * EXPLORE):
            await fetched(driver, "key")
        assert gets(members)[0] > found[0]
        await driver.aclose()

    asyncio.run(main())


def test_a_member_that_missed_a_write_is_not_read_alone():
    async def main():
        clock, members, driver = made(0.01, 0.02, 0.03)
        await put(driver, "key", b"old")
        assert await fetched(driver, "key") == b"old"
        members[0].weather = Weather.DOWN
        await put(driver, "key", b"new")
        assert any(key.startswith(JOURNAL) for key in members[1]._objects.by_key)
        members[0].weather = Weather.WELL
        other = FastestDriver(members, clock=lambda: clock[0], patience=60.0)
        for reader in (driver, other):
            assert await fetched(reader, "key") == b"new"
        clock[0] += 60
        for _ in range(3):
            clock[0] += FRESH
            assert await fetched(driver, "key") == b"new"
        await driver.settled()
        await other.settled()
        clock[0] += FRESH
        members[0].calls.clear()
        for _ in range(2 * EXPLORE):
            assert await fetched(other, "key") == b"new"
        await driver.aclose()

    asyncio.run(main())


def test_what_was_deleted_is_not_served_by_one_member():
    async def main():
        _, _, driver = made(0.01, 0.02, 0.03)
        await put(driver, "key")
        await fetched(driver, "key")
        await driver.delete("key")
        with pytest.raises(StorageNotFoundError):
            await driver.head("key")
        assert await fetched(driver, "key") is None
        await driver.aclose()

    asyncio.run(main())


def test_a_bad_replica_of_the_fastest_is_passed_over():
    async def main():
        _, members, driver = made(0.01, 0.02, 0.03)
        await put(driver, "key", b"good")
        await fetched(driver, "key")
        for member in members[:2]:
            member.rot("key")
        for _ in range(5):
            assert await fetched(driver, "key") == b"good"
        await driver.aclose()

    asyncio.run(main())


def test_hedges_are_at_most_one_read_in_twenty_and_never_writes():
    async def main():
        _, members, driver = made(0.01, 0.01, 0.01)
        driver._hedging._shortest = 0.0
        await put(driver, "key")
        for _ in range(40):
            await fetched(driver, "key")
        tokens = driver._hedging.tokens
        driver._hedging._delay = 0.0
        slow = driver._order(driver._clock())[0]
        slow.driver.gate = asyncio.Event()
        before = sum(gets(members))
        assert await fetched(driver, "key") == b"data"
        assert sum(gets(members)) - before == 1, "the slow one was cancelled"
        assert driver._hedging.tokens < tokens
        driver._hedging.tokens = 0.0
        slow.driver.gate.set()
        assert await fetched(driver, "key") == b"data"
        puts = [member.calls.count("put") for member in members]
        await put(driver, "key")
        assert [member.calls.count("put") for member in members] == [each + 1 for each in puts]
        await driver.aclose()

    asyncio.run(main())


def test_replicas_of_one_write_are_the_same_version():
    async def main():
        _, members, driver = made(0.05, 0.01)
        await put(driver, "key")
        one, other = [
            replace(await MemoryDriver.head(member, "key"), served_by=member.label) for member in members
        ]
        other = replace(other, etag="another", last_modified=None)
        assert is_same(one, other)
        assert not is_same(one, replace(other, served_by=one.served_by))
        assert not is_same(one, replace(other, write_id="0" * 32))
        assert not is_same(one, replace(other, digest=bytes(32)))

    asyncio.run(main())


def test_a_write_after_a_read_is_the_later_one_whatever_the_clocks_say():
    """Of one member alone, too, where nothing is compared (the stamp is part of the etag)."""

    async def main():
        _, members, ahead = made(0.01, 0.01)
        behind = FastestDriver(members, wall=lambda: 1.0, clock=ahead._clock)
        for before, after in ((b"1", b"2"), (b"3", b"4")):
            await put(ahead, "key", before)
            assert await fetched(behind, "key") == before
            await put(behind, "key", after)
            assert await fetched(behind, "key") == await fetched(ahead, "key") == after
        await behind.aclose()

    asyncio.run(main())


def test_a_condition_is_met_by_one_member_and_failed_by_none_alone():
    async def main():
        _, members, driver = made(0.01, 0.01, 0.01)
        etag = (await put(driver, "key", b"data")).etag
        for _ in range(8):
            await fetched(driver, "key")
        before = sum(gets(members))
        assert await fetched(driver, "key", ReadOptions(start=1, if_match=etag)) == b"ata"
        assert sum(gets(members)) == before + 1
        with pytest.raises(StoragePreconditionFailedError):
            await fetched(driver, "key", ReadOptions(if_match=etag.upper()))
        assert sum(gets(members)) == before + 3, "others were asked before it counted as replaced"
        await driver.aclose()

    asyncio.run(main())
