"""The pure decision about retries: a row for each rule."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.wire.retry import (
    Budget,
    Failure,
    RetryPolicy,
    Stop,
    Wait,
    decide,
    parse_date,
    parse_retry_after,
)

POLICY = RetryPolicy()
RETRY = Failure(retryable=True)


def decided(failure=RETRY, *, attempt=1, now=0.0, deadline=None, rng=1.0, budget=None):
    budget = budget or Budget()
    return decide(POLICY, budget, failure, attempt=attempt, now=now, deadline=deadline, rng=lambda: rng)


def test_what_may_not_be_retried_is_final():
    assert decided(Failure(retryable=False)) == Stop("final")
    assert decided(Failure(retryable=False, retry_after=1.0)) == Stop("final")


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0.05), (2, 0.1), (3, 0.2)])
def test_delays_double(attempt, seconds):
    assert decided(attempt=attempt) == Wait(seconds, Budget.RETRY_COST)


def test_attempts_end():
    assert decided(attempt=POLICY.max_attempts) == Stop("attempts")


def test_who_asks_to_slow_down_is_given_more_time():
    assert decided(Failure(retryable=True, throttled=True)) == Wait(0.5, Budget.THROTTLE_COST)


def test_retry_after_is_kept_and_capped():
    assert decided(Failure(retryable=True, retry_after=3.0)).seconds == 3.0
    assert decided(Failure(retryable=True, retry_after=1e9)).seconds == POLICY.retry_after_cap


def test_a_wait_past_the_deadline_is_not_begun():
    assert decided(now=10.0, deadline=10.04) == Stop("deadline")
    assert isinstance(decided(now=10.0, deadline=10.06), Wait)


def test_the_budget_ends_retries_and_success_earns_them_back():
    budget = Budget()
    taken = 0
    while isinstance(decided(budget=budget), Wait):
        taken += 1
    assert taken == Budget.CAPACITY // Budget.RETRY_COST
    assert decided(budget=budget) == Stop("budget")
    budget.earn(Budget.RETRY_COST)
    assert isinstance(decided(budget=budget), Wait)
    for _ in range(10_000):
        budget.earn(0)
    assert budget.tokens == Budget.CAPACITY


@given(rng=st.floats(0, 1, exclude_max=True), attempt=st.integers(1, 10_000))
def test_full_jitter_stays_within_bounds(rng, attempt):
    policy = RetryPolicy(max_attempts=100_000)
    decision = decide(policy, Budget(), RETRY, attempt=attempt, now=0, deadline=None, rng=lambda: rng)
    assert 0 <= decision.seconds <= policy.max_delay


NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, 999999999999),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW + 9, UTC), usegmt=True)}, 9),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW - 9, UTC), usegmt=True)}, None),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"x-amz-retry-after": "x", "retry-after": "2"}, 2),
    ],
)
def test_what_a_provider_asks_for(headers, seconds):
    assert parse_retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("value", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT", "1e9"])
def test_what_is_no_date(value):
    assert parse_date(value) is None


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
)
def test_a_date_is_in_utc_wherever_this_machine_is(text, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_date(text) == 784_111_777
    finally:
        monkeypatch.undo()
        time.tzset()
