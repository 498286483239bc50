"""A read that takes long is asked for again, one in twenty at most; a write never."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageAccessDeniedError, StorageUnavailableError
from credstore.wire.hedge import SHARE, SHORTEST, Hedging
from tests.wire.test_exchange import OK, Rig, answer, run

NEVER = 3600.0
"""Seconds that no answer takes, on whatever machine."""


def taught(rig: Rig, *, tokens=5.0, slow_after=SHORTEST):
    """Hedging that calls slow what takes longer than `slow_after` seconds."""
    rig.exchange._hedging = hedging = Hedging(shortest=slow_after)
    for _ in range(Hedging.LEAST):
        hedging.seen(0.0)
    hedging.tokens = tokens
    return hedging


def stalling(gone=None):
    """A step that never ends; `gone` is set when it is cancelled."""

    async def stall(_sent):
        try:
            await asyncio.Event().wait()
        finally:
            if gone is not None:
                gone.set()

    return stall


async def slowly():
    """An answer some turns of the loop later."""
    for _ in range(20):
        await asyncio.sleep(0)
    return OK


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
        rig.wire.then(stalling(gone), answer(200, b"second"))
        reply = await rig.call("GET")
        assert reply.body == b"second"
        await gone.wait()  # The first one was dropped.
        assert len(rig.wire.requests) == 2

    run(check)


def test_a_stream_that_lost_is_closed():
    async def check(rig: Rig):
        taught(rig)
        both = asyncio.Barrier(2)

        async def together(_sent):
            await both.wait()
            return OK

        rig.wire.then(together)
        reply = await rig.call("GET", stream=True)
        assert (len(rig.wire.requests), rig.wire.unread) == (2, 1)
        await reply.response.aclose()

    run(check)


def test_without_a_hedge_left_there_is_one_request():
    async def check(rig: Rig):
        taught(rig, tokens=0.0)
        go = asyncio.Event()

        async def slow(_sent):
            await go.wait()
            return answer(200, b"first")

        rig.wire.then(slow)
        reading = asyncio.ensure_future(rig.call("GET"))
        done, _ = await asyncio.wait([reading], timeout=4 * SHORTEST)
        assert not done
        go.set()
        assert (await reading).body == b"first"
        assert len(rig.wire.requests) == 1

    run(check)


def test_a_write_is_never_hedged():
    async def check(rig: Rig):
        hedging = taught(rig)
        go = asyncio.Event()

        async def slow(_sent):
            await go.wait()
            return OK

        rig.wire.then(slow)
        writing = asyncio.ensure_future(rig.call("PUT", body=b"x"))
        done, _ = await asyncio.wait([writing], timeout=4 * SHORTEST)
        assert not done
        go.set()
        await writing
        assert (len(rig.wire.requests), hedging.tokens) == (1, 5.0)

    run(check)


@pytest.mark.parametrize(
    ("acts", "outcome", "requests"),
    [
        ([answer(403)], StorageAccessDeniedError, 1),
        ([answer(503)], StorageUnavailableError, 1),
        ([stalling(), answer(503)], None, 2),
    ],
)
def test_a_definite_answer_counts_and_a_failure_waits_for_the_other(acts, outcome, requests):
    async def check(rig: Rig):
        taught(rig, slow_after=SHORTEST if outcome is None else NEVER)
        rig.wire.then(*acts)
        if outcome is not None:
            await rig.fails(outcome)
        else:
            reading = asyncio.ensure_future(rig.call("GET"))
            while len(rig.wire.requests) < 2:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
            assert not reading.done()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert len(rig.wire.requests) == requests

    run(check, max_attempts=1)


def test_a_definite_answer_of_the_second_request_ends_the_wait_for_the_first():
    async def check(rig: Rig):
        taught(rig)
        rig.wire.then(stalling(), answer(403))
        reading = asyncio.ensure_future(rig.call("GET"))
        while len(rig.wire.requests) < 2:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert reading.done()
        assert isinstance(reading.exception(), StorageAccessDeniedError)

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
        rig.wire.then(OK)
        assert (await rig.call("GET")).body == b"ok"

    run(check, lambda _: slowly())


def test_it_is_off_unless_asked_for():
    async def check(rig: Rig):
        assert rig.exchange._hedging is None

    run(check)
