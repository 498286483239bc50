"""Pure: how many objects to move at once, and how fast.

Additive increase, multiplicative decrease (Chiu and Jain 1989, RFC 5681): one more after each round of
successes, half after a store that asked to slow down or did not respond; and a step back while a byte takes
twice as long as it did at best, since more at once then only wait for each other.
"""

from __future__ import annotations

from credstore.errors import StorageRateLimitedError, StorageTimeoutError, StorageUnavailableError

OVERLOAD = (StorageRateLimitedError, StorageTimeoutError, StorageUnavailableError)
"""Errors after which fewer are moved at once."""
SLOWER = 2.0
"""How much longer than at best something may take before fewer are moved at once."""
_WEIGHT = 0.1
_UNIT = 64 * 1024
"""Bytes that take as long as a request does by itself, roughly."""


class Pace:
    """How many objects may be under way now.

    Attributes:
        width: That number.
    """

    def __init__(self, start: int = 8, most: int = 64) -> None:
        """Begin with `start` at once, never more than `most`, which is 1 or more."""
        self.width = min(start, most)
        self._most = most
        self._round = 0
        self._best: float | None = None
        self._usual: float | None = None

    def succeeded(self, seconds: float, size: int) -> None:
        """One object of `size` bytes took this number of seconds."""
        each = seconds / (1 + size / _UNIT)
        self._best = each if self._best is None else min(self._best * 1.001, each)
        self._usual = each if self._usual is None else self._usual + _WEIGHT * (each - self._usual)
        self._round += 1
        if self._round >= self.width:
            self._round = 0
            # All that are under way share one machine and one line: per object, not per slot.
            crowded = self._usual / self.width > SLOWER * self._best and self.width > 1
            self.width = max(1, self.width - 1) if crowded else min(self._most, self.width + 1)

    def overloaded(self) -> None:
        """The store asked to slow down, or did not respond."""
        self._round = 0
        self.width = max(1, self.width // 2)


class Rate:
    """Bytes per second and the time that is left, from what was done so far."""

    def __init__(self, now: float) -> None:
        """Start the clock."""
        self._start = now

    def speed(self, now: float, done: int) -> float:
        """Bytes per second since the start; 0 at the start."""
        return done / (now - self._start) if now > self._start else 0.0

    def left(self, now: float, done: int, total: int) -> float | None:
        """Seconds until the end at this speed, or None where nothing was done yet."""
        speed = self.speed(now, done)
        return max(0, total - done) / speed if speed else None
