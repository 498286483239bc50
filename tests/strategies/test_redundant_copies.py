"""Copies of redundant stores whose source is replaced or deleted meanwhile: what is raised is what happened."""

import asyncio
import dataclasses
from contextlib import suppress

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, CopyRequest
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    ReplicaOutcome,
    StorageConflictError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageQuorumError,
    StorageUnavailableError,
)
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.plan import of_source
from credstore.testing.harness import fetched, put, request
from tests.strategies.weather import Weather, Weathered

KEY = "from"
BIG = bytes(range(256)) * 20_000
"""More than is checked in memory before it is sent on."""


class Member(MemoryDriver):
    """A member as the copier sees it: somebody else is let in before one of its calls."""

    def __init__(self, objects, turns):
        super().__init__(MemoryConfig(), objects=objects)
        self.turns = turns

    async def head(self, key, options=READ_ALL):
        await self.turns.step(key)
        return await super().head(key, options)

    async def get(self, key, options=READ_ALL):
        await self.turns.step(key)
        return await super().get(key, options)

    async def copy(self, order):
        await self.turns.step(order.source.key)
        return await super().copy(order)

    async def put(self, order):
        await self.turns.step(order.key)
        return await super().put(order)


class Turns:
    def __init__(self, at, act):
        self.at, self.act, self.steps = at, act, 0
        self.lock = asyncio.Lock()

    async def step(self, _):
        here, self.steps = self.steps == self.at, self.steps + 1
        if here:
            await self.act()


async def delete(driver):
    await driver.delete(KEY)


async def replace(driver):
    await put(driver, KEY, b"new")


async def delete_and_write(driver):
    await driver.delete(KEY)
    await put(driver, KEY, b"new")


async def remove_from_one(driver):
    """Not through the strategy, which heals."""
    await driver.members[0].driver.delete(KEY)


@pytest.mark.parametrize("size", [3, len(BIG)])
@pytest.mark.parametrize("having", [(0, 1, 2), (1, 2), (0, 2)])
@pytest.mark.parametrize("act", [delete, replace, delete_and_write, remove_from_one])
def test_a_copy_whose_source_changes_says_so(act, having, size):
    async def once(number):
        objects = [MemoryObjects() for _ in range(3)]
        members = [MemoryDriver(MemoryConfig(), objects=each) for each in objects]
        user = RedundantDriver(members, patience=60.0, prompt=False)
        await put(user, KEY, BIG[:size])
        source = await user.head(KEY)
        for index in {0, 1, 2} - set(having):
            await members[index].delete(KEY)
        turns = Turns(number, lambda: act(user))
        copier = RedundantDriver([Member(each, turns) for each in objects], patience=60.0)
        failure = None
        try:
            await copier.copy(CopyRequest(source=source, destination="to", write_id="c" * 32))
        except StorageError as error:
            failure = error
        ended = turns.steps <= number
        await copier.settled()
        await user.settled()
        copies = ["to" in each.by_key for each in objects]
        if failure is None:
            assert sum(copies) >= 2
            assert await fetched(user, "to") == BIG[:size]
        else:
            assert not ended
            definite = isinstance(failure, StorageObjectNotFoundError | StoragePreconditionFailedError)
            assert isinstance(failure, StorageConflictError) or definite
            assert definite or failure.retryable
            assert failure.applied == ("maybe" if any(copies) else "no")
        if act is not remove_from_one:
            assert await fetched(user, KEY) == (None if act is delete else b"new") or ended
        await copier.aclose()
        return ended

    async def main():
        for number in range(100):
            if await once(number):
                break
        assert 5 < number < 99

    asyncio.run(main())


class Slowly(Member):
    """A member that reads the source of a copy, lets somebody else in, and then puts the copy."""

    async def copy(self, order):
        async with await MemoryDriver.get(self, order.source.key) as reader:
            data = await reader.read()
        async with self.turns.lock:
            await self.turns.step(order.destination)
        late = dataclasses.replace(
            request(order.destination, data),
            write_id=order.write_id,
            system=order.system,
            precondition=order.precondition,
        )
        return await MemoryDriver.put(self, late)


@pytest.mark.parametrize(
    ("act", "able"), [(delete, True), (replace, True), (delete_and_write, True), (delete, False)]
)
def test_a_copy_onto_itself_brings_nothing_back(act, able):
    """As when data keys are wrapped again: it reads an object that somebody else deletes meanwhile."""

    async def once(number, early):
        objects = [MemoryObjects() for _ in range(3)]
        now = [1_700_000_000.0]
        members = [MemoryDriver(MemoryConfig(), objects=each) for each in objects]
        user = RedundantDriver(members, prompt=False, wall=lambda: now[0])
        await put(user, KEY, b"old")
        source = await user.head(KEY)
        turns = Turns(number, lambda: act(user))
        # Another process, whose clock is ahead of the one that deletes.
        slow = [Slowly(each, turns) for each in objects]
        for each in slow:
            each._capabilities = dataclasses.replace(each.capabilities, conditional_replace=able)
        copier = RedundantDriver(slow, wall=lambda: now[0] + early)
        copy = CopyRequest(
            source=source, destination=KEY, write_id="c" * 32, system={"credstore-wrapped": "again"}
        )
        with suppress(StorageError):
            await copier.copy(copy)
        await copier.settled()
        await user.settled()
        ended = turns.steps <= number
        assert await fetched(user, KEY) == (b"old" if ended else None if act is delete else b"new")
        if ended:
            assert (await user.head(KEY)).system == {"credstore-wrapped": "again"}
        await copier.aclose()
        return ended

    async def main():
        for early in (0.0, 5.0):
            for number in range(100):
                if await once(number, early):
                    break
            assert 5 < number < 99

    asyncio.run(main())


@pytest.mark.parametrize("ended", [True, False])
def test_a_copy_waits_for_the_last_member_where_the_others_say_that_the_source_is_gone(ended):
    """Else it would not be known what becomes of it there, though all are well."""

    async def main():
        go = asyncio.Event()

        class Slow(Weathered):
            async def copy(self, request):
                await go.wait()
                return await super().copy(request)

        class Quick(Weathered):
            async def copy(self, request):
                await MemoryDriver.delete(self, KEY)
                return await super().copy(request)

        members = [Quick("m0"), Quick("m1"), Slow("m2")]
        driver = RedundantDriver(members, prompt=False)
        await put(driver, KEY)
        source = await driver.head(KEY)
        order = CopyRequest(source=source, destination="to", write_id="c" * 32)
        task = asyncio.create_task(driver.copy(order))
        for _ in range(50):
            await asyncio.sleep(0)
        if ended:
            await MemoryDriver.delete(members[2], KEY)
        go.set()
        with pytest.raises(StorageObjectNotFoundError if ended else StorageConflictError) as caught:
            await task
        assert caught.value.applied == ("no" if ended else "maybe")
        assert ["to" in each._objects.by_key for each in members] == [False, False, not ended]
        await driver.aclose()

    asyncio.run(main())


def test_a_member_that_is_down_is_no_change_of_the_source():
    async def main():
        class Gone(Weathered):
            async def copy(self, request):
                raise StorageObjectNotFoundError("there is no such object")

        members = [Gone("m0"), Gone("m1"), Weathered("m2")]
        driver = RedundantDriver(members, prompt=False)
        await put(driver, KEY)
        source = await driver.head(KEY)
        members[2].weather = Weather.DOWN
        with pytest.raises(StorageQuorumError):
            await driver.copy(CopyRequest(source=source, destination="to", write_id="c" * 32))
        await driver.aclose()

    asyncio.run(main())


def test_of_several_errors_one_that_is_no_change_counts():
    gone, other = StorageObjectNotFoundError("gone"), StoragePreconditionFailedError("another")
    down = StorageUnavailableError("down")

    def told(*errors):
        outcomes = tuple(ReplicaOutcome(replica="m", applied="no", error=error) for error in errors)
        return of_source(StorageQuorumError("0 of 2", outcomes=outcomes, applied="no"))

    assert type(told(gone, other)) is type(told(gone, None)) is StorageConflictError
    assert told(gone, other).retryable
    assert type(told(gone, down)) is type(told(None, None)) is StorageQuorumError


def test_a_wrong_request_is_raised_though_another_member_is_slow():
    async def main():
        class Refuses(Weathered):
            async def put(self, request):
                raise StorageInvalidRequestError("no", applied="no")

        class Slow(Weathered):
            async def put(self, request):
                await asyncio.Event().wait()

        driver = RedundantDriver([Refuses("m0"), Slow("m1"), Slow("m2")])
        with pytest.raises(StorageInvalidRequestError):
            await put(driver, KEY)
        await driver.aclose()

    asyncio.run(main())


def test_a_replica_whose_source_is_deleted_meanwhile_is_no_difference():
    async def main():
        members = [Weathered(f"m{number}") for number in range(3)]
        driver = RedundantDriver(members, prompt=False)
        await put(driver, KEY)
        await MemoryDriver.delete(members[2], KEY)
        get = members[0].get

        async def gone(key, options=READ_ALL):
            members[0].get = get
            await driver.delete(KEY)
            return await get(key, options)

        members[0].get = gone
        report = await driver.scrubber.scrub(deep=False)
        assert all(each.mended for each in report.findings), report.findings
        assert await fetched(driver, KEY) is None
        await driver.aclose()

    asyncio.run(main())
