"""Events of a provider's calls. Silent by default, as a library should be.

A provider calls its observers once after each verb with a frozen `Event`. Three adapters are here:
`LoggingObserver` (standard library), `StructlogObserver` and `OpenTelemetryObserver` (imported when
made). An event never holds bytes, credentials, signed URLs or metadata values.

    provider = LocalStorageProvider(config, observers=[LoggingObserver()])
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from credstore.arguments import typed_class
from credstore.extras import missing_extra
from credstore.metrics import ProviderMetrics, VerbMetrics
from credstore.model import NOTHING

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Observation
    from opentelemetry.trace import Tracer

_logger = logging.getLogger("credstore")
_logger.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One finished call of a provider, or of a proof store on one.

    Attributes:
        name: "credstore." and the verb, such as "credstore.store" or "credstore.proof.issue".
        provider: Label of the provider.
        key: The object's key, the proof's id, or None.
        attributes: Facts of the verb: `size`, `plain_size` (bytes), `codec`, counts.
        duration: Seconds from call to outcome.
        error: None after success, the error's `code`, or the name of what interrupted the call.
    """

    name: str
    provider: str
    key: str | None
    attributes: Mapping[str, object] = field(default=NOTHING)
    duration: float
    error: str | None = None


Observer = Callable[[Event], None]


def notify(observers: Iterable[Observer], event: Event) -> None:
    """Tell each observer; one that raises is logged and never fails the user's call."""
    for observer in observers:
        try:
            observer(event)
        except Exception:  # an observer is not part of the operation
            _logger.exception("an observer raised on %s", event.name)


@typed_class
class LoggingObserver:
    """Events as records of the standard library's logger "credstore".

    Success is logged at `level`, failure at WARNING; the facts are in `record.credstore`.
    """

    def __init__(self, *, level: int = logging.DEBUG) -> None:
        """Choose the level of successful calls."""
        self._level = level

    def __call__(self, event: Event) -> None:
        """Log one event."""
        level = self._level if event.error is None else logging.WARNING
        if _logger.isEnabledFor(level):
            outcome = "ok" if event.error is None else event.error
            _logger.log(
                level,
                "%s %s %r %s %.1f ms",
                event.name,
                event.provider,
                event.key,
                outcome,
                event.duration * 1e3,
                extra={"credstore": _facts(event)},
            )


@typed_class
class StructlogObserver:
    """Events through structlog, with the configuration of the application.

    A call that moved bytes also has `bytes_per_second`; one that took at least `slow` seconds has `slow=True`
    and is logged as a warning.
    """

    def __init__(self, *, slow: float | None = None) -> None:
        """Import structlog.

        Args:
            slow: Seconds from which a call is slow; None for never.
        """
        import structlog

        self._log = structlog.get_logger("credstore")
        self._slow = slow

    def __call__(self, event: Event) -> None:
        """Log one event: `info`, or `warning` for a failure and for a slow call."""
        facts = _facts(event)
        size = event.attributes.get("size")
        if isinstance(size, int) and event.duration > 0:
            facts["bytes_per_second"] = round(size / event.duration)
        slow = self._slow is not None and event.duration >= self._slow
        if slow:
            facts["slow"] = True
        if event.error is None and not slow:
            self._log.info(event.name, **facts)
        else:
            self._log.warning(event.name, **facts)


class OpenTelemetryObserver:
    """Events as spans (kind CLIENT) and as the histogram `credstore.operation.duration` in seconds.

    Source: OpenTelemetry semantic conventions, `error.type`; histogram buckets are the SDK's.
    """

    def __init__(self) -> None:
        """Take the tracer and meter of the application's global providers.

        Raises:
            StorageConfigurationError: The extra `opentelemetry` is missing.
        """
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise missing_extra("opentelemetry", "events as spans and metrics need") from error
        self._tracer: Tracer = trace.get_tracer("credstore")
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._durations: Histogram = metrics.get_meter("credstore").create_histogram(
            "credstore.operation.duration", unit="s", description="Duration of storage operations"
        )

    def __call__(self, event: Event) -> None:
        """Record one finished span and its duration."""
        end = time.time_ns()
        labels: dict[str, str] = {"credstore.provider": event.provider}
        if event.error is not None:
            labels["error.type"] = event.error
        span = self._tracer.start_span(
            event.name, kind=self._kind, start_time=end - int(event.duration * 1e9), attributes=labels
        )
        if event.key is not None:
            span.set_attribute("credstore.key", event.key)
        for name, value in event.attributes.items():
            if isinstance(value, str | bool | int | float):
                span.set_attribute(f"credstore.{name}", value)
        if event.error is not None:
            span.set_status(self._failed)
        span.end(end)
        self._durations.record(event.duration, {"operation": event.name, **labels})


class Billed(Protocol):
    """What `StorageProvider.bill` returns, as far as it is of use here."""

    @property
    def provider(self) -> str:
        """Label of the store."""
        ...

    @property
    def total(self) -> float | None:
        """US dollars, or None where the prices are not known."""
        ...

    @property
    def members(self) -> Sequence[Billed]:
        """The same of the stores that it consists of."""
        ...


@typed_class
class OpenTelemetryMetrics:
    """The counters of some providers as OpenTelemetry metrics, read when the application's reader asks.

    `credstore.operations`, `credstore.errors` (by `error.type`), `credstore.bytes`, `credstore.requests` (by
    `request`) and `credstore.notes` (by `what`: hedges, repairs, what caches did), each by
    `credstore.provider` and `operation`; and `credstore.cost` in US dollars by `credstore.provider`, where
    bills are given. Counting costs a call nothing more than it does without.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[ProviderMetrics]],
        *,
        bills: Callable[[], Iterable[Billed]] | None = None,
    ) -> None:
        """Register the instruments at the meter of the application's global provider.

        Args:
            read: Returns the counters: `lambda: [provider.metrics()]`.
            bills: Returns what it cost: `lambda: [provider.bill()]`. Of several stores as one, each member
                has its own number; one whose prices are not known has none.

        Raises:
            StorageConfigurationError: The extra `opentelemetry` is missing.
        """
        try:
            from opentelemetry import metrics
        except ImportError as error:
            raise missing_extra("opentelemetry", "counters as metrics need") from error
        self._observation = metrics.Observation
        self._read = read
        meter = metrics.get_meter("credstore")
        instruments: tuple[tuple[str, str, str, Callable[[VerbMetrics], _Values]], ...] = (
            ("operations", "{call}", "Calls that have ended", lambda verb: {(): verb.calls}),
            ("errors", "{call}", "Calls that failed", lambda verb: _by("error.type", verb.errors)),
            ("bytes", "By", "Stored bytes written or read", lambda verb: {(): verb.bytes}),
            ("requests", "{request}", "Requests over the wire", lambda verb: _by("request", verb.requests)),
            ("notes", "{event}", "Hedges, repairs, cache", lambda verb: _by("what", verb.notes)),
        )
        for name, unit, meaning, values in instruments:
            meter.create_observable_counter(
                f"credstore.{name}", [partial(self._observe, values)], unit=unit, description=meaning
            )

        if bills is not None:
            meter.create_observable_counter(
                "credstore.cost",
                [partial(self._costs, bills)],
                unit="{USD}",
                description="Requests and egress so far, by the price table",
            )

    def _costs(self, bills: Callable[[], Iterable[Billed]], _options: object) -> list[Observation]:
        return [
            self._observation(bill.total, {"credstore.provider": bill.provider})
            for each in bills()
            for bill in (each.members or (each,))
            if bill.total is not None
        ]

    def _observe(self, values: Callable[[VerbMetrics], _Values], _options: object) -> list[Observation]:
        return [
            self._observation(
                count, {"credstore.provider": each.provider, "operation": verb.verb, **dict(labels)}
            )
            for each in self._read()
            for verb in each.verbs.values()
            for labels, count in values(verb).items()
        ]


_Values: TypeAlias = Mapping[tuple[tuple[str, str], ...], int]
"""Counts by their labels."""


def _by(label: str, counts: Mapping[str, int]) -> _Values:
    return {((label, name),): count for name, count in counts.items()}


def _facts(event: Event) -> dict[str, object]:
    return {
        **event.attributes,
        "provider": event.provider,
        "key": event.key,
        "duration": event.duration,
        "error": event.error,
    }
