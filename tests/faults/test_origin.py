"""Each fault the origin can do really happens, where and when the script says, and nowhere else."""

import asyncio
import ssl

import pytest

from tests.faults.certificates import make_server
from tests.faults.client import Raw, format_request
from tests.faults.messages import Answer, error
from tests.faults.origin import Origin
from tests.faults.script import (
    Close,
    Flip,
    Hold,
    Late,
    Reset,
    Respond,
    Rewrite,
    Send,
    Slice,
    Stall,
    Trickle,
    Twice,
    redirect,
    set_headers,
)

BODY = b"0123456789"


def run(test, **options):
    """Run `test(origin)` against an origin with bucket `b`; each planned fault must have happened."""

    async def main():
        async with Origin(**options) as origin:
            origin.store.buckets["b"] = {}
            await asyncio.wait_for(test(origin), 20)
            assert origin.unfired() == []

    asyncio.run(main())


async def put(origin, key="k", body=BODY, **headers):
    async with Raw(origin) as raw:
        return await raw.ask("PUT", f"/b/{key}", body, headers)


async def stored(origin, key="k"):
    there = origin.store.buckets["b"].get(key)
    return None if there is None else there.body


async def broken(raw):
    """Whether the connection ends with a RST; False for a FIN."""
    try:
        await raw.end()
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize(("action", "reset"), [(Reset(), True), (Close(), False)])
@pytest.mark.parametrize(
    ("phase", "applied"),
    [("head", 0), ("before-apply", 0), ("after-apply", 1), ("response-head", 1), ("idle", 1)],
)
def test_a_connection_ends_at_each_phase_of_a_request(phase, applied, action, reset):
    async def test(origin):
        origin.plan(phase, action, operation="PutObject")
        async with Raw(origin) as raw:
            await raw.write(format_request("PUT", "/b/k", b""))
            assert await broken(raw) is reset
        assert [entry.applied for entry in origin.log] == [applied]
        assert (await stored(origin) is not None) == bool(applied)
        assert (await put(origin)).status == 200

    run(test)


@pytest.mark.parametrize(("action", "reset"), [(Reset(), True), (Close(), False)])
def test_a_connection_ends_as_it_is_accepted(action, reset):
    async def test(origin):
        origin.plan("accept", action, nth=2)
        assert (await put(origin)).status == 200
        async with Raw(origin) as raw:
            assert await broken(raw) is reset
        assert len(origin.log) == 1
        assert origin.connections == 2

    run(test)


def test_a_body_is_broken_off_after_as_many_bytes_as_said():
    async def test(origin):
        origin.plan("body", Reset(), offset=4)
        async with Raw(origin) as raw:
            await raw.write(format_request("PUT", "/b/k", BODY)[:-6])  # The origin does not need the rest.
            assert await broken(raw)
        assert [(entry.body_size, entry.applied) for entry in origin.log] == [(4, 0)]

    run(test)


def test_a_fault_in_a_body_that_is_too_short_for_it_waits_for_a_longer_one():
    async def test(origin):
        origin.plan("body", Respond(error(500, "InternalError")), offset=11)
        assert (await put(origin)).status == 200
        assert (await put(origin, body=BODY + b"ab")).status == 500

    run(test)


def test_an_answer_may_come_before_the_body():
    async def test(origin):
        origin.plan("head", Respond(error(403, "AccessDenied")))
        async with Raw(origin) as raw:
            head = format_request("PUT", "/b/k", b"", {"Content-Length": "10", "Expect": "100-continue"})
            await raw.write(head)
            got = await raw.answer()
            assert (got.status, got.headers["connection"]) == (403, "close")
            assert await raw.end() == b""
        assert [entry.body_size for entry in origin.log] == [None]

    run(test)


@pytest.mark.parametrize("continues", [True, False])
def test_a_client_that_asks_first_is_told_to_go_on_or_not(continues):
    async def test(origin):
        async with Raw(origin) as raw:
            head = format_request("PUT", "/b/k", b"", {"Content-Length": "10", "Expect": "100-continue"})
            await raw.write(head)
            if continues:
                assert (await raw.head())[0] == 100
            await raw.write(BODY)
            assert (await raw.answer()).status == 200

    run(test, continues=continues)


@pytest.mark.parametrize("phase", ["accept", "head", "body", "before-apply", "after-apply", "response-head"])
def test_a_held_request_goes_on_when_the_gate_opens(phase):
    async def test(origin):
        gate = asyncio.Event()
        rule = origin.plan(phase, Hold(gate))
        waiting = asyncio.ensure_future(put(origin))
        await rule.reached.wait()
        assert (await put(origin, "other")).status == 200
        assert not waiting.done()
        assert (await stored(origin) is not None) == (phase in {"after-apply", "response-head"})
        gate.set()
        assert (await waiting).status == 200

    run(test)


@pytest.mark.parametrize("phase", ["accept", "head", "body", "before-apply", "after-apply", "response-head"])
def test_a_stalled_request_is_never_answered(phase):
    async def test(origin):
        rule = origin.plan(phase, Stall())
        async with Raw(origin) as raw:
            await raw.write(format_request("PUT", "/b/k", BODY))
            await rule.reached.wait()
            assert (await put(origin, "other")).status == 200
            assert origin.open_connections >= 1
            assert not raw.reader._buffer
        assert (await stored(origin) is not None) == (phase in {"after-apply", "response-head"})

    run(test)


def test_a_stalled_body_is_not_read():
    async def test(origin):
        rule = origin.plan("body", Stall(), offset=1)
        async with Raw(origin) as raw:
            writing = asyncio.ensure_future(raw.write(format_request("PUT", "/b/k", bytes(32 * 1024 * 1024))))
            await rule.reached.wait()
            _, pending = await asyncio.wait([writing], timeout=0.05)
            assert pending
            writing.cancel()
        assert [entry.body_size for entry in origin.log] == [1]

    run(test)


def test_a_byte_of_the_body_is_flipped_on_its_way_in():
    async def test(origin):
        origin.plan("body", Flip(), offset=3)
        assert (await put(origin)).status == 200
        assert await stored(origin) == b"0122456789"
        origin.plan("body", Flip(), offset=3)
        got = await put(origin, **{"Content-MD5": "eB5eJF1ptWaXm4bijSPyxw=="})
        assert (got.status, b"BadDigest" in got.body) == (400, True)

    run(test)


def test_an_answer_replaces_what_was_or_was_not_applied():
    async def test(origin):
        origin.plan("before-apply", Respond(error(503, "SlowDown")), key="a")
        origin.plan("after-apply", Respond(lambda request: Answer(500, request.key.encode())), key="b")
        assert (await put(origin, "a")).status == 503
        got = await put(origin, "b")
        assert (got.status, got.body) == (500, b"b")
        assert (await stored(origin, "a"), await stored(origin, "b")) == (None, BODY)
        assert [(entry.applied, entry.status) for entry in origin.log] == [(0, 503), (1, 500)]

    run(test)


def test_a_request_is_applied_twice():
    async def test(origin):
        origin.plan("before-apply", Twice(), operation="PutObject")
        got = await put(origin, **{"If-None-Match": "*"})
        assert (got.status, origin.log[0].applied) == (412, 1)
        assert (await put(origin)).status == 200

    run(test)


def test_a_request_is_applied_after_its_answer():
    async def test(origin):
        gate = asyncio.Event()
        origin.plan("before-apply", Late(gate, Respond(error(500, "InternalError"))))
        assert (await put(origin)).status == 500
        assert await stored(origin) is None
        await put(origin, body=b"newer")
        gate.set()
        while origin.log[0].applied == 0:
            await asyncio.sleep(0)
        assert await stored(origin) == BODY

    run(test)


def test_headers_of_an_answer_are_set_dropped_and_rewritten():
    async def test(origin):
        await put(origin)
        origin.plan("response-head", set_headers(etag=None, date="never", x_new="1"), method="GET")
        origin.plan("response-head", Rewrite(lambda answer: Answer(418, answer.body, answer.headers)), nth=1)
        async with Raw(origin) as raw:
            got = await raw.ask("GET", "/b/k")
        assert (got.status, got.headers["date"], got.headers["x-new"]) == (418, "never", "1")
        assert "etag" not in got.headers
        assert got.body == BODY

    run(test)


def test_an_answer_without_framing_ends_with_its_connection():
    async def test(origin):
        await put(origin)
        origin.plan("response-head", set_headers(content_length=None))
        async with Raw(origin) as raw:
            await raw.write(format_request("GET", "/b/k"))
            assert "content-length" not in (await raw.head())[1]
            assert await raw.end() == BODY

    run(test)


def test_a_head_is_cut_and_preceded_by_rubbish():
    async def test(origin):
        origin.plan("response-head", Close(), offset=12)
        async with Raw(origin) as raw:
            await raw.write(format_request("GET", "/b/k"))
            assert await raw.end() == b"HTTP/1.1 404"
        origin.plan("response-head", Send(b"rubbish"))
        async with Raw(origin) as raw:
            await raw.write(format_request("GET", "/b/k"))
            assert (await raw.reader.readexactly(11)) == b"rubbishHTTP"

    run(test)


@pytest.mark.parametrize(("action", "reset"), [(Reset(), True), (Close(), False)])
def test_a_body_is_cut_or_reset_where_it_should_be(action, reset):
    async def test(origin):
        await put(origin)
        origin.plan("response-body", action, offset=4)
        async with Raw(origin) as raw:
            await raw.write(format_request("GET", "/b/k"))
            assert (await raw.head())[1]["content-length"] == "10"
            assert await raw.reader.readexactly(4) == BODY[:4]
            assert await broken(raw) is reset

    run(test)


def test_a_body_is_flipped_sliced_trickled_and_held():
    async def test(origin):
        await put(origin)
        gate = asyncio.Event()
        origin.plan("response-body", Flip(), offset=0)
        origin.plan("response-body", Slice(3))
        origin.plan("response-body", Trickle(0.001), offset=6)
        origin.plan("response-body", Hold(gate), offset=8)
        async with Raw(origin) as raw:
            await raw.write(format_request("GET", "/b/k"))
            await raw.head()
            assert await raw.reader.readexactly(8) == b"11234567"
            assert not raw.reader._buffer
            gate.set()
            assert await raw.reader.readexactly(2) == b"89"
            assert (await raw.ask("GET", "/b/k")).body == BODY

    run(test)


def test_an_idle_connection_is_closed_or_spoken_on_after_its_answer():
    async def test(origin):
        origin.plan("idle", Send(b"unasked"), nth=1)
        origin.plan("idle", Close(), nth=2)
        async with Raw(origin) as raw:
            assert (await raw.ask("PUT", "/b/k")).status == 200
            assert await raw.reader.readexactly(7) == b"unasked"
            assert (await raw.ask("PUT", "/b/k")).status == 200
            assert await raw.end() == b""

    run(test)


def test_a_client_is_sent_elsewhere():
    async def test(origin):
        origin.plan("before-apply", redirect("http://other/", status=301, region="eu-west-1"))
        got = await put(origin)
        assert (got.status, got.headers["location"]) == (301, "http://other/")
        assert got.headers["x-amz-bucket-region"] == "eu-west-1"

    run(test)


def test_a_rule_hits_the_request_it_names_as_often_as_it_says():
    async def test(origin):
        slow = Respond(error(503, "SlowDown"))
        origin.plan("before-apply", slow, operation="PutObject", key="a", nth=2, times=2)
        origin.plan("before-apply", slow, where=lambda request: request.body == b"x")
        statuses = [(await put(origin, "a")).status for _ in range(4)]
        assert statuses == [200, 503, 503, 200]
        assert [(await put(origin, "b")).status for _ in range(2)] == [200, 200]
        assert [(await put(origin, "b", b"x")).status for _ in range(2)] == [503, 200]
        assert len(origin.sent("PutObject", "a")) == 4

    run(test)


def test_a_fault_that_cannot_happen_or_did_not_is_told():
    async def test(origin):
        with pytest.raises(TypeError, match="Twice cannot happen at head"):
            origin.plan("head", Twice())
        with pytest.raises(TypeError, match="no request to match"):
            origin.plan("accept", Reset(), key="k")
        rule = origin.plan("head", Reset(), key="never")
        assert origin.unfired() == [rule]
        origin.script.rules.clear()

    run(test)


def test_https_is_spoken_and_broken_at_the_handshake(tmp_path):
    server, authority = make_server(tmp_path)
    client = ssl.create_default_context(cafile=authority)

    async def test(origin):
        async with Raw(origin, client) as raw:
            assert (await raw.ask("PUT", "/b/k", BODY)).status == 200
        origin.plan("tls", Reset())
        with pytest.raises(OSError):
            async with Raw(origin, client):
                pass
        origin.plan("tls", Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), nth=1)
        with pytest.raises(ssl.SSLError):
            async with Raw(origin, client):
                pass
        gate = asyncio.Event()
        rule = origin.plan("tls", Hold(gate))
        waiting = asyncio.ensure_future(Raw(origin, client).__aenter__())
        await rule.reached.wait()
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        raw = await waiting
        assert (await raw.ask("GET", "/b/k")).body == BODY
        rule = origin.plan("tls", Stall())
        waiting = asyncio.ensure_future(Raw(origin, client).__aenter__())
        await rule.reached.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await raw.__aexit__()

    run(test, tls=server)


def test_connections_requests_and_uploads_are_counted():
    async def test(origin):
        async with Raw(origin) as raw, Raw(origin) as other:
            await raw.ask("POST", "/b/k?uploads")
            await raw.ask("GET", "/b/k")
            await other.ask("GET", "/b/k")
            assert (origin.connections, origin.open_connections, origin.open_uploads) == (2, 2, 1)
            assert [entry.connection for entry in origin.log] == [1, 1, 2]
            assert [entry.operation for entry in origin.sent(key="k")] == [
                "CreateMultipartUpload",
                "GetObject",
                "GetObject",
            ]
        while origin.open_connections:
            await asyncio.sleep(0)

    run(test)
