"""Writes, deletes and access against a server that misbehaves; ids are those of the fault matrix."""

from datetime import UTC, datetime

import pytest

from credstore.config.stores import R2Config
from credstore.driver import CREATE, CopyRequest, Precondition
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from credstore.wire.aws.credentials import Credentials, CredentialSource
from tests.drivers.s3.fake import RESET, Answer, Seen, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, put_request


@pytest.mark.parametrize("precondition", [None, CREATE])
@pytest.mark.parametrize(
    "answer", [RESET, error(500, "InternalError"), Answer(502, b"<html>bad gateway</html>")]
)
def test_n02_n11_n12_a_put_that_was_applied_before_its_answer_was_lost_succeeds(precondition, answer):
    async def check(fake, driver):
        fake.plan("PUT", answer, applied=True)
        fields = {"precondition": precondition} if precondition else {}
        result = await driver.put(put_request("k", b"mine", **fields))
        assert result.etag == fake.objects["k"].etag.strip('"')
        assert result.size == 4
        assert fake.objects["k"].body == b"mine"
        assert len(fake.sent("PUT")) == 2
        # Only the conditional put can be refused by itself, and only then is a HEAD needed.
        assert len(fake.sent("HEAD")) == (1 if precondition else 0)

    run(check)


def test_looking_an_unclear_write_up_costs_nothing_where_the_provider_answers():
    async def check(fake, driver):
        budget = driver._bucket.exchange._budget
        for _ in range(2 * budget.CAPACITY // budget.RETRY_COST):
            fake.plan("PUT", RESET, applied=True)
            assert (await driver.put(put_request("k", b"mine"))).size == 4

    run(check, max_retries=0)


def test_looking_a_conflict_up_gives_nothing_back_to_the_budget_of_retries():
    """It took nothing of it, so that a provider which answers so could be asked without end."""

    async def check(fake, driver):
        budget = driver._bucket.exchange._budget
        for _ in range(3):
            fake.objects.clear()
            fake.plan("PUT", RESET, applied=True)
            await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert budget.tokens <= budget.CAPACITY - 3 * budget.RETRY_COST + 3 * 2

    run(check)


def test_a_replace_whose_answer_was_lost_succeeds():
    async def check(fake, driver):
        old = await driver.put(put_request("k", b"old"))
        fake.plan("PUT", RESET, applied=True)
        await driver.put(put_request("k", b"new", precondition=Precondition("replace", old.etag)))
        assert fake.objects["k"].body == b"new"

    run(check)


def test_p6_another_writers_object_after_an_unclear_create_is_a_conflict():
    async def check(fake, driver):
        def lose(_seen: Seen) -> Answer:
            fake.apply(Seen("PUT", "/bucket/k", {}, {"x-amz-meta-credstore-write-id": "other"}, b"theirs"))
            return RESET

        fake.plan("PUT", lose)
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert caught.value.applied == "maybe"
        assert fake.objects["k"].body == b"theirs"

    run(check)


def test_p6_an_overwritten_write_stays_unclear():
    async def check(fake, driver):
        def lose(_seen: Seen) -> Answer:
            fake.apply(Seen("PUT", "/bucket/k", {}, {"x-amz-meta-credstore-write-id": "other"}, b"theirs"))
            return RESET

        fake.plan("PUT", lose, times=4)
        with pytest.raises(StorageConnectionError) as caught:
            await driver.put(put_request("k", b"mine"))
        assert caught.value.applied == "maybe"
        assert len(fake.sent("PUT")) == 4

    run(check)


def test_a_conflict_without_anything_unclear_is_definite_and_looked_into_once():
    async def check(fake, driver):
        await driver.put(put_request("k", b"theirs"))
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert (caught.value.applied, caught.value.status_code) == ("no", 412)
        with pytest.raises(StoragePreconditionFailedError) as stale:
            await driver.put(put_request("k", b"mine", precondition=Precondition("replace", "0" * 32)))
        assert stale.value.applied == "no"
        with pytest.raises(StoragePreconditionFailedError) as absent:
            await driver.put(put_request("none", b"mine", precondition=Precondition("replace", "0" * 32)))
        assert absent.value.provider_code == "NoSuchKey"
        assert [seen.key for seen in fake.sent("HEAD")] == ["k", "k"]

    run(check)


def test_p4_a_conditional_conflict_is_retried_and_not_called_exists():
    async def check(fake, driver):
        fake.plan("PUT", error(409, "ConditionalRequestConflict"))
        await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert len(fake.sent("PUT")) == 2

    run(check)


def test_a_stored_object_that_is_shorter_than_the_write_is_told():
    async def check(fake, driver):
        def cut_off(seen: Seen) -> Answer:
            fake.apply(Seen("PUT", seen.path, {}, seen.headers, seen.body[:2]))
            return error(400, "NoSuchThing")

        fake.plan("PUT", RESET)
        fake.plan("PUT", cut_off)
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(put_request("k", b"mine"))
        assert (caught.value.code, caught.value.applied) == ("TRUNCATED", "yes")

    run(check)


@pytest.mark.parametrize(
    "answered", [error(200, "InternalError"), xml("  \n" + error(200, "SlowDown").body.decode())]
)
def test_n15_an_error_inside_a_success_is_retried(answered):
    async def check(fake, driver):
        await driver.put(put_request("a", b"x"))
        source = await driver.head("a")
        fake.plan("PUT", answered)
        fake.plan("PUT", xml("\n <CopyObjectResult><ETag>&quot;abc&quot;</ETag></CopyObjectResult>"))
        copied = await driver.copy(CopyRequest(source=source, destination="b", write_id="1" * 32))
        assert copied.etag == "abc"
        assert len(fake.sent("PUT")) == 3

    run(check)


def test_n15_a_copy_that_only_ever_answers_an_error_fails_unclear():
    async def check(fake, driver):
        await driver.put(put_request("a", b"x"))
        source = await driver.head("a")
        fake.plan("PUT", error(200, "InternalError"), times=9)
        with pytest.raises(StorageUnavailableError) as caught:
            await driver.copy(CopyRequest(source=source, destination="b", write_id="1" * 32))
        assert caught.value.applied == "maybe"

    run(check)


DELETED = '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</DeleteResult>'


def test_l07_each_key_of_a_partial_reply_has_its_outcome():
    async def check(fake, driver):
        reply = (
            "<Deleted><Key>a</Key></Deleted>"
            "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
            "<Error><Key>c</Key><Code>SlowDown</Code></Error>"
            "<Error><Key>e</Key><Code>NoSuchKey</Code></Error>"
            "<Deleted><Key>f</Key></Deleted><Error><Key>f</Key><Code>InternalError</Code></Error>"
        )
        fake.plan("POST", xml(DELETED.format(reply)))
        outcomes = await driver.delete_many(["a", "b", "c", "d", "e", "f"])
        assert outcomes["a"].existed is None
        assert isinstance(outcomes["b"], StorageAccessDeniedError)
        assert (outcomes["b"].applied, outcomes["b"].key) == ("no", "b")
        assert (outcomes["c"].retryable, outcomes["c"].applied) == (True, "maybe")
        assert (outcomes["d"].code, outcomes["d"].applied) == ("NO_OUTCOME", "maybe")
        assert outcomes["e"].existed is False
        assert (outcomes["f"].code, outcomes["f"].applied) == ("NO_OUTCOME", "maybe")

    run(check)


def test_l07_a_key_nobody_asked_for_spoils_the_reply():
    async def check(fake, driver):
        fake.plan(
            "POST", xml(DELETED.format("<Deleted><Key>a</Key></Deleted><Deleted><Key>x</Key></Deleted>"))
        )
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.delete_many(["a"])
        assert (caught.value.code, caught.value.applied) == ("FOREIGN_KEY", "maybe")

    run(check)


def test_a_web_page_is_named_as_such():
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"

    async def check(fake, driver):
        for status in (200, 403, 404):
            fake.plan("GET", Answer(status, page, {"Content-Type": "text/html"}), query="list-type")
            with pytest.raises(StorageConfigurationError, match="endpoint") as caught:
                await driver.ping()
            assert caught.value.code == "NOT_S3"
        fake.plan("GET", Answer(200, page, {"Content-Type": "text/html"}))
        with pytest.raises(StorageConfigurationError):
            await driver.get("k")
        fake.plan("PUT", Answer(200, b"", {"Content-Type": "text/html"}))
        with pytest.raises(StorageConfigurationError) as stored:
            await driver.put(put_request("k", b"x"))
        assert stored.value.applied == "maybe"

    run(check)


def test_n25_expired_credentials_are_renewed_once():
    class Source(CredentialSource):
        def __init__(self):
            self.renewed = 0

        async def get(self):
            from credstore.encryption import Secret

            return Credentials(f"KEY{self.renewed}", Secret("s"), Secret(f"token{self.renewed}"), None)

        async def refresh(self):
            self.renewed += 1
            return await self.get()

        async def aclose(self):
            self.closed = True

    source = Source()

    async def check(fake, driver):
        fake.plan("PUT", error(400, "ExpiredToken"))
        await driver.put(put_request("k", b"x"))
        assert [seen.headers["x-amz-security-token"] for seen in fake.sent("PUT")] == ["token0", "token1"]
        fake.plan("PUT", error(400, "ExpiredToken"), times=9)
        with pytest.raises(StorageAuthenticationError) as caught:
            await driver.put(put_request("k", b"x"))
        assert (caught.value.code, caught.value.applied) == ("CREDENTIALS_EXPIRED", "no")

    run(check, credentials=source)
    assert source.closed


def test_r2_says_that_403_may_mean_a_missing_bucket():
    async def check(fake, driver):
        fake.plan("GET", error(403, "AccessDenied"))
        with pytest.raises(StorageAccessDeniedError, match="the bucket does not exist"):
            await driver.ping()

    run(check, kind=R2Config, account_id="0" * 32)


def test_k13_a_source_that_fails_or_lies_leaves_nothing():
    class SourceError(Exception):
        pass

    async def check(fake, driver):
        for stream, wanted in (
            (Stream(b"abc", length=4), StorageInvalidRequestError),
            (Stream(b"abc", b"de", length=4), StorageInvalidRequestError),
            (Stream(b"abc", length=3, error=SourceError()), SourceError),
            (Stream(b"abc", error=SourceError()), SourceError),
        ):
            with pytest.raises(wanted):
                await driver.put(put_request("k", body=stream))
            assert stream.ended == stream.opened == 1
        assert fake.log == []

    run(check)


def test_no_secret_is_in_an_error():
    async def check(fake, driver):
        echoed = "canary-secret AWS4-HMAC-SHA256 Signature=abc"
        fake.plan("PUT", error(403, "SignatureDoesNotMatch", Message=echoed, StringToSign=echoed))
        with pytest.raises(StorageAuthenticationError) as caught:
            await driver.put(put_request("k", b"x"))
        for text in (str(caught.value), repr(caught.value), repr(caught.value.facts())):
            assert "canary" not in text
            assert "Signature=" not in text
        assert caught.value.provider_code == "SignatureDoesNotMatch"
        assert caught.value.request_id == "REQUEST1"
        assert caught.value.bucket == "bucket"

    run(check)


def test_dates_of_both_kinds_are_utc():
    async def check(fake, driver):
        await driver.put(put_request("k", b"x"))
        assert (await driver.head("k")).last_modified == datetime(2026, 11, 20, 12, tzinfo=UTC)

    run(check)
