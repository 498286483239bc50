"""A read that takes long is asked for again, one in twenty at most; a write never."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageAccessDeniedError, StorageUnavailableError
from credstore.wire.hedge import SHARE, SHORTEST, Hedging
from tests.wire.server import answer, stall
from tests.wire.test_exchange import Rig, run

NEVER = 3600.0
"""Seconds that no answer takes, on whatever machine."""


def taught(rig: Rig, *, tokens=5.0, slow_after=SHORTEST):
    """Hedging that calls slow what takes longer than `slow_after` seconds."""
    rig.exchange._hedging = hedging = Hedging(shortest=slow_after)
    for _ in range(Hedging.LEAST):
        hedging.seen(0.0)
    hedging.tokens = tokens
    return hedging


def test_slow_is_what_95_of_100_are_not():
    hedging = Hedging()
    assert hedging.delay() is None
    for number in range(100):
        hedging.seen(0.01 * number)
    assert 0.9 <= hedging.delay() <= 0.97
    for _ in range(Hedging.KEPT + Hedging.LEAST):
        hedging.seen(0.0)
    assert hedging.delay() == SHORTEST


@given(st.lists(st.booleans(), max_size=2000))
def test_hedges_are_a_twentieth_of_the_reads(wishes):
    hedging, spent = Hedging(), 0
    for wish in wishes:
        spent += wish and hedging.spend()
        hedging.seen(0.1)
    assert spent <= 1 + SHARE * len(wishes)


def test_the_second_request_serves_a_read_whose_first_hangs():
    async def check(rig: Rig):
        taught(rig)
        gone = asyncio.Event()
        rig.server.then(stall(gone=gone), answer(200, b"second"))
        reply = await rig.call("GET")
        assert reply.body == b"second"
        await gone.wait()  # The first one's connection was dropped.
        assert len(rig.server.seen) == 2

    run(check)


def test_a_stream_that_lost_is_closed():
    async def check(rig: Rig):
        taught(rig)
        both, gone = asyncio.Barrier(2), asyncio.Barrier(3)

        async def act(_seen, peer):
            await both.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await peer.gone()
            await gone.wait()
            return False

        rig.server.then(act)
        reply = await rig.call("GET", stream=True)
        await reply.response.aclose()
        await gone.wait()

    run(check)


def test_without_a_hedge_left_there_is_one_request():
    async def check(rig: Rig):
        taught(rig, tokens=0.0)
        go = asyncio.Event()

        async def slow(_seen, peer):
            await go.wait()
            return await answer(200, b"first")(_seen, peer)

        rig.server.then(slow)
        reading = asyncio.ensure_future(rig.call("GET"))
        done, _ = await asyncio.wait([reading], timeout=4 * SHORTEST)
        assert not done
        go.set()
        assert (await reading).body == b"first"
        assert len(rig.server.seen) == 1

    run(check)


def test_a_write_is_never_hedged():
    async def check(rig: Rig):
        hedging = taught(rig)
        go = asyncio.Event()

        async def slow(_seen, peer):
            await go.wait()
            return await answer(200, b"ok")(_seen, peer)

        rig.server.then(slow)
        writing = asyncio.ensure_future(rig.call("PUT", body=b"x"))
        done, _ = await asyncio.wait([writing], timeout=4 * SHORTEST)
        assert not done
        go.set()
        await writing
        assert (len(rig.server.seen), hedging.tokens) == (1, 5.0)

    run(check)


@pytest.mark.parametrize(
    ("acts", "outcome", "requests"),
    [
        ([answer(403)], StorageAccessDeniedError, 1),
        ([answer(503)], StorageUnavailableError, 1),
        ([stall(), answer(503)], None, 2),
    ],
)
def test_a_definite_answer_counts_and_a_failure_waits_for_the_other(acts, outcome, requests):
    async def check(rig: Rig):
        taught(rig, slow_after=SHORTEST if outcome is None else NEVER)
        rig.server.then(*acts)
        if outcome is not None:
            await rig.fails(outcome)
        else:
            reading = asyncio.ensure_future(rig.call("GET"))
            while len(rig.server.seen) < 2:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
            assert not reading.done()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert len(rig.server.seen) == requests

    run(check, max_attempts=1)


@pytest.mark.parametrize("turns", range(0, 60, 3))
def test_a_cancelled_read_leaves_nothing(turns):
    async def check(rig: Rig):
        taught(rig)
        rig.exchange._hedging._delay = 0.0
        reading = asyncio.ensure_future(rig.call("GET", stream=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        (outcome,) = await asyncio.gather(reading, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            await outcome.response.aclose()
        rig.server.then(answer(200, b"ok"))
        assert (await rig.call("GET")).body == b"ok"

    run(check)


def test_it_is_off_unless_asked_for():
    async def check(rig: Rig):
        assert rig.exchange._hedging is None

    run(check)
