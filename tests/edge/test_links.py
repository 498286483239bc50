"""What a link gives, what it imposes, and that all others get one answer."""

import asyncio
import logging
import os
import re
import socket
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import credstore
from credstore import MemoryConfig, StorageConfigurationError, StorageUnsupportedError
from credstore.config import settings as config_settings
from credstore.driver import SignRequest
from credstore.edge.server import listen, serve_links
from credstore.testing.harness import put
from tests.edge.support import CONTENT, Edge, exchange, get, served, target_of

GUARDS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("key", ["a.json", "deep/er/a b+%?#&'\"~*ü.json", "a//b/", "x" * 200])
def test_a_link_gives_the_plain_bytes(edge: Edge, compress, key: str) -> None:
    async def scene(store, base) -> None:
        await store.store(key, CONTENT, compress=compress)
        answer = await get(await store.get_signed_url(key))
        assert (answer.status, answer.body) == (200, CONTENT)
        headers = answer.headers
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(CONTENT))
        assert headers.items() >= GUARDS.items()
        assert "sandbox" in headers["content-security-policy"]
        assert headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in headers
        assert "server" not in headers

        told = await get(await store.get_signed_url(key, method="HEAD"), "HEAD")
        assert (told.status, told.body) == (200, b"")
        ages = [
            int(re.findall(r"max-age=(\d+)", each.headers["cache-control"])[0]) for each in (answer, told)
        ]
        assert all(0 < age <= 3600 for age in ages)
        without = [{**each.steady, "cache-control": ""} for each in (answer, told)]
        assert without[0] == without[1]

    edge.play(scene)


def test_an_empty_and_a_large_object(edge: Edge) -> None:
    large = os.urandom(3 * 1024 * 1024)

    async def scene(store, base) -> None:
        for content in (b"", large):
            for compress in (False, "gzip", "zstd"):
                await store.store("k", content, compress=compress)
                answer = await get(await store.get_signed_url("k"))
                assert answer.status == 200
                assert answer.headers["content-length"] == str(len(content))
                assert answer.body == content

    edge.play(scene)


def test_a_stream_of_unknown_size(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_settings, "SPOOL", 1024)

    async def pieces():
        for _ in range(40):
            yield CONTENT * 100

    async def scene(store, base) -> None:
        await store.store("k", pieces(), compress="zstd")
        for headers in ({}, {"Range": "bytes=0-9"}):
            answer = await get(await store.get_signed_url("k"), **headers)
            assert (answer.status, answer.body) == (200, CONTENT * 4000)
            assert answer.headers["accept-ranges"] == "none"
            assert "content-length" not in answer.headers

    edge.play(scene)


def test_what_the_link_imposes(edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x", content_disposition="inline", content_language="de")
        headers = (await get(await store.get_signed_url("a"))).headers
        assert (headers["content-disposition"], headers["content-language"]) == ("inline", "de")
        link = await store.get_signed_url(
            "a", download_name="é.json", content_type="text/plain", cache_control="no-store"
        )
        answer = await get(link)
        assert answer.status == 200
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("text/plain", "no-store")
        stays = await get(await store.get_signed_url("a", 60, cache_control="public, max-age=9999999"))
        private, age = stays.headers["cache-control"].split(", ")
        assert (private, int(age.removeprefix("max-age=")) <= 60) == ("private", True)

    edge.play(scene)


def test_wrong_changed_and_expired_links_get_one_answer(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"secret a")
        await store.store("b", b"secret b")
        link = str(await store.get_signed_url("a", 60))
        last = "A" if link[-2] != "A" else "B"
        wrong = {
            "no signature": f"{base}/a",
            "nothing at all": f"{base}/",
            "another key": link.replace("/a?", "/b?"),
            "longer life": link.replace("expires=1", "expires=2", 1),
            "no expiry": link.replace("expires=", "expired="),
            "expiry no number": link.replace("expires=1", "expires=x", 1),
            "the same expiry in other words": link.replace("expires=1", "expires=%2B1", 1),
            "another header": link + "&response-content-type=text/html",
            "twice": link + "&expires=1",
            "twice, the right one last": link.replace("?", "?expires=1&"),
            "an unknown field": link + "&x=y",
            "many fields": link + "&x=y" * 100,
            "another signature": link[:-2] + last + link[-1],
            "no signature text": link.partition("signature=")[0] + "signature=",
            "signature of no ASCII": link.partition("signature=")[0] + "signature=%ff%fe",
            "dots": link.replace("/a?", "/b/../a?"),
            "encoded": link.replace("/a?", "/%2e%2e/a?"),
            "nul": link.replace("/a?", "/a%00?"),
            "no UTF-8": link.replace("/a?", "/%ff?"),
            "double slash": link.replace("/a?", "//a?"),
            "an object that is not there": link.replace("/a?", "/absent?"),
        }
        answers = {}
        for name, url in wrong.items():
            answers[name] = await get(url)
            assert answers[name].status == 403, name
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 61)
        answers["expired"] = await get(link)
        first = answers["another key"]
        assert {
            name for name, each in answers.items() if (each.steady, each.body) != (first.steady, first.body)
        } == set()
        assert b"secret" not in first.body
        assert first.headers["cache-control"] == "no-store"
        assert first.headers.items() >= GUARDS.items()

    edge.play(scene)


def test_links_of_another_store_are_refused(memory_edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"secret")
        async with credstore.MemoryStorageProvider(MemoryConfig(link_url=base)) as other:
            await other.store("a", b"other")
            assert (await get(await other.get_signed_url("a"))).status == 403

    memory_edge.play(scene)


def test_a_link_is_for_its_method_only(edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = await store.get_signed_url("a")
        assert (await get(link, "HEAD")).status == 403
        assert (await get(await store.get_signed_url("a", method="HEAD"))).status == 403
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
            answer = await get(link, method, b"y" if method == "PUT" else None)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert await store.retrieve("a") == b"x"

    edge.play(scene)


def test_a_preflight_tells_nothing_of_links(memory_edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = str(await store.get_signed_url("a"))
        asked = {
            "Origin": "https://example.com",
            "Access_Control_Request_Method": "GET",
            "Access_Control_Request_Headers": "range",
        }
        answers = [await get(url, "OPTIONS", **asked) for url in (link, f"{base}/a", f"{base}/absent?x")]
        assert {each.status for each in answers} == {204}
        assert answers[0].steady == answers[1].steady == answers[2].steady
        headers = answers[0].headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        assert "Range" in headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in headers
        seen = (await get(link, Origin="https://example.com")).headers
        assert seen["access-control-allow-origin"] == "*"
        for name in ("ETag", "Content-Range", "Content-Disposition"):
            assert name in seen["access-control-expose-headers"]

    memory_edge.play(scene)


def test_an_object_that_is_gone(edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = await store.get_signed_url("a")
        await store.delete("a")
        answer = await get(link)
        assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")

    edge.play(scene)


def test_an_object_in_a_codec_of_tomorrow(local_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    from credstore.provider import provider as home

    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = await store.get_signed_url("a")

        def refused(info):
            raise credstore.StorageCodecError("made with the codec brotli")

        monkeypatch.setattr(home, "recipe_of", refused)
        answer = await get(link)
        assert (answer.status, b"brotli" in answer.body) == (500, False)

    local_edge.play(scene)


def test_a_closed_store_is_not_there_now(memory_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = await store.get_signed_url("a")

        async def busy(key):
            raise credstore.StorageUnavailableError("the disk sleeps")

        monkeypatch.setattr(store, "get_metadata", busy)
        assert (await get(link)).status == 503

    memory_edge.play(scene)


def test_a_key_never_leaves_the_root(local_edge: Edge) -> None:
    (local_edge.root.parent / "outside").write_text("outside")

    async def scene(store, base) -> None:
        for key in (
            "../outside",
            quote("../outside", safe=""),
            "%2e%2e/outside",
            "..%5Coutside",
            "/etc/passwd",
        ):
            link = str(await store.get_signed_url("a", check=False)).replace("/a?", f"/{key}?")
            assert (await get(link)).status == 403

    local_edge.play(scene)


def test_nothing_is_listed(edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("proofs/a", b"secret")
        for path in ("/", "/proofs", "/proofs/", "/?list-type=2", "/.credstore/", "/proofs/a", "*", ""):
            answer = await asyncio.to_thread(
                exchange, base, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer.split()[1] in {b"403", b"400"}, path
            assert b"proofs" not in answer

    edge.play(scene)


def test_a_target_with_scheme_and_host(memory_edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"content")
        link = str(await store.get_signed_url("a"))
        answer = await asyncio.to_thread(
            exchange, base, f"GET {link} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.split()[1] == b"200"
        assert answer.endswith(b"content")

    memory_edge.play(scene)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /{} HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /{} HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(200)) + b"\r\n",
        b"GET /{}" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /{} HTTP/9.9\r\n\r\n",
        b"GET /{} HTTP/1.1\r\nno header\r\n\r\n",
        b"G\x00T /{} HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_no_request_is_refused_in_our_words(
    memory_edge: Edge, head: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = str(await store.get_signed_url("a"))
        sent = head.replace(b"{}", target_of(link)[1:].encode())
        answer = await asyncio.to_thread(exchange, base, sent)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert answer.endswith(b"This is not a valid HTTP request.\n")
        assert b"erver:" not in answer
        signature = link.partition("signature=")[2]
        assert signature.encode() not in answer
        assert signature not in caplog.text + "".join(capfd.readouterr())

    memory_edge.play(scene)


def test_links_are_in_no_log(
    edge: Edge, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(store, base) -> None:
        await store.store("a/ü", b"x")
        link = str(await store.get_signed_url("a/ü"))
        signature = link.partition("signature=")[2]
        await get(link)
        await get(link.replace("a/", "b/"))
        await get(link, "POST")
        await store.delete("a/ü")
        await get(link)
        assert edge.log == [
            "GET /a/%C3%BC 200",
            "GET /b/%C3%BC 403",
            "POST /a/%C3%BC 405",
            "GET /a/%C3%BC 404",
        ]
        assert signature not in caplog.text + "".join(capfd.readouterr())

    edge.play(scene)


def test_a_mistake_of_ours_tells_its_kind_alone(
    memory_edge: Edge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = str(await store.get_signed_url("a"))

        async def broken(key):
            raise RuntimeError(f"the canary {link}")

        monkeypatch.setattr(store, "get_metadata", broken)
        answer = await get(link)
        assert (answer.status, answer.body) == (500, b"The object cannot be read.\n")
        assert answer.headers.items() >= GUARDS.items()
        assert "RuntimeError" in caplog.text
        assert "canary" not in caplog.text

    memory_edge.play(scene)


_wild = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0 "), max_size=30).map(
    lambda text: text.encode()
) | st.binary(max_size=30).map(lambda raw: re.sub(rb"[\r\n\0 ]", b"", raw))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_wild, _wild), min_size=1, max_size=20))
def test_no_path_and_no_query_but_a_links_gets_anything(targets) -> None:
    async def scene() -> None:
        async with served(None) as (store, base):
            await store.store("a", b"secret")
            query = target_of(str(await store.get_signed_url("a"))).partition("?")[2].encode()
            for path, wild in targets:
                if path == b"a":
                    continue
                for target in (
                    b"/" + path + b"?" + query,
                    b"/a?" + wild,
                    b"/a?" + query + b"&" + wild + b"=",
                ):
                    request = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    answer = await asyncio.to_thread(exchange, base, request)
                    assert answer.split()[1] in {b"403", b"400"}, target
                    assert b"secret" not in answer

    asyncio.run(scene())


def test_the_port_is_free_afterwards(memory_edge: Edge) -> None:
    bases: list[str] = []

    async def scene(store, base) -> None:
        bases.append(base)

    memory_edge.play(scene)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(bases[0].rpartition(":")[2])), 5)


def test_it_listens_where_the_links_lead() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
    config = MemoryConfig(link_url=f"http://127.0.0.1:{port}/base")

    async def main() -> None:
        async with credstore.MemoryStorageProvider(config) as store, serve_links(store) as base:
            assert base == f"http://127.0.0.1:{port}"
            await store.store("a", b"x")
            assert (await get(await store.get_signed_url("a"))).body == b"x"
            async with credstore.MemoryStorageProvider(config) as other:
                with pytest.raises(StorageConfigurationError, match=f"port {port}"):
                    await serve_links(other).__aenter__()

    asyncio.run(main())


def test_a_link_url_with_tls_needs_a_listener() -> None:
    async def main() -> None:
        async with credstore.MemoryStorageProvider(MemoryConfig(link_url="https://example.com")) as store:
            with pytest.raises(StorageConfigurationError, match="TLS"):
                await serve_links(store).__aenter__()
            async with serve_links(store, listener=listen("127.0.0.1", 0)) as base:
                await store.store("a", b"x")
                link = str(await store.get_signed_url("a"))
                assert link.startswith("https://example.com/a?")
                assert (await get(link.replace("https://example.com", base))).body == b"x"

    asyncio.run(main())


def test_links_that_others_answer_are_refused() -> None:
    config = credstore.S3Config(bucket="proofs", access_key_id="a", secret_access_key=credstore.Secret("b"))

    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        async with credstore.S3StorageProvider(config) as store:
            with pytest.raises(StorageUnsupportedError):
                await serve_links(store, listener=listener).__aenter__()
        assert listener.fileno() == -1

    asyncio.run(main())


def test_a_link_to_what_credstore_keeps_for_itself_is_as_any_wrong_one(edge: Edge) -> None:
    async def scene(store, base) -> None:
        for key in (".credstore/keys/x", "team/.credstore/keys/x"):
            await put(store._session.driver, key, b"wrapped")
            signed = await store._session.driver.sign(SignRequest(key=key))
            wrong = await get(f"{base}/k?expires=9999999999&method=GET&signature=AAAA")
            answer = await get(signed.url)
            assert (answer.status, answer.body) == (wrong.status, wrong.body)
            assert answer.status == 403

    edge.play(scene)
