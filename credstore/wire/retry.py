"""Whether to repeat a failed attempt, and after how long. Pure.

Rules of this file: no clock, no randomness, and no sleep of its own; every number is a field with its source.
A retry must be allowed by the failure, the policy, the time left and the budget, so that clients of an
overloaded provider add little to its load (P12, N10).

Source: AWS SDKs' standard retry mode of 2026 (costs, delays), Google SRE "Handling Overload".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how fast.

    Attributes:
        max_attempts: Wire requests for one call, including the first.
        base_delay: Maximum number of seconds before the second attempt; doubles with each further one.
        throttle_delay: The same after the provider asked to slow down.
        max_delay: Maximum number of seconds for any wait that we choose ourselves.
        retry_after_cap: Maximum number of seconds to wait because the provider said so.
    """

    max_attempts: int = 4
    base_delay: float = 0.05
    throttle_delay: float = 0.5
    max_delay: float = 20.0
    retry_after_cap: float = 20.0


class Budget:
    """Tokens that retries of all calls together may spend; successes earn them back."""

    CAPACITY = 500
    RETRY_COST = 14
    THROTTLE_COST = 5

    def __init__(self) -> None:
        self.tokens = self.CAPACITY

    def spend(self, cost: int) -> bool:
        """Take the cost of one retry, or return False if there is too little left."""
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True

    def earn(self, cost: int) -> None:
        """Return what the successful call's last retry cost, or 1 for a call without retries."""
        self.tokens = min(self.CAPACITY, self.tokens + max(cost, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What matters about a failed attempt.

    Attributes:
        retryable: Whether the same request may succeed later.
        throttled: Whether the provider asked to slow down.
        retry_after: Seconds the provider asked to wait, or None.
    """

    retryable: bool
    throttled: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after this many seconds; `cost` has been taken from the budget."""

    seconds: float
    cost: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Give up, and why."""

    reason: Literal["final", "attempts", "deadline", "budget"]


def decide(
    policy: RetryPolicy,
    budget: Budget,
    failure: Failure,
    *,
    attempt: int,
    now: float,
    deadline: float | None,
    rng: Callable[[], float],
) -> Wait | Stop:
    """Decide what follows the `attempt`-th attempt, which failed.

    Args:
        policy: How often and how fast.
        budget: Shared by the calls of one client; pays for a `Wait`.
        failure: What matters about the attempt.
        attempt: Number of attempts so far, starting at 1.
        now: Instant of the monotonic clock.
        deadline: Instant by which the call must end, or None.
        rng: Uniform over [0, 1).
    """
    if not failure.retryable:
        return Stop("final")
    if attempt >= policy.max_attempts:
        return Stop("attempts")
    base = policy.throttle_delay if failure.throttled else policy.base_delay
    # Full jitter, so that clients that failed together do not come back together (P13).
    seconds = rng() * min(policy.max_delay, base * 2.0 ** min(attempt - 1, 64))
    if failure.retry_after is not None:
        seconds = max(seconds, min(failure.retry_after, policy.retry_after_cap))
    if deadline is not None and now + seconds >= deadline:
        return Stop("deadline")
    cost = budget.THROTTLE_COST if failure.throttled else budget.RETRY_COST
    return Wait(seconds, cost) if budget.spend(cost) else Stop("budget")


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a response asks to wait; None if it does not, or not intelligibly (N24).

    Args:
        headers: Of the response, by lower-case name.
        now: Unix seconds.
    """
    milliseconds = headers.get("x-amz-retry-after", "")
    if milliseconds.isascii() and milliseconds.isdigit():
        return int(milliseconds[:12]) / 1000
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(int(value[:12]))
    date = parse_date(value)
    return date - now if date is not None and date > now else None


def parse_date(value: str | None) -> float | None:
    """Unix seconds of an HTTP date, or None if it is not one."""
    if not value:
        return None
    try:
        found = parsedate_to_datetime(value)
        # All of HTTP's forms are in UTC, also the one that does not say so (RFC 9110 §5.6.7).
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
