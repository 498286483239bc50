"""The only loop: what is tried again, what is said of it, and what is put right on the way."""

import asyncio
import gc
import ssl
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.model import Secret
from credstore.wire.aws.credentials import Credentials, StaticCredentials
from credstore.wire.exchange import Exchange, WireCall
from credstore.wire.http import HttpClient, StreamBody
from credstore.wire.retry import RetryPolicy
from tests.servers.certificates import make_certificate
from tests.wire.server import answer, fresh_tasks, hang_up, raw, reset, serving, stall

CANARY = "canary-secret"
KEYS = Credentials("AKIDEXAMPLE", Secret(CANARY), Secret("canary-token"))


def classify(status, headers, body):
    """A small cloud: the status decides."""
    if status < 300:
        return None
    kinds = {
        400: StorageAuthenticationError("expired", code=ErrorCode.CREDENTIALS_EXPIRED),
        401: StorageAuthenticationError("skewed", code=ErrorCode.CLOCK_SKEW),
        403: StorageAccessDeniedError("no"),
        408: StorageTimeoutError("slow"),
        409: StorageUnavailableError("try again"),
        429: StorageRateLimitedError("slow down"),
    }
    if status in kinds:
        return kinds[status]
    if status < 400:
        return StorageConfigurationError("elsewhere")
    return StorageUnavailableError("down", status_code=status)


class Rig:
    """An exchange with a clock, sleep and chance of the test's own."""

    def __init__(self, server, credentials=None, **policy) -> None:
        self.server = server
        self.slept: list[float] = []
        self.now = time.time()
        self.exchange = Exchange(
            HttpClient(connect_timeout=5, idle_timeout=5),
            credentials or StaticCredentials(KEYS),
            classify=classify,
            policy=RetryPolicy(**policy),
            clock=lambda: self.now,
            sleep=self.sleep,
            rng=lambda: 1.0,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def call(self, method="GET", **fields):
        call = {
            "operation": "Test",
            "method": method,
            "origin": self.server.url,
            "path": "/bucket/key",
            "region": "us-east-1",
            "mutation": method not in {"GET", "HEAD"},
        }
        return await self.exchange.call(WireCall(**{**call, **fields}))

    async def fails(self, kind, method="GET", **fields):
        with pytest.raises(kind) as caught:
            await self.call(method, **fields)
        assert CANARY not in f"{caught.value!r} {caught.value}"
        return caught.value


def run(check, *acts, credentials=None, **policy):
    async def main():
        async with serving(*acts) as server:
            before = asyncio.all_tasks()
            rig = Rig(server, credentials, **policy)
            try:
                await check(rig)
            finally:
                await rig.exchange.aclose()
            assert fresh_tasks(before) == set()

    asyncio.run(main())
    gc.collect()


def test_one_call_is_one_request():
    async def check(rig):
        reply = await rig.call("PUT", body=b"data", query=[("b", "2"), ("a", "1 +")])
        assert (reply.status, reply.body, reply.attempts, reply.unclear) == (200, b"ok", 1, False)
        (seen,) = rig.server.seen
        assert seen.line == "PUT /bucket/key?a=1%20%2B&b=2 HTTP/1.1"
        assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        assert seen.headers["x-amz-security-token"] == "canary-token"
        assert CANARY not in seen.head.decode()

    run(check, answer(200, b"ok"))


@pytest.mark.parametrize(
    "first", [answer(503), reset, hang_up, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", keep=False)]
)
def test_a_read_is_tried_again_until_it_succeeds(first):
    async def check(rig):
        reply = await rig.call()
        assert (reply.body, reply.attempts, reply.unclear) == (b"ok", 3, False)
        assert rig.slept == [0.05, 0.1]

    run(check, first, first, answer(200, b"ok"))


@pytest.mark.parametrize(
    ("acts", "method", "kind", "applied", "requests"),
    [
        ([answer(403)], "PUT", StorageAccessDeniedError, "no", 1),
        ([answer(403)], "GET", StorageAccessDeniedError, "no", 1),
        ([answer(503)], "GET", StorageUnavailableError, "no", 4),
        ([answer(503)], "PUT", StorageUnavailableError, "maybe", 4),
        ([answer(429)], "PUT", StorageRateLimitedError, "no", 4),
        ([answer(408)], "PUT", StorageTimeoutError, "maybe", 4),
        ([reset], "PUT", StorageConnectionError, "maybe", 4),
        ([hang_up], "DELETE", StorageConnectionError, "maybe", 4),
        ([reset, answer(403)], "PUT", StorageAccessDeniedError, "maybe", 2),
        ([answer(429), answer(403)], "PUT", StorageAccessDeniedError, "no", 2),
        (
            [answer(302, headers=[("Location", "http://elsewhere")])],
            "PUT",
            StorageConfigurationError,
            "maybe",
            1,
        ),
        ([raw(b"nonsense\r\n\r\n", keep=False)], "PUT", StorageConnectionError, "maybe", 4),
    ],
)
def test_what_is_said_of_a_write_is_what_is_known(acts, method, kind, applied, requests):
    async def check(rig):
        error = await rig.fails(kind, method, body=b"x" if method == "PUT" else None)
        assert error.applied == applied
        assert len(rig.server.seen) == requests

    run(check, *acts)


def test_a_success_after_an_unclear_attempt_says_so():
    async def check(rig):
        assert (await rig.call("PUT", body=b"x")).unclear

    run(check, reset, answer(200))


def test_nothing_was_sent_where_nobody_listens():
    async def check(rig):
        error = await rig.fails(StorageConnectionError, "PUT", origin="http://127.0.0.1:1", body=b"x")
        assert error.applied == "no"
        assert error.code == "CONNECTION_FAILED"

    run(check)


def test_a_body_that_can_be_read_once_is_sent_once():
    async def check(rig):
        opened = []

        async def chunks():
            opened.append(True)
            yield b"once"

        body = StreamBody(4, chunks)
        error = await rig.fails(StorageUnavailableError, "PUT", body=body, replayable=False)
        assert (len(rig.server.seen), len(opened), error.applied) == (1, 1, "maybe")
        await rig.fails(StorageUnavailableError, "PUT", body=body, replayable=True)
        assert len(rig.server.seen) == 5

    run(check, answer(503))


def test_retry_after_is_waited_for_and_no_longer_than_the_deadline():
    async def check(rig):
        await rig.call()
        assert rig.slept == [3.0]
        rig.server.then(answer(503, headers=[("Retry-After", "15")]))
        error = await rig.fails(StorageUnavailableError, deadline=time.monotonic() + 10)
        assert error.retry_after == 15.0
        assert rig.slept == [3.0]

    run(check, answer(503, headers=[("Retry-After", "3")]), answer(200))


def test_a_clock_that_is_wrong_is_put_right_once():
    ahead = datetime.fromtimestamp(time.time() + 3600, UTC)

    async def check(rig):
        await rig.call()
        assert 3595 < rig.exchange.clock_offset(rig.server.url) < 3605
        stamps = [seen.headers["x-amz-date"] for seen in rig.server.seen]
        assert stamps[1][:11] == ahead.strftime("%Y%m%dT%H")
        assert rig.slept == []
        rig.server.then(answer(401, headers=[("Date", format_datetime(ahead, usegmt=True))]))
        await rig.fails(StorageAuthenticationError)

    run(check, answer(401, headers=[("Date", format_datetime(ahead, usegmt=True))]), answer(200))


@pytest.mark.parametrize("seconds", [100, 90_000])
def test_a_clock_that_is_hardly_or_absurdly_wrong_is_left_alone(seconds):
    date = format_datetime(datetime.fromtimestamp(time.time() + seconds, UTC), usegmt=True)

    async def check(rig):
        await rig.fails(StorageAuthenticationError)
        assert len(rig.server.seen) == 1

    run(check, answer(401, headers=[("Date", date)]))


class Renewable:
    """Credentials that are renewed on request."""

    def __init__(self) -> None:
        self.number = 0
        self.renewed = 0

    async def get(self) -> Credentials:
        return Credentials(f"KEY{self.number}", Secret(CANARY))

    async def refresh(self) -> Credentials:
        await asyncio.sleep(0)
        self.renewed += 1
        self.number += 1
        return await self.get()

    async def aclose(self) -> None:
        return


def test_expired_credentials_are_renewed_once_for_all_who_wait():
    source = Renewable()

    async def by_key(seen, peer):
        act = answer(400) if "Credential=KEY0/" in seen.headers["authorization"] else answer(200)
        return await act(seen, peer)

    async def check(rig):
        replies = await asyncio.gather(*(rig.call() for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert source.renewed == 1
        rig.server.then(answer(400))
        await rig.fails(StorageAuthenticationError)
        assert source.renewed == 2

    run(check, by_key, credentials=source)


def test_an_error_is_looked_at_only_so_far():
    async def check(rig):
        error = await rig.fails(StorageAccessDeniedError)
        assert error.applied == "no"

    run(check, answer(403, b"x" * 5_000_000))


def test_a_success_longer_than_allowed_is_no_success():
    async def check(rig):
        await rig.fails(StorageConnectionError, max_reply=10)

    run(check, answer(200, b"x" * 11))


def test_a_stream_is_left_open_for_its_reader():
    async def check(rig):
        reply = await rig.call(stream=True)
        assert reply.response is not None
        assert b"".join([chunk async for chunk in reply.response.chunks()]) == b"streamed"
        await reply.response.aclose()

    run(check, answer(200, b"streamed"))


def test_a_failing_classifier_leaves_nothing_open():
    async def check(rig):
        def broken(*_):
            raise StorageIntegrityError("cannot tell")

        rig.exchange._classify = broken
        error = await rig.fails(StorageIntegrityError)
        assert error.applied == "no"

    run(check, answer(200, b"x"))


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_cancel_ends_at_once_and_leaves_no_connection(method):
    async def main():
        gone = asyncio.Event()
        async with serving(stall(gone=gone)) as server:
            rig = Rig(server)
            task = asyncio.create_task(rig.call(method, body=b"x" if method == "PUT" else None))
            while not server.seen:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(gone.wait(), 10)
            await rig.exchange.aclose()

    asyncio.run(main())


def test_an_untrusted_certificate_is_not_retried_and_sends_nothing(tmp_path):
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main():
        async with serving(answer(200, b"ok"), tls=context) as server:
            rig = Rig(server)
            error = await rig.fails(StorageConfigurationError, "PUT", body=b"x")
            assert (error.code, error.applied, error.retryable) == ("TLS", "no", False)
            assert rig.slept == []
            assert server.seen == []
            await rig.exchange.aclose()
            trusting = Rig(server)
            trusting.exchange._http = HttpClient(ca_file=str(certificate))
            assert (await trusting.call()).body == b"ok"
            await trusting.exchange.aclose()

    asyncio.run(main())


def test_errors_of_the_credentials_say_that_nothing_was_sent():
    class Broken(StaticCredentials):
        async def get(self):
            raise StorageConfigurationError("no credentials")

    async def check(rig):
        error = await rig.fails(StorageError, "PUT")
        assert error.applied == "no"
        assert rig.server.seen == []

    run(check, credentials=Broken(KEYS))
