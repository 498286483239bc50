"""A circuit opens after failures alone, for long enough; one call at a time finds out whether to close it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageUnavailableError,
)
from credstore.wire.breaker import Breaker
from tests.wire.test_exchange import OK, ORIGIN, RESET, Rig, answer, run

NOW = Breaker.FAILURES - 1.0


def tripped():
    """A breaker that has just opened, at `NOW`."""
    breaker = Breaker()
    for number in range(Breaker.FAILURES):
        breaker.failed(number)
    return breaker


def test_failures_alone_open_a_circuit():
    breaker = tripped()
    assert breaker.state(NOW) == "open"
    assert breaker.refusal(NOW) == Breaker.PAUSE


@pytest.mark.parametrize("spared", ["a success", "time", "number"])
def test_less_does_not(spared):
    breaker = Breaker()
    for number in range(Breaker.FAILURES - (spared == "number")):
        breaker.failed(0.0 if spared == "time" else number)
        if spared == "a success" and number == 5:
            breaker.succeeded()
    assert (breaker.state(100.0), breaker.refusal(100.0)) == ("closed", None)


def test_one_call_finds_out_and_a_success_closes():
    breaker = tripped()
    later = NOW + Breaker.PAUSE
    assert breaker.state(later) == "half-open"
    assert breaker.refusal(later) is None
    assert breaker.refusal(later) is not None
    breaker.succeeded()
    assert (breaker.state(later), breaker.refusal(later)) == ("closed", None)


def test_each_trial_that_fails_doubles_the_pause_up_to_a_limit():
    breaker, now, pauses = tripped(), NOW, []
    for _ in range(8):
        pauses.append(breaker.refusal(now))
        now += pauses[-1]
        assert breaker.refusal(now) is None
        breaker.failed(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_trial_that_never_ends_is_followed_by_another():
    breaker, later = tripped(), NOW + Breaker.PAUSE
    assert breaker.refusal(later) is None
    assert breaker.state(later) == "half-open"
    assert breaker.refusal(later + Breaker.PAUSE) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 20))))
def test_it_always_lets_a_call_through_before_long(events):
    breaker, now = Breaker(), 0.0
    for failed, seconds in events:
        now += seconds
        if breaker.refusal(now) is None:
            breaker.failed(now) if failed else breaker.succeeded()
    assert breaker.refusal(now + Breaker.LONGEST) is None


def watched(rig):
    clock = [0.0]
    rig.exchange._monotonic = lambda: clock[0]
    return clock


@pytest.mark.parametrize("act", [answer(503), RESET])
def test_an_open_circuit_sends_nothing_until_its_time(act):
    async def check(rig: Rig):
        clock = watched(rig)
        host = ORIGIN.partition("://")[2]
        assert rig.exchange.circuits() == {}
        for _ in range(Breaker.FAILURES):
            clock[0] += 1.0
            await rig.fails((StorageUnavailableError, StorageConnectionError))
        assert rig.exchange.circuits() == {host: "open"}
        seen = len(rig.wire.requests)
        for method in ("GET", "PUT"):
            error = await rig.fails(StorageUnavailableError, method)
            assert (error.code, error.applied, error.retryable) == (ErrorCode.CIRCUIT_OPEN, "no", True)
            assert error.retry_after == pytest.approx(1.0)
        assert len(rig.wire.requests) == seen
        rig.wire.then(OK)
        await rig.call("GET", probe=True)
        assert rig.exchange.circuits() == {host: "closed"}
        await rig.call("GET")

    run(check, act, max_attempts=1)


def test_a_trial_after_the_pause_closes_it():
    async def check(rig: Rig):
        clock = watched(rig)
        for _ in range(Breaker.FAILURES):
            clock[0] += 1.0
            await rig.fails(StorageUnavailableError)
        clock[0] += 1.0
        rig.wire.then(OK)
        await rig.call("GET")
        assert set(rig.exchange.circuits().values()) == {"closed"}

    run(check, answer(503), max_attempts=1)


@pytest.mark.parametrize(
    ("status", "kind"), [(403, StorageAccessDeniedError), (429, StorageRateLimitedError)]
)
def test_refusals_are_answers(status, kind):
    async def check(rig: Rig):
        clock = watched(rig)
        for _ in range(3 * Breaker.FAILURES):
            clock[0] += 1.0
            await rig.fails(kind)
        assert set(rig.exchange.circuits().values()) == {"closed"}

    run(check, answer(status), max_attempts=1)


def test_what_is_not_tried_again_says_nothing_of_the_endpoint():
    """An archived object cannot be read now, and others can."""

    async def check(rig: Rig):
        clock = watched(rig)
        rig.exchange._classify = lambda *_: StorageUnavailableError("archived", retryable=False)
        for _ in range(3 * Breaker.FAILURES):
            clock[0] += 1.0
            await rig.fails(StorageUnavailableError)
        assert set(rig.exchange.circuits().values()) == {"closed"}

    run(check, answer(403))


def test_calls_cut_off_by_cancels_do_not_hold_a_circuit_open():
    async def stall(_sent):
        await asyncio.Event().wait()

    async def check(rig: Rig):
        clock = watched(rig)
        for _ in range(Breaker.FAILURES):
            clock[0] += 1.0
            await rig.fails(StorageUnavailableError)
        clock[0] += 1.0
        rig.wire.then(stall)
        trial = asyncio.ensure_future(rig.call("GET"))
        while len(rig.wire.requests) == Breaker.FAILURES:
            await asyncio.sleep(0)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        rig.wire.then(OK)
        assert (await rig.fails(StorageUnavailableError)).code == ErrorCode.CIRCUIT_OPEN
        clock[0] += 1.0
        await rig.call("GET")

    run(check, answer(503), max_attempts=1)


def test_health_check_goes_through_and_shows_the_state(unused_url):
    async def main():
        config = S3CompatibleConfig(
            bucket="bucket",
            endpoint=unused_url,
            access_key_id="k",
            secret_access_key=Secret("s"),
            max_retries=0,
        )
        async with S3CompatibleStorageProvider(config) as store:
            assert store.config.hedge_reads is False
            clock = [0.0]
            store._session.driver._bucket.exchange._monotonic = lambda: clock[0]
            codes = []
            for _ in range(Breaker.FAILURES + 1):
                clock[0] += 1.0
                try:
                    await store.retrieve("k")
                except StorageError as error:
                    codes.append(error.code)
            assert codes == ["CONNECTION_FAILED"] * Breaker.FAILURES + ["CONNECTION_FAILED"]
            with pytest.raises(StorageUnavailableError, match="is tried again in"):
                await store.retrieve("k")
            health = await store.health_check()
            assert not health.healthy
            assert "CONNECTION_FAILED" in health.errors[0]
            assert health.circuits == {unused_url.partition("://")[2]: "open"}

    asyncio.run(main())
