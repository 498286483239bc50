"""Somebody else's proxy carries a store; curl passes over the hosts that we pass over."""

import asyncio
import os
import socket
import subprocess
from contextlib import contextmanager

import pytest

from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret, StorageError
from credstore.wire.proxy import bypassed
from tests.edge.programs import program
from tests.faults.certificates import make_server
from tests.faults.origin import Origin
from tests.servers.proxy import proxying
from tests.wire.server import answer, serving

pytestmark = pytest.mark.system
USER, PASSWORD = "user", "canary-p"
_CONFIG = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 30
MaxClients 20
BasicAuth {user} {password}
{more}
"""


@contextmanager
def tinyproxy(place, more=""):
    """A proxy that wants a password; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = place / "tinyproxy.conf"
    config.write_text(_CONFIG.format(port=port, user=USER, password=PASSWORD, more=more))
    command = [program("tinyproxy"), "-d", "-c", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None, "tinyproxy did not start"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield port
    finally:
        process.terminate()
        process.wait(600)


@pytest.fixture(params=["http", "https"])
def origin_settings(request, tmp_path):
    if request.param == "http":
        return {}, {}
    context, authority = make_server(tmp_path)
    return {"tls": context}, {"ca_file": authority}


def open_store(url, port, password=PASSWORD, **settings):
    config = S3CompatibleConfig(
        bucket="bucket",
        endpoint=url,
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("canary-secret"),
        flavor="minio",
        max_retries=0,
        part_size=100_000,
        multipart_threshold=100_000,
        proxy=Secret(f"http://{USER}:{password}@127.0.0.1:{port}"),
        **settings,
    )
    return S3CompatibleStorageProvider(config)


def test_tinyproxy_carries_a_store(tmp_path, origin_settings):
    ours, theirs = origin_settings

    async def work(port):
        async with Origin(least_part=1, **ours) as origin, open_store(origin.url, port, **theirs) as store:
            origin.store.buckets["bucket"] = {}
            for key, data in (("small", b"x"), ("large", bytes(1_000_000))):
                await store.store(key, data)
                assert await store.retrieve(key) == data
            assert await store.retrieve("none") is None
            assert [item.key async for item in store.scan()] == ["large", "small"]
            assert all("proxy-authorization" not in entry.request.headers for entry in origin.log)

    with tinyproxy(tmp_path) as port:
        asyncio.run(work(port))


@pytest.mark.parametrize("fault", ["password", "refused", "down"])
def test_tinyproxy_says_no(tmp_path, origin_settings, fault):
    ours, theirs = origin_settings
    secure = bool(ours)

    async def work(port):
        password = "canary-wrong" if fault == "password" else PASSWORD
        async with Origin(**ours) as origin:
            origin.store.buckets["bucket"] = {}
            url = origin.url
            if fault == "down":
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    url = f"{url.rpartition(':')[0]}:{probe.getsockname()[1]}"
            async with open_store(url, port, password, **theirs) as store:
                for call in (store.store("k", b"x"), store.retrieve("k"), store.exists("k")):
                    with pytest.raises(StorageError) as caught:
                        await call
                    yield caught.value
            assert origin.log == []

    async def main(port):
        return [(error.code, error.applied) async for error in work(port)]

    more = {"refused": 'ConnectPort 1\nFilter "{}"\nFilterDefaultDeny Yes'.format(tmp_path / "filter")}
    (tmp_path / "filter").write_text("nobody\n")
    with tinyproxy(tmp_path, more.get(fault, "")) as port:
        found = asyncio.run(main(port))
    code = {"password": "PROXY_AUTHENTICATION", "refused": "PROXY_REFUSED", "down": "PROXY_FAILED"}[fault]
    assert found == [(code, "no" if secure else "maybe"), (code, "no"), (code, "no")]


@pytest.mark.parametrize(
    ("rules", "host"),
    [
        ("example.test", "example.test"),
        ("example.test", "a.example.test"),
        (".example.test", "a.example.test"),
        (".example.test", "example.test"),
        ("example.test", "notexample.test"),
        ("EXAMPLE.test", "a.example.TEST"),
        ("other.test, example.test", "example.test"),
        ("other.test example.test", "example.test"),
        ("*", "example.test"),
        ("", "example.test"),
        ("localhost", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("126.0.0.0/8", "127.0.0.1"),
        ("0.0.1", "127.0.0.1"),
    ],
)
def test_curl_passes_over_the_same_hosts(rules, host):
    async def main():
        async with serving(answer(200, b"ok")) as server, proxying() as proxy:
            port = int(server.url.rpartition(":")[2])
            proxy.lives[f"{host.lower()}:{port}"] = port
            command = [
                program("curl"), "--disable", "--silent", "--show-error", "--max-time", "60",
                "--resolve", f"{host}:{port}:127.0.0.1", f"http://{host}:{port}/",
            ]  # fmt: skip
            environ = {**os.environ, "http_proxy": proxy.url, "no_proxy": rules}
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, env=environ, check=False
            )
            assert done.stdout == b"ok", done.stderr.decode()
            return not proxy.heads, port

    passed_over, port = asyncio.run(main())
    assert bypassed(rules, host, port) is passed_over
