"""When to stop calling an endpoint that has done nothing but fail for a while. Pure.

Rules of this file: time is an argument; a few failures among successes never open a circuit, since retries
take care of those. While it is open, one call at a time may find out whether the endpoint is back.
"""

from __future__ import annotations

from credstore.model import CircuitState


class Breaker:
    """The circuit to one endpoint.

    It opens after some failures in a row, spread over some time; then one call goes through every `pause`
    seconds, the pause doubling up to the longest. A success closes it.

    Source: Nygard, "Release It!", "Circuit Breaker"; the numbers are our own.
    """

    FAILURES = 10
    PERIOD = 5.0
    PAUSE = 1.0
    LONGEST = 30.0

    __slots__ = (
        "_first",
        "_least",
        "_longest",
        "_open_until",
        "_pause",
        "_period",
        "_since",
        "_trial",
        "failures",
    )

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        period: float = PERIOD,
        pause: float = PAUSE,
        longest: float = LONGEST,
    ) -> None:
        """Start closed.

        Args:
            failures: In a row, after which it opens.
            period: Seconds that they have to be spread over at least.
            pause: Seconds until the first trial.
            longest: Seconds that a pause can grow to.
        """
        self._least, self._period, self._first, self._longest = failures, period, pause, longest
        self.failures = 0
        self._since = 0.0
        self._pause = 0.0
        self._open_until = 0.0
        self._trial = False

    @property
    def tripped(self) -> bool:
        """Whether it is not closed."""
        return self._pause > 0

    def state(self, now: float) -> CircuitState:
        """Closed; open; or half-open: the next call finds out, or one is doing so now."""
        if not self._pause:
            return "closed"
        return "half-open" if self._trial or now >= self._open_until else "open"

    def refusal(self, now: float) -> float | None:
        """Seconds until a call may go through; None if this one may, as the trial if the circuit is open."""
        if not self._pause:
            return None
        if now < self._open_until:
            return self._open_until - now
        # A trial that never reports its outcome, for example because it was cancelled, is followed by
        # another.
        self._trial, self._open_until = True, now + self._pause
        return None

    def succeeded(self) -> None:
        """The endpoint responded."""
        self.failures, self._pause, self._trial = 0, 0.0, False

    def failed(self, now: float) -> None:
        """The endpoint did not respond, or said that it cannot serve requests."""
        if not self.failures:
            self._since = now
        self.failures += 1
        if self._trial:
            self._trial, self._pause = False, min(self._pause * 2, self._longest)
            self._open_until = now + self._pause
        elif not self._pause and self.failures >= self._least and now - self._since >= self._period:
            self._pause, self._open_until = self._first, now + self._first
