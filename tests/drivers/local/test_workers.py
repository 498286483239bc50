"""A call in a thread whose task is cancelled: it is waited for, its result closed, and its error looked at."""

import asyncio
import threading

import pytest

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
