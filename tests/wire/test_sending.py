"""While a body is on its way: what ends the sending, at once, and what passes for an answer to it."""

import asyncio
import time

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.wire.http import HttpClient
from credstore.wire.transport import StreamBody, WireError
from tests.faults.certificates import make_server
from tests.wire.server import answer, serving, stall
from tests.wire.test_connection import OK, on_wire
from tests.wire.test_http import Source, failure, run, send

LONG = 6 * 1024 * 1024
EARLY = [200, 204, 206]


class Endless:
    """A body of which every piece is asked for in vain once the connection has ended; it counts them."""

    def __init__(self):
        self.given = 0
        self.closed = asyncio.Event()

    async def open(self):
        try:
            while True:
                self.given += 1
                yield b"x" * 65536
        finally:
            self.closed.set()


async def unread(_seen, peer):
    """Take nothing of the body."""
    peer.writer.transport.pause_reading()
    return True


def early(data, end=None):
    async def act(seen, peer):
        await unread(seen, peer)
        await peer.send(data)
        if end == "fin":
            peer.writer.write_eof()
        if end == "reset":
            peer.reset()
        await asyncio.Event().wait()

    return act


@pytest.mark.parametrize("stream", ["length", "chunked", "bytes"])
@pytest.mark.parametrize("status", EARLY)
def test_a_success_before_the_body_was_taken_is_no_answer_to_it(stream, status):
    async def check(server, client):
        server.waits_for_bodies = False
        source = Source(*[b"x" * (LONG // 6)] * 6)
        body = b"x" * LONG if stream == "bytes" else StreamBody(LONG, source.open)
        if stream == "chunked":
            body = StreamBody(None, source.open)
        error = await failure(client, server.url, "PUT", body=body)
        assert (error.kind, error.sent) == ("protocol", True)
        assert "before the request had been sent" in str(error)
        assert source.opened == source.closed

    run(check, early(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nETag: e\r\n\r\n" % status))


def test_a_success_while_the_source_has_more_to_give_is_no_answer_to_it():
    """The server has taken all that was sent so far, which is not all."""

    async def check(server, client):
        server.waits_for_bodies = False
        source = Source(b"x" * 100, error=asyncio.Event())
        error = await failure(client, server.url, "PUT", body=StreamBody(1000, source.open))
        assert (error.kind, source.closed) == ("protocol", 1)

    run(check, answer(200))


def test_a_success_while_the_source_is_being_closed_is_one():
    async def check(server, client):
        class Slow:
            def __init__(self):
                self.chunks = iter([b"x" * 200_000])

            def __aiter__(self):
                return self

            async def __anext__(self):
                for chunk in self.chunks:
                    return chunk
                raise StopAsyncIteration

            async def aclose(self):
                await answered.wait()

        answered = asyncio.Event()

        async def act(_seen, peer):
            await peer.send(OK + b"Content-Length: 0\r\n\r\n")
            answered.set()
            return True

        server.then(act)
        reply = await send(client, server.url, "PUT", body=StreamBody(200_000, Slow))
        assert (reply.status, await reply.read(10)) == (200, b"")

    run(check)


@pytest.mark.parametrize("status", [400, 403, 413, 501, 503, 307])
def test_a_refusal_ends_the_sending_at_once(status):
    async def check(server, client):
        server.waits_for_bodies = False
        source = Endless()
        reply = await send(client, server.url, "PUT", body=StreamBody(10**12, source.open))
        assert (reply.status, await reply.read(10)) == (status, b"no")
        assert source.closed.is_set()
        assert source.given * 65536 < 64 * 1024 * 1024

    run(check, early(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status))


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_a_peer_that_ends_the_connection_ends_the_sending_at_once(end):
    """Whoever waited for it to take the rest would wait for the idle time, which is too long for this test."""

    async def check(server, client):
        server.waits_for_bodies = False
        source = Endless()
        error = await failure(client, server.url, "PUT", body=StreamBody(10**12, source.open))
        assert (error.kind, error.sent) == ("broken", True)
        assert source.closed.is_set()

    run(check, early(b"", end), idle_timeout=3600.0)


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_it_does_so_while_the_source_takes_its_time(end):
    async def check(server, client):
        server.waits_for_bodies = False
        source = Source(b"x" * 10, error=asyncio.Event())
        error = await failure(client, server.url, "PUT", body=StreamBody(1000, source.open))
        assert (error.kind, source.closed) == ("broken", 1)

    run(check, early(b"", end), idle_timeout=3600.0)


@pytest.mark.parametrize(
    ("act", "kind"), [(early(OK + b"Content-Length: 0\r\n\r\n"), "protocol"), (early(b"", "reset"), "broken")]
)
def test_so_it_is_over_tls(tmp_path, act, kind):
    context, authority = make_server(tmp_path)

    async def main():
        async with serving(act, tls=context) as server:
            server.waits_for_bodies = False
            client = HttpClient(ca_file=authority, idle_timeout=3600.0)
            source = Source(*[b"x" * (LONG // 6)] * 6)
            error = await failure(client, server.url, "PUT", body=StreamBody(LONG, source.open))
            assert (error.kind, source.opened) == (kind, source.closed)
            await client.aclose()

    asyncio.run(main())


class Unforeseen(BaseException):
    """Of a user's own, and no `Exception`."""


@pytest.mark.parametrize(
    "error", [Unforeseen(), asyncio.CancelledError(), GeneratorExit(), ExceptionGroup("mine", [ValueError()])]
)
@pytest.mark.parametrize("length", [None, 10])
def test_whatever_the_source_raises_ends_the_request_with_it(error, length):
    async def check(server, client):
        class Failing(Source):
            async def open(self):
                yield b"x" * 5
                raise error

        with pytest.raises(type(error)) as caught:
            await send(client, server.url, "PUT", body=StreamBody(length, Failing().open))
        assert caught.value is error
        assert server.seen == []

    run(check, idle_timeout=3600.0)


@pytest.mark.parametrize("last", [ValueError("mine"), b"y"])
def test_a_source_that_fails_after_its_last_byte_or_goes_on_leaves_no_whole_request(last):
    async def check(server, client):
        if isinstance(last, bytes):
            source = Source(b"x" * 5, b"x" * 5, b"", last)
            with pytest.raises(StorageInvalidRequestError) as caught:
                await send(client, server.url, "PUT", body=StreamBody(10, source.open))
            assert caught.value.code == "BODY_LENGTH"
        else:
            source = Source(b"x" * 5, b"x" * 5, error=last)
            with pytest.raises(ValueError, match="mine"):
                await send(client, server.url, "PUT", body=StreamBody(10, source.open))
        assert server.seen == []

    run(check)


def test_empty_chunks_and_an_empty_body_are_sent():
    async def check(server, client):
        for chunks in ((), (b"",), (b"", b"ab", b"", b"c", b"")):
            source = Source(*chunks)
            length = sum(map(len, chunks))
            await (await send(client, server.url, "PUT", body=StreamBody(length, source.open))).read(10)
            assert server.seen[-1].body == b"".join(chunks)

    run(check)


DECLARED = b'<?xml version="1.0"?>'


@pytest.mark.parametrize("before", [b"", DECLARED])
def test_e6_blanks_are_a_sign_of_life_where_no_deadline_ends_the_answer(before):
    """S3 sends them for minutes while it puts an upload together, first or after the XML declaration."""

    async def check(wire):
        clock = [asyncio.get_running_loop().time()]
        wire.connection.now = lambda: clock[0]
        reply = wire.ask("POST")
        wire.give(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        if before:
            wire.give(b"%x\r\n%s\r\n" % (len(before), before))

        async def give():
            for _ in range(40):
                clock[0] += 20.0
                wire.give(b"1\r\n \r\n")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            wire.give(b"4\r\n<ok>\r\n0\r\n\r\n")

        giving = asyncio.ensure_future(give())
        assert await reply.read(1000) == before + b" " * 40 + b"<ok>"
        await giving

    on_wire(check)


@pytest.mark.parametrize(("byte", "longest"), [(b"x", 100), (b" ", 3700)])
def test_other_bytes_that_trickle_are_given_up_and_blanks_in_an_hour(byte, longest):
    async def check(wire):
        clock = [asyncio.get_running_loop().time()]
        wire.connection.now = lambda: clock[0]
        start = clock[0]
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 1000000\r\n\r\n")

        async def trickle():
            while not wire.transport.aborted and clock[0] < start + 10_000:
                clock[0] += 20.0
                wire.give(byte)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        trickling = asyncio.ensure_future(trickle())
        with pytest.raises(WireError) as caught:
            await reply.read(1000)
        await trickling
        assert (caught.value.kind, clock[0] - start <= longest) == ("timeout", True)

    on_wire(check)


def test_an_answer_whose_deadline_is_far_ends_after_the_idle_time():
    async def check(server, client):
        reply = await send(client, server.url, deadline=time.monotonic() + 3600)
        with pytest.raises(WireError) as caught:
            await reply.read(100)
        assert caught.value.kind == "timeout"

    run(check, stall(OK + b"Content-Length: 10\r\n\r\n12345"), idle_timeout=0.05)
