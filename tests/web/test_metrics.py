"""What calls did is counted, and shown to Prometheus in its own format."""

import asyncio
import contextlib
import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import (
    LocalConfig,
    MemoryConfig,
    MemoryStorageProvider,
    StorageFactory,
    StorageObjectNotFoundError,
)
from credstore.cli.commands.serve import parsed_address
from credstore.cli.commands.top import parsed, read, shown, size, table
from credstore.edge.server import listen
from credstore.errors import StorageConfigurationError, StorageConnectionError
from credstore.metrics import BOUNDS, Metrics, ProviderMetrics
from credstore.web import PrometheusPart, WebApp, exposition
from credstore.web.app import Answer
from credstore.web.serving import serving_app
from tests.conftest import S3Server
from tests.drivers.s3.support import minio_config
from tests.edge.programs import program

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


async def used(provider):
    await provider.store("k", b"12345")
    assert await provider.retrieve("k") == b"12345"
    async with provider.open("k", start=1, end=3) as reader:
        await reader.read()
    with pytest.raises(StorageObjectNotFoundError):
        await provider.copy("absent", "l")
    await provider.list()
    return provider.metrics()


def test_calls_bytes_and_errors_are_counted():
    async def main():
        async with MemoryStorageProvider() as provider:
            found = await used(provider)
        assert found.provider == "memory"
        assert {name: verb.calls for name, verb in found.verbs.items()} == {
            "store": 1, "retrieve": 1, "open": 1, "copy": 1, "list": 1,
        }  # fmt: skip
        assert {name: verb.bytes for name, verb in found.verbs.items() if verb.bytes} == {
            "store": 5, "retrieve": 5, "open": 2,
        }  # fmt: skip
        assert found.verbs["copy"].errors == {"NOT_FOUND": 1}
        assert sum(found.verbs["store"].buckets) == 1
        assert found.verbs["store"].seconds > 0
        assert found.requests == {}

    asyncio.run(main())


def test_requests_over_the_wire_are_counted_by_verb(s3_server: S3Server):
    async def main():
        async with StorageFactory(environ={}) as factory:
            found = await used(factory.create(minio_config(s3_server.url, bucket=s3_server.bucket)))
        assert found.verbs["store"].requests == {"PutObject": 1}
        assert found.verbs["retrieve"].requests == {"GetObject": 1}
        assert found.requests["PutObject"] == 1

    asyncio.run(main())


def test_what_a_cache_does_is_noted(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            config = LocalConfig(path=tmp_path / "store", cache=tmp_path / "cache", fsync=False)
            provider = factory.create(config)
            await provider.store("k", b"12345")
            for _ in range(3):
                await provider.retrieve("k")
            assert provider.metrics().verbs["retrieve"].notes == {
                "cache_miss": 1, "cache_hit": 2, "cache_hit_bytes": 10,
            }  # fmt: skip

    asyncio.run(main())


@given(st.lists(st.floats(0, 100)))
def test_every_duration_is_in_one_bucket(durations):
    metrics = Metrics("m")
    for each in durations:
        metrics.of("v").ended(each, 0, None)
    (verb,) = [*metrics.snapshot().verbs.values()] or [None]
    if verb is not None:
        assert verb.calls == len(durations)
        for number, bound in enumerate(BOUNDS):
            assert sum(verb.buckets[: number + 1]) == sum(each <= bound for each in durations)


def told() -> str:
    async def main():
        async with MemoryStorageProvider() as provider:
            return exposition([await used(provider)], costs={"memory": 0.25})

    return asyncio.run(main())


def test_the_text_has_every_counter_and_escapes_labels():
    text = told()
    assert 'credstore_operations_total{provider="memory",verb="store"} 1\n' in text
    assert 'credstore_errors_total{provider="memory",verb="copy",code="NOT_FOUND"} 1\n' in text
    assert 'credstore_operation_duration_seconds_bucket{provider="memory",verb="store",le="+Inf"} 1\n' in text
    assert 'credstore_cost_dollars_total{provider="memory"} 0.25\n' in text
    assert exposition([ProviderMetrics(provider='a"\\\n', verbs={})]).count("# TYPE") == 6
    odd = Metrics('a"\\\n')
    odd.of("v").ended(0.0, 0, None)
    assert r'provider="a\"\\\n"' in exposition([odd.snapshot()])


def test_providers_with_one_label_are_added_up():
    metrics = Metrics("m")
    metrics.of("v").ended(1.0, 5, "TIMEOUT")
    text = exposition([metrics.snapshot(), metrics.snapshot()])
    assert 'credstore_bytes_total{provider="m",verb="v"} 10\n' in text
    assert text.count('credstore_errors_total{provider="m",verb="v",code="TIMEOUT"} 2\n') == 1


@pytest.mark.system
def test_promtool_accepts_the_text():
    found = subprocess.run(
        [program("promtool"), "check", "metrics"], input=told(), capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.system
def test_promtool_accepts_the_alerts_and_they_fire():
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        found = subprocess.run(
            [program("promtool"), *command], cwd=MONITORING, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.system
def test_promtool_parses_the_queries_of_the_dashboard(tmp_path):
    board = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    found = subprocess.run(
        [program("promtool"), "check", "rules", "rules.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_alerts_and_dashboard_name_only_what_there_is():
    shown = set(re.findall(r"# TYPE (\S+)", told()))
    for name in ("alerts.yml", "dashboard.json"):
        named = set(re.findall(r"credstore_[a-z_]+", (MONITORING / name).read_text()))
        assert {re.sub(r"_(bucket|sum|count)$", "", each) for each in named} <= shown, name


def spoken(app, method="GET", path="/metrics", kind="http"):
    """What an ASGI server gets from an application."""
    sent = []
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(incoming)

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "method": method, "path": path, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    return sent


class Failing:
    async def answer(self, path, query):
        raise RuntimeError("secret")


class Nothing:
    async def answer(self, path, query):
        return Answer(body=path.encode()) if path == "/x" else None


def test_an_app_of_parts_responds_as_asgi_says():
    metrics = Metrics("m")
    app = WebApp(
        {"/metrics": PrometheusPart(lambda: [metrics.snapshot()]), "/fails": Failing(), "/n": Nothing()}
    )
    start, body = spoken(app)
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"].startswith(b"text/plain; version=0.0.4")
    assert body["body"].startswith(b"# HELP")
    assert spoken(app, "HEAD")[1]["body"] == b""
    assert spoken(app, path="/n/x")[1]["body"] == b"/x"
    statuses = {
        path: spoken(app, method, path)[0]["status"]
        for method, path in (
            ("GET", "/"),
            ("GET", "/metricsx"),
            ("GET", "/n"),
            ("POST", "/metrics"),
            ("GET", "/fails"),
        )
    }
    assert statuses == {"/": 404, "/metricsx": 404, "/n": 404, "/metrics": 405, "/fails": 500}
    assert b"secret" not in spoken(app, path="/fails")[1]["body"]
    assert [each["type"] for each in spoken(app, kind="lifespan")] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    for path in ("metrics", "/metrics/", "/a//b"):
        with pytest.raises(StorageConfigurationError):
            WebApp({path: Nothing()})


def test_top_reads_a_running_service(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(MemoryConfig())
            await used(provider)
            app = WebApp({"/metrics": PrometheusPart(lambda: [provider.metrics()])})
            listener = listen("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
            async with serving_app(app, listener):
                before = await asyncio.to_thread(read, url)
                with contextlib.closing(await asyncio.to_thread(urllib.request.urlopen, url)) as response:
                    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                await provider.store("l", b"1")
                after = await asyncio.to_thread(read, url)
                with pytest.raises(StorageConnectionError):
                    await asyncio.to_thread(read, url + "x")
            return before, after

    before, after = asyncio.run(main())
    assert after["memory", "store"].calls == before["memory", "store"].calls + 1
    assert before["memory", "copy"].errors == 1
    headings, rows = table(after, before, 2.0)
    assert len(headings) == len(rows[0]) == 8
    assert len(rows) == len(table(after, {}, None)[1]) == 5
    assert shown(headings, rows, 80).row_count == 5
    with pytest.raises(StorageConfigurationError):
        read("file:///etc/passwd")
    assert parsed("nonsense\ncredstore_x{a} 1\n") == {}
    assert [size(each) for each in (0, 1023, 1024, 5 * 2**40)] == ["0 B", "1,023 B", "1.0 KiB", "5.0 TiB"]


@pytest.mark.parametrize("text", ["9464", ":9464", "host:", "host:70000", "host:x"])
def test_an_address_is_host_and_port(text):
    import click

    assert parsed_address("[::1]:9464") == ("::1", 9464)
    with pytest.raises(click.BadParameter):
        parsed_address(text)


def test_a_verb_that_was_never_called_is_not_shown():
    assert Metrics("m").snapshot() == ProviderMetrics(provider="m", verbs={})
