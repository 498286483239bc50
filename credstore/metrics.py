"""What the calls of a provider did, counted: by verb, with errors, durations, bytes, requests and notes.

Rules of this file: counting costs less than a microsecond a call, allocates nothing that stays but the
counters themselves, and never fails. No key, no message and no name of a bucket is counted by.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the duration buckets, in seconds; one more bucket has all that is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbMetrics:
    """What the calls of one verb did so far.

    Attributes:
        verb: Such as "store".
        calls: Calls that have ended, failed ones included.
        errors: Failed calls by the error's code, or the name of what interrupted them.
        seconds: Their durations together.
        buckets: Calls by duration: those up to each of `BOUNDS`, not counting those up to the one before, and
            last the longer ones.
        bytes: Stored bytes that were written or read, as far as the verb knows.
        requests: Requests over the wire by the provider's name, such as "PutObject", repeated ones included.
        notes: Other things by name: "hedge", "repair", "cache_hit", "cache_hit_bytes", "cache_miss",
            "cache_damaged".
    """

    verb: str
    calls: int
    errors: Mapping[str, int]
    seconds: float
    buckets: tuple[int, ...]
    bytes: int
    requests: Mapping[str, int]
    notes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetrics:
    """What the calls of one provider did so far, since it was made.

    Attributes:
        provider: Its label.
        verbs: By verb, those that were called.
    """

    provider: str
    verbs: Mapping[str, VerbMetrics]

    @property
    def requests(self) -> Counter[str]:
        """All requests over the wire, by the provider's name."""
        total: Counter[str] = Counter()
        for verb in self.verbs.values():
            total.update(verb.requests)
        return total


class Counts:
    """The counters of one verb."""

    __slots__ = ("buckets", "bytes", "errors", "notes", "requests", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.bytes = 0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.errors: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def ended(self, duration: float, size: int, error: str | None) -> None:
        """Count a call that has ended.

        Args:
            duration: Seconds.
            size: Bytes.
            error: Code, or None after success.
        """
        self.seconds += duration
        if size:
            self.bytes += size
        self.buckets[bisect_left(BOUNDS, duration)] += 1
        if error is not None:
            self.errors[error] += 1


class Metrics:
    """The counters of one provider."""

    __slots__ = ("_label", "by_verb")

    def __init__(self, label: str) -> None:
        """Start at zero.

        Args:
            label: The provider's.
        """
        self._label = label
        self.by_verb: dict[str, Counts] = {}

    def of(self, verb: str) -> Counts:
        """The counters of a verb."""
        found = self.by_verb.get(verb)
        if found is None:
            found = self.by_verb[verb] = Counts()
        return found

    def snapshot(self) -> ProviderMetrics:
        """The counters as they are now."""
        return ProviderMetrics(
            provider=self._label,
            verbs={
                verb: VerbMetrics(
                    verb=verb,
                    calls=sum(counts.buckets),
                    errors=dict(counts.errors),
                    seconds=counts.seconds,
                    buckets=tuple(counts.buckets),
                    bytes=counts.bytes,
                    requests=dict(counts.requests),
                    notes=dict(counts.notes),
                )
                for verb, counts in self.by_verb.items()
            },
        )


@dataclass(slots=True)
class Meter:
    """What one of several stores was used for so far.

    Attributes:
        sent: Requests over the wire, by the provider's name, repeated ones included.
        egress: Bytes of bodies that were read.
    """

    sent: Mapping[str, int] = field(default_factory=dict[str, int])
    egress: int = 0

    def read(self, size: int) -> None:
        """Count the bytes of a body that is not read any further."""
        self.egress += size
