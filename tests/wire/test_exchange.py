"""The only loop: what is tried again, what is said of it, and what is put right on the way."""

import asyncio
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from credstore.encryption import Secret
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
from credstore.testing import ScriptedAnswer, ScriptedTransport, WireError
from credstore.wire.aws.credentials import Credentials, CredentialSource, StaticCredentials
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.exchange import Exchange
from credstore.wire.retry import RetryPolicy
from credstore.wire.signer import WireCall
from credstore.wire.transport import StreamBody

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


def answer(status=200, body=b"", **headers):
    return ScriptedAnswer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


RESET = WireError("broken", sent=True)
OK = answer(200, b"ok")
ORIGIN = "https://bucket.example.com"


class Rig:
    """An exchange over a script, with a clock, sleep and chance of the test's own."""

    def __init__(self, *steps, signer=None, **policy) -> None:
        self.wire = ScriptedTransport(*steps)
        self.slept: list[float] = []
        self.now = time.time()
        self.exchange = Exchange(
            self.wire,
            signer or AwsSigner(StaticCredentials(KEYS)),
            classify=classify,
            recognize=lambda headers, _: "x-cloud" in headers,
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
            "origin": ORIGIN,
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


def run(check, *steps, signer=None, **policy):
    """Run `check(rig)`; afterwards no task and no answer may be left."""

    async def main():
        rig = Rig(*steps, signer=signer, **policy)
        before = asyncio.all_tasks()
        try:
            await check(rig)
        finally:
            await rig.exchange.aclose()
        assert (asyncio.all_tasks() - before, rig.wire.unread, rig.wire.closed) == (set(), 0, True)

    asyncio.run(main())


def test_one_call_is_one_request():
    async def check(rig):
        reply = await rig.call("PUT", body=b"data", query=[("b", "2"), ("a", "1 +")])
        assert (reply.status, reply.body, reply.attempts, reply.unclear) == (200, b"ok", 1, False)
        (seen,) = rig.wire.requests
        assert (seen.method, seen.url) == ("PUT", f"{ORIGIN}/bucket/key?a=1%20%2B&b=2")
        assert (seen.headers["host"], seen.body) == ("bucket.example.com", b"data")
        assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        assert seen.headers["x-amz-security-token"] == "canary-token"
        assert CANARY not in f"{seen.url}{seen.headers}"

    run(check, OK)


@pytest.mark.parametrize(
    "first", [answer(503), RESET, WireError("connect", sent=False), ScriptedAnswer(200, b"ab", cut=RESET)]
)
def test_a_read_is_tried_again_until_it_succeeds(first):
    async def check(rig):
        reply = await rig.call()
        assert (reply.body, reply.attempts, reply.unclear) == (b"ok", 3, False)
        assert rig.slept == [0.05, 0.1]

    run(check, first, first, OK)


@pytest.mark.parametrize(
    ("acts", "method", "kind", "applied", "requests"),
    [
        ([answer(403)], "PUT", StorageAccessDeniedError, "no", 1),
        ([answer(403)], "GET", StorageAccessDeniedError, "no", 1),
        ([answer(503)], "GET", StorageUnavailableError, "no", 4),
        ([answer(503)], "PUT", StorageUnavailableError, "maybe", 4),
        ([answer(429)], "PUT", StorageRateLimitedError, "no", 4),
        ([answer(408)], "PUT", StorageTimeoutError, "maybe", 4),
        ([RESET], "PUT", StorageConnectionError, "maybe", 4),
        ([WireError("timeout", sent=True)], "DELETE", StorageTimeoutError, "maybe", 4),
        ([WireError("timeout", sent=False)], "DELETE", StorageTimeoutError, "no", 0),
        ([RESET, answer(403)], "PUT", StorageAccessDeniedError, "maybe", 2),
        ([answer(429), answer(403)], "PUT", StorageAccessDeniedError, "no", 2),
        (
            [answer(302, location="http://elsewhere")],
            "PUT",
            StorageConfigurationError,
            "maybe",
            1,
        ),
        ([WireError("protocol", sent=True)], "PUT", StorageConnectionError, "maybe", 4),
    ],
)
def test_what_is_said_of_a_write_is_what_is_known(acts, method, kind, applied, requests):
    async def check(rig):
        error = await rig.fails(kind, method, body=b"x" if method == "PUT" else None)
        assert error.applied == applied
        assert len(rig.wire.requests) == requests

    run(check, *acts)


def test_a_success_after_an_unclear_attempt_says_so():
    async def check(rig):
        assert (await rig.call("PUT", body=b"x")).unclear

    run(check, RESET, OK)


def test_nothing_was_sent_where_nobody_listens():
    async def check(rig):
        error = await rig.fails(StorageConnectionError, "PUT", body=b"x")
        assert error.applied == "no"
        assert error.code == "CONNECTION_FAILED"

    run(check, WireError("connect", sent=False))


def test_a_body_that_can_be_read_once_is_sent_once():
    async def check(rig):
        opened = []

        async def chunks():
            opened.append(True)
            yield b"once"

        body = StreamBody(4, chunks)
        error = await rig.fails(StorageUnavailableError, "PUT", body=body, replayable=False)
        assert (len(rig.wire.requests), len(opened), error.applied) == (1, 1, "maybe")
        await rig.fails(StorageUnavailableError, "PUT", body=body, replayable=True)
        assert len(rig.wire.requests) == 5

    run(check, answer(503))


def test_retry_after_is_waited_for_and_no_longer_than_the_deadline():
    async def check(rig):
        await rig.call()
        assert rig.slept == [3.0]
        rig.wire.then(answer(503, retry_after="15"))
        error = await rig.fails(StorageUnavailableError, deadline=time.monotonic() + 10)
        assert error.retry_after == 15.0
        assert rig.slept == [3.0]

    run(check, answer(503, retry_after="3"), answer(200))


def test_a_clock_that_is_wrong_is_put_right_once():
    ahead = datetime.fromtimestamp(time.time() + 3600, UTC)

    async def check(rig):
        await rig.call()
        assert 3595 < rig.exchange.clock_offset(ORIGIN) < 3605
        stamps = [seen.headers["x-amz-date"] for seen in rig.wire.requests]
        assert stamps[1][:11] == ahead.strftime("%Y%m%dT%H")
        assert rig.slept == []
        rig.wire.then(answer(401, date=format_datetime(ahead, usegmt=True)))
        await rig.fails(StorageAuthenticationError)

    run(check, answer(401, date=format_datetime(ahead, usegmt=True)), answer(200))


def test_a_clock_that_is_put_right_by_one_call_is_right_for_those_that_were_signed_before():
    class Together(AwsSigner):
        """Signs the first of three calls only when all of them are signed."""

        signed = 0

        def sign_now(self, *_args):
            return None  # Each waits for its signature.

        async def sign(self, *args):
            found = await super().sign(*args)
            self.signed += 1
            all_signed.set() if self.signed == 3 else await all_signed.wait()
            return found

    async def check(rig):
        replies = await asyncio.gather(rig.call(), rig.call("PUT", body=b"data"), rig.call())
        assert [reply.attempts for reply in replies] == [2, 2, 2]

    def judged(sent):
        skewed = not sent.headers["x-amz-date"].startswith(ahead.strftime("%Y%m%dT%H"))
        return answer(401, date=format_datetime(ahead, usegmt=True)) if skewed else OK

    all_signed = asyncio.Event()
    ahead = datetime.fromtimestamp(time.time() + 2 * 3600, UTC)
    run(check, *[judged] * 6, signer=Together(StaticCredentials(KEYS)))


@pytest.mark.parametrize(
    ("seconds", "requests"), [(240, 1), (241, 2), (86_400, 2), (86_401, 1), (-86_400, 2)]
)
def test_a_clock_is_put_right_by_more_than_four_minutes_and_at_most_a_day(seconds, requests):
    async def check(rig):
        rig.now = float(int(rig.now))
        date = format_datetime(datetime.fromtimestamp(rig.now + seconds, UTC), usegmt=True)
        rig.wire.then(answer(401, date=date), OK)
        if requests == 1:
            await rig.fails(StorageAuthenticationError)
        else:
            await rig.call()
        assert len(rig.wire.requests) == requests

    run(check)


def test_a_clock_of_a_server_that_jumps_is_followed_once_a_call():
    def jumping(sent):
        hours = len(rigs[0].wire.requests)
        date = datetime.fromtimestamp(rigs[0].now + hours * 3600, UTC)
        return answer(401, date=format_datetime(date, usegmt=True))

    rigs = []

    async def check(rig):
        rigs.append(rig)
        await rig.fails(StorageAuthenticationError)
        assert len(rig.wire.requests) == 2

    run(check, jumping)


@pytest.mark.parametrize("refusal", [400, 401])
def test_a_body_that_was_read_is_not_sent_again_though_its_refusal_could_be_put_right(refusal):
    ahead = datetime.fromtimestamp(time.time() + 3600, UTC)

    async def check(rig):
        async def chunks():
            yield b"once"

        await rig.fails(StorageAuthenticationError, "PUT", body=StreamBody(4, chunks), replayable=False)
        assert len(rig.wire.requests) == 1

    run(check, answer(refusal, date=format_datetime(ahead, usegmt=True)), OK, signer=AwsSigner(Renewable()))


def test_a_body_that_never_left_is_sent_though_it_can_be_read_once():
    async def check(rig):
        opened = []

        async def chunks():
            opened.append(True)
            yield b"once"

        await rig.call("PUT", body=StreamBody(4, chunks), replayable=False)
        assert (len(rig.wire.requests), len(opened), len(rig.slept)) == (1, 1, 1)

    run(check, WireError("connect", sent=False), OK)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (404, {"x-cloud": "1"}, StorageUnavailableError),
        (403, {"x-cloud": "1"}, StorageAccessDeniedError),
        (403, {}, StorageConfigurationError),
        (407, {}, StorageConfigurationError),
    ],
)
def test_a_failure_by_way_of_a_proxy_is_the_clouds_only_where_it_shows_so(status, headers, kind):
    async def check(rig):
        error = await rig.fails(kind)
        assert ("http://proxy" in str(error)) is (not headers)

    run(check, ScriptedAnswer(status, b"", headers, proxy="http://proxy:3128"), max_attempts=1)


@pytest.mark.parametrize("seconds", [100, 90_000])
def test_a_clock_that_is_hardly_or_absurdly_wrong_is_left_alone(seconds):
    date = format_datetime(datetime.fromtimestamp(time.time() + seconds, UTC), usegmt=True)

    async def check(rig):
        await rig.fails(StorageAuthenticationError)
        assert len(rig.wire.requests) == 1

    run(check, answer(401, date=date))


class Renewable(CredentialSource):
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

    async def by_key(sent):
        await asyncio.sleep(0)
        return answer(400) if "Credential=KEY0/" in sent.headers["authorization"] else OK

    async def check(rig):
        replies = await asyncio.gather(*(rig.call() for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert source.renewed == 1
        rig.wire.then(answer(400))
        await rig.fails(StorageAuthenticationError)
        assert source.renewed == 2

    run(check, by_key, signer=AwsSigner(source))


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
def test_a_cancel_ends_at_once_and_leaves_nothing(method):
    cancelled = []

    async def stall(_sent):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(method)
            raise

    async def check(rig):
        task = asyncio.create_task(rig.call(method, body=b"x" if method == "PUT" else None))
        while not rig.wire.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (cancelled, len(rig.wire.requests)) == ([method], 1)

    run(check, stall)


def test_an_untrusted_certificate_is_not_retried():
    async def check(rig):
        error = await rig.fails(StorageConfigurationError, "PUT", body=b"x")
        assert (error.code, error.applied, error.retryable) == ("TLS", "no", False)
        assert "self-signed" in error.message
        assert (rig.slept, rig.wire.requests) == ([], [])

    run(check, WireError("tls", sent=False, detail="self-signed certificate"))


def test_errors_of_the_credentials_say_that_nothing_was_sent():
    class Broken(StaticCredentials):
        def ready(self):
            raise StorageConfigurationError("no credentials")

    async def check(rig):
        error = await rig.fails(StorageError, "PUT")
        assert error.applied == "no"
        assert rig.wire.requests == []

    run(check, signer=AwsSigner(Broken(KEYS)))
