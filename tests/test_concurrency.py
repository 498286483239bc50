"""Several things at once: order, bound, and nothing left running."""

import asyncio
import gc
import threading
from contextlib import aclosing

import pytest

from credstore.concurrency import (
    Done,
    Joint,
    begin,
    both,
    for_each,
    in_thread,
    map_all,
    map_in_order,
    one_ahead,
    opened_in_thread,
    until_done,
)
from credstore.errors import StorageUnavailableError


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


def test_an_item_is_taken_when_there_is_room():
    taken = []

    def source():
        for number in range(10):
            taken.append(number)
            yield number

    async def run():
        async with aclosing(map_in_order(source(), value, at_once=3)) as results:
            assert await anext(results) == 0
            assert taken == [0, 1, 2]
            assert await anext(results) == 1
            assert taken == [0, 1, 2, 3]

    asyncio.run(run())


def test_further_cancels_disturb_nothing_that_is_ending():
    async def run(many):
        held, ended = asyncio.Event(), []

        async def work(number):
            try:
                await asyncio.Event().wait()
            finally:
                if number:
                    await held.wait()
                ended.append(number)

        task = asyncio.ensure_future(many(work))
        for _ in range(3):
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == [0, 1, 2]
        assert len(asyncio.all_tasks()) == 1

    async def in_order(work):
        async with aclosing(map_in_order(range(3), work, at_once=3)) as results:
            async for _ in results:
                pass

    async def all_of(work):
        await map_all(range(3), work, at_once=3)

    asyncio.run(run(in_order))
    asyncio.run(run(all_of))


@pytest.mark.parametrize("count", [0, 1, 2, 50])
@pytest.mark.parametrize("kind", [list, iter])
def test_all_results_in_the_order_of_the_items(count, kind):
    async def run():
        running = most = 0

        async def work(number):
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range((number * 7) % 5 + 1):
                await asyncio.sleep(0)
            running -= 1
            return number

        assert await map_all(kind(list(range(count))), work, at_once=4) == list(range(count))
        assert most == min(count, 4)

    asyncio.run(run())


def test_a_slow_item_holds_up_no_other():
    async def run():
        last = asyncio.Event()

        async def work(number):
            if number == 0:
                await last.wait()
            if number == 9:
                last.set()
            return number

        assert await asyncio.wait_for(map_all(range(10), work, at_once=2), 30) == list(range(10))

    asyncio.run(run())


def test_one_item_needs_no_task():
    async def run():
        async def work(number):
            return asyncio.current_task()

        assert await map_all([1], work, at_once=4) == [asyncio.current_task()]

    asyncio.run(run())


def test_the_first_error_comes_alone_and_ends_all():
    ended = []

    async def run():
        async def work(number):
            try:
                if number == 3:
                    raise KeyError(number)
                await asyncio.Event().wait()
            finally:
                ended.append(number)

        with pytest.raises(KeyError):
            await map_all(range(10), work, at_once=5)
        assert sorted(ended) == [0, 1, 2, 3, 4]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_an_error_of_the_source_comes_alone_and_closes_it():
    closed = []

    async def source():
        try:
            yield 1
            yield 2
            raise KeyError
        finally:
            closed.append(1)

    async def run():
        async def work(number):
            await asyncio.Event().wait()

        with pytest.raises(KeyError):
            await map_all(source(), work, at_once=5)
        assert closed == [1]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_the_source_is_read_by_the_callers_task_when_there_is_room():
    async def run():
        tasks, running = set(), 0

        async def source():
            for number in range(20):
                assert running < 3
                tasks.add(asyncio.current_task())
                yield number

        async def work(number):
            nonlocal running
            running += 1
            for _ in range(number % 4):
                await asyncio.sleep(0)
            running -= 1

        await map_all(source(), work, at_once=3)
        assert tasks == {asyncio.current_task()}

    asyncio.run(run())


def test_a_cancelled_thread_is_waited_for():
    go, done = threading.Event(), []

    def work():
        assert go.wait(600)
        done.append(1)
        raise KeyError

    async def run():
        task = asyncio.ensure_future(in_thread(work))
        for _ in range(2):
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == [1]

    asyncio.run(run())


def test_in_a_thread_results_and_errors_are_the_callers():
    async def run():
        assert await in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 7, 0)
        assert await until_done([]) is None

    asyncio.run(run())


class Source:
    """Numbers, each fetched when it is let go; remembers what was asked for and what was cut short."""

    def __init__(self, most, fail_at=None):
        self.most, self.fail_at = most, fail_at
        self.asked = self.cut = 0
        self.gate = asyncio.Semaphore(0)

    async def fetch(self):
        number = self.asked
        self.asked += 1
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        if number == self.fail_at:
            raise KeyError(number)
        return number, number + 1 < self.most


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def test_the_next_one_is_fetched_while_one_is_consumed_and_no_more():
    async def run():
        source = Source(4)
        for _ in range(4):
            source.gate.release()
        seen = []
        async for number in one_ahead(source.fetch):
            seen.append(number)
            await turns()
            assert source.asked == min(number + 2, 4)
            assert len(asyncio.all_tasks()) <= 2
        assert seen == [0, 1, 2, 3]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_one_alone_takes_no_task():
    async def run():
        source = Source(1)
        source.gate.release()
        async for _ in one_ahead(source.fetch):
            await turns()
            assert len(asyncio.all_tasks()) == 1
        assert source.asked == 1

    asyncio.run(run())


def test_what_is_fetched_ahead_ends_with_its_consumer():
    async def run():
        source = Source(9)
        source.gate.release()
        async with aclosing(one_ahead(source.fetch)) as found:
            assert await anext(found) == 0
            await turns()
            assert source.asked == 2
        assert (source.cut, len(asyncio.all_tasks())) == (1, 1)

    asyncio.run(run())


def test_a_cancel_reaches_what_is_fetched_ahead():
    async def run():
        source = Source(9)
        source.gate.release()

        async def consume():
            async with aclosing(one_ahead(source.fetch)) as found:
                async for _ in found:
                    pass

        task = asyncio.ensure_future(consume())
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (source.cut, len(asyncio.all_tasks())) == (1, 1)

    asyncio.run(run())


def test_an_error_ahead_comes_in_its_turn_and_is_never_lost_or_reported_twice():
    reports = []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        for consumed in (1, 2):
            source = Source(9, fail_at=1)
            for _ in range(3):
                source.gate.release()
            async with aclosing(one_ahead(source.fetch)) as found:
                assert await anext(found) == 0
                await turns()
                if consumed == 2:
                    with pytest.raises(KeyError):
                        await anext(found)
            assert source.asked == 2
        del found, source
        gc.collect()
        await turns()

    asyncio.run(run())
    assert reports == []


@pytest.mark.parametrize("waits", [0, 1, 3])
def test_what_need_not_wait_is_done_at_once_and_the_rest_is_awaited(waits):
    async def result(work):
        started = begin(work)
        assert isinstance(started, Done) == (waits == 0)
        return started.value if isinstance(started, Done) else await started

    async def run():
        assert await result(value(5, waits)) == 5
        with pytest.raises(KeyError):
            await result(value(KeyError(), waits))

    asyncio.run(run())


def test_a_time_limit_reaches_what_was_begun_before_it():
    ended = []

    async def for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def run():
        started = begin(for_ever())
        assert not isinstance(started, Done)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await started
        assert ended == [True]

    asyncio.run(run())


class Counted:
    """Work that waits for a gate and counts how often it was begun."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.begun = 0
        self.gate = asyncio.Event()

    async def __call__(self):
        self.begun += 1
        await self.gate.wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_one_run_is_for_all_who_ask_meanwhile_and_no_one_later():
    async def run():
        joint, work, other = Joint(), Counted(1, 2), Counted(3)
        asked = [asyncio.ensure_future(joint.result("a", work)) for _ in range(5)]
        apart = asyncio.ensure_future(joint.result("b", other))
        await asyncio.sleep(0)
        work.gate.set()
        other.gate.set()
        assert [await each for each in (*asked, apart)] == [1] * 5 + [3]
        assert await joint.result("a", work) == 2
        assert (work.begun, other.begun, joint._turns) == (2, 1, {})

    asyncio.run(run())


@pytest.mark.parametrize(
    "error", [OSError(5, "mine"), StorageUnavailableError("mine", code="SLOW_DOWN", retry_after=3.0)]
)
def test_each_who_shares_a_run_gets_its_error_for_himself(error):
    async def run():
        joint, work = Joint(), Counted(error)
        asked = [asyncio.ensure_future(joint.result("a", work)) for _ in range(3)]
        await asyncio.sleep(0)
        work.gate.set()
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert work.begun == 1
        assert errors[0] is error
        assert len({id(each) for each in errors}) == 3
        assert {(type(each), str(each)) for each in errors} == {(type(error), str(error))}

    asyncio.run(run())


@pytest.mark.parametrize("gone", range(4))
def test_who_stops_waiting_stops_no_one_else(gone):
    async def run():
        joint, work = Joint(), Counted(1)
        asked = [asyncio.ensure_future(joint.result("a", work)) for _ in range(4)]
        await asyncio.sleep(0)
        asked[gone].cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        work.gate.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found.pop(gone), asyncio.CancelledError)
        assert found == [1] * 3
        assert work.begun == (2 if gone == 0 else 1)
        assert (len(asyncio.all_tasks()), joint._turns) == (1, {})

    asyncio.run(run())


async def numbers(count, closed=None):
    try:
        for number in range(count):
            yield number
    finally:
        if closed is not None:
            closed.append(True)


def test_for_each_keeps_the_bound_of_the_moment():
    async def run():
        under_way, most, done = set(), [], []

        async def work(number):
            under_way.add(number)
            most.append(len(under_way))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            under_way.remove(number)
            done.append(number)

        bound = iter([1, 1, 1, 4, 4, 4] + [2] * 1000)
        await for_each(numbers(50), work, at_once=lambda: next(bound))
        assert sorted(done) == list(range(50))
        assert max(most) <= 4
        assert max(most[-30:]) <= 2
        await for_each(numbers(3), work, at_once=lambda: 0)
        assert sorted(done)[-3:] == [47, 48, 49]

    asyncio.run(run())


@pytest.mark.parametrize("ending", ["error", "cancelled", "source"])
def test_for_each_ends_everything_when_one_fails(ending):
    async def run():
        closed, cancelled = [], []

        async def work(number):
            if number == 3 and ending == "error":
                raise KeyError
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        async def failing():
            try:
                for number in range(3):
                    yield number
                    await asyncio.sleep(0)
                raise KeyError
            finally:
                closed.append(True)

        source = failing() if ending == "source" else numbers(10, closed)
        task = asyncio.ensure_future(for_each(source, work, at_once=lambda: 5))
        for _ in range(20):
            await asyncio.sleep(0)
        if ending == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if ending == "cancelled" else KeyError):
            await task
        assert closed
        assert len(cancelled) == {"error": 4, "cancelled": 5, "source": 3}[ending]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


@pytest.mark.parametrize("what", ["opened", "nothing", "error"])
def test_what_is_opened_for_one_who_is_cancelled_is_closed(what):
    closed = []

    class Opened:
        def close(self):
            closed.append(threading.current_thread())

    def opening(reached, done):
        reached()
        assert done.wait(600)
        if what == "error":
            raise KeyError
        return Opened() if what == "opened" else None

    async def run():
        done, reached = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(
            opened_in_thread(opening, lambda: loop.call_soon_threadsafe(reached.set), done)
        )
        await reached.wait()
        task.cancel()
        loop.call_soon(done.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        if what != "error":
            found = await opened_in_thread(opening, lambda: None, done)
            assert (found is None) == (what == "nothing")

    asyncio.run(run())
    assert len(closed) == (what == "opened")
    assert threading.main_thread() not in closed
