"""A call in a thread whose task is cancelled: it is waited for, its result closed, and its error looked at."""

import asyncio
import threading

import pytest

from credstore.drivers.local import workers as workers_module
from credstore.drivers.local.workers import Workers, _Results


class Result:
    """What a call opened."""

    closed = False

    def close(self):
        self.closed = True


def ended(main):
    """What `main(workers)` returns, and what nobody looked at meanwhile."""
    unseen = []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        workers = Workers(1)
        try:
            return await main(workers)
        finally:
            workers.close()

    found = asyncio.run(run())
    return found, unseen


def held(result=None, error=None):
    """A call that tells when it has begun and waits until it may end."""
    begun, free = threading.Event(), threading.Event()

    def work():
        begun.set()
        assert free.wait(60)
        if error is not None:
            raise error
        return result

    return work, begun, free


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("error", [None, OSError(5, "broken")])
def test_a_cancellation_waits_for_the_thread(times, error):
    result = Result()

    async def main(workers):
        work, begun, free = held(result, error)
        task = asyncio.ensure_future(workers.run(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await workers.run(lambda: "next")

    assert ended(main) == ("next", [])
    assert result.closed == (error is None)


@pytest.mark.parametrize("taken", [False, True])
def test_a_cancellation_as_the_thread_ends_leaves_nothing_open(taken, monkeypatch):
    """The loop has not taken the result yet, or has and the task has not."""
    result, tasks = Result(), []
    deliver = _Results._deliver

    def delivering(results):
        if taken:
            deliver(results)
        tasks[0].cancel()
        if not taken:
            deliver(results)

    monkeypatch.setattr(_Results, "_deliver", delivering)

    async def main(workers):
        tasks.append(asyncio.ensure_future(workers.run(lambda: result)))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    assert ended(main) == (None, [])
    assert result.closed


def test_what_has_not_begun_never_begins():
    async def main(workers):
        work, begun, free = held()
        first = asyncio.ensure_future(workers.run(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        called = []
        second = asyncio.ensure_future(workers.run(called.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        free.set()
        await first
        return called

    assert ended(main) == ([], [])


def with_workers(most, main):
    """What `main(workers)` returns."""

    async def run():
        workers = Workers(most)
        try:
            return await main(workers)
        finally:
            workers.close()

    return asyncio.run(run())


@pytest.fixture
def never_stalled(monkeypatch):
    monkeypatch.setattr(workers_module, "STALLED", 3600)


@pytest.mark.usefixtures("never_stalled")
def test_quick_calls_have_one_thread():
    async def main(workers):
        calls = [workers.run(threading.get_ident, quick=True) for _ in range(200)]
        return set(await asyncio.gather(*calls))

    assert len(with_workers(8, main)) == 1


def test_quick_calls_that_wait_for_a_disk_get_threads_of_their_own():
    meeting = threading.Barrier(4)

    async def main(workers):
        return await asyncio.gather(*(workers.run(meeting.wait, 60, quick=True) for _ in range(4)))

    assert sorted(with_workers(4, main)) == [0, 1, 2, 3]


def test_more_quick_calls_than_threads_that_wait_for_a_disk_all_end():
    meeting = threading.Barrier(2)

    async def main(workers):
        return await asyncio.gather(*(workers.run(meeting.wait, 60, quick=True) for _ in range(6)))

    assert sorted(with_workers(2, main)) == [0, 0, 0, 1, 1, 1]


@pytest.mark.usefixtures("never_stalled")
def test_a_quick_call_does_not_wait_for_a_long_one():
    async def main(workers):
        work, begun, free = held("long")
        long = asyncio.ensure_future(workers.run(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        assert await workers.run(lambda: "quick", quick=True) == "quick"
        free.set()
        return await long

    assert with_workers(2, main) == "long"


@pytest.mark.usefixtures("never_stalled")
def test_a_quick_call_does_not_wait_for_a_long_one_that_was_begun_after_it():
    async def main(workers):
        first, first_begun, first_free = held("first")
        running = [asyncio.ensure_future(workers.run(first, quick=True))]
        while not first_begun.is_set():
            await asyncio.sleep(0)
        other, other_begun, other_free = held("other")
        running.append(asyncio.ensure_future(workers.run(other)))  # Has the second thread.
        while not other_begun.is_set():
            await asyncio.sleep(0)
        long, long_begun, long_free = held("long")
        running.append(asyncio.ensure_future(workers.run(long)))  # Takes the third.
        while not long_begun.is_set():
            await asyncio.sleep(0)
        waits = asyncio.ensure_future(workers.run(lambda: "quick", quick=True))
        await asyncio.sleep(0)
        first_free.set()
        assert await waits == "quick"
        other_free.set()
        long_free.set()
        return await asyncio.gather(*running)

    assert with_workers(3, main) == ["first", "other", "long"]


@pytest.mark.usefixtures("never_stalled")
def test_a_thread_that_takes_a_long_call_leaves_the_quick_ones_behind_it_to_another():
    async def main(workers):
        first, begun, free = held("first")
        # With two threads, both at work: what is queued is a long call and a quick one behind it.
        running = [asyncio.ensure_future(workers.run(first, quick=True))]
        second, second_begun, second_free = held("second")
        running.append(asyncio.ensure_future(workers.run(second)))
        while not (begun.is_set() and second_begun.is_set()):
            await asyncio.sleep(0)
        third, third_begun, third_free = held("third")
        running.append(asyncio.ensure_future(workers.run(third)))
        waits = asyncio.ensure_future(workers.run(lambda: "quick", quick=True))
        await asyncio.sleep(0)
        second_free.set()  # Its thread takes the third, and ends with it.
        while not third_begun.is_set():
            await asyncio.sleep(0)
        free.set()
        assert await waits == "quick"
        third_free.set()
        return await asyncio.gather(*running)

    assert with_workers(2, main) == ["first", "second", "third"]


def test_one_thread_does_everything():
    async def main(workers):
        calls = [workers.run(lambda number=number: number, quick=number % 2 == 0) for number in range(20)]
        return await asyncio.gather(*calls)

    assert with_workers(1, main) == list(range(20))
