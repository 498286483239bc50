"""Damage, replacement, slow and vanishing readers: no answer is complete unless it is right."""

import asyncio
import http.client
import logging
import os
import socket
from urllib.parse import urlsplit

import pytest

from credstore.config import settings
from credstore.edge import connection, responses
from credstore.model import StorageItem
from tests.edge.support import CONTENT, Edge, exchange, get, target_of


def damage(edge: Edge, key: str) -> None:
    """Change the last byte of a file, and no date."""
    path = edge.root / key
    times = path.stat()
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
@pytest.mark.parametrize("accepted", ["", "gzip, zstd"])
def test_a_changed_object_never_arrives_whole(local_edge: Edge, compress, accepted: str) -> None:
    async def scene(store, base) -> None:
        for size in (1000, 3_000_000):
            content = os.urandom(size)
            await store.store("a", content, compress=compress)
            link = await store.get_signed_url("a")
            damage(local_edge, "a")
            if size == 1000:
                answer = await get(link, Accept_Encoding=accepted)
                assert (answer.status, answer.body) == (500, b"The object cannot be read.\n")
            else:
                with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                    await get(link, Accept_Encoding=accepted)

    local_edge.play(scene)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_damage_in_an_answer_of_unknown_length(
    local_edge: Edge, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SPOOL", 1024)

    async def pieces():
        for _ in range(8):
            yield os.urandom(500_000)

    async def scene(store, base) -> None:
        await store.store("a", pieces(), compress="gzip")
        whole = await store.get_signed_url("a")
        request = (
            f"GET {target_of(str(whole))} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        good = await asyncio.to_thread(exchange, base, request)
        assert good.startswith(b"HTTP/" + version.encode() + b" 200")
        assert b"\r\nContent-Length:" not in good
        assert good.endswith(b"\r\n0\r\n\r\n") or version == "1.0"
        damage(local_edge, "a")
        address = urlsplit(base)

        def read() -> bytes:
            received = b""
            with socket.create_connection((address.hostname, address.port), 30) as opened:
                opened.sendall(request)
                while chunk := opened.recv(65536):
                    received += chunk
            return received

        # A plain end would be complete in HTTP/1.0.
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(read)

    local_edge.play(scene)


def test_an_object_replaced_between_two_looks(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(store, base) -> None:
        await store.store("a", b"old")
        link = await store.get_signed_url("a")
        real, replaced = store.get_metadata, []

        async def look(key: str) -> StorageItem | None:
            item = await real(key)
            if len(replaced) < wanted:
                replaced.append(await store.store("a", b"new %d" % len(replaced)))
            return item

        monkeypatch.setattr(store, "get_metadata", look)
        wanted = 1
        for headers in ({}, {"Range": "bytes=0-2"}):
            replaced.clear()
            answer = await get(link, **headers)
            assert (answer.status, answer.body) == ((206, b"new") if headers else (200, b"new 0"))
        wanted = 99
        assert (await get(link)).status == 503

    edge.play(scene)


def test_a_reader_that_takes_nothing_is_cut_off(memory_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "PATIENCE", 0.01)

    async def scene(store, base) -> None:
        await store.store("a", os.urandom(32_000_000))
        link = str(await store.get_signed_url("a"))
        address = urlsplit(base)
        _, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
        writer.write(f"GET {target_of(link)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        # Nobody reads; the answer ends all the same.
        assert await asyncio.wait_for(memory_edge.told.get(), 60) == "GET /a 200"
        writer.transport.abort()

    memory_edge.play(scene)


def test_a_reader_that_leaves(memory_edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(store, base) -> None:
        await store.store("a", os.urandom(8_000_000))
        link = str(await store.get_signed_url("a"))
        address = urlsplit(base)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(f"GET {target_of(link)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readexactly(100)
            writer.transport.abort()
        assert len((await get(link)).body) == 8_000_000

    memory_edge.play(scene)
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


def test_one_connection_for_several_requests(memory_edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("a", CONTENT)
        link = str(await store.get_signed_url("a"))

        def work() -> None:
            kept = http.client.HTTPConnection(urlsplit(base).netloc, timeout=600)
            sockets = set()
            for target, status in ((target_of(link), 200), ("/a", 403), (target_of(link), 200)):
                kept.request("GET", target)
                answer = kept.getresponse()
                assert (answer.status, bool(answer.read())) == (status, True)
                sockets.add(id(kept.sock))
            kept.close()
            assert len(sockets) == 1

        await asyncio.to_thread(work)

    memory_edge.play(scene)


@pytest.mark.parametrize("sent", [b"", b"GET /a HTTP/1.1\r\nHost:"])
def test_a_request_that_never_comes_is_not_waited_for(
    memory_edge: Edge, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE", 0.01)

    async def scene(store, base) -> None:
        assert await asyncio.to_thread(exchange, base, sent) == b""

    memory_edge.play(scene)
