"""A script in place of sockets keeps what a transport promises, and serves whole stores."""

import asyncio
import time

import pytest

from credstore import S3Config, Secret, StorageUnavailableError
from credstore.driver import BytesBody, PutRequest
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import StorageInvalidRequestError
from credstore.testing import ScriptedAnswer, ScriptedTransport, WireError, count_requests
from credstore.wire.transport import HttpRequest, StreamBody

BROKEN = WireError("broken", sent=True)


def request(method="GET", **fields):
    return HttpRequest(method=method, url="https://a.example/k?v=1", headers={"host": "a.example"}, **fields)


def run(check, *steps):
    async def main():
        transport = ScriptedTransport(*steps)
        await check(transport)
        await transport.aclose()
        assert transport.unread == 0

    asyncio.run(main())


async def failure(kind, awaitable):
    with pytest.raises(kind) as caught:
        await awaitable
    return caught.value


def test_steps_follow_each_other_and_the_last_one_stays():
    async def check(transport):
        seen = []
        for _ in range(4):
            answer = await transport.send(request(), deadline=None)
            seen.append((answer.status, await answer.read(10)))
        assert seen == [(201, b"a"), (200, b"b"), (200, b"b"), (200, b"b")]
        transport.then(lambda sent: ScriptedAnswer(200, sent.target.encode()))
        assert await (await transport.send(request(), deadline=None)).read(10) == b"/k?v=1"
        assert len(transport.requests) == 5

    run(check, ScriptedAnswer(201, b"a"), ScriptedAnswer(200, b"b", {"ETag": "x"}))


def test_a_body_is_read_closed_and_measured():
    closed = []

    async def source():
        try:
            yield b"ab"
            yield memoryview(b"cd")
        finally:
            closed.append(True)

    async def check(transport):
        for length in (4, None):
            await (await transport.send(request("PUT", body=StreamBody(length, source)), deadline=None)).read(
                0
            )
        assert [sent.body for sent in transport.requests] == [b"abcd"] * 2
        error = await failure(
            StorageInvalidRequestError,
            transport.send(request("PUT", body=StreamBody(5, source)), deadline=None),
        )
        assert (error.code, closed, len(transport.requests)) == ("BODY_LENGTH", [True] * 3, 2)

    run(check)


def test_what_was_not_sent_opened_no_body():
    async def check(transport):
        body = StreamBody(1, lambda: pytest.fail("it was opened"))
        error = await failure(WireError, transport.send(request("PUT", body=body), deadline=None))
        assert (error.kind, error.sent, transport.requests) == ("connect", False, [])
        error = await failure(
            WireError, transport.send(request("PUT", body=body), deadline=time.monotonic() - 1)
        )
        assert (error.kind, error.sent) == ("timeout", False)

    run(check, WireError("connect", sent=False))


def test_a_wait_ends_at_the_deadline():
    async def stall(_sent):
        await asyncio.Event().wait()

    async def check(transport):
        error = await failure(WireError, transport.send(request(), deadline=time.monotonic() + 0.01))
        assert (error.kind, error.sent, len(transport.requests)) == ("timeout", True, 1)

    run(check, stall)


def test_bodies_are_cut_or_too_long_as_on_a_wire():
    async def check(transport):
        for take in (lambda answer: answer.read(100), drained):
            answer = await transport.send(request(), deadline=None)
            assert answer.take_whole() is None
            assert (await failure(WireError, take(answer))).kind == "broken"
        answer = await transport.send(request(), deadline=None)
        assert (await failure(WireError, answer.read(1))).kind == "protocol"
        answer = await transport.send(request(), deadline=None)
        assert await answer.read_start(1) == b"a"
        answer = await transport.send(request("HEAD"), deadline=None)
        assert (answer.take_whole(), await answer.read(0)) == (b"", b"")

    run(check, ScriptedAnswer(200, b"abc", cut=BROKEN))


async def drained(answer):
    return [chunk async for chunk in answer.chunks()]


def test_a_closed_one_sends_nothing():
    async def main():
        transport = ScriptedTransport()
        await transport.aclose()
        await transport.aclose()
        assert (
            await failure(StorageInvalidRequestError, transport.send(request(), deadline=None))
        ).code == "CLOSED"

    asyncio.run(main())


def test_a_driver_runs_over_it_without_a_socket(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("a socket was opened")

    config = S3Config(bucket="bucket", access_key_id="a", secret_access_key=Secret("canary"), max_retries=0)
    object_headers = {"ETag": '"e"', "Content-Length": "4", "Last-Modified": "Fri, 20 Nov 2026 12:00:00 GMT"}

    async def main():
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refused)
        transport = ScriptedTransport(
            ScriptedAnswer(200, b"", {"ETag": '"e"'}),
            ScriptedAnswer(200, b"data", object_headers),
            ScriptedAnswer(503),
        )
        driver = S3Driver(config, transport=transport)
        with count_requests() as wire:
            await driver.put(PutRequest(key="k", body=BytesBody(b"data"), write_id="0" * 32))
            async with await driver.get("k") as reader:
                assert await reader.read() == b"data"
            await failure(StorageUnavailableError, driver.get("k"))
        await driver.aclose()
        assert [sent.method for sent in transport.requests] == ["PUT", "GET", "GET"]
        assert transport.requests[0].url == "https://bucket.s3.us-east-1.amazonaws.com/k"
        assert (wire.total, transport.closed) == (3, True)
        assert "canary" not in repr(transport.requests)

    asyncio.run(main())
