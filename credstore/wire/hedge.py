"""When to request a slow read a second time. Pure.

Rules of this file: only reads are hedged (P13); hedges are at most a twentieth of the reads, so that a slow
provider does not get twice the load; earlier reads decide what counts as slow.

Source: Dean and Barroso, "The Tail at Scale" (CACM 2013), hedged requests after the 95th percentile.
"""

from __future__ import annotations

from collections import deque

SHARE = 0.05
"""Hedges earned by each read."""
SHORTEST = 0.005
"""Seconds; below this, a hedge costs more than it gains."""


class Hedging:
    """What the reads of one client have shown so far."""

    KEPT = 128
    LEAST = 20
    """Number of reads to see before any is called slow."""
    SAVED = 10.0
    """Maximum number of hedges that can be saved up in quiet times."""

    __slots__ = ("_delay", "_latencies", "_shortest", "_since", "tokens")

    def __init__(self, *, shortest: float = SHORTEST) -> None:
        """Start without knowledge, and with one hedge.

        Args:
            shortest: Seconds below which no read counts as slow.
        """
        self.tokens = 1.0
        self._shortest = shortest
        self._latencies: deque[float] = deque(maxlen=self.KEPT)
        self._delay: float | None = None
        self._since = 0

    def delay(self) -> float | None:
        """Seconds after which a read counts as slow: the 95th percentile; None until enough is known."""
        return self._delay

    def seen(self, latency: float) -> None:
        """Record that a read took this many seconds to its first byte."""
        if self.tokens < self.SAVED:
            self.tokens = min(self.SAVED, self.tokens + SHARE)
        self._latencies.append(latency)
        self._since += 1
        if len(self._latencies) >= self.LEAST and (self._delay is None or self._since >= self.LEAST):
            self._since = 0
            ordered = sorted(self._latencies)
            self._delay = max(self._shortest, ordered[len(ordered) * 95 // 100])

    def spend(self) -> bool:
        """Take one hedge, or return False if there is none left."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
