"""Answers in every framing and any pieces, and which of them leave a connection that is used again."""

import asyncio
import gc
import socket
import ssl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.wire.connection import READ_AHEAD, Answer, Connection
from credstore.wire.http import HttpClient
from credstore.wire.transport import WireError
from tests.servers.certificates import make_certificate
from tests.wire.server import answer, raw, serving
from tests.wire.test_http import OK, run, send


class Transport:
    """The calls a connection makes of its transport."""

    def __init__(self):
        self.written = b""
        self.aborted = False
        self.paused = False

    def write(self, data):
        self.written += data

    def abort(self):
        self.aborted = True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Wire:
    """A connection without a socket: what it is given, and what became of it."""

    def __init__(self):
        self.buffer = memoryview(bytearray(READ_AHEAD))
        self.freed = 0
        self.lost = 0
        self.connection = Connection(
            asyncio.get_running_loop(), self.buffer, free=self._free, lost=self._lost
        )
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def _free(self, _connection):
        self.freed += 1

    def _lost(self, _connection):
        self.lost += 1

    def ask(self, method="GET") -> Answer:
        return self.connection.start(method, b"request", end=None, idle=30)

    def give(self, data, size=None):
        size = size or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self.connection.get_buffer(-1)[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    def end(self, error=None):
        self.connection.connection_lost(error)


def on_wire(check):
    async def main():
        await check(Wire())

    asyncio.run(main())


async def whole(reply):
    await reply.head(None)
    return await reply.read(1000)


FRAMINGS = {
    "length": OK + b"ETag: a\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": OK
    + b"etag:a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Late: 1\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    + OK
    + b"etag: a \r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("data", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_in_any_pieces_is_the_same(data, size):
    async def check(wire):
        for number in range(1, 3):
            reply = wire.ask()
            wire.give(data, size)
            assert (reply.status, reply.headers["etag"], reply.take_whole()) == (200, "a", b"hello")
            assert "link" not in reply.headers
            assert "x-late" not in reply.headers
            assert (wire.freed, wire.connection.usable) == (number, True)

    on_wire(check)


@pytest.mark.parametrize(
    ("method", "data", "again"),
    [
        ("HEAD", OK + b"Content-Length: 500\r\n\r\n", True),
        ("HEAD", OK + b"\r\n", True),
        ("GET", OK + b"Upgrade: h2\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", True),
        ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", True),
        ("HEAD", OK + b"Connection: close\r\n\r\n", False),
        ("HEAD", b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n", False),
        ("HEAD", b"HTTP/1.0 200 OK\r\n\r\n", False),
        ("HEAD", OK + b"Content-Length: 2\r\n\r\nno", False),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", True),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", True),
        ("GET", OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        ("GET", OK + b"Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", False),
        ("GET", OK + b"Content-Length: 0\r\n\r\nrubbish", False),
    ],
)
def test_a_connection_is_used_again_only_after_an_answer_that_ended_exactly(method, data, again):
    async def check(wire):
        reply = wire.ask(method)
        wire.give(data)
        assert (reply.status in {200, 204, 304}, reply.take_whole()) == (True, b"")
        assert (wire.connection.usable, wire.freed, wire.transport.aborted) == (again, again, not again)
        if again:
            reply = wire.ask()
            wire.give(FRAMINGS["length"])
            assert reply.take_whole() == b"hello"

    on_wire(check)


def test_bytes_that_nobody_asked_for_end_the_connection():
    async def check(wire):
        wire.give(OK + b"Content-Length: 0\r\n\r\n")
        assert (wire.connection.usable, wire.transport.aborted) == (False, True)

    on_wire(check)


@pytest.mark.parametrize(
    ("data", "error", "kind"),
    [
        (b"", None, "broken"),
        (OK, ConnectionResetError(), "broken"),
        (OK + b"\r\nhell", ConnectionResetError(), "broken"),
        (OK + b"Content-Length: 5\r\n\r\nhell", None, "broken"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", None, "broken"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", None, "protocol"),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", None, "protocol"),
        (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None, "protocol"),
        (OK + b"X: a\0b\r\n\r\n", None, "protocol"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(data, error, kind):
    async def check(wire):
        reply = wire.ask()
        wire.give(data)
        wire.end(error)
        with pytest.raises(WireError) as caught:
            await whole(reply)
        assert (caught.value.kind, caught.value.sent) == (kind, True)
        assert (wire.freed, wire.lost) == (0, 1)
        assert reply.take_whole() is None

    on_wire(check)


def test_headers_without_end_are_not_taken_in():
    async def check(wire):
        for head in (b"X: " + b"y" * 300_000, b"".join(b"X%d: %s\r\n" % (n, b"y" * 900) for n in range(100))):
            wire = Wire()
            reply = wire.ask()
            wire.give(OK + head + b"\r\n\r\n", 1000)
            with pytest.raises(WireError):
                await reply.head(None)
            assert wire.transport.aborted

    on_wire(check)


@pytest.mark.parametrize(("over", "refused"), [(0, False), (1, True)])
def test_a_head_is_waited_for_up_to_its_longest(over, refused):
    async def check(wire):
        reply = wire.ask()
        begun = OK + b"Content-Length: 0\r\nX: "
        wire.give(begun + b"y" * (64 * 1024 - len(begun) + over), 64 * 1024 + over)
        assert wire.transport.aborted is refused
        if not refused:
            wire.give(b"\r\n\r\n")
            assert reply.take_whole() == b""

    on_wire(check)


def test_a_body_nobody_reads_is_not_taken_in():
    async def check(wire):
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 1300000\r\n\r\n")
        wire.give(bytes(600_000), 100_000)
        assert wire.transport.paused
        chunks = reply.chunks()
        for _ in range(6):
            assert len(await anext(chunks)) == 100_000
        assert not wire.transport.paused
        wire.give(bytes(700_000), 100_000)
        assert b"".join([chunk async for chunk in chunks]) == bytes(700_000)
        assert wire.connection.usable

    on_wire(check)


def test_reading_goes_on_only_once_less_is_held_than_is_read_ahead():
    async def check(wire):
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 2000000\r\n\r\n")
        wire.give(bytes(READ_AHEAD - 1))
        assert not wire.transport.paused
        wire.give(b"x")
        assert wire.transport.paused
        wire.give(b"y")
        chunks = reply.chunks()
        assert len(await anext(chunks)) == READ_AHEAD - 1
        assert not wire.transport.paused
        wire.give(bytes(READ_AHEAD - 2))
        assert wire.transport.paused
        wire.give(b"z")
        assert await anext(chunks) == b"x"
        assert wire.transport.paused
        assert await anext(chunks) == b"y"
        assert not wire.transport.paused
        await chunks.aclose()
        await reply.aclose()

    on_wire(check)


def test_nothing_more_is_asked_of_a_transport_that_was_aborted():
    async def check(wire):
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 1000000\r\n\r\n")
        wire.give(bytes(READ_AHEAD))
        await reply.aclose()
        assert (wire.transport.aborted, wire.transport.paused) == (True, True)
        wire.transport.aborted = False
        wire.connection.abort()
        wire.connection.resume_reading()
        assert (wire.transport.aborted, wire.transport.paused) == (False, True)
        idle = Wire()
        idle.connection.abort()
        idle.connection.pause_reading()
        assert not idle.transport.paused

    on_wire(check)


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(max_examples=300, deadline=None)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 7)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 7)
@example(b"HTTP/1.1 999 \xff\r\n\xff: \xff\r\n\r\n", 3)
def test_nothing_that_comes_breaks_more_than_its_connection(rest, size):
    async def check(wire):
        for data in (rest, OK + rest, OK + b"Content-Length: 5\r\n" + rest):
            wire = Wire()
            reply = wire.ask()
            wire.give(data, size)
            wire.end()
            try:
                await whole(reply)
            except WireError:
                assert wire.lost == 1

    on_wire(check)


def test_a_body_that_trickles_is_given_up():
    """Each byte comes in time, and all of them too slowly (N08)."""

    async def check(wire):
        clock = [asyncio.get_running_loop().time()]
        wire.connection.now = lambda: clock[0]
        start = clock[0]
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 1000000\r\n\r\n")

        async def trickle():
            while not wire.transport.aborted:
                clock[0] += 1.0
                wire.give(b"x" * 900)
                await asyncio.sleep(0)

        trickling = asyncio.ensure_future(trickle())
        with pytest.raises(WireError) as caught:
            [chunk async for chunk in reply.chunks()]
        await trickling
        assert (caught.value.kind, 30 < clock[0] - start <= 40) == ("timeout", True)

    on_wire(check)


def test_a_slow_reader_is_not_a_slow_server():
    async def check(wire):
        clock = [asyncio.get_running_loop().time()]
        wire.connection.now = lambda: clock[0]
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 2000\r\n\r\n")
        got = 0

        async def give():
            for _ in range(2000):
                wire.give(b"x")
                await asyncio.sleep(0)

        giving = asyncio.ensure_future(give())
        async for chunk in reply.chunks():
            clock[0] += 1000.0
            got += len(chunk)
        await giving
        assert got == 2000

    on_wire(check)


def test_a_keyed_connection_over_tls(tmp_path):
    """Answers larger than TLS records and the buffer; the certificate is checked against the host."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    body = bytes(range(256)) * 8000

    async def main():
        async with serving(answer(200, body), tls=context) as server:
            client = HttpClient(ca_file=str(certificate))
            for _ in range(3):
                reply = await send(client, server.url, "PUT", body=body)
                assert await reply.read(len(body)) == body
            assert server.connections == 1
            assert server.seen[0].body == body
            await client.aclose()

    asyncio.run(main())


def test_a_connection_that_is_cancelled_at_any_turn_is_closed(tmp_path):
    """Also when TLS has not yet begun: its socket's number must not be taken from a transport that still has it."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main():
        async with serving(answer(200, b"ok"), tls=context) as server:
            client = HttpClient(ca_file=str(certificate))
            assert await (await send(client, server.url)).read(2) == b"ok"  # The certificate is known now.
            server.drop()
            for turn in range(40):
                others = HttpClient(ca_file=str(certificate))
                others._opened(asyncio.get_running_loop())._connector._trust = client._pool._connector._trust
                asking = asyncio.ensure_future(send(others, server.url))
                for _ in range(turn):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
                with socket.socket() as mine:  # Has the number of what was closed.
                    mine.setblocking(False)
                    host, port = server.url.removeprefix("https://").split(":")
                    await asyncio.get_running_loop().sock_connect(mine, (host, int(port)))
                await others.aclose()
            await client.aclose()

    asyncio.run(main())
    gc.collect()  # Anything unclosed warns now, and a warning is an error.


def test_a_server_that_closes_after_each_answer_is_asked_over_new_connections():
    async def check(server, client):
        for number in range(1, 4):
            reply = await send(client, server.url)
            assert await reply.read(10) == b"x"
            assert server.connections == number

    run(check, raw(OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", keep=False))


def test_one_timer_serves_many_responses_and_still_ends_those_that_do_not_come(monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        now, timers = [loop.time()], []

        class Timer:
            def __init__(self, when, call):
                self.when, self.call, self.cancelled = when, call, False
                timers.append(self)

            def cancel(self):
                self.cancelled = True

        wire = Wire()
        monkeypatch.setattr(loop, "call_at", Timer)
        wire.connection.now = lambda: now[0]

        def pass_until(when):
            """Let the timers go off that are due, as the loop would."""
            now[0] = when
            for timer in list(timers):
                if timer.when <= when:
                    timers.remove(timer)
                    if not timer.cancelled:
                        timer.call()

        start = now[0]
        for number in range(100):
            now[0] = start + number
            answer = wire.ask()
            waiter = answer.waiter(now[0] + 200)
            wire.give(OK + b"Content-Length: 1\r\n\r\nx")
            assert waiter.done()
            answer.unwatch()
        assert [timer.when for timer in timers] == [start + 200]
        # Nobody waits when it goes off, and none is set until somebody does.
        pass_until(start + 200)
        assert timers == []
        # Somebody waits, but has not waited for long enough: it is set again, and then ends the response.
        answer = wire.ask()
        answer.waiter(start + 250)
        answer.unwatch()
        waiter = answer.waiter(start + 260)
        pass_until(start + 250)
        assert (waiter.done(), [timer.when for timer in timers]) == (False, [start + 260])
        pass_until(start + 260)
        assert waiter.done()
        with pytest.raises(WireError) as caught:
            answer.check()
        assert (caught.value.kind, wire.transport.aborted) == ("timeout", True)

    asyncio.run(main())


def test_a_shorter_wait_is_not_made_longer_by_the_timer_of_another():
    async def main():
        wire = Wire()
        answer = wire.ask()
        answer.waiter(asyncio.get_running_loop().time() + 1000)
        answer.unwatch()
        await answer.waiter(asyncio.get_running_loop().time() + 0.01)
        with pytest.raises(WireError):
            answer.check()
        wire.connection.connection_lost(None)
        assert wire.connection._timer is None

    asyncio.run(main())


NAME = st.sampled_from([b"Etag", b"etag", b"X-A", b"x-amz-meta-a"])
VALUE = st.lists(
    st.sampled_from([b" ", b"\t", b"a", b"\xc3\xa9", b"\xc3", b"\xe2\x82", b"\xff", b",", b":"])
).map(b"".join)


@given(st.lists(st.tuples(NAME, VALUE), max_size=6))
def test_headers_are_read_as_one_by_one(pairs):
    wanted = {}
    for name, value in pairs:
        text = value.decode("utf-8", "surrogateescape").strip(" \t")
        key = name.decode().lower()
        wanted[key] = f"{wanted[key]}, {text}" if key in wanted else text

    async def main():
        wire = Wire()
        reply = wire.ask()
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in pairs)
        wire.give(OK + lines + b"Content-Length: 0\r\n\r\n")
        assert {name: value for name, value in reply.headers.items() if name != "content-length"} == wanted

    asyncio.run(main())


def test_the_same_names_have_values_of_their_own_and_are_told_from_others():
    async def check(wire):
        for lines, wanted in [
            (b"X-A: 1\r\nX-B: 2\r\n", {"x-a": "1", "x-b": "2"}),
            (b"X-A: 3\r\nX-B: 4\r\n", {"x-a": "3", "x-b": "4"}),
            (b"x-a: 5\r\nX-B: 6\r\n", {"x-a": "5", "x-b": "6"}),
            (b"X-B: 7\r\nX-A: 8\r\n", {"x-b": "7", "x-a": "8"}),
            (b"X-A: 9\r\nX-A: 0\r\n", {"x-a": "9, 0"}),
            (b"X-A: \t1\t\r\nX-B: 2 \r\n", {"x-a": "1", "x-b": "2"}),
            (b"X-A: 1\t 1\r\nX-B:\r\n", {"x-a": "1\t 1", "x-b": ""}),
        ]:
            reply = wire.ask()
            wire.give(OK + lines + b"Content-Length: 0\r\n\r\n")
            assert dict(reply.headers) == {**wanted, "content-length": "0"}
        reply = wire.ask()
        wire.give(OK + b"Content-Length: 0\r\nX-A: 1 \r\n\r\n")
        assert dict(reply.headers) == {"content-length": "0", "x-a": "1"}

    on_wire(check)
