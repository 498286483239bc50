"""Several things at once: order, bound, and nothing left running."""

import asyncio

import pytest

from credstore.proofs.store.concurrency import both, map_in_order


async def value(result, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    if isinstance(result, BaseException):
        raise result
    return result


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("second", [0, 1, 5])
def test_both_results(first, second):
    async def run():
        assert await both(value(1, first), lambda: value(2, second)) == (1, 2)
        for one, two in ((KeyError(), 2), (1, KeyError()), (KeyError(), ValueError())):
            with pytest.raises((KeyError, ValueError)):
                await both(value(one, first), lambda two=two: value(two, second))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_both_wait_at_the_same_time():
    async def run():
        meet = asyncio.Barrier(2)
        await asyncio.wait_for(both(meet.wait(), meet.wait), 5)

    asyncio.run(run())


@pytest.mark.parametrize("turns", range(4))
def test_cancelling_reaches_both(turns):
    ended = []

    async def for_ever(name):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def run():
        task = asyncio.ensure_future(both(for_ever("first"), lambda: for_ever("second")))
        for _ in range(turns + 2):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == ["first", "second"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_timeout_within_the_first_is_its_own():
    async def slow():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        return "went on"

    async def run():
        assert await both(slow(), lambda: value(2, 3)) == ("went on", 2)

    asyncio.run(run())


def test_leaving_both_unfinished_closes_the_first():
    closed = []

    async def first():
        try:
            await asyncio.sleep(10)
        finally:
            closed.append(1)

    async def run():
        waiting = both(first(), lambda: value(2))
        waiting.send(None)
        waiting.close()
        await asyncio.sleep(0)
        assert closed == [1]

    asyncio.run(run())


def test_order_and_bound():
    async def run():
        running = most = 0

        async def work(number):
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range((number * 7) % 5):
                await asyncio.sleep(0)
            running -= 1
            return number

        found = [each async for each in map_in_order(range(50), work, at_once=4)]
        assert found == list(range(50))
        assert most == 4

    asyncio.run(run())


def test_an_error_ends_those_under_way():
    async def run():
        async def work(number):
            if number == 3:
                raise KeyError(number)
            await asyncio.sleep(0 if number < 3 else 100)

        with pytest.raises(KeyError):
            async for _ in map_in_order(range(10), work, at_once=5):
                pass
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_the_source_is_closed():
    closed = []

    async def source():
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(1)

    async def run():
        results = map_in_order(source(), value, at_once=2)
        async for _ in results:
            break
        await results.aclose()
        assert closed == [1]

    asyncio.run(run())
