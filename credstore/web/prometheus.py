"""The counters of providers in Prometheus's text format. Pure.

Source: Prometheus documentation, "Exposition formats", text format 0.0.4; "Metric and label naming".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from credstore.arguments import typed, typed_class
from credstore.metrics import BOUNDS, ProviderMetrics, VerbMetrics
from credstore.web.app import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@typed
def exposition(metrics: Iterable[ProviderMetrics], *, costs: Mapping[str, float] | None = None) -> str:
    """The text that Prometheus scrapes.

    Args:
        metrics: Of any number of providers; those with the same label are added up.
        costs: US dollars so far, by provider.
    """
    verbs = _merged(metrics)
    lines: list[str] = []
    lines += _family(
        "credstore_operations_total",
        "Calls that have ended, failed ones included.",
        ((_labels(provider, verb.verb), verb.calls) for provider, verb in verbs),
    )
    lines += _family(
        "credstore_errors_total",
        "Calls that failed, by the code of the error.",
        (
            (_labels(provider, verb.verb, code=code), count)
            for provider, verb in verbs
            for code, count in sorted(verb.errors.items())
        ),
    )
    lines += _family(
        "credstore_bytes_total",
        "Stored bytes that were written or read.",
        ((_labels(provider, verb.verb), verb.bytes) for provider, verb in verbs),
    )
    lines += _family(
        "credstore_requests_total",
        "Requests over the wire, repeated ones included.",
        (
            (_labels(provider, verb.verb, request=name), count)
            for provider, verb in verbs
            for name, count in sorted(verb.requests.items())
        ),
    )
    lines += _family(
        "credstore_notes_total",
        "Hedges, repairs, and what caches did.",
        (
            (_labels(provider, verb.verb, what=what), count)
            for provider, verb in verbs
            for what, count in sorted(verb.notes.items())
        ),
    )
    if costs:
        lines += _family(
            "credstore_cost_dollars_total",
            "What the requests and the egress of this process cost, by the price table.",
            ((f'provider="{_escaped(provider)}"', cost) for provider, cost in sorted(costs.items())),
        )
    lines += _durations(verbs)
    return "".join(f"{line}\n" for line in lines)


def _merged(metrics: Iterable[ProviderMetrics]) -> list[tuple[str, VerbMetrics]]:
    found: dict[tuple[str, str], VerbMetrics] = {}
    for each in metrics:
        for name, verb in each.verbs.items():
            before = found.get((each.provider, name))
            found[each.provider, name] = verb if before is None else _sum(before, verb)
    return [(provider, verb) for (provider, _), verb in sorted(found.items())]


def _sum(one: VerbMetrics, two: VerbMetrics) -> VerbMetrics:
    def added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
        return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}

    return VerbMetrics(
        verb=one.verb,
        calls=one.calls + two.calls,
        errors=added(one.errors, two.errors),
        seconds=one.seconds + two.seconds,
        buckets=tuple(a + b for a, b in zip(one.buckets, two.buckets, strict=True)),
        bytes=one.bytes + two.bytes,
        requests=added(one.requests, two.requests),
        notes=added(one.notes, two.notes),
    )


def _family(
    name: str, meaning: str, samples: Iterable[tuple[str, float]], kind: str = "counter"
) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}"


def _durations(verbs: Sequence[tuple[str, VerbMetrics]]) -> Iterator[str]:
    name = "credstore_operation_duration_seconds"
    yield f"# HELP {name} Duration of calls."
    yield f"# TYPE {name} histogram"
    for provider, verb in verbs:
        labels = _labels(provider, verb.verb)
        bounds = [*map(str, BOUNDS), "+Inf"]
        for bound, count in zip(bounds, accumulate(verb.buckets), strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{labels}}} {verb.seconds}"
        yield f"{name}_count{{{labels}}} {sum(verb.buckets)}"


def _labels(provider: str, verb: str, **others: str) -> str:
    named = {"provider": provider, "verb": verb, **others}
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items())


def _escaped(value: str) -> str:
    return str(value).translate(_ESCAPES)


@typed_class
class PrometheusPart:
    """The counters of some providers, for `WebApp`, to be scraped by Prometheus."""

    def __init__(
        self,
        read: Callable[[], Iterable[ProviderMetrics]],
        *,
        costs: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        """Serve what is counted.

        Args:
            read: Returns the counters to show: `lambda: [provider.metrics()]`.
            costs: Returns US dollars so far, by provider.
        """
        self._read = read
        self._costs = costs

    async def answer(self, path: str, query: str) -> Answer | None:  # noqa: ARG002 - a scrape has no parameters
        """The text of all counters; nothing below this path."""
        if path not in {"", "/"}:
            return None
        told = exposition(self._read(), costs=None if self._costs is None else self._costs())
        return Answer(body=told.encode(), content_type=CONTENT_TYPE)
