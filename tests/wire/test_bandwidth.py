"""Bytes move no faster than they may, in either direction, small bodies too; a wait can be cancelled."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.wire import http as http_module
from credstore.wire.bandwidth import Bandwidth
from credstore.wire.http import HttpClient
from credstore.wire.transport import HttpRequest, StreamBody
from tests.wire.server import answer, serving
from tests.wire.test_http import Source


@given(st.integers(1, 10**9), st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**7)), max_size=60))
def test_no_more_than_the_rate_and_one_burst(rate, moves):
    bandwidth, now, moved = Bandwidth(rate), 100.0, 0
    for pause, size in moves:
        now += pause
        now += bandwidth.delay(now, size)
        moved += size
        assert moved <= rate * (now - 100.0 + Bandwidth.BURST) * 1.000001 + 1


@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_no_less_than_the_rate(rate, sizes):
    bandwidth, now = Bandwidth(rate), 0.0
    for size in sizes:
        now += bandwidth.delay(now, size)
    assert now <= sum(sizes) / rate * 1.000001


class Time:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(http_module, "_clock", lambda: self.now)
        monkeypatch.setattr(http_module, "_sleep", self.sleep)

    async def sleep(self, seconds):
        self.now += seconds


def body_of(kind, size):
    if kind == "bytes":
        return b"x" * size
    return StreamBody(size if kind == "stream" else None, Source(b"x" * size).open)


@pytest.mark.parametrize("kind", ["bytes", "stream", "chunked"])
@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_an_upload_takes_its_time(monkeypatch, kind, size):
    time = Time(monkeypatch)

    async def main():
        async with serving() as server:
            client = HttpClient(bandwidth=100_000)
            for _ in range(3):
                request = HttpRequest(method="PUT", url=server.url, headers={}, body=body_of(kind, size))
                await (await client.send(request, deadline=None)).read(10)
            await client.aclose()
            assert [len(seen.body) for seen in server.seen] == [size] * 3

    asyncio.run(main())
    assert time.now == pytest.approx(3 * size / 100_000)


@pytest.mark.parametrize("way", ["read", "chunks", "read_start"])
@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_download_takes_its_time(monkeypatch, way, size):
    time = Time(monkeypatch)

    async def main():
        async with serving(answer(200, b"x" * size)) as server:
            client = HttpClient(bandwidth=100_000)
            for _ in range(3):
                reply = await client.send(
                    HttpRequest(method="GET", url=server.url, headers={}), deadline=None
                )
                assert reply.take_whole() is None
                if way == "chunks":
                    assert sum([len(chunk) async for chunk in reply.chunks()]) == size
                else:
                    assert len(await getattr(reply, way)(size)) == size
            await client.aclose()

    asyncio.run(main())
    assert time.now == pytest.approx(3 * size / 100_000)


def test_a_wait_can_be_cancelled(monkeypatch):
    waiting = asyncio.Event()

    async def sleep(_seconds):
        waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(http_module, "_sleep", sleep)

    async def main():
        async with serving() as server:
            client = HttpClient(bandwidth=1)
            request = HttpRequest(method="PUT", url=server.url, headers={}, body=b"x" * 1000)
            sending = asyncio.ensure_future(client.send(request, deadline=None))
            await waiting.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert server.seen == []
            await client.aclose()

    asyncio.run(main())
