"""A store behind a proxy: the same results, one clear error each, and no page of the proxy's taken for S3's."""

import asyncio
import base64
import traceback
from contextlib import asynccontextmanager

import pytest

from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, S3Config, Secret
from credstore.config.mapping import from_mapping
from credstore.config.url import from_url
from credstore.errors import (
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageTimeoutError,
)
from credstore.provider.presets import build_driver
from tests.faults.certificates import make_server
from tests.faults.origin import Origin
from tests.servers.proxy import page, proxying

PASSWORD = "canary-proxy-password"
BUCKET = "bucket"
S3_ERROR = b"<Error><Code>NoSuchKey</Code></Error>"


def settings_for(url, **settings):
    return {
        "bucket": BUCKET,
        "endpoint": url,
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": Secret("canary-secret-access-key"),
        "max_retries": 0,
        **settings,
    }


@asynccontextmanager
async def behind(*, tls=None, proxy=None, **settings):
    """A store, the proxy before it, and the origin behind that."""
    async with Origin(least_part=1, tls=tls) as origin, proxying(**(proxy or {})) as way:
        origin.store.buckets[BUCKET] = {}
        given = {"proxy": way.url.replace("://", f"://user:{PASSWORD}@"), **settings}
        async with S3CompatibleStorageProvider(
            S3CompatibleConfig(flavor="minio", **settings_for(origin.url, **given))
        ) as store:
            yield store, way, origin


async def failure(call) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await call
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    for secret in (PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        assert secret not in shown
    return caught.value


@pytest.fixture(params=[False, True], ids=["http", "https"])
def way(request, tmp_path):
    """How the origin is spoken with: settings of `behind`."""
    if not request.param:
        return {}
    context, authority = make_server(tmp_path)
    return {"tls": context, "ca_file": authority}


def test_every_size_passes(way):
    async def main():
        small = {"multipart_threshold": 100_000, "part_size": 100_000, "copy_part_size": 100_000}
        async with behind(proxy={"password": f"user:{PASSWORD}"}, **way, **small) as (store, proxy, origin):
            for key, data in (("small", b"x"), ("large", bytes(1_000_000))):
                await store.store(key, data)
                assert await store.retrieve(key) == data
            assert await store.retrieve("none") is None
            assert await store.exists("none") is False
            assert [item.key async for item in store.scan()] == ["large", "small"]
            await store.delete("small")
            assert await store.retrieve("small") is None
            assert proxy.heads
            assert all(b"proxy-authorization" not in str(entry).lower().encode() for entry in origin.log)
            tunnels = [line for line in proxy.lines if line.startswith("CONNECT ")]
            assert len(tunnels) == (proxy.connections if way else 0)

    asyncio.run(main())


TUNNEL = [
    (page(403), StorageConfigurationError, "PROXY_REFUSED", False),
    (page(407), StorageConfigurationError, "PROXY_AUTHENTICATION", False),
    (page(404), StorageConfigurationError, "PROXY_REFUSED", False),
    (page(502), StorageConnectionError, "PROXY_FAILED", True),
    (page(503), StorageConnectionError, "PROXY_FAILED", True),
    (page(504), StorageTimeoutError, "PROXY_TIMEOUT", True),
    (b"nonsense\r\n\r\n", StorageConnectionError, "PROXY_FAILED", True),
    (b"", StorageConnectionError, "PROXY_FAILED", True),
]


@pytest.mark.parametrize(("says", "kind", "code", "retryable"), TUNNEL)
def test_without_a_tunnel_nothing_was_applied(tmp_path, says, kind, code, retryable):
    context, authority = make_server(tmp_path)

    async def main():
        async with behind(tls=context, ca_file=authority, proxy={"says": says}) as (store, proxy, origin):
            for call in (store.store("k", b"x"), store.delete("k"), store.retrieve("k"), store.exists("k")):
                error = await failure(call)
                assert (type(error), error.code, error.applied) == (kind, code, "no")
                assert error.retryable is retryable
                assert proxy.url in error.message
            assert origin.connections == 0

    asyncio.run(main())


PAGES = [
    (page(403), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(404), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(404, b"Not Found", content_type="text/plain"), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(404, b""), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(412, b""), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(302, b""), StorageConfigurationError, "PROXY_REFUSED", "maybe"),
    (page(407), StorageConfigurationError, "PROXY_AUTHENTICATION", "no"),
    (page(401), StorageConfigurationError, "PROXY_AUTHENTICATION", "maybe"),
    (page(502), StorageConnectionError, "PROXY_FAILED", "maybe"),
    (page(503, b""), StorageConnectionError, "PROXY_FAILED", "maybe"),
    (page(504), StorageTimeoutError, "PROXY_TIMEOUT", "maybe"),
]


@pytest.mark.parametrize(("says", "kind", "code", "applied"), PAGES)
def test_a_page_of_the_proxys_is_never_s3s(says, kind, code, applied):
    async def main():
        async with behind(proxy={"says": says}) as (store, proxy, origin):
            for verb in (store.retrieve, store.exists, store.get_metadata):
                error = await failure(verb("k"))
                assert (type(error), error.code, error.applied) == (kind, code, "no")
                assert proxy.url in error.message
            for call in (store.store("k", b"x"), store.store("k", b"x", if_absent=True), store.delete("k")):
                error = await failure(call)
                assert (type(error), error.code, error.applied) == (kind, code, applied)
            assert origin.log == []

    asyncio.run(main())


def test_a_write_whose_answer_the_proxy_replaced_may_have_happened():
    async def main():
        async with behind() as (store, proxy, origin):
            proxy.after = page(403)
            error = await failure(store.store("k", b"x"))
            assert (error.code, error.applied) == ("PROXY_REFUSED", "maybe")
            assert origin.store.buckets[BUCKET]["k"].body == b"x"

    asyncio.run(main())


def test_what_s3_says_passes_for_s3s():
    bare = page(404, b"").replace(b"\r\n", b"\r\nx-amz-request-id: 1\r\n", 1)

    async def main():
        async with behind(proxy={"says": page(404, S3_ERROR, content_type="application/xml")}) as (
            store,
            _,
            _,
        ):
            assert await store.retrieve("k") is None
        async with behind(proxy={"says": bare}) as (store, _, _):  # Nor is a listing answered better.
            assert (await failure(store.retrieve("k"))).code == "BUCKET_NOT_FOUND"

    asyncio.run(main())


def test_a_login_page_is_no_success():
    async def main():
        async with behind(proxy={"says": page(200)}) as (store, _, _):
            for call in (store.retrieve("k"), store.exists("k"), store.store("k", b"x"), store.delete("k")):
                assert (await failure(call)).code == "NOT_S3"

    asyncio.run(main())


def test_a_silent_proxy_is_given_up_in_time(way):
    async def main():
        async with behind(proxy={"silent": True}, timeout=0.1, **way) as (store, _, origin):
            error = await failure(store.store("k", b"x"))
            assert type(error) is StorageTimeoutError
            assert (error.code, error.applied) == (("PROXY_TIMEOUT", "no") if way else ("TIMEOUT", "maybe"))
            assert origin.connections == 0

    asyncio.run(main())


@pytest.mark.parametrize("setting", ["env", "off", None])
def test_the_environment_is_read_when_the_store_is_made_unless_it_is_off(setting, monkeypatch):
    async def main():
        async with proxying() as other, Origin() as origin:
            origin.store.buckets[BUCKET] = {}
            monkeypatch.setenv("HTTP_PROXY", other.url)
            store = S3CompatibleStorageProvider(
                S3CompatibleConfig(flavor="minio", proxy=setting, **settings_for(origin.url))
            )
            monkeypatch.delenv("HTTP_PROXY")
            async with store:
                await store.store("k", b"x")
            assert bool(other.heads) is (setting == "env")
            assert len(origin.log) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks5://user:{}@127.0.0.1:1", "SOCKS"),
        ("https://user:{}@127.0.0.1:1", "http:// proxies"),
        ("http://user:{}@127.0.0.1:x", "must be http://"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_when_the_store_is_made(url, words, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", url.format(PASSWORD))
    config = S3Config(**settings_for(None, endpoint=None))

    async def make():
        return build_driver(config)

    error = asyncio.run(failure(make()))
    assert (type(error), error.code) == (StorageConfigurationError, "PROXY_UNUSABLE")
    assert error.message.startswith("HTTPS_PROXY ")
    assert words in error.message
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    build_driver(config)
    with pytest.raises(StorageConfigurationError, match=words):
        S3Config(**settings_for(None, proxy=Secret(url.format(PASSWORD))))


def test_what_is_safe_on_this_machine_alone_is_not_sent_to_another():
    given = settings_for("http://127.0.0.1:9000", proxy="http://proxy.example.com:3128")
    with pytest.raises(StorageConfigurationError, match="NO_PROXY"):
        S3CompatibleStorageProvider(S3CompatibleConfig(**given))
    S3CompatibleStorageProvider(S3CompatibleConfig(**given, allow_http=True))
    S3CompatibleStorageProvider(S3CompatibleConfig(**{**given, "endpoint": "https://127.0.0.1:9000"}))


def test_the_setting_hides_a_password_and_equal_ones_are_equal():
    def config(proxy):
        return S3Config(**settings_for(None, proxy=proxy))

    url = f"http://user:{PASSWORD}@proxy.example.com:3128"
    assert PASSWORD not in repr(config(url))
    assert config(url) == config(Secret(url)) != config("http://proxy.example.com:3128")
    assert config("http://a:1").proxy == config(Secret("http://a:1")).proxy == "http://a:1"
    assert config("ENV") == config("env") == S3Config(**settings_for(None))
    for wrong in ("", "proxy", "proxy:3128", "none", 7, True):
        with pytest.raises(StorageConfigurationError, match="proxy"):
            config(wrong)


def test_the_words_of_mappings_urls_and_the_environment():
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
    url = f"http://user:{PASSWORD}@proxy.example.com:3128"
    mapped = from_mapping({"provider": "s3", "bucket": "proofs", "proxy": url}, keys)
    assert mapped.proxy == Secret(url)
    assert from_mapping({"provider": "s3", "bucket": "proofs", "proxy": "off"}, keys).proxy == "off"
    assert from_url("s3://proofs?proxy=off", keys).proxy == "off"
    assert from_url("s3://proofs?proxy=http%3A%2F%2Fa%3A1", keys).proxy == "http://a:1"
    assert from_url("s3://proofs", {**keys, "CREDSTORE_PROXY": url}).proxy == Secret(url)
    with pytest.raises(StorageConfigurationError, match="CREDSTORE_PROXY"):
        from_url(f"s3://proofs?proxy={url}", keys)
    with pytest.raises(StorageConfigurationError, match="SOCKS"):
        from_url("s3://proofs", {**keys, "CREDSTORE_PROXY": f"socks5://user:{PASSWORD}@a:1"})
