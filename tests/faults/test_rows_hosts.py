"""Rows N of the fault table that concern names, certificates, clocks, redirects and overload."""

import asyncio
import socket
import time

import pytest

from credstore import Secret
from credstore.errors import (
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.wire.http import HttpClient
from credstore.wire.transport import HttpRequest
from tests.faults.certificates import make_server
from tests.faults.messages import Answer, error
from tests.faults.origin import Origin
from tests.faults.rig import BROKEN, SLOW_DOWN, Rows, ignoring, raised, run
from tests.faults.script import Close, Respond, Send, Stall, redirect

DATA = b"proof" * 100
MINUTE = 60.0
rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


# N10 and P12: an overloaded provider gets little more than what is asked of it.


def overload(fault, most):
    async def test(rig):
        rule = rig.origin.plan("before-apply", fault, times=None)
        await asyncio.gather(*(ignoring(rig.store.store(f"k{n}", DATA)) for n in range(1000)))
        assert 1000 < rig.requests() <= most
        assert len(set(rig.waits)) == len(rig.waits) > 0  # Full jitter: nobody comes back together.
        rule.times = 0
        await rig.store.store("k", DATA)
        assert rig.body() == DATA

    return test


@rows("N10")
async def a_thousand_failing_calls_are_little_more_than_a_thousand_requests(rig):
    await overload(BROKEN, 1035)(rig)


@rows("N10")
async def a_thousand_calls_asked_to_slow_down_are_little_more(rig):
    await overload(SLOW_DOWN, 1100)(rig)


# N18


def answering(monkey, *answers):
    """Let the loop's resolver give these in turn; the last for good."""
    loop = asyncio.get_running_loop()
    real, left = loop.getaddrinfo, list(answers)

    async def getaddrinfo(*args, **fields):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return await real(*args, **fields) if answer is None else answer

    monkey.setattr(loop, "getaddrinfo", getaddrinfo)


def named(rig):
    """A store whose endpoint has a name; an address is not looked up."""
    return rig.open(endpoint=f"http://localhost:{rig.origin.port}")


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "unknown")


def test_n18_a_name_that_is_unknown_and_then_known(monkeypatch):
    async def test(rig):
        answering(monkeypatch, UNKNOWN, UNKNOWN, None)
        await named(rig).store("k", DATA)
        assert (rig.body(), rig.requests(), len(rig.waits)) == (DATA, 1, 2)

    run(test)


def test_n18_a_name_that_stays_unknown(monkeypatch):
    async def test(rig):
        answering(monkeypatch, UNKNOWN)
        failed = await raised(named(rig).store("k", DATA))
        assert (type(failed), failed.code, failed.applied) == (StorageConnectionError, "NAME_NOT_FOUND", "no")
        assert rig.origin.connections == 0

    run(test)


def test_n18_an_address_that_swallows_everything_is_passed_over(monkeypatch):
    async def test(rig):
        with socket.socket() as hole:
            hole.bind(("127.0.0.2", 0))
            hole.listen(0)
            port = hole.getsockname()[1]
            fill = [socket.socket() for _ in range(3)]
            for each in fill:
                each.setblocking(False)
                each.connect_ex(("127.0.0.2", port))
            addresses = [("127.0.0.2", port), ("127.0.0.1", rig.origin.port)]
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
            answering(monkeypatch, found)
            await named(rig).store("k", DATA)
            for each in fill:
                each.close()
        assert (rig.body(), rig.waits) == (DATA, [])

    run(test)


# N19


ANSWERS = {
    "TLS 1.0": bytes.fromhex("15030100020246"),  # Alert, fatal: protocol_version (RFC 8446 section 6.2).
    "no TLS": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", ["expired", "wrong host", "self-signed", "TLS 1.0", "no TLS"])
def test_n19_a_server_that_cannot_be_trusted_gets_nothing(tmp_path, kind):
    context, authority = make_server(
        tmp_path,
        address="127.0.0.9" if kind == "wrong host" else "127.0.0.1",
        days=(-2, -1) if kind == "expired" else (-1, 2),
    )

    async def test(rig):
        if kind in ANSWERS:
            rig.origin.plan("tls", Send(ANSWERS[kind]))
            rig.origin.plan("tls", Close())
        failed = await raised(rig.store.store("k", DATA))
        assert (type(failed), failed.code, failed.applied) == (StorageConfigurationError, "TLS", "no")
        assert failed.retryable is False
        assert (rig.requests(), rig.origin.connections, rig.waits) == (0, 1, [])

    trusted = {} if kind == "self-signed" else {"ca_file": authority}
    run(test, origin={"tls": context}, **trusted)


def test_n19_a_server_that_can_be_trusted_gets_all(tmp_path):
    context, authority = make_server(tmp_path)

    async def test(rig):
        await rig.store.store("k", DATA)
        assert await rig.store.retrieve("k") == DATA
        assert rig.origin.connections == 1

    run(test, origin={"tls": context}, ca_file=authority)


def test_n19_a_handshake_that_stalls_is_given_up(tmp_path):
    context, authority = make_server(tmp_path)

    async def test(rig):
        rig.origin.plan("tls", Stall())
        failed = await raised(rig.store.store("k", DATA))
        assert (type(failed), failed.applied) == (StorageTimeoutError, "no")
        assert rig.requests() == 0

    run(test, origin={"tls": context}, ca_file=authority, connect=0.1, max_retries=0)


# N20 and P14


@pytest.mark.parametrize("minutes", [20, -20, 23 * 60])
def test_n20_a_clock_that_is_wrong_is_put_right_once(minutes):
    async def test(rig):
        await rig.store.store("k", DATA)
        assert rig.requests() == 2
        assert await rig.store.retrieve("k") == DATA
        assert rig.requests() == 3
        link = await rig.store.get_signed_url("k", expires_in=60)
        client = HttpClient()
        answer = await client.send(HttpRequest(method="GET", url=str(link), headers={}), deadline=None)
        assert (answer.status, await answer.read(1000)) == (200, DATA)
        await client.aclose()

    run(test, origin={"clock": lambda: time.time() + minutes * MINUTE})


def test_n20_a_clock_that_jumps_is_put_right_again():
    ahead = [0.0]

    async def test(rig):
        await rig.store.store("k", DATA)
        for minutes in (30.0, -30.0, 0.0):
            ahead[0] = minutes * MINUTE
            before = rig.requests()
            assert await rig.store.retrieve("k") == DATA
            assert rig.requests() == before + 2

    run(test, origin={"clock": lambda: time.time() + ahead[0]})


def test_n20_a_clock_that_is_absurdly_wrong_is_told():
    async def test(rig):
        failed = await raised(rig.store.store("k", DATA))
        assert (type(failed), failed.code) == (StorageAuthenticationError, "CLOCK_SKEW")
        assert failed.applied == "no"
        assert rig.requests() == 1

    run(test, origin={"clock": lambda: time.time() + 25 * 60 * MINUTE})


# N21 and P25


@rows("N21", aws=True, origin={"region": "eu-west-1"})
async def a_bucket_in_another_region_is_signed_for_anew_once(rig):
    await rig.store.store("k", DATA)
    assert (rig.body(), rig.requests()) == (DATA, 2)
    await rig.store.retrieve("k")
    assert rig.requests() == 3


@rows("N21", aws=True)
async def redirects_in_a_circle_end(rig):
    rig.origin.plan("before-apply", redirect("http://a.test/", status=301, region="eu-west-1"), times=None)
    failed = await raised(rig.store.store("k", DATA))
    assert (type(failed), failed.code, failed.applied) == (StorageConfigurationError, "WRONG_REGION", "no")
    assert rig.requests() <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_n21_nothing_is_sent_to_another_host(status):
    async def test(rig):
        async with Origin() as other:
            rig.origin.plan("before-apply", redirect(f"{other.url}/bucket/k", status=status), times=None)
            for verb in (rig.store.store("k", DATA), rig.store.retrieve("k"), rig.store.delete("k")):
                failed = await raised(verb)
                assert failed.applied == (
                    "maybe" if status in {302, 303} and failed.operation != "retrieve" else "no"
                )
                assert other.url not in f"{failed!r} {failed}"
            assert other.connections == 0

    run(test, session_token=Secret("canary-session-token"))


# N24


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7.0, 7.0),
        ("3600", 20.0, 20.0),
        ("-1", 0.0, 0.5),
        ("soon", 0.0, 0.5),
        ("1e9", 0.0, 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, 0.5),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 20.0, 20.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_n24_what_a_provider_asks_for_is_honoured_and_capped(value, least, most, status):
    async def test(rig):
        asks = error(status, "SlowDown").with_headers(retry_after=value)
        rig.origin.plan("before-apply", Respond(asks))
        await rig.store.store("k", DATA)
        (wait,) = rig.waits
        assert least <= wait <= most
        assert rig.body() == DATA

    run(test)


@rows("N24", timeout=5.0)
async def a_wait_beyond_the_deadline_is_not_begun(rig):
    asks = error(503, "SlowDown").with_headers(retry_after="15")
    rig.origin.plan("before-apply", Respond(asks), times=None)
    failed = await raised(rig.store.store("k", DATA))
    assert (type(failed), failed.retry_after, failed.applied) == (StorageRateLimitedError, 15.0, "maybe")
    assert (rig.waits, rig.requests("PutObject")) == ([], 1)


@rows("P12")
async def a_call_makes_no_more_requests_than_it_may(rig):
    for most in (0, 1, 5):
        store = rig.open(max_retries=most)
        before = rig.requests("PutObject")
        rig.origin.plan("before-apply", BROKEN, times=most + 1, operation="PutObject")
        failed = await raised(store.store("k", DATA))
        assert isinstance(failed, StorageUnavailableError)
        assert rig.requests("PutObject") - before == most + 1


@rows("P17")
async def nothing_is_sent_once_the_store_is_closed(rig):
    await rig.store.aclose()
    failed = await raised(rig.store.store("k", DATA))
    assert (isinstance(failed, StorageError), failed.code, rig.requests()) == (True, "CLOSED", 0)


@rows("L18")
async def a_page_without_end_is_not_taken_in(rig):
    page = Answer(503, b"x" * 50_000_000, {"content-type": "text/html"})
    rig.origin.plan("before-apply", Respond(page), times=None)
    failed = await raised(rig.store.retrieve("k"))
    assert isinstance(failed, StorageUnavailableError)
