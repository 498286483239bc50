"""The local edge: what a link gives, and what it refuses."""

import asyncio
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from credstore.cli.serve import edge, listen
from credstore.config.clouds import LocalConfig
from credstore.factory import StorageFactory
from tests.cli.conftest import CommandLine, Processes

CONTENT = b'{"claim": "' + b"signed " * 500 + b'"}'
Answer = tuple[int, Mapping[str, str], bytes]


def ask(url: str, method: str = "GET", body: bytes | None = None) -> Answer:
    """One request, the target sent exactly as it stands."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    try:
        connection.request(method, url[url.index(address.netloc) + len(address.netloc) :], body=body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Edge:
    """Runs a scene against an edge over a fresh store."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def play(self, scene) -> None:
        async def work() -> None:
            listener = listen("127.0.0.1", 0)
            config = LocalConfig(
                path=str(self.root), link_url=f"http://127.0.0.1:{listener.getsockname()[1]}"
            )
            async with StorageFactory().create(config) as store, edge(store, listener) as base:
                assert base == config.link_url
                await scene(store, base)

        asyncio.run(work())


@pytest.fixture
def served(tmp_path: Path) -> Edge:
    return Edge(tmp_path / "store")


async def get(url: str, method: str = "GET") -> Answer:
    return await asyncio.to_thread(ask, url, method)


@pytest.mark.parametrize("compress", [False, "gzip"])
@pytest.mark.parametrize("key", ["a.json", "deep/er/a b+%?#&'\"~*ü.json", "a//b/", "x" * 200])
def test_a_link_gives_the_plain_bytes(served: Edge, compress, key: str) -> None:
    async def scene(store, base) -> None:
        await store.store(key, CONTENT, compress=compress)
        status, headers, body = await get(str(await store.get_signed_url(key)))
        assert (status, body) == (200, CONTENT)
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(CONTENT))
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "private"
        assert "content-encoding" not in headers

        link = str(await store.get_signed_url(key, method="HEAD"))
        status, told, body = await get(link, "HEAD")
        assert (status, body) == (200, b"")
        assert {name: told[name] for name in headers if name != "date"} == {
            name: value for name, value in headers.items() if name != "date"
        }

    served.play(scene)


def test_an_empty_and_a_large_object(served: Edge) -> None:
    large = os.urandom(3 * 1024 * 1024)

    async def scene(store, base) -> None:
        for content in (b"", large):
            await store.store("k", content)
            status, headers, body = await get(str(await store.get_signed_url("k")))
            assert (status, headers["content-length"], body) == (200, str(len(content)), content)

    served.play(scene)


def test_what_the_link_imposes(served: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x", content_disposition="inline", content_language="de")
        status, headers, _ = await get(str(await store.get_signed_url("a")))
        assert (headers["content-disposition"], headers["content-language"]) == ("inline", "de")
        link = await store.get_signed_url(
            "a", download_name="é.json", content_type="text/plain", cache_control="no-store"
        )
        status, headers, _ = await get(str(link))
        assert status == 200
        assert headers["content-disposition"].startswith("attachment; ")
        assert (headers["content-type"], headers["cache-control"]) == ("text/plain", "no-store")

    served.play(scene)


def test_wrong_changed_and_expired_links_get_one_answer(
    served: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"secret a")
        await store.store("b", b"secret b")
        link = str(await store.get_signed_url("a", 60))
        last = "A" if link[-1] != "A" else "B"
        wrong = {
            "no signature": f"{base}/a",
            "nothing at all": f"{base}/",
            "another key": link.replace("/a?", "/b?"),
            "longer life": link.replace("expires=1", "expires=2", 1),
            "no expiry": link.replace("expires=", "expired="),
            "expiry no number": link.replace("expires=1", "expires=x", 1),
            "another header": link + "&response-content-type=text/html",
            "twice": link + "&expires=1",
            "an unknown field": link + "&x=y",
            "another signature": link[:-2] + last + link[-1],
            "no signature text": link.partition("signature=")[0] + "signature=",
            "signature of no ASCII": link.partition("signature=")[0] + "signature=%ff%fe",
            "dots": link.replace("/a?", "/b/../a?"),
            "encoded": link.replace("/a?", "/%2e%2e/a?"),
            "nul": link.replace("/a?", "/a%00?"),
            "no UTF-8": link.replace("/a?", "/%ff?"),
            "double slash": link.replace("/a?", "//a?"),
        }
        answers = {}
        for name, url in wrong.items():
            status, headers, body = await get(url)
            assert status == 403, name
            answers[name] = ({k: v for k, v in headers.items() if k != "date"}, body)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 61)
        status, headers, body = await get(link)
        assert status == 403
        answers["expired"] = ({k: v for k, v in headers.items() if k != "date"}, body)
        first = answers["another key"]
        assert all(answer == first for answer in answers.values())
        assert b"secret" not in first[1]

    served.play(scene)


def test_a_link_is_for_its_method_only(served: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = str(await store.get_signed_url("a"))
        assert (await get(link, "HEAD"))[0] == 403
        assert (await get(str(await store.get_signed_url("a", method="HEAD"))))[0] == 403
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, headers, _ = await get(link, method)
            assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert await store.retrieve("a") == b"x"

    served.play(scene)


def test_an_object_that_is_gone(served: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x")
        link = str(await store.get_signed_url("a"))
        await store.delete("a")
        status, headers, body = await get(link)
        assert (status, headers["cache-control"]) == (404, "no-store")
        assert b"x-" not in body

    served.play(scene)


def test_a_changed_object_never_arrives_whole(served: Edge) -> None:
    async def scene(store, base) -> None:
        for size in (1000, 3_000_000):
            await store.store("a", b"0" * size)
            link = str(await store.get_signed_url("a"))
            path = served.root / "a"
            times = path.stat()
            path.write_bytes(b"0" * (size - 1) + b"1")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            if size == 1000:
                status, _, body = await get(link)
                assert (status, b"0" in body) == (500, False)
            else:
                with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                    await get(link)

    served.play(scene)


def test_an_opaque_object_is_given_plain(served: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"x", compress="zstd")
        link = str(await store.get_signed_url("a", check=False))
        status, headers, body = await get(link)
        assert (status, body, headers["content-type"]) == (200, b"x", "application/json")

    served.play(scene)


def test_a_key_never_leaves_the_root(served: Edge) -> None:
    (served.root.parent / "outside").write_text("outside")

    async def scene(store, base) -> None:
        for key in ("../outside", quote("../outside", safe="")):
            link = str(await store.get_signed_url("a", check=False)).replace("/a?", f"/{key}?")
            assert (await get(link))[0] == 403

    served.play(scene)


def test_the_port_is_free_afterwards(served: Edge) -> None:
    bases: list[str] = []

    async def scene(store, base) -> None:
        bases.append(base)

    served.play(scene)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(bases[0].rpartition(":")[2])), 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(
    cli: CommandLine, processes: Processes, number: signal.Signals
) -> None:
    cli.put("a.json", CONTENT, "--compress", "gzip")
    link = cli("link", "a.json").out.strip()
    process = processes.start("serve", "--port", "0", "--json", "-v")
    assert process.stdout is not None
    assert process.stderr is not None
    base = json.loads(process.stdout.readline())["url"]
    status, _, body = ask(link.replace("http://127.0.0.1:8765", base))
    assert (status, body) == (200, CONTENT)
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b"GET /a.json 200\n"


def test_a_taken_port_is_told(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in cli("serve", "--port", str(port), code=8).err


def test_a_store_whose_links_others_answer_is_refused(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDSTORE_URL", "memory://x")
    assert "[UNSUPPORTED]" in cli("serve", "--port", "0", code=1).err
