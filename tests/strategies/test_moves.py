"""Moves of a balanced store: what others do between any two of their steps stays done, also if one is cut off."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, CopyRequest, ReadOptions
from credstore.driver.values import BytesBody
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.strategies.balanced.claims import CLAIM, MOVED, SIZE
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.balanced.plan import ranking
from credstore.strategies.fallback.pages import NOTE
from credstore.testing.harness import fetched, keys, put, request

KEY = "key"
COUNT = 3
HOME, SECOND, THIRD = ranking(KEY, (1.0,) * COUNT)
ENDS = ("goes on", "cut off", "fails", "answer lost")


class Stage:
    """Where a caller of several stores is interrupted.

    Attributes:
        at: The step before which `act` is called.
        act: What somebody else does there.
        end: How it goes on for the caller: see `ENDS`.
        steps: How many there were so far.
    """

    def __init__(self, at, act, end="goes on"):
        self.at, self.act, self.end = at, act, end
        self.steps = 0
        self.dead = False

    async def step(self, *, applied=False):
        here = self.steps == self.at
        self.steps += 1
        if here:
            await self.act()
            self.dead = self.end == "cut off"
        if self.dead or (here and self.end == "fails" and not applied):
            raise StorageUnavailableError("it did not arrive", applied="no")
        if here and self.end == "answer lost" and applied:
            raise StorageConnectionError("no answer", applied="maybe")


class Staged(MemoryDriver):
    """A store as one caller sees it; each call has a step before it, one after it, and one inside a put."""

    def __init__(self, objects, label, stage=None):
        super().__init__(MemoryConfig(), objects=objects)
        self.label = label
        self.stage = stage

    @property
    def name(self):
        return self.label

    async def _staged(self, call):
        if self.stage is None:
            return await call()
        await self.stage.step()
        result = await call()
        await self.stage.step(applied=True)
        return result

    async def put(self, order):
        async def late():
            data = b"".join([chunk async for chunk in order.body.open()])
            if self.stage is not None:
                await self.stage.step()  # The bytes are on their way.
            return await super(Staged, self).put(replace(order, body=BytesBody(data)))

        return await self._staged(late)

    async def head(self, key, options=READ_ALL):
        return await self._staged(lambda: super(Staged, self).head(key, options))

    async def get(self, key, options=READ_ALL):
        return await self._staged(lambda: super(Staged, self).get(key, options))

    async def copy(self, order):
        """As a store that copies in parts: what it has read arrives later."""

        async def late():
            read = await MemoryDriver.get(self, order.source.key, ReadOptions(if_match=order.source.etag))
            body = BytesBody(b"".join([chunk async for chunk in read]))
            if self.stage is not None:
                await self.stage.step()
            system = read.info.system if order.system is None else order.system
            made = replace(request(order.destination, body.data), write_id=order.write_id)
            made = replace(made, system=system, precondition=order.precondition)
            return await super(Staged, self).put(made)

        return await self._staged(late)

    async def delete(self, key, **options):
        return await self._staged(lambda: super(Staged, self).delete(key, **options))

    async def list(self, prefix="", cursor=None, **options):
        return await self._staged(lambda: super(Staged, self).list(prefix, cursor, **options))

    async def aclose(self):
        """Outlive the drivers over it, as a cloud does."""


class Down(Staged):
    async def _staged(self, call):
        raise StorageUnavailableError("it is down", applied="no")


class Stores:
    """Three stores, used by one caller after the other."""

    def __init__(self):
        self.objects = [MemoryObjects() for _ in range(COUNT)]

    def driver(self, stage=None, down=()):
        return BalancedDriver(
            [
                (Down if index in down else Staged)(objects, f"m{index}", stage)
                for index, objects in enumerate(self.objects)
            ]
        )

    async def put_at(self, index, data=b"old"):
        await MemoryDriver(MemoryConfig(), objects=self.objects[index]).put(request(KEY, data))

    def holders(self):
        return [index for index, objects in enumerate(self.objects) if KEY in objects.by_key]

    def claims(self):
        return [
            index for index in self.holders() if CLAIM in (self.objects[index].by_key[KEY].info.system or {})
        ]

    async def check(self, wanted):
        """All that readers see."""
        user = self.driver()
        assert await fetched(user, KEY) == wanted
        assert await keys(user) == ([] if wanted is None else [KEY])
        if wanted is None:
            with pytest.raises(StorageNotFoundError):
                await user.head(KEY)
        else:
            info = await user.head(KEY)
            assert (info.size, info.system) == (len(wanted), {})
            [entry] = (await user.list()).entries
            if len(self.holders()) == 1:
                assert (entry.size, entry.served_by) == (info.size, info.served_by)


async def nothing(_):
    return b"old"


async def delete(stores):
    assert (await stores.driver().delete(KEY)).existed


async def write(stores):
    await put(stores.driver(), KEY, b"new")
    return b"new"


async def write_elsewhere(stores):
    result = await put(stores.driver(down=[HOME]), KEY, b"new")
    assert result.served_by == f"m{SECOND}"
    return b"new"


async def write_and_delete(stores):
    await write(stores)
    await delete(stores)


async def delete_and_write(stores):
    await delete(stores)
    return await write(stores)


async def copy_over(stores):
    user = stores.driver()
    await put(user, "other", b"new")
    await user.copy(CopyRequest(source=await user.head("other"), destination=KEY, write_id="7" * 32))
    await user.delete("other")
    return b"new"


async def move_too(stores):
    await stores.driver().rebalance()
    return b"old"


async def read(stores):
    user = stores.driver()
    assert await fetched(user, KEY) == b"old"
    etag = (await user.head(KEY)).etag
    reader = await user.get(KEY, ReadOptions(start=1, end=3, if_match=etag))
    assert b"".join([chunk async for chunk in reader]) == b"ld"
    with pytest.raises(StorageInvalidRequestError):
        await user.get(KEY, ReadOptions(start=4))
    assert await keys(user) == [KEY]
    [entry] = (await user.list()).entries
    assert entry.size == 3
    return b"old"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("at", [SECOND, THIRD])
@pytest.mark.parametrize(
    "act",
    [
        nothing,
        delete,
        write,
        write_elsewhere,
        write_and_delete,
        delete_and_write,
        copy_over,
        move_too,
        read,
    ],
)
def test_what_is_done_between_two_steps_of_a_move_stays_done(act, at, end):
    async def once(number):
        stores = Stores()
        await stores.put_at(at)
        wanted = b"old"

        async def meanwhile():
            nonlocal wanted
            wanted = await act(stores)
            await stores.check(wanted)

        stage = Stage(number, meanwhile, end)
        with suppress(StorageError):
            await stores.driver(stage).rebalance()
        await stores.check(wanted)
        for _ in range(2):
            await stores.driver().rebalance()
            await stores.check(wanted)
        assert not stores.claims()
        assert len(stores.holders()) == (wanted is not None) or act is write_elsewhere
        return stage.steps > number

    async def main():
        for number in range(100):
            if not await once(number):
                break
        assert number > 10

    asyncio.run(main())


@pytest.mark.parametrize("at", [HOME, SECOND, THIRD])
@pytest.mark.parametrize("act", [nothing, delete, write, delete_and_write, move_too])
def test_a_copy_onto_itself_brings_nothing_back(act, at):
    """As when data keys are wrapped again, also of an object that is not where it belongs."""

    async def once(number):
        stores = Stores()
        await stores.put_at(at)
        source = await stores.driver().head(KEY)
        wanted = b"old"

        async def meanwhile():
            nonlocal wanted
            wanted = await act(stores)

        stage = Stage(number, meanwhile)
        order = CopyRequest(source=source, destination=KEY, write_id="7" * 32, system={"credstore-a": "b"})
        with suppress(StorageError):
            await stores.driver(stage).copy(order)
        assert await fetched(stores.driver(), KEY) == wanted
        if act is nothing:
            assert (await stores.driver().head(KEY)).system == {"credstore-a": "b"}
            assert stores.holders() == [HOME]
        return stage.steps > number

    async def main():
        for number in range(100):
            if not await once(number):
                break
        assert number > 2

    asyncio.run(main())


@pytest.mark.parametrize("at", [SECOND, THIRD])
def test_a_delete_between_whose_steps_an_object_moves_ends_it(at):
    async def main():
        for number in range(100):
            stores = Stores()
            await stores.put_at(at)
            stage = Stage(number, stores.driver().rebalance)
            assert (await stores.driver(stage).delete(KEY)).existed
            await stores.check(None)
            assert not stores.holders()
            if stage.steps <= number:
                break

    asyncio.run(main())


@pytest.mark.parametrize("at", [SECOND, THIRD])
def test_a_delete_and_a_move_that_take_turns_leave_nothing(at):
    """The delete makes some steps, then the move some, then the delete the rest, then the move goes on."""

    async def once(first, second, end):
        stores = Stores()
        await stores.put_at(at)
        reached, go = asyncio.Event(), asyncio.Event()

        async def pause():
            reached.set()
            await go.wait()

        async def moving():
            with suppress(StorageError):
                await stores.driver(Stage(second, pause, end)).rebalance()

        mover = None

        async def begin():
            nonlocal mover
            mover = asyncio.create_task(moving())
            waiting = asyncio.create_task(reached.wait())
            await asyncio.wait([mover, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

        stage = Stage(first, begin)
        await stores.driver(stage).delete(KEY)
        go.set()
        if mover is not None:
            await mover
        await stores.check(None)
        return stage.steps > first

    async def main():
        for first in range(12):
            for second in range(40):
                for end in ENDS[:2]:
                    await once(first, second, end)

    asyncio.run(main())


@pytest.mark.parametrize("at", [SECOND, THIRD])
@pytest.mark.parametrize("how", ["get", "head"])
def test_a_read_between_whose_steps_an_object_moves_finds_it(at, how):
    async def main():
        for number in range(100):
            stores = Stores()
            await stores.put_at(at)
            stage = Stage(number, stores.driver().rebalance)
            user = stores.driver(stage)
            if how == "get":
                assert await fetched(user, KEY) == b"old"
            else:
                assert (await user.head(KEY)).size == 3
            if stage.steps <= number:
                break

    asyncio.run(main())


@pytest.mark.parametrize("at", [SECOND, THIRD])
def test_a_copy_between_whose_steps_its_source_moves_is_made(at):
    async def main():
        for number in range(100):
            stores = Stores()
            await stores.put_at(at)
            source = await stores.driver().head(KEY)
            stage = Stage(number, stores.driver().rebalance)
            for name in ("copy", "another", "third"):
                user = stores.driver(stage)
                await user.copy(CopyRequest(source=source, destination=name, write_id="7" * 32))
                assert await fetched(stores.driver(), name) == b"old"
            if stage.steps <= number:
                break

    asyncio.run(main())


def test_an_older_version_that_is_astray_does_not_hide_what_was_written_while_home_was_down():
    async def main():
        for places in ([THIRD], [THIRD, SECOND]):
            stores = Stores()
            for index in places:
                await stores.put_at(index)
            await write_elsewhere(stores)
            for _ in range(2):
                await stores.driver().rebalance()
                await stores.check(b"new")
            assert stores.holders() == [HOME]

    asyncio.run(main())


def test_what_was_moved_is_as_old_as_it_was_and_its_copies_are_not():
    async def main():
        stores = Stores()
        await stores.put_at(THIRD)
        user = stores.driver()
        before = await user.head(KEY)
        assert await user.rebalance() == 1
        after = await user.head(KEY)
        assert after.served_by == f"m{HOME}"
        assert abs((after.last_modified - before.last_modified).total_seconds()) < 0.001
        assert (after.write_id, after.digest, after.system) == (before.write_id, before.digest, {})
        reader = await user.get(KEY)
        assert (reader.info.last_modified, reader.info.system) == (after.last_modified, {})
        for number in range(6):
            name = f"copy/{number}"
            await user.copy(CopyRequest(source=after, destination=name, write_id=f"{number:032x}"))
            assert (await user.head(name)).last_modified > after.last_modified
            for objects in stores.objects:
                assert MOVED not in ((name in objects.by_key and objects.by_key[name].info.system) or {})

    asyncio.run(main())


def test_an_object_of_the_size_of_a_claim_is_listed():
    async def main():
        stores = Stores()
        user = stores.driver()
        data = b"x" * SIZE
        await stores.put_at(THIRD, data)
        await put(user, KEY, data)
        assert await keys(user) == [KEY]
        assert await user.rebalance() == 0
        assert await keys(user) == [KEY]
        assert stores.holders() == [HOME]

    asyncio.run(main())


def test_a_claim_that_was_left_is_no_object_to_anyone():
    async def main():
        stores = Stores()
        await stores.put_at(THIRD)

        async def nobody():
            pass

        for number in range(100):
            with suppress(StorageError):
                await stores.driver(Stage(number, nobody, "cut off")).rebalance()
            if stores.claims():
                break
        # As by a delete that was cut off.
        await MemoryDriver(MemoryConfig(), objects=stores.objects[THIRD]).delete(KEY)
        assert stores.claims() == [HOME]
        user = stores.driver()
        await stores.check(None)
        assert (await user.list(delimiter="/")).entries == []
        with pytest.raises(StorageNotFoundError):
            await user.get(KEY, ReadOptions(start=10_000))
        with pytest.raises(StorageNotFoundError):
            await user.get(KEY, ReadOptions(if_match="another"))
        with pytest.raises(StorageNotFoundError):
            await user.head(KEY, ReadOptions(if_match="another"))
        assert await user.rebalance() == 0
        assert not stores.holders()

    asyncio.run(main())


def test_a_home_that_cannot_replace_a_version_takes_part_only_alone():
    async def main():
        stores = Stores()
        await stores.put_at(SECOND)
        user = stores.driver()
        able = replace(user._members[HOME].driver.capabilities, conditional_replace=False)
        user._stores[HOME]._capabilities = able
        with pytest.raises(StorageUnsupportedError, match="exclusive"):
            await user.rebalance()
        assert await user.rebalance(exclusive=True) == 1
        assert stores.holders() == [HOME]

    asyncio.run(main())


class Winding(Staged):
    """A store whose calls take their time, now and then are cut off, and now and then lose their answer."""

    def __init__(self, objects, label, rnd, trouble):
        super().__init__(objects, label, self)
        self.rnd, self.trouble = rnd, trouble

    async def step(self, *, applied=False):
        for _ in range(self.rnd.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        if self.rnd.random() < self.trouble:
            if applied:
                raise StorageConnectionError("no answer", applied="maybe")
            raise StorageUnavailableError("it did not arrive", applied="no")


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_acknowledged_while_stores_rebalance_stays_so(seed):
    rnd = random.Random(seed)

    async def main():
        stores = Stores()
        names = [f"k{number}" for number in range(6)]
        model = {}
        stop = False

        def driver(trouble=0.0):
            return BalancedDriver(
                [Winding(objects, f"m{index}", rnd, trouble) for index, objects in enumerate(stores.objects)]
            )

        async def use(name):
            user = driver()
            for number in range(12):
                if rnd.random() < 0.6:
                    data = f"{name} {number}".encode()
                    if rnd.random() < 0.5:  # By somebody with other weights.
                        await user.delete(name)
                        index = rnd.randrange(COUNT)
                        store = MemoryDriver(MemoryConfig(), objects=stores.objects[index])
                        await store.put(request(name, data))
                    else:
                        await put(user, name, data)
                    model[name] = data
                else:
                    await user.delete(name)
                    model.pop(name, None)
                assert await fetched(user, name) == model.get(name)
                await asyncio.sleep(0)

        async def move(trouble):
            while not stop:
                task = asyncio.create_task(driver(trouble).rebalance())
                if rnd.random() < 0.3:
                    for _ in range(rnd.randrange(60)):
                        await asyncio.sleep(0)
                    task.cancel()
                with suppress(StorageError, asyncio.CancelledError):
                    await task
                await asyncio.sleep(0)

        movers = [asyncio.create_task(move(trouble)) for trouble in (0.0, 0.0, 0.02)]
        try:
            await asyncio.gather(*map(use, names))
        finally:
            stop = True
            await asyncio.wait(movers)
        user = driver()
        for _ in range(2):
            for name in names:
                assert await fetched(user, name) == model.get(name)
            assert await keys(user) == sorted(model)
            await user.rebalance()
        held = [name for objects in stores.objects for name in objects.by_key if name != NOTE]
        assert sorted(held) == sorted(model)

    asyncio.run(main())
