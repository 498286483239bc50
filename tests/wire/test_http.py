"""One send is one request, sent as given; every way it can fail is told apart, and nothing stays open."""

import asyncio
import gc
import gzip
import socket
import time

import pytest

from credstore import forks
from credstore.errors import StorageInvalidRequestError
from credstore.wire.http import USER_AGENT, HttpClient
from credstore.wire.transport import HttpRequest, StreamBody, WireError
from tests.wire.server import answer, fresh_tasks, hang_up, raw, reset, serving, stall

OK = b"HTTP/1.1 200 OK\r\n"


def run(check, *acts, **settings):
    """Run `check(server, client)`; afterwards nothing may be left but the server."""

    async def main():
        async with serving(*acts) as server:
            before = asyncio.all_tasks()
            client = HttpClient(**settings)
            try:
                await check(server, client)
            finally:
                await client.aclose()
            await asyncio.sleep(0)
            assert fresh_tasks(before) == set()

    asyncio.run(main())
    gc.collect()  # Anything unclosed warns now, and a warning is an error.


async def send(client, url, method="GET", *, headers=None, body=None, deadline=None):
    request = HttpRequest(method=method, url=url, headers=headers or {}, body=body)
    return await client.send(request, deadline=deadline)


async def failure(client, url, method="GET", **fields) -> WireError:
    with pytest.raises(WireError) as caught:
        await (await send(client, url, method, **fields)).read(1000)
    shown = caught.value
    while shown is not None:  # Neither the error nor its chain tells the URL.
        assert url.removeprefix("http://").split("/")[0] not in str(shown)
        shown = shown.__cause__ or shown.__context__
    return caught.value


async def collect(reply, got):
    async for chunk in reply.chunks():
        got += [chunk]


class Source:
    """A body in chunks that remembers how often it was opened and closed."""

    def __init__(self, *chunks, error=None):
        self.chunks = chunks
        self.error = error
        self.opened = self.closed = 0
        self.reached = asyncio.Event()

    async def open(self):
        self.opened += 1
        try:
            for chunk in self.chunks:
                yield chunk
            self.reached.set()
            if isinstance(self.error, Exception):
                raise self.error
            if self.error is not None:
                await self.error.wait()
        finally:
            self.closed += 1


def test_a_request_is_sent_as_given_and_nothing_is_added(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    target = "/b//a/../%2E/k%20%2B%25%7Eé?x=&y=%2F%20".replace("é", "%C3%A9")

    async def check(server, client):
        reply = await send(client, server.url + target, headers={"host": "b.example", "x-amz-date": "now"})
        assert (reply.status, await reply.read(10)) == (200, b"")
        assert server.seen[0].line == f"GET {target} HTTP/1.1"
        assert server.seen[0].headers == {
            "host": "b.example",
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "x-amz-date": "now",
        }

    run(check)


def test_the_host_is_the_urls_where_none_is_given():
    async def check(server, client):
        reply = await send(client, server.url + "/a")
        await reply.read(10)
        assert server.seen[0].headers["host"] == server.url.partition("://")[2]

    run(check)


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", None, {}),
        ("HEAD", None, {}),
        ("PUT", None, {"content-length": "0"}),
        ("PUT", b"", {"content-length": "0"}),
        ("POST", None, {"content-length": "0"}),
        ("PUT", b"x", {"content-length": "1"}),
        ("DELETE", None, {}),
        ("DELETE", b"x", {"content-length": "1"}),
        ("PUT", bytes(range(256)) * 1024, {"content-length": "262144"}),
        ("PUT", 5, {"content-length": "5"}),
        ("PUT", None, {"transfer-encoding": "chunked"}),
    ],
)
def test_the_body_decides_its_framing(method, body, framing):
    async def check(server, client):
        sent, whole = body, body or b""
        if "transfer-encoding" in framing or isinstance(body, int):
            whole = b"abcde"
            sent = StreamBody(body, Source(b"ab", b"", b"cde").open)
        reply = await send(client, server.url, method, body=sent)
        await reply.read(0)
        found = server.seen[0].headers
        assert {
            name: found[name] for name in found if name in {"content-length", "transfer-encoding"}
        } == framing
        assert server.seen[0].body == whole
        assert "expect" not in found
        assert "content-type" not in found

    run(check)


def test_an_answer_is_given_as_it_came():
    packed = gzip.compress(b"data")
    headers = [
        ("X-A", "1"),
        ("x-a", "2"),
        ("ETag", '"e"'),
        ("Content-Encoding", "gzip"),
        ("Set-Cookie", "c=1"),
    ]

    async def check(server, client):
        reply = await send(client, server.url)
        assert (reply.headers["x-a"], reply.headers["etag"]) == ("1, 2", '"e"')
        assert await reply.read(1000) == packed
        again = await send(client, server.url)
        assert b"".join([chunk async for chunk in again.chunks()]) == packed
        assert "cookie" not in server.seen[1].headers
        assert server.connections == 1

    run(check, answer(200, packed, headers))


@pytest.mark.parametrize("body", [None, b"data", b"x" * 1_000_000, "stream"])
@pytest.mark.parametrize("size", [1, 7, 40])
def test_a_head_that_comes_in_pieces_is_waited_for(body, size):
    """Also after interim responses; the peer's pieces are separate reads of the client, as a proxy's may be."""

    async def in_pieces(_seen, peer):
        head = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 201 Created\r\nx: y\r\ncontent-length: 2\r\n\r\nok"
        for start in range(0, len(head), size):
            await peer.send(head[start : start + size])
            for _ in range(3):
                await asyncio.sleep(0)  # The client's turn.
        return True

    async def check(server, client):
        source = StreamBody(4, Source(b"da", b"ta").open) if body == "stream" else body
        for _ in range(2):
            reply = await send(client, server.url, "GET" if body is None else "PUT", body=source)
            assert (reply.status, reply.headers["x"], await reply.read(10)) == (201, "y", b"ok")
        assert server.connections == 1

    run(check, in_pieces)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    async def check(server, client):
        async with serving() as other:
            server.then(answer(status, b"elsewhere", [("Location", f"{other.url}/x")]))
            for method in ("PUT", "GET"):
                reply = await send(client, server.url, method, body=b"secret" if method == "PUT" else None)
                assert (reply.status, await reply.read(10)) == (status, b"elsewhere")
            assert (len(server.seen), other.connections) == (2, 0)

    run(check)


@pytest.mark.parametrize("end", [reset, hang_up])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_request_on_a_connection_that_dies_is_not_sent_again(end, method):
    async def check(server, client):
        await (await send(client, server.url)).read(0)
        for body in (b"x", b"x" * 100_000) if method == "PUT" else (None,):
            server.then(end)
            server.seen.clear()
            error = await failure(client, server.url, method, body=body)
            assert (error.kind, error.sent, len(server.seen)) == ("broken", True, 1)
            server.then(answer())
            await (await send(client, server.url)).read(0)

    run(check, answer())


@pytest.mark.parametrize(
    "cut",
    [
        OK + b"Content-Length: 10\r\n\r\n12345",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n12345",
    ],
)
def test_an_answer_cut_short_is_an_error(cut):
    async def check(server, client):
        error = await failure(client, server.url)
        assert (error.kind, error.sent) == ("broken", True)
        reply = await send(client, server.url)
        got = []
        with pytest.raises(WireError) as caught:
            await collect(reply, got)
        assert (b"".join(got), caught.value.kind) == (b"12345", "broken")
        await reply.aclose()
        kept = await send(client, server.url)
        assert await kept.read_start(100) == b"12345"

    run(check, raw(cut, keep=False))


def test_an_answer_without_framing_ends_where_the_connection_does():
    async def check(server, client):
        reply = await send(client, server.url)
        assert "content-length" not in reply.headers
        assert await reply.read(100) == b"12345"

    run(check, raw(OK + b"\r\n12345", keep=False))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "broken"),
        (b"HTTP/1.1 200", "broken"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol"),
        (OK + b"Content-Length: x\r\n\r\n", "protocol"),
        (OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "protocol"),
    ],
)
def test_an_answer_that_is_not_http_is_told(data, kind):
    async def check(server, client):
        error = await failure(client, server.url)
        assert (error.kind, error.sent) == (kind, True)

    run(check, raw(data, keep=False))


def test_an_answer_longer_than_allowed_is_not_taken_in():
    async def check(server, client):
        error = await failure(client, server.url)
        assert (error.kind, error.sent) == ("protocol", True)
        reply = await send(client, server.url)
        assert await reply.read_start(4) == b"yyyy"
        server.then(answer(200, b"z" * 1000))
        assert len(await (await send(client, server.url)).read(1000)) == 1000

    run(check, answer(200, b"y" * 1001))


def test_silence_ends_after_the_idle_time_or_at_the_deadline():
    async def check(server, client):
        error = await failure(client, server.url)
        assert (error.kind, error.sent) == ("timeout", True)
        patient = HttpClient()
        for seconds in (0.05, 1.0, 60.0):  # A busy machine may need longer to connect.
            error = await failure(patient, server.url, deadline=time.monotonic() + seconds)
            assert error.kind == "timeout"
            if error.sent:
                break
        assert error.sent
        seen = len(server.seen)
        error = await failure(patient, server.url, deadline=time.monotonic())
        assert (error.kind, error.sent, len(server.seen)) == ("timeout", False, seen)
        await patient.aclose()

    run(check, stall(), idle_timeout=0.05)


def test_a_body_that_stops_coming_ends_after_the_idle_time():
    async def check(server, client):
        reply = await send(client, server.url)
        with pytest.raises(WireError) as caught:
            await anext(chunk async for chunk in reply.chunks() if chunk != b"12345")
        assert (caught.value.kind, caught.value.sent) == ("timeout", True)
        await reply.aclose()
        patient = HttpClient()
        reply = await send(patient, server.url, deadline=time.monotonic() + 0.2)
        with pytest.raises(WireError) as caught:
            await reply.read(100)
        assert caught.value.kind == "timeout"
        await patient.aclose()

    run(check, stall(OK + b"Content-Length: 10\r\n\r\n12345"), idle_timeout=0.05)


@pytest.mark.parametrize("stream", [False, True])
def test_a_peer_that_does_not_take_the_body_is_given_up(stream):
    async def check(server, client):
        server.waits_for_bodies = False
        source = Source(b"x" * 20_000_000)
        body = StreamBody(20_000_000, source.open) if stream else b"x" * 20_000_000
        error = await failure(client, server.url, "PUT", body=body)
        assert (error.kind, error.sent) == ("timeout", True)
        assert source.opened == source.closed == stream

    async def wait(_seen, peer):
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    run(check, wait, idle_timeout=0.2)


def test_a_refused_connection_sent_nothing():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

        async def check(_server, client):
            source = Source(b"x")
            error = await failure(client, url, "PUT", body=StreamBody(1, source.open))
            assert (error.kind, error.sent, source.opened) == ("connect", False, 0)

        run(check)


def test_a_name_that_cannot_be_resolved_sent_nothing(monkeypatch):
    async def check(_server, client):
        async def unknown(*_args, **_fields):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        error = await failure(client, "http://no-such-host.example")
        assert (error.kind, error.sent) == ("dns", False)

        async def silent(*_args, **_fields):
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
        error = await failure(client, "http://no-such-host.example")
        assert (error.kind, error.sent) == ("timeout", False)

    run(check, connect_timeout=0.05)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), OSError(5, "mine"), StorageInvalidRequestError("mine")]
)
@pytest.mark.parametrize("length", [None, 10])
def test_an_error_of_the_source_is_the_callers_and_ends_the_request(error, length):
    async def check(server, client):
        source = Source(b"x" * 5, error=error)
        with pytest.raises(type(error)) as caught:
            await send(client, server.url, "PUT", body=StreamBody(length, source.open))
        assert caught.value is error
        assert (source.opened, source.closed, server.seen) == (1, 1, [])

    run(check)


def test_an_answer_before_the_body_has_ended_is_taken_and_the_source_closed():
    async def check(server, client):
        server.waits_for_bodies = False
        source = Source(b"x" * 100, error=asyncio.Event())
        reply = await send(client, server.url, "PUT", body=StreamBody(1000, source.open))
        assert (reply.status, await reply.read(100)) == (413, b"no")
        assert (source.opened, source.closed) == (1, 1)
        await (await send(client, server.url)).read(100)
        assert server.connections == 2

    run(check, answer(413, b"no"))


@pytest.mark.parametrize(
    "value", ["b\r\nx-injected: 1", "b\rx-injected: 1", "b\nx-injected: 1", "b\0x-injected: 1", "b\n\rc"]
)
@pytest.mark.parametrize("where", ["value", "name", "target"])
def test_a_header_http_cannot_carry_sends_nothing(where, value):
    async def check(server, client):
        name, content = ("x-amz-meta-a", value) if where == "value" else (value, "b")
        headers = {} if where == "target" else {name: content}
        url = f"{server.url}/{value}" if where == "target" else server.url
        with pytest.raises(StorageInvalidRequestError) as caught:
            await send(client, url, headers=headers)
        assert "injected" not in str(caught.value)
        assert server.seen == []
        await (await send(client, server.url)).read(0)
        assert len(server.seen) == 1

    run(check)


@pytest.mark.parametrize("when", ["headers", "body", "upload"])
def test_a_cancel_leaves_nothing_open(when):
    async def check(server, client):
        gone = asyncio.Event()
        started = asyncio.Event()
        source = Source(b"x", error=asyncio.Event())

        async def act(seen, peer):
            started.set()
            return await stall(b"" if when == "headers" else OK + b"Content-Length: 9\r\n\r\n1", gone)(
                seen, peer
            )

        async def work():
            if when == "upload":
                await send(client, server.url, "PUT", body=StreamBody(9, source.open))
            reply = await send(client, server.url)
            await reply.read(100)

        server.then(act)
        task = asyncio.ensure_future(work())
        await (source.reached if when == "upload" else started).wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if when == "upload":
            assert source.closed == 1
        else:
            await gone.wait()
        server.then(answer())
        await (await send(client, server.url)).read(0)

    run(check, max_connections=1)


def test_an_answer_that_is_closed_gives_its_connection_back():
    async def check(server, client):
        for _ in range(3):
            reply = await send(client, server.url)
            await reply.aclose()
            await reply.aclose()
        assert server.connections == 3
        server.then(answer(200, b"small"))
        for _ in range(3):
            reply = await send(client, server.url)
            await reply.read(10)
            await reply.aclose()
        assert server.connections == 4

    run(check, stall(OK + b"Content-Length: 1000000\r\n\r\n1"), max_connections=1)


def test_requests_beyond_the_pool_wait_for_their_turn():
    async def check(server, client):
        async def one():
            return await (await send(client, server.url)).read(10)

        assert await asyncio.gather(*(one() for _ in range(30))) == [b"x"] * 30
        assert server.connections <= 2

    run(check, answer(200, b"x"), max_connections=2)


def test_a_closed_client_or_one_of_another_loop_or_process_refuses(monkeypatch):
    client = HttpClient()

    async def use(url):
        await (await send(client, url)).read(0)

    async def first():
        async with serving() as server:
            await use(server.url)
            with monkeypatch.context() as patched:
                patched.setattr(forks, "count", -1)
                with pytest.raises(StorageInvalidRequestError) as caught:
                    await use(server.url)
                assert caught.value.code == "WRONG_LOOP"
            other = asyncio.to_thread(asyncio.run, use(server.url))
            with pytest.raises(StorageInvalidRequestError) as caught:
                await other
            assert caught.value.code == "WRONG_LOOP"
            await client.aclose()
            await client.aclose()
            with pytest.raises(StorageInvalidRequestError) as caught:
                await use(server.url)
            assert (caught.value.code, len(server.seen)) == ("CLOSED", 1)

    asyncio.run(first())


def test_reprs_hide_what_is_secret():
    request = HttpRequest(method="PUT", url="http://h/?sig=canary", headers={"k": "canary"}, body=b"canary")
    assert "canary" not in repr(request)
