"""The seam of the signer fits all three kinds: a signature of headers, a token that ends, a signed query."""

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from credstore.encryption import Secret
from credstore.errors import StorageAuthenticationError, StorageUnavailableError
from credstore.testing import WireError
from credstore.wire.aws.credentials import Credentials, StaticCredentials
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.signer import Signed, Signer
from credstore.wire.transport import StreamBody
from tests.wire.test_exchange import OK, ORIGIN, answer, run

KEY = b"canary-account-key"


class SharedKeySigner(Signer):
    """Azure's Shared Key: an HMAC of the method, some headers, the account's path and the query.

    Source: Microsoft, "Authorize with Shared Key" (Blob service, version 2015-02-21 and later).
    """

    signs_body = False
    SIGNED = (
        *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
        *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
    )

    async def sign(self, call, body_sha256, now):
        date = format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)
        own = {"x-ms-date": date, "x-ms-version": "2025-05-05"}
        length = str(call.length or "")
        text = self.text(
            call.method, call.path, call.query, {**call.headers, **own, "content-length": length}
        )
        signature = base64.b64encode(hmac.digest(KEY, text.encode(), "sha256")).decode()
        return Signed({**own, "authorization": f"SharedKey account:{signature}"})

    @classmethod
    def text(cls, method, path, query, headers):
        """The string to sign."""
        ours = sorted((name, value) for name, value in headers.items() if name.startswith("x-ms-"))
        lines = [method, *(headers.get(name, "") for name in cls.SIGNED), *(":".join(pair) for pair in ours)]
        return "\n".join([*lines, f"/account{path}", *(f"{name}:{value}" for name, value in sorted(query))])

    async def renew(self, used):
        """A key of an account does not end."""

    async def expires_at(self):
        return None

    async def aclose(self):
        """Nothing is held."""


class TokenSigner(Signer):
    """Google's and Entra ID's way: a token that is fetched, ends, and is renewed by one for all."""

    signs_body = False

    def __init__(self, clock, failing=()) -> None:
        self.clock = clock
        self.failing = list(failing)
        self.fetched = 0
        self.closed = False
        self._token = None
        self._ends = 0.0
        self._lock = asyncio.Lock()

    async def sign(self, call, body_sha256, now):
        token = await self._get()
        return Signed({"authorization": f"Bearer {token.reveal()}"}, credentials=token)

    async def _get(self):
        if self._token is None or self.clock() >= self._ends:
            await self.renew(Signed({}, credentials=self._token))
        return self._token

    async def renew(self, used):
        async with self._lock:
            if self._token is used.credentials:
                await asyncio.sleep(0)  # The fetching.
                if self.failing:
                    raise self.failing.pop(0)
                self.fetched += 1
                self._token, self._ends = Secret(f"canary-{self.fetched}"), self.clock() + 3600

    async def expires_at(self):
        await self._get()
        return datetime.fromtimestamp(self._ends, UTC)

    async def aclose(self):
        self.closed = True


class SasSigner(Signer):
    """A shared access signature of Azure's: all of it in the query, and it ends."""

    signs_body = False
    TOKEN = "sv=2025-05-05&se=2030-01-01T00%3A00%3A00Z&sr=c&sp=rw&sig=canary%2Fsig%3D"

    async def sign(self, call, body_sha256, now):
        return Signed({"x-ms-version": "2025-05-05"}, self.TOKEN)

    async def renew(self, used):
        """Nobody here can make a newer one."""

    async def expires_at(self):
        return datetime(2030, 1, 1, tzinfo=UTC)

    async def aclose(self):
        """Nothing is held."""


@pytest.mark.parametrize(
    ("body", "length"),
    [(None, ""), (b"", ""), (b"data", "4"), (StreamBody(5, lambda: chunks(b"ab", b"cde")), "5")],
)
def test_a_signature_of_headers_has_all_it_is_made_of(body, length):
    async def check(rig):
        await rig.call(
            "PUT", body=body, query=[("comp", "block"), ("blockid", "a b")], headers={"range": "r"}
        )
        (sent,) = rig.wire.requests
        url = urlsplit(sent.url)
        headers = {**sent.headers, "content-length": length}
        text = SharedKeySigner.text("PUT", url.path, parse_qsl(url.query), headers)
        expected = base64.b64encode(hmac.digest(KEY, text.encode(), "sha256")).decode()
        assert sent.headers["authorization"] == f"SharedKey account:{expected}"
        assert sent.headers["host"] == urlsplit(ORIGIN).netloc
        assert "x-amz-date" not in sent.headers

    run(check, OK, signer=SharedKeySigner())


async def chunks(*parts):
    for part in parts:
        yield part


def test_the_present_is_the_origins():
    ahead = datetime.now(UTC) + timedelta(hours=1)

    async def check(rig):
        await rig.call()
        assert rig.wire.requests[1].headers["x-ms-date"][:22] == format_datetime(ahead, usegmt=True)[:22]

    run(check, answer(401, date=format_datetime(ahead, usegmt=True)), OK, signer=SharedKeySigner())


def test_a_token_is_fetched_once_for_all_and_again_when_it_ends():
    clock = [1000.0]
    signer = TokenSigner(lambda: clock[0])

    async def check(rig):
        await asyncio.gather(*(rig.call() for _ in range(20)))
        assert ({sent.headers["authorization"] for sent in rig.wire.requests}, signer.fetched) == (
            {"Bearer canary-1"},
            1,
        )
        assert await signer.expires_at() == datetime.fromtimestamp(4600, UTC)
        clock[0] = 4600.0
        await asyncio.gather(*(rig.call() for _ in range(20)))
        assert (rig.wire.requests[-1].headers["authorization"], signer.fetched) == ("Bearer canary-2", 2)

    run(check, OK, signer=signer)
    assert signer.closed


def test_a_token_the_cloud_calls_expired_is_renewed_once_for_all():
    signer = TokenSigner(lambda: 0.0)

    async def by_token(sent):
        await asyncio.sleep(0)
        return answer(400) if sent.headers["authorization"] == "Bearer canary-1" else OK

    async def check(rig):
        replies = await asyncio.gather(*(rig.call() for _ in range(20)))
        assert ({reply.status for reply in replies}, signer.fetched) == ({200}, 2)
        rig.wire.then(answer(400))
        error = await rig.fails(StorageAuthenticationError)
        assert (error.applied, signer.fetched) == ("no", 3)

    run(check, by_token, signer=signer)


@pytest.mark.parametrize("body", [b"x", None])
def test_without_a_token_nothing_is_sent(body):
    signer = TokenSigner(
        lambda: 0.0, failing=[StorageUnavailableError("no token"), WireError("dns", sent=False)]
    )

    async def check(rig):
        error = await rig.fails(StorageUnavailableError, "PUT", body=body)
        assert (error.applied, rig.wire.requests) == ("no", [])

    run(check, OK, signer=signer)


def test_a_renewal_that_fails_is_told_with_what_was_sent():
    signer = TokenSigner(lambda: 0.0)

    async def check(rig):
        signer.failing = []
        await rig.call()
        rig.wire.then(WireError("broken", sent=True), answer(400))
        signer.failing = [StorageUnavailableError("no newer token")]
        error = await rig.fails(StorageUnavailableError, "PUT", body=b"x")
        assert (error.message, error.applied) == ("no newer token", "maybe")

    run(check, OK, signer=signer)


@pytest.mark.parametrize("query", [[], [("comp", "list"), ("prefix", "a/b")]])
def test_a_signed_query_comes_behind_the_calls_own_as_it_is(query):
    async def check(rig):
        await rig.call(query=query)
        own = "comp=list&prefix=a%2Fb&" if query else ""
        assert rig.wire.requests[0].target == f"/bucket/key?{own}{SasSigner.TOKEN}"
        rig.wire.then(answer(403))
        error = await rig.fails(Exception)
        assert "canary" not in unquote(f"{error!r}{error}")

    run(check, OK, signer=SasSigner())


@pytest.mark.parametrize("signs_body", [False, True])
def test_a_body_is_hashed_only_for_a_signer_that_wants_it(signs_body):
    seen = []

    class Noting(SasSigner):
        async def sign(self, call, body_sha256, now):
            seen.append(body_sha256)
            return await super().sign(call, body_sha256, now)

    signer = Noting()
    signer.signs_body = signs_body

    async def check(rig):
        await rig.call("PUT", body=b"data")
        await rig.call()
        await rig.call("PUT", body=StreamBody(1, lambda: chunks(b"x")))
        await rig.call("PUT", body=b"data", body_sha256="known")

    run(check, OK, signer=signer)
    hashes = [hashlib.sha256(data).hexdigest() if signs_body else None for data in (b"data", b"")]
    assert seen == [*hashes, None, "known"]


def test_aws_signs_each_attempt_with_the_present_credentials():
    source = StaticCredentials(Credentials("AKID1", Secret("canary-secret")))
    ends = datetime(2030, 1, 1, tzinfo=UTC)

    async def check(rig):
        signer = rig.exchange._signer
        rig.wire.then(answer(503), OK)
        assert await signer.expires_at() is None
        source._credentials = Credentials("AKID2", Secret("canary-secret"), None, ends)
        await rig.call("PUT", body=b"x")
        assert (
            len(
                {sent.headers["authorization"].partition(" Credential=")[2][:5] for sent in rig.wire.requests}
            )
            == 1
        )
        assert await signer.expires_at() == ends
        assert "canary" not in repr(await signer.sign(call_of(), None, 0.0))

    run(check, OK, signer=AwsSigner(source))


def call_of():
    from credstore.wire.signer import WireCall

    return WireCall(operation="Test", method="GET", origin=ORIGIN, path="/", mutation=False, region="r")
