"""Events and redaction: silent by default, never in the way, never with a secret."""

import logging
import subprocess
import sys

import pytest
import structlog
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from credstore.metrics import Metrics
from credstore.observe import (
    Event,
    LoggingObserver,
    OpenTelemetryMetrics,
    OpenTelemetryObserver,
    StructlogObserver,
    notify,
)
from credstore.prices.plan import Facts, billed, together

STORED = Event(
    name="credstore.store", provider="r2", key="a/b", attributes={"size": 7, "codec": None}, duration=0.25
)
FAILED = Event(name="credstore.store", provider="r2", key="a/b", duration=0.5, error="TIMEOUT")


def test_an_observer_that_raises_is_not_in_the_way(caplog):
    heard = []

    def broken(event):
        raise RuntimeError("broken")

    notify([broken, heard.append], STORED)
    assert heard == [STORED]
    assert "an observer raised on credstore.store" in caplog.text


def test_a_library_is_silent_by_default():
    code = (
        "from credstore.observe import *\n"
        "notify([LoggingObserver()], Event(name='credstore.x', provider='p', key=None, duration=0, error='E'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_logging_has_levels_and_facts(caplog):
    observer = LoggingObserver()
    with caplog.at_level(logging.DEBUG, "credstore"):
        observer(STORED)
        observer(FAILED)
    assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING"]
    assert caplog.records[0].credstore["size"] == 7
    assert "TIMEOUT" in caplog.text


def test_structlog_gets_the_facts():
    with structlog.testing.capture_logs() as logs:
        observer = StructlogObserver()
        observer(STORED)
        observer(FAILED)
    assert logs[0]["event"] == "credstore.store"
    assert (logs[0]["log_level"], logs[0]["size"], logs[0]["key"]) == ("info", 7, "a/b")
    assert (logs[1]["log_level"], logs[1]["error"]) == ("warning", "TIMEOUT")


def test_structlog_says_how_fast_and_what_was_slow():
    with structlog.testing.capture_logs() as logs:
        StructlogObserver(slow=0.25)(STORED)
        StructlogObserver(slow=0.26)(STORED)
    assert (logs[0]["log_level"], logs[0]["slow"], logs[0]["bytes_per_second"]) == ("warning", True, 28)
    assert logs[1]["log_level"] == "info"
    assert "slow" not in logs[1]


def test_opentelemetry_reads_the_counters_when_it_asks(monkeypatch):
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    counted = Metrics("memory")
    counted.of("store").ended(0.1, 7, "TIMEOUT")
    counted.of("store").requests["PutObject"] += 2
    counted.of("store").notes["hedge"] += 1
    known = billed(Facts(cloud="s3", label="s3"), {"PutObject": 1000}, 0)
    unknown = billed(Facts(cloud="azure", label="azure"), {"PutBlob": 1}, 0)
    bills = [together("redundant", [known, unknown]), billed(Facts(cloud="memory", label="memory"), {}, 0)]
    OpenTelemetryMetrics(lambda: [counted.snapshot()], bills=lambda: bills)
    scope = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    found = {
        metric.name: {
            tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points
        }
        for metric in scope.metrics
    }
    own = (("credstore.provider", "memory"), ("operation", "store"))
    assert found == {
        "credstore.operations": {own: 1},
        "credstore.bytes": {own: 7},
        "credstore.errors": {(own[0], ("error.type", "TIMEOUT"), own[1]): 1},
        "credstore.requests": {(*own, ("request", "PutObject")): 2},
        "credstore.notes": {(*own, ("what", "hedge")): 1},
        "credstore.cost": {
            (("credstore.provider", "s3"),): pytest.approx(0.005),
            (("credstore.provider", "memory"),): 0.0,
        },
    }


def test_opentelemetry_gets_spans_and_durations():
    spans, durations = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(MeterProvider([durations]))
    observer = OpenTelemetryObserver()
    with trace.get_tracer("test").start_as_current_span("request") as parent:
        observer(STORED)
        observer(FAILED)
    stored, failed, _ = spans.get_finished_spans()
    assert stored.name == "credstore.store"
    assert stored.parent.span_id == parent.get_span_context().span_id
    assert stored.attributes["credstore.key"] == "a/b"
    assert stored.attributes["credstore.size"] == 7
    assert stored.end_time - stored.start_time == 250_000_000
    assert stored.status.is_ok
    assert failed.attributes["error.type"] == "TIMEOUT"
    assert not failed.status.is_ok
    (metric,) = durations.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "credstore.operation.duration"
    assert sum(point.count for point in metric.data.data_points) == 2
