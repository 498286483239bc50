"""How fast a member has been lately: moving percentiles that forget. Pure.

Rules of this file: time is an argument. A latency counts for `SPAN` seconds; a member of which nothing recent
is known is asked before one that is known, so that what is known stays true.
"""

from __future__ import annotations

from collections import deque

SPAN = 60.0
"""Seconds after which a latency is forgotten."""
_KEPT = 64
_EVERY = 8
"""Latencies after which the percentile is worked out again."""
_PERCENTILE = 75


class Latencies:
    """The latencies of one member."""

    __slots__ = ("_since", "_took", "_typical", "_until", "_when")

    def __init__(self) -> None:
        """Know nothing yet."""
        self._when: deque[float] = deque(maxlen=_KEPT)
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._typical: float | None = None
        self._since = 0
        self._until = 0.0

    def seen(self, latency: float, now: float) -> None:
        """Record a call.

        Args:
            latency: Seconds it took.
            now: Seconds, of a clock that does not go back.
        """
        self._when.append(now)
        self._took.append(latency)
        self._since += 1
        self._until = now + SPAN
        if self._typical is None or self._since >= _EVERY:
            self._work_out(now)

    def typical(self, now: float) -> float | None:
        """Seconds within which three of four recent calls ended; None where nothing recent is known."""
        return self._typical if now < self._until else None

    def _work_out(self, now: float) -> None:
        self._since = 0
        while self._when and self._when[0] <= now - SPAN:
            self._when.popleft()
            self._took.popleft()
        ordered = sorted(self._took)
        self._typical = ordered[len(ordered) * _PERCENTILE // 100] if ordered else None
