"""What Azure's answers, lost ones and damaged ones too, lead to."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from secrets import token_hex
from urllib.parse import quote

import pytest

from credstore.driver.values import CopyRequest, Precondition, ReadOptions, SignRequest
from credstore.encryption import Secret
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageConflictError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageRateLimitedError,
    StorageRetainedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing.harness import Harness, Stream, request
from credstore.testing.isolation import swept
from credstore.testing.scripted import ScriptedAnswer, SentRequest
from credstore.wire.tokens import Token, TokenSource
from credstore.wire.transport import WireError
from tests.drivers.azure.fake import LOST, FakeAzure, once, refusal

PART = 1000
SMALL = {"part_size": PART, "multipart_threshold": PART, "copy_part_size": PART, "single_copy_limit": PART}
CREATE = Precondition("create")


def run(check, fake=None, **settings):
    """Run `check(fake, driver)` on a fresh store."""
    fake = fake or FakeAzure()

    async def whole():
        driver = fake.driver(**settings)
        try:
            return await check(fake, driver)
        finally:
            await driver.aclose()

    return asyncio.run(whole())


async def read(driver, key, **options):
    async with await driver.get(key, ReadOptions(**options)) as reader:
        return await reader.read()


@pytest.mark.parametrize("mode", ["overwrite", "create"])
def test_a_put_whose_answer_is_lost_is_no_conflict_with_itself(mode):
    async def check(fake, driver):
        fake.faults.append(once(LOST, on="PUT", applied=True))
        result = await driver.put(request("key", b"data", precondition=Precondition(mode)))
        assert result.etag == fake.now("key").etag
        assert await read(driver, "key") == b"data"

    run(check)


def test_a_commit_whose_answer_is_lost_is_found_by_its_write_id():
    async def check(fake, driver):
        fake.faults.append(once(LOST, on="PUT comp=blocklist", applied=True))
        data = bytes(range(250)) * 13
        await driver.put(request("key", data, precondition=CREATE))
        assert fake.now("key").data == data
        # The second commit is refused, since its blocks are committed already, and one HEAD settles it.
        assert [each.method for each in fake.sent[-2:]] == ["PUT", "HEAD"]

    run(check, **SMALL)


def test_anothers_object_is_in_the_way_of_a_create():
    async def check(fake, driver):
        fake.put("key", b"theirs", meta={"author": "them"})
        with pytest.raises(StorageAlreadyExistsError) as raised:
            await driver.put(request("key", b"ours", precondition=CREATE))
        assert (raised.value.applied, raised.value.provider_code) == ("no", "BlobAlreadyExists")
        assert raised.value.request_id
        fake.faults.append(once(LOST, on="PUT"))
        with pytest.raises(StorageAlreadyExistsError) as raised:
            await driver.put(request("key", b"ours", precondition=CREATE))
        assert raised.value.applied == "maybe"
        assert fake.now("key").data == b"theirs"

    run(check)


def test_a_stale_replacement_and_one_of_nothing():
    async def check(fake, driver):
        fake.put("key", b"newer")
        for key in ("key", "absent"):
            with pytest.raises(StoragePreconditionFailedError) as raised:
                await driver.put(request(key, b"ours", precondition=Precondition("replace", "0xOLD")))
            assert raised.value.applied == "no"
        assert fake.now("key").data == b"newer"

    run(check)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(503, "ServerBusy", retry_after="0"), StorageRateLimitedError),
        (refusal(500, "InternalError"), StorageUnavailableError),
        (refusal(500, "OperationTimedOut"), StorageTimeoutError),
        (WireError("broken", sent=False), StorageConnectionError),
    ],
)
def test_a_passing_failure_is_tried_again_and_named_if_it_stays(answer, kind):
    async def check(fake, driver):
        fake.put("key", b"data")
        fake.faults.append(once(answer, on="GET"))
        assert await read(driver, "key") == b"data"
        fake.faults[:] = [lambda _request, _serve: answer]
        before = len(fake.sent)
        with pytest.raises(kind) as raised:
            await read(driver, "key")
        assert raised.value.retryable
        assert len(fake.sent) - before == 4

    run(check, max_retries=3)


@pytest.mark.parametrize(
    ("code", "status", "kind", "text"),
    [
        ("AuthorizationPermissionMismatch", 403, StorageAccessDeniedError, "role assignments"),
        ("KeyBasedAuthenticationNotPermitted", 403, StorageAccessDeniedError, "login"),
        ("AuthorizationFailure", 403, StorageAccessDeniedError, "network rules"),
        ("AccountIsDisabled", 403, StorageAccessDeniedError, "disabled"),
        ("BlobImmutableDueToPolicy", 409, StorageRetainedError, "immutability"),
        ("BlobImmutableDueToLegalHold", 409, StorageRetainedError, "legal hold"),
        ("LeaseIdMissing", 412, StorageConflictError, "lease"),
        ("SnapshotsPresent", 409, StorageConflictError, "snapshots"),
        ("InvalidBlobType", 409, StorageConflictError, "append or page"),
        ("AuthenticationFailed", 403, StorageAuthenticationError, "signature was not accepted"),
        ("NoAuthenticationInformation", 401, StorageAuthenticationError, "no credentials"),
    ],
)
def test_what_is_refused_says_why(code, status, kind, text):
    async def check(fake, driver):
        fake.put("key", b"data")
        fake.faults.append(lambda _request, _serve: refusal(status, code))
        for call in (driver.delete("key"), driver.head("key"), driver.put(request("key"))):
            with pytest.raises(kind, match=text) as raised:
                await call
            assert (raised.value.provider_code, raised.value.request_id) == (code, "0-1-2-3")
            assert raised.value.applied == "no"
            assert not raised.value.retryable

    run(check)


def test_an_absent_container_is_not_an_absent_object():
    async def check(fake, driver):
        fake.exists = False
        for call in (
            driver.head("key"), driver.get("key"), driver.delete("key"), driver.list(), driver.ping(),
            driver.put(request("key")), driver.delete_many(["key"]),
        ):  # fmt: skip
            with pytest.raises(StorageBucketNotFoundError) as raised:
                await call
            assert raised.value.bucket == "proofs"

    run(check)


def test_something_else_than_azure_is_noticed():
    page = ScriptedAnswer(404, b"<html>no such page</html>", {"content-type": "text/html"})
    welcome = ScriptedAnswer(
        200, b"<html>sign in</html>", {"content-type": "text/html", "content-length": "20"}
    )

    async def check(fake, driver):
        for answer in (page, welcome):
            fake.faults[:] = [lambda _request, _serve, answer=answer: answer]
            for call in (
                driver.head("key"),
                driver.get("key"),
                driver.delete("key"),
                driver.put(request("key")),
            ):
                with pytest.raises(StorageConfigurationError, match="other than Azure") as raised:
                    await call
                assert raised.value.code == "NOT_S3"

    run(check)


async def copied(driver):
    source = await driver.head("key")
    await driver.copy(CopyRequest(source=source, destination="copy", write_id="0" * 32))


CHANGES = {
    "put": lambda driver: driver.put(request("other", b"1")),
    "put in blocks": lambda driver: driver.put(request("other", bytes(PART + 1))),
    "retain": lambda driver: driver.set_retention("key", datetime(2037, 1, 2, tzinfo=UTC), "governance"),
    "hold": lambda driver: driver.set_legal_hold("key", held=True),
    "tags": lambda driver: driver.put_tags("key", {"a": "b"}),
    "copy": copied,
}


@pytest.mark.parametrize("body", [b"", b"<html>sign in</html>", b'{"detail":"sign in"}'])
@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_not_believed_to_whoever_is_not_azure(name, status, body):
    headers = {"content-length": str(len(body))}

    def instead(sent, serve):
        return None if sent.method in {"GET", "HEAD"} else ScriptedAnswer(status, body, headers)

    async def check(fake, driver):
        await driver.put(request("key", b"data"))
        fake.faults.append(instead)
        with pytest.raises(StorageConfigurationError, match="other than Azure") as raised:
            await CHANGES[name](driver)
        assert (raised.value.code, raised.value.retryable) == ("NOT_S3", False)
        # Blocks that are not committed show nothing under the key.
        assert raised.value.applied == ("no" if name == "put in blocks" else "maybe")

    run(check, FakeAzure(immutable=True), max_retries=0, **SMALL)


def test_a_wrong_account_has_no_name():
    async def check(fake, driver):
        fake.faults.append(lambda _request, _serve: WireError("dns", sent=False))
        with pytest.raises(StorageConnectionError, match="no storage account 'acme'") as raised:
            await driver.head("key")
        assert raised.value.code == "NAME_NOT_FOUND"

    run(check, max_retries=0)


def skewed(hours):
    """Refuses what is dated by a clock that is that many hours from the service's."""

    def fault(sent, _serve):
        told = sent.headers.get("x-ms-date")
        now = datetime.now(UTC) + timedelta(hours=hours)
        if told is None or abs(
            datetime.strptime(told, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) - now
        ) < timedelta(minutes=15):
            return None
        detail = f"Request date header too old: '{told}'"
        return refusal(
            403,
            "AuthenticationFailed",
            "" if sent.method == "HEAD" else detail,
            date=format_datetime(now, usegmt=True),
        )

    return fault


@pytest.mark.parametrize("hours", [-3, 5])
def test_a_wrong_clock_is_corrected_also_where_a_head_does_not_say_so(hours):
    async def check(fake, driver):
        fake.put("key", b"data")
        fake.faults.append(skewed(hours))
        assert (await driver.head("key")).size == 4
        assert (await driver.put(request("other"))).etag
        link = await driver.sign(SignRequest(key="key", expires_in=60))
        off = (link.expires_at - datetime.now(UTC)).total_seconds() - 60
        assert abs(off - hours * 3600) < 30

    run(check)


def test_a_batch_is_signed_again_after_the_clock_was_corrected():
    async def check(fake, driver):
        fake.put("a", b"1")
        fake.put("b", b"2")
        fake.faults.append(skewed(2))
        served = fake.serve
        # The parts do not pass the faults by themselves.
        fake.serve = lambda sent: skewed(2)(sent, served) or served(sent)
        outcomes = await driver.delete_many(["a", "b", "c"])
        assert {key: each.existed for key, each in outcomes.items()} == {"a": True, "b": True, "c": False}

    run(check)


@pytest.mark.parametrize(
    ("status", "code", "detail", "kind"),
    [
        (
            403,
            "AuthenticationFailed",
            "Signature not valid in the specified time frame",
            "CREDENTIALS_EXPIRED",
        ),
        (403, "AuthenticationFailed", "", "AUTHENTICATION_FAILED"),
        (403, "AuthorizationPermissionMismatch", "", "ACCESS_DENIED"),
        (404, "ContainerNotFound", "", "BUCKET_NOT_FOUND"),
        (409, "BlobUsesCustomerSpecifiedEncryption", "", "CUSTOMER_KEY"),
    ],
)
def test_a_refusal_of_a_head_that_lost_its_code_on_the_way_still_says_why(status, code, detail, kind):
    def fault(sent, _serve):
        found = refusal(status, code, detail)
        if sent.method != "HEAD":
            return found
        kept = {name: value for name, value in found.headers.items() if name != "x-ms-error-code"}
        return ScriptedAnswer(status, b"", kept)

    async def check(fake, driver):
        fake.faults.append(fault)
        with pytest.raises(StorageError) as raised:
            await driver.head("key")
        assert (raised.value.code, raised.value.provider_code) == (kind, code)

    run(check, max_retries=0)


class Renewable(TokenSource):
    """A token that has expired, and what it is renewed to."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.ends = datetime.now(UTC) + timedelta(hours=1)

    async def get(self):
        return Token(Secret(self.tokens[0]), self.ends)

    async def refresh(self):
        self.tokens[:-1] = self.tokens[1:-1]
        return await self.get()

    async def aclose(self):
        """Hold nothing."""


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("lasts", [True, False])
def test_a_batch_whose_parts_have_an_expired_token_is_sent_again(outer, lasts):
    """The parts have tokens of their own, which the exchange cannot replace when it renews that of the whole."""

    def fault(sent, _serve):
        if lasts and sent.headers["authorization"] == "Bearer token":
            return None
        return refusal(401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired.")

    async def check(fake, driver):
        fake.put("a", b"1")
        served = fake.serve

        def serve(sent):
            if "comp=batch" not in sent.url:
                return fault(sent, served) or served(sent)
            accepted = {**sent.headers, "authorization": "Bearer token"}
            return served(SentRequest(sent.method, sent.url, accepted, sent.body))

        fake.serve = serve
        if outer:
            fake.faults.append(fault)
        if outer and not lasts:
            with pytest.raises(StorageAuthenticationError):
                await driver.delete_many(["a", "b"])
            return
        found = await driver.delete_many(["a", "b"])
        if lasts:
            assert {key: each.existed for key, each in found.items()} == {"a": True, "b": False}
        else:
            assert {each.code for each in found.values()} == {"CREDENTIALS_EXPIRED"}
        assert len([sent for sent in fake.sent if "comp=batch" in sent.url]) == (3 if outer else 2)

    run(check, tokens=Renewable("old", "token"), auth_mode="login")


def test_a_batch_with_an_expired_key_signature_is_not_sent_twice():
    async def check(fake, driver):
        served = fake.serve
        late = refusal(403, "AuthenticationFailed", "Signature not valid in the specified time frame")
        fake.serve = lambda sent: served(sent) if "comp=batch" in sent.url else late
        found = await driver.delete_many(["a", "b"])
        assert {each.code for each in found.values()} == {"CREDENTIALS_EXPIRED"}
        assert len(fake.sent) == 1

    run(check)


def test_a_body_that_breaks_off_is_continued_from_the_same_version():
    data = bytes(range(256)) * 400

    async def check(fake, driver):
        await driver.put(request("key", data))
        whole = fake.answer

        def cut(sent, serve):
            if sent.method != "GET" or "x-ms-range" in sent.headers:
                return None
            answer = serve(sent)
            return ScriptedAnswer(answer.status, answer.body[:70_000], answer.headers, LOST)

        fake.faults.append(cut)
        assert await read(driver, "key") == data
        assert fake.sent[-1].headers["x-ms-range"] == f"bytes=70000-{len(data) - 1}"
        assert fake.sent[-1].headers["if-match"] == f'"{fake.now("key").etag}"'
        assert whole == fake.answer

        def replaced(sent, serve):
            if "x-ms-range" in sent.headers:
                fake.put("key", data[::-1])
            return cut(sent, serve)

        fake.faults[:] = [replaced]
        with pytest.raises(StorageIntegrityError) as raised:
            await read(driver, "key")
        assert raised.value.code == "REPLACED"

    run(check)


def test_other_bytes_than_were_asked_for_are_refused():
    async def check(fake, driver):
        fake.put("key", b"0123456789")

        def shifted(sent, serve):
            answer = serve(sent)
            headers = {**answer.headers, "content-range": "bytes 3-5/10"}
            return ScriptedAnswer(206, answer.body, headers)

        fake.faults.append(shifted)
        with pytest.raises(StorageIntegrityError) as raised:
            await read(driver, "key", start=2, end=5)
        assert raised.value.code == "WRONG_RANGE"

    run(check)


def test_blocks_that_another_write_drops_are_sent_again():
    data = bytes(range(250)) * 13

    async def check(fake, driver):
        def dropped(sent, serve):
            if "comp=blocklist" in sent.url and len([s for s in fake.sent if "comp=blocklist" in s.url]) == 1:
                fake.blocks.pop("key")
                fake.put("key", b"theirs")

        fake.faults.append(dropped)
        body = Stream(data, length=len(data), replayable=True)
        await driver.put(request("key", body=body, digest=sha256(data).digest()))
        assert fake.now("key").data == data
        fake.faults[:] = [
            lambda sent, serve: fake.blocks.pop("key", None) and None if "blocklist" in sent.url else None
        ]
        with pytest.raises(StorageConflictError) as raised:
            await driver.put(request("key", body=Stream(data, length=len(data)), digest=None))
        assert (raised.value.code, raised.value.applied, raised.value.retryable) == (
            "CONCURRENT_WRITE",
            "no",
            True,
        )

    run(check, **SMALL)


def test_only_blocks_of_this_write_are_committed():
    data = bytes(range(250)) * 13

    async def check(fake, driver):
        theirs = request("key", data[::-1])
        fake.faults.append(once(refusal(403, "AuthorizationPermissionMismatch"), on="PUT comp=blocklist"))
        with pytest.raises(StorageAccessDeniedError):
            await driver.put(theirs)
        assert len(fake.blocks["key"]) == 4
        await driver.put(request("key", data))
        assert fake.now("key").data == data

        fake.blocks["other"] = {"c2hvcnQ=": b"of another client"}
        with pytest.raises(StorageConflictError, match="another client's unfinished upload") as raised:
            await driver.put(request("other", data))
        assert (raised.value.applied, raised.value.retryable) == ("no", False)
        assert fake.blocks["other"] == {"c2hvcnQ=": b"of another client"}

    run(check, **SMALL)


def test_a_body_changed_on_its_way_is_noticed_by_the_service_and_by_us():
    async def check(fake, driver):
        def changed(sent, serve):
            return refusal(400, "Md5Mismatch") if sent.method == "PUT" else None

        fake.faults.append(changed)
        with pytest.raises(StorageIntegrityError) as raised:
            await driver.put(request("key", b"data"))
        assert (raised.value.code, raised.value.applied) == ("CHECKSUM_MISMATCH", "no")

        def other(sent, serve):
            answer = serve(sent)
            return ScriptedAnswer(
                answer.status, b"", {**answer.headers, "content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}
            )

        fake.faults[:] = [other]
        with pytest.raises(StorageIntegrityError) as raised:
            await driver.put(request("key", b"data"))
        assert (raised.value.code, raised.value.applied) == ("CHECKSUM_MISMATCH", "maybe")

    run(check)


def test_each_key_of_a_batch_has_its_own_outcome():
    async def check(fake, driver):
        fake.put("there", b"1")
        fake.put("locked", b"2")
        served = fake.serve

        def serve(sent):
            return refusal(409, "BlobImmutableDueToPolicy") if sent.url.endswith("/locked") else served(sent)

        fake.serve = serve
        keys = ["there", "absent", "locked", "back\\slash"]
        outcomes = await driver.delete_many(keys)
        assert list(map(type, (outcomes["locked"], outcomes["back\\slash"]))) == [
            StorageRetainedError,
            StorageInvalidKeyError,
        ]
        assert (outcomes["locked"].code, outcomes["locked"].key) == ("LOCKED", "locked")
        assert [outcomes[key].existed for key in keys[:2]] == [True, False]

        def silent(sent, serve):
            answer = serve(sent)
            return ScriptedAnswer(
                202, answer.body.replace(b"Content-ID: 1", b"Content-ID: 0", 0), answer.headers
            )

        fake.faults.append(lambda sent, serve: _without(serve(sent), 1) if sent.method == "POST" else None)
        outcomes = await driver.delete_many(["x", "y"])
        assert (outcomes["y"].code, outcomes["y"].applied) == ("NO_OUTCOME", "maybe")
        fake.faults[:] = [lambda sent, serve: _renumbered(serve(sent)) if sent.method == "POST" else None]
        with pytest.raises(StorageIntegrityError) as raised:
            await driver.delete_many(["x", "y"])
        assert raised.value.code == "FOREIGN_KEY"

    run(check)


def _without(answer, number):
    pieces = answer.body.split(b"--answers")
    kept = [piece for piece in pieces if b"Content-ID: %d" % number not in piece]
    return ScriptedAnswer(answer.status, b"--answers".join(kept), answer.headers)


def _renumbered(answer):
    return ScriptedAnswer(
        answer.status, answer.body.replace(b"Content-ID: 1", b"Content-ID: 7"), answer.headers
    )


def test_a_lost_batch_does_not_claim_that_nothing_was_there():
    async def check(fake, driver):
        fake.put("key", b"1")
        fake.faults.append(once(LOST, on="POST", applied=True))
        outcomes = await driver.delete_many(["key"])
        assert outcomes["key"].existed is None
        fake.put("key", b"1")
        fake.faults.append(once(LOST, on="DELETE", applied=True))
        assert (await driver.delete("key")).existed is None
        with pytest.raises(StoragePreconditionFailedError):
            await driver.delete("key", if_match="0x1")

    run(check)


def test_an_archived_object_says_how_to_restore_it():
    async def check(fake, driver):
        fake.put("key", b"data", tier="Archive", inferred=False)
        with pytest.raises(StorageUnavailableError, match="set-tier") as raised:
            await read(driver, "key")
        assert (raised.value.code, raised.value.retryable) == ("ARCHIVED", False)
        assert (await driver.head("key")).storage_class == "Archive"
        assert fake.now("key").tier == "Archive"

    run(check)


def test_an_archived_object_is_restored_where_that_is_wanted():
    async def check(fake, driver):
        fake.put("key", b"data", tier="Archive", inferred=False)
        with pytest.raises(StorageUnavailableError, match="is being restored with priority high") as raised:
            await read(driver, "key")
        assert raised.value.code == "ARCHIVED"
        asked = fake.sent[-1]
        assert (asked.headers["x-ms-access-tier"], asked.headers["x-ms-rehydrate-priority"]) == (
            "Hot",
            "High",
        )
        assert await read(driver, "key") == b"data"

    run(check, rehydrate="high")


def test_a_signature_that_has_ended_is_not_sent():
    async def check(fake, driver):
        with pytest.raises(StorageAuthenticationError, match="ended at 2026-01-01") as raised:
            await driver.head("key")
        assert raised.value.code == "CREDENTIALS_EXPIRED"
        assert not fake.sent

    run(check, sas_token=Secret("sv=2023-11-03&sp=r&se=2026-01-01T00%3A00%3A00Z&sig=canary"))


def test_a_signature_outside_its_time_is_told_from_a_wrong_one():
    detail = "Signature not valid in the specified time frame: Start [x] - Expiry [y] - Current [z]"

    async def check(fake, driver):
        fake.faults.append(
            lambda sent, serve: refusal(403, "AuthenticationFailed", "" if sent.method == "HEAD" else detail)
        )
        with pytest.raises(StorageAuthenticationError, match="has expired, or is not valid yet") as raised:
            await driver.head("key")
        assert raised.value.code == "CREDENTIALS_EXPIRED"
        assert "canary" not in str(raised.value)

    run(check, sas_token=Secret("sv=2023-11-03&sp=r&sig=canary"))


def copied(driver, source, destination, **settings):
    return driver.copy(
        CopyRequest(source=source, destination=destination, write_id=token_hex(16), **settings)
    )


@pytest.mark.parametrize("size", [10, 3500])
@pytest.mark.parametrize("from_url", [True, False])
def test_a_copy_of_a_source_that_was_replaced_is_none(size, from_url):
    async def check(fake, driver):
        fake.put("source", b"x" * size)
        source = await driver.head("source")
        fake.put("source", b"y" * size)
        with pytest.raises(StoragePreconditionFailedError) as raised:
            await copied(driver, source, "copy")
        assert raised.value.applied == "no"
        del fake.blobs["source"]
        with pytest.raises(StorageObjectNotFoundError) as raised:
            await copied(driver, source, "copy")
        assert raised.value.applied == "no"
        assert fake.now("copy") is None

    run(check, FakeAzure(from_url=from_url), **SMALL)


def test_a_lost_copy_is_settled_by_its_write_id():
    async def check(fake, driver):
        fake.put("source", b"data")
        fake.faults.append(once(LOST, on="PUT /proofs/copy", applied=True))
        result = await copied(driver, await driver.head("source"), "copy", precondition=CREATE)
        assert result.etag == fake.now("copy").etag

    run(check)


class Copying:
    """A service that needs a few looks to copy."""

    def __init__(self, fake, looks):
        self.fake, self.looks = fake, looks

    def __call__(self, sent, serve):
        if sent.method == "HEAD" and sent.url.endswith("/copy") and "copy" in self.fake.pending:
            self.looks -= 1
            if not self.looks:
                self.fake.pending.remove("copy")
                blob = self.fake.now("copy")
                self.fake.blobs["copy"] = [
                    type(blob)(**{**blob.__dict__, "data": b"data", "copy": ("copy-1", "success")})
                ]


@pytest.fixture
def at_once(monkeypatch):
    async def no_sleep(_seconds):
        await asyncio.sleep(0)

    monkeypatch.setattr("credstore.drivers.azure.pending._sleep", no_sleep)


@pytest.mark.usefixtures("at_once")
def test_a_copy_that_the_service_is_at_is_waited_for():
    async def check(fake, driver):
        fake.put("source", b"data")
        fake.pending.append("copy")
        fake.faults.append(Copying(fake, 4))
        result = await copied(driver, await driver.head("source"), "copy")
        assert result.etag == fake.now("copy").etag
        assert fake.now("copy").data == b"data"
        assert len([each for each in fake.sent if each.method == "HEAD"]) == 5

    run(check, FakeAzure(from_url=False))


@pytest.mark.parametrize("how", ["deadline", "cancel", "failed"])
def test_a_copy_that_does_not_end_is_aborted_and_removed(how, monkeypatch):
    async def check(fake, driver):
        fake.put("source", b"data")
        fake.pending.append("copy")
        source = await driver.head("source")
        now = [0.0]

        async def sleep(seconds):
            if how == "cancel":
                task.cancel()
            if how == "failed":
                fake.pending.remove("copy")
                blob = fake.now("copy")
                fake.blobs["copy"] = [type(blob)(**{**blob.__dict__, "copy": ("copy-1", "failed")})]
            now[0] += seconds
            await asyncio.sleep(0)

        monkeypatch.setattr("credstore.drivers.azure.pending._sleep", sleep)
        started = asyncio.get_running_loop().time()
        deadline = started + 1.5 if how == "deadline" else None
        monkeypatch.setattr("credstore.drivers.azure.pending.time.monotonic", lambda: started + now[0])
        task = asyncio.ensure_future(copied(driver, source, "copy", deadline=deadline, precondition=CREATE))
        kind = {
            "deadline": StorageTimeoutError,
            "cancel": asyncio.CancelledError,
            "failed": StorageUnavailableError,
        }
        with pytest.raises(kind[how]) as raised:
            await task
        assert fake.now("copy") is None
        assert any("comp=copy" in each.url for each in fake.sent) == (how != "failed")
        if how != "cancel":
            assert raised.value.applied == "no"

    run(check, FakeAzure(from_url=False))


def test_an_old_version_is_restored_by_a_copy():
    async def check(fake, driver):
        for data in (b"one", b"second"):
            await driver.put(request("key", data, metadata={"kind": data.decode()}))
        old = [each for each in (await driver.list_versions("key", exact=True)).entries if not each.is_latest]
        source = await driver.head("key", ReadOptions(version_id=old[0].version_id))
        await copied(driver, source, "key")
        assert await read(driver, "key") == b"one"
        assert dict((await driver.head("key")).metadata) == {"kind": "one"}
        assert len((await driver.list_versions("key", exact=True)).entries) == 3
        current = (await driver.head("key")).version_id
        outcomes = await driver.delete_versions([("key", current), ("key", old[0].version_id)])
        assert [each.existed for each in outcomes.values()] == [True, True]
        assert [each.is_delete_marker for each in (await driver.list_versions("key")).entries] == [
            True,
            False,
        ]

    run(check, FakeAzure(versions=True))


def test_versions_of_keys_on_the_edge_of_a_page_are_shown_once():
    async def check(fake, driver):
        fake.page = 3
        for count, key in enumerate(("a", "b", "c", "d"), 1):
            for _ in range(count):
                await driver.put(request(key))
        for limit in (1, 2, 3, 1000):
            found, cursor = [], None
            while True:
                page = await driver.list_versions("", cursor, limit=limit)
                found += [(each.key, each.version_id) for each in page.entries]
                cursor = page.cursor
                if cursor is None:
                    break
            assert [key for key, _ in found] == ["a", "b", "b", "c", "c", "c", "d", "d", "d", "d"]
            assert len(set(found)) == 10
            assert all(found[n] > found[n + 1] for n in range(9) if found[n][0] == found[n + 1][0])

    run(check, FakeAzure(versions=True))


def test_what_keeps_a_version_is_reported():
    async def check(fake, driver):
        await driver.put(request("key", b"data"))
        version = (await driver.head("key")).version_id
        assert await driver.get_retention("key", version) == Retention()

        def kept(sent, serve):
            answer = serve(sent)
            told = {
                "x-ms-immutability-policy-mode": "locked",
                "x-ms-immutability-policy-until-date": "Fri, 01 Jan 2027 00:00:00 GMT",
                "x-ms-legal-hold": "true",
            }
            return ScriptedAnswer(answer.status, answer.body, {**answer.headers, **told})

        fake.faults.append(kept)
        assert await driver.get_retention("key", version) == Retention(
            mode="compliance", retain_until=datetime(2027, 1, 1, tzinfo=UTC), legal_hold=True
        )
        assert f"versionid={quote(version, safe='')}" in fake.sent[-1].url

    run(check, FakeAzure(versions=True))


def test_an_object_that_is_being_copied_is_not_read():
    async def check(fake, driver):
        fake.put("key", b"", copy=("copy-1", "pending"))
        with pytest.raises(StorageUnavailableError, match="being copied") as raised:
            await read(driver, "key")
        assert raised.value.retryable

    run(check)


@pytest.mark.parametrize("page", [1, 1000])
def test_blocks_that_were_given_up_can_be_dropped(page):
    async def check(fake, driver):
        fake.page = page
        fake.put("a/empty", b"")
        fake.put("a/whole", b"data")
        for key in ("a/one", "a/two", "b/other"):
            fake.blocks[key] = {"AAAA": b"data"}
        found = [each.key async for each in driver.list_uploads("a/")]
        assert found == ["a/one", "a/two"]
        for key in found:
            await driver.abort_upload(key)
        assert (set(fake.blobs), set(fake.blocks)) == ({"a/empty", "a/whole"}, {"b/other"})
        await driver.abort_upload("a/whole")  # Was stored in the meantime.
        assert fake.now("a/whole").data == b"data"

    run(check, **SMALL)


def test_what_another_writer_stores_while_blocks_are_dropped_stays():
    async def check(fake, driver):
        fake.blocks["key"] = {"AAAA": b"data"}

        def overtaken(sent, serve):
            if sent.method != "DELETE":
                return None
            fake.put("key", b"theirs")
            return serve(sent)

        fake.faults.append(overtaken)
        with pytest.raises(StoragePreconditionFailedError):
            await driver.abort_upload("key")
        assert fake.now("key").data == b"theirs"

    run(check, **SMALL)


@pytest.mark.parametrize("how", [None, asyncio.CancelledError()])
def test_a_check_leaves_no_blocks_either_however_it_ends(how):
    """As a live check after Ctrl-C."""
    fake = FakeAzure()

    async def main():
        harness = Harness(open=lambda: fake.driver(**SMALL))
        async with swept(harness, "below/"):
            fake.blocks["below/key"] = {"AAAA": b"data"}
            if how is not None:
                raise how

    with suppress(asyncio.CancelledError):
        asyncio.run(main())
    assert (fake.blobs, fake.blocks) == ({}, {})


def test_a_commit_without_its_blocks_is_not_repeated_as_it_is():
    async def check(fake, driver):
        def drop(sent, serve):
            if "comp=blocklist" in sent.url:
                fake.blocks.pop("key", None)

        fake.faults.append(drop)
        with pytest.raises(StorageConflictError):
            await driver.put(request("key", body=Stream(b"x" * 3000, length=3000), digest=None))
        assert len([each for each in fake.sent if "comp=blocklist" in each.url]) == 1

    run(check, max_retries=3, **SMALL)


def test_only_a_server_that_lacks_a_request_is_asked_for_another():
    async def check(fake, driver):
        fake.put("source", b"data")
        source = await driver.head("source")
        fake.faults.append(once(refusal(400, "UnsupportedHeader"), on="PUT"))
        with pytest.raises(StorageUnsupportedError):
            await copied(driver, source, "copy")
        assert not driver._container.lacks_from_url
        fake.faults.append(once(ScriptedAnswer(501, b"<html>", {"content-type": "text/html"}), on="PUT"))
        with pytest.raises(StorageUnsupportedError):
            await copied(driver, source, "copy")
        assert not driver._container.lacks_from_url
        fake.from_url = False
        await copied(driver, source, "copy")
        await copied(driver, source, "copy")
        assert driver._container.lacks_from_url
        assert [each.headers.get("x-ms-blob-type") for each in fake.sent[-3:]] == ["BlockBlob", None, None]

    run(check)


WITH_A_KEY = {
    "get": lambda driver: driver.get("key"),
    "head": lambda driver: driver.head("key"),
    "put": lambda driver: driver.put(request("key", b"x")),
    "delete": lambda driver: driver.delete("key"),
    "retention": lambda driver: driver.get_retention("key"),
}


@pytest.mark.parametrize("verb", WITH_A_KEY)
@pytest.mark.parametrize("listed", ["absent", "refused", "page"])
def test_an_absent_account_is_not_an_absent_object(verb, listed):
    """Servers with the account in the path say "ResourceNotFound" of all that is absent."""
    absent = refusal(404, "ResourceNotFound")
    told = {
        "absent": (absent, StorageBucketNotFoundError),
        "refused": (refusal(403, "AuthorizationPermissionMismatch"), StorageObjectNotFoundError),
        "page": (ScriptedAnswer(404, b"<html>", {"content-type": "text/html"}), StorageConfigurationError),
    }
    answer, kind = told[listed]

    async def check(fake, driver):
        fake.faults.append(lambda sent, serve: answer if "comp=list" in sent.url else absent)
        if verb == "delete" and listed == "refused":
            assert (await driver.delete("key")).existed is False
            return
        with pytest.raises(kind) as caught:
            await WITH_A_KEY[verb](driver)
        assert caught.value.applied == "no"
        assert len([sent for sent in fake.sent if "comp=list" in sent.url]) == 1

    run(check, max_retries=0)
