"""Ranges: what is asked for one by one is done in runs of neighbours, each exactly once; without a cluster."""

import asyncio

import pytest
from distributed import KilledWorker
from hypothesis import given
from hypothesis import strategies as st

from credstore import (
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageObjectNotFoundError,
    StorageUnavailableError,
)
from credstore.cluster import working
from credstore.cluster.crew import HEAVIEST, LONGEST, Crew, LostClusterError
from credstore.cluster.messages import Answer, Failed, Job, Request
from credstore.cluster.places import FolderAt
from credstore.transfer.plan import Entry

JOB = Job(run="0" * 32, kind="transfer", places=(), reading=0)


class Pending:
    """A future of a cluster: done when the test says so."""

    def __init__(self, requests) -> None:
        self.requests = requests
        self.outcome = asyncio.get_running_loop().create_future()
        self.released = False

    def __await__(self):
        return self.outcome.__await__()

    def release(self) -> None:
        self.released = True


class FakeClient:
    """Takes ranges, and answers them at once or when the test says so."""

    def __init__(self, answer=None) -> None:
        self.answer = answer
        self.ranges: list[Pending] = []
        self.cancelled: list[Pending] = []
        self.finished: list[str] = []
        self.threads = {"a": 1}

    def submit(self, func, job, number, requests, *, key, pure, priority):
        assert key.startswith(f"credstore_{job.kind}-")
        self.ranges.append(Pending(requests))
        if self.answer is not None:
            self.answer(self.ranges[-1])
        return self.ranges[-1]

    async def nthreads(self):
        return self.threads

    async def cancel(self, futures, *, force):
        self.cancelled += futures

    async def run(self, func, run, *, on_error):
        self.finished.append(run)
        return {}


def well_done(pending: Pending) -> None:
    pending.outcome.set_result(Answer("w", tuple(each.entry.name for each in pending.requests)))


def entry(number: int, size: int = 0) -> Entry:
    return Entry(f"{number:06}", size, None, "", "")


@given(
    st.lists(st.integers(0, 2 * HEAVIEST), max_size=300),
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
)
def test_every_object_is_asked_for_once_in_ranges_of_neighbours(sizes, threads):
    async def run():
        client = FakeClient(well_done)
        crew = Crew(client, JOB, threads)
        entries = [entry(number, size) for number, size in enumerate(sizes)]
        got = await asyncio.gather(*(crew.ask(Request("copy", each)) for each in entries))
        assert got == [each.name for each in entries]
        asked = [request.entry for each in client.ranges for request in each.requests]
        assert asked == entries
        for each in client.ranges:
            assert len(each.requests) <= LONGEST
            weight = sum(request.entry.size for request in each.requests)
            assert weight <= HEAVIEST or len(each.requests) == 1
            assert each.released
        await crew.aclose()
        assert client.finished == [JOB.run]

    asyncio.run(run())


def test_no_more_ranges_are_under_way_than_workers_can_take():
    async def run():
        client = FakeClient()
        crew = Crew(client, JOB, [1, 1])
        asking = [asyncio.create_task(crew.ask(Request("copy", entry(number)))) for number in range(1_000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done = 0
        while done < len(client.ranges):
            assert len(client.ranges) - done <= 4
            well_done(client.ranges[done])
            done += 1
            for _ in range(6):
                await asyncio.sleep(0)
        assert [await each for each in asking] == [f"{number:06}" for number in range(1_000)]

    asyncio.run(run())


def test_one_object_that_fails_does_not_fail_its_neighbours():
    def answer(pending):
        results = tuple(
            Failed(StorageObjectNotFoundError("gone")) if each.entry.name == "000001" else each.entry.name
            for each in pending.requests
        )
        pending.outcome.set_result(Answer("w", results))

    async def run():
        crew = Crew(FakeClient(answer), JOB, [1])
        asked = (crew.ask(Request("copy", entry(number))) for number in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert (first, third) == ("000000", "000002")
    assert isinstance(second, StorageObjectNotFoundError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KilledWorker("task", None, 3), StorageUnavailableError),
        (StorageConnectionError("as it was raised"), StorageConnectionError),
        (RuntimeError("a mistake of ours"), RuntimeError),
    ],
)
def test_what_ends_a_range_reaches_everybody_who_asked(error, kind):
    async def run():
        crew = Crew(FakeClient(lambda pending: pending.outcome.set_exception(error)), JOB, [1])
        asked = (crew.ask(Request("copy", entry(number))) for number in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(run())
    assert [type(each) for each in found] == [kind] * 3
    if issubclass(kind, StorageError):  # Whoever names its object in one does not name it in the others.
        assert len({id(each) for each in found}) == 3
    if isinstance(error, KilledWorker):
        assert (found[0].code, found[0].applied, found[0].retryable) == ("WORKER_LOST", "maybe", False)


def test_a_scheduler_that_is_gone_ends_everything():
    from concurrent.futures import CancelledError

    async def run():
        crew = Crew(FakeClient(lambda pending: pending.outcome.set_exception(CancelledError())), JOB, [1])
        await crew.ask(Request("copy", entry(1)))

    with pytest.raises(LostClusterError) as lost:
        asyncio.run(run())
    assert lost.value.error.code == "CLUSTER_UNREACHABLE"


def test_bytes_are_counted_as_they_move_and_once_though_a_range_is_done_again():
    async def run():
        client = FakeClient()
        crew = Crew(client, JOB, [1])
        seen = []

        async def flow(size):
            seen.append(size)

        crew.flow = flow
        asked = asyncio.create_task(crew.ask(Request("copy", entry(1))))
        while not client.ranges:
            await asyncio.sleep(0)
        await crew.hear((0.0, {"range": 1, "moved": 70}))  # By a worker that dies,
        await crew.hear((0.0, {"range": 1, "moved": 60}))  # and by the one that does it again.
        await crew.hear((0.0, {"range": 9, "moved": 5}))  # From a range that is over.
        client.ranges[0].outcome.set_result(Answer("w", ("done",), 100))
        await asked
        return seen

    assert asyncio.run(run()) == [70, 60, -30]


def test_closing_cancels_what_workers_have_and_what_waits():
    async def run():
        client = FakeClient()
        crew = Crew(client, JOB, [1])
        asking = [asyncio.create_task(crew.ask(Request("copy", entry(number)))) for number in range(500)]
        while not client.ranges:
            await asyncio.sleep(0)
        await crew.aclose()
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert set(client.cancelled) == set(client.ranges)
        assert all(each.released for each in client.ranges)
        assert client.finished == [JOB.run]
        return len(client.ranges)

    assert asyncio.run(run()) == 2


def test_who_has_gone_is_not_worked_for():
    async def run():
        client = FakeClient(well_done)
        crew = Crew(client, JOB, [1])
        gone = asyncio.ensure_future(crew.ask(Request("copy", entry(1))))
        stays = asyncio.ensure_future(crew.ask(Request("copy", entry(2))))
        while not crew._waiting:
            await asyncio.sleep(0)
        gone.cancel()
        await stays
        return [request.entry.name for each in client.ranges for request in each.requests]

    assert asyncio.run(run())[-1] == "000002"


def test_a_worker_that_comes_later_must_find_the_same(tmp_path):
    """What was agreed on before it came is compared when it opens the job."""
    (tmp_path / "a").mkdir()
    places = (FolderAt(str(tmp_path / "a")), FolderAt(str(tmp_path / "b")))
    job = Job(run="1" * 32, kind="transfer", places=places, reading=1, facts={"the source": "another"})
    with pytest.raises(StorageConfigurationError, match="the source is another one there than for others"):
        asyncio.run(working.prepare(job))


def test_workers_are_counted_again_now_and_then(monkeypatch):
    monkeypatch.setattr("credstore.cluster.crew.RECOUNT", 0)

    async def run():
        client = FakeClient(well_done)
        crew = Crew(client, JOB, [1])
        widths = [crew.width]
        for threads in ({"a": 1, "b": 2}, {}):
            client.threads = threads
            await crew.ask(Request("copy", entry(1)))
            widths.append(crew.width)
        return widths

    assert asyncio.run(run()) == [2 * LONGEST, 5 * LONGEST, 5 * LONGEST]
