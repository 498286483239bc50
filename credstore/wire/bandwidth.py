"""How long to wait so that bytes do not move faster than permitted. Pure."""

from __future__ import annotations


class Bandwidth:
    """A rate that all transfers in one direction share, with bursts of a tenth of a second's worth.

    Source: the generic cell rate algorithm, ITU-T I.371, as a virtual schedule.
    """

    BURST = 0.1
    """Seconds' worth of bytes that may go at once after a pause."""

    __slots__ = ("_due", "_rate")

    def __init__(self, rate: int) -> None:
        """Start with nothing due.

        Args:
            rate: Bytes per second, at least 1.
        """
        self._rate = rate
        self._due = 0.0

    def delay(self, now: float, size: int) -> float:
        """Take `size` bytes and return the seconds to wait before the next ones.

        Args:
            now: Instant of a monotonic clock.
            size: Bytes that have moved or are about to.
        """
        self._due = max(self._due, now - self.BURST) + size / self._rate
        return max(0.0, self._due - now)
