"""The S3 driver against a server that misbehaves; ids are those of the fault matrix."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone

import pytest
from credstore.wire.aws.credentials import Credentials

from credstore.config.clouds import R2Config, WasabiConfig
from credstore.driver import CREATE, CopyRequest, Precondition, ReadOptions
from credstore.drivers.s3.options import S3PutOptions
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from tests.drivers.s3.fake import RESET, Answer, Seen, error, fake_s3, xml
from tests.drivers.s3.support import Stream, make_driver, put_request


def run(test, kind=None, **settings):
    """Run `test(fake, driver)` against a fresh fake."""

    async def main():
        async with fake_s3() as fake:
            driver = make_driver(fake.url, **({"kind": kind} if kind else {}), **settings)
            try:
                return await test(fake, driver)
            finally:
                await driver.aclose()

    return asyncio.run(main())


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
        assert caught.value.applied == "no"
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


def test_a_conflict_without_anything_unclear_is_definite_and_costs_no_head():
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
        assert fake.sent("HEAD") == []

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


def test_n04_a_broken_body_is_continued_from_the_same_version():
    async def check(fake, driver):
        data = bytes(range(256)) * 40
        stored = await driver.put(put_request("k", data))
        etag = fake.objects["k"].etag
        kept = {**fake.objects["k"].headers, "ETag": etag}
        fake.plan("GET", Answer(200, data[:5000], kept, declared=len(data)))
        part = {**kept, "Content-Range": f"bytes 5000-{len(data) - 1}/{len(data)}"}
        fake.plan("GET", Answer(206, data[5000:6000], part, declared=len(data) - 5000))
        assert await (await driver.get("k")).read() == data
        ranges = [seen.headers.get("range") for seen in fake.sent("GET")]
        assert ranges == [None, "bytes=5000-10239", "bytes=6000-10239"]
        assert {seen.headers.get("if-match") for seen in fake.sent("GET")[1:]} == {f'"{stored.etag}"'}

    run(check)


def test_n04_bytes_of_two_versions_are_never_mixed():
    async def check(fake, driver):
        data = b"a" * 5000
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, data[:2000], kept, declared=len(data)))
        reader = await driver.get("k")
        await driver.put(put_request("k", b"b" * 5000))
        with pytest.raises(StorageIntegrityError) as caught:
            await reader.read()
        assert caught.value.code == "REPLACED"

    run(check)


def test_n05_a_body_that_stays_short_is_an_error():
    async def check(fake, driver):
        await driver.put(put_request("k", b"a" * 100))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, b"a" * 10, kept, declared=100))
        empty = {**kept, "Content-Range": "bytes 10-99/100"}
        fake.plan("GET", Answer(206, b"", empty, declared=90), times=9)
        with pytest.raises(StorageConnectionError, match="10 of 100"):
            await (await driver.get("k")).read()

    run(check)


def test_l01_a_flipped_bit_is_an_error():
    async def check(fake, driver):
        await driver.put(put_request("k", b"abc"))
        stored = fake.objects["k"]
        fake.objects["k"] = type(stored)(stored.headers, b"abd")
        with pytest.raises(StorageIntegrityError) as caught:
            await (await driver.get("k")).read()
        assert caught.value.code == "DIGEST_MISMATCH"

    run(check)


def test_l04_an_ignored_range_is_cut_and_a_wrong_one_refused():
    async def check(fake, driver):
        data = bytes(range(200))
        await driver.put(put_request("k", data))
        kept = {**fake.objects["k"].headers, "ETag": fake.objects["k"].etag}
        fake.plan("GET", Answer(200, data, kept))
        reader = await driver.get("k", ReadOptions(start=50, end=60))
        assert (await reader.read(), reader.info.size) == (data[50:60], 200)
        fake.plan("GET", Answer(200, data, kept))
        with pytest.raises(StorageInvalidRequestError) as caught:
            await driver.get("k", ReadOptions(start=200, end=201))
        assert caught.value.code == "INVALID_RANGE"
        for content_range in (
            "bytes 49-58/200",
            "bytes 49-59/200",
            "bytes 50-58/200",
            "bytes */200",
            "bytes 50-59/55",
            "nonsense",
            None,
        ):
            headers = {**kept, **({"Content-Range": content_range} if content_range else {})}
            fake.plan("GET", Answer(206, data[50:60], headers))
            with pytest.raises(StorageIntegrityError) as wrong:
                await driver.get("k", ReadOptions(start=50, end=60))
            assert wrong.value.code == "WRONG_RANGE"
        fake.plan("GET", Answer(206, data[50:61], {**kept, "Content-Range": "bytes 50-59/200"}))
        with pytest.raises(StorageIntegrityError):
            await driver.get("k", ReadOptions(start=50, end=60))
        assert {seen.headers["accept-encoding"] for seen in fake.sent("GET")} == {"identity"}

    run(check)


def test_l03_missing_headers_are_none_or_a_typed_error():
    async def check(fake, driver):
        fake.plan("HEAD", Answer(200, b"abc", {"x-amz-request-id": "1"}))
        info = await driver.head("k")
        assert (info.etag, info.last_modified, info.version_id, info.digest) == (None, None, None, None)
        fake.plan("HEAD", Answer(200, b"", {"ETag": '"1"', "Last-Modified": "yesterday"}))
        assert (await driver.head("k")).last_modified is None
        fake.plan("PUT", Answer(200, b"", {"x-amz-request-id": "1"}))
        assert (await driver.put(put_request("k", b"x"))).etag is None

    run(check)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {name} "{f"&{last};" * 10}">' for last, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    + "]><ListBucketResult>&h;</ListBucketResult>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB.encode(),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ListBucketResult/>',
        b"<ListBucketResult>" + b"x" * (17 * 1024 * 1024) + b"</ListBucketResult>",
        b"<a>" * 200_000,
        b"<ListBucketResult>",
        b'<?xml version="1.0" encoding="klingon"?><ListBucketResult/>',
        b"\x00\xff\xfe",
        b"{}",
        b"",
        b"<CopyObjectResult/>",
        b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
    ids=range(14),
)
def test_l18_a_hostile_listing_is_a_typed_error(body):
    async def check(fake, driver):
        fake.plan("GET", Answer(200, body, {"Content-Type": "application/xml"}), times=9)
        with pytest.raises(StorageError) as caught:
            await driver.list()
        assert caught.value.applied == "no"

    run(check)


def test_n25_expired_credentials_are_renewed_once():
    class Source:
        def __init__(self):
            self.renewed = 0

        async def get(self):
            from credstore.model import Secret

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
        with pytest.raises(StorageAccessDeniedError, match="bucket that does not exist"):
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


def copy_request(source, **fields):
    return CopyRequest(source=source, destination="b", write_id="f" * 32, **fields)


def test_p8_a_copy_is_pinned_to_its_source():
    async def check(fake, driver):
        await driver.put(put_request("a", b"1"))
        source = await driver.head("a")
        await driver.put(put_request("a", b"2"))
        with pytest.raises(StoragePreconditionFailedError) as caught:
            await driver.copy(copy_request(source))
        assert caught.value.applied == "no"
        with pytest.raises(StoragePreconditionFailedError):
            await driver.copy(copy_request(source, precondition=CREATE))
        fake.apply(Seen("DELETE", "/bucket/a", {}, {}, b""))
        with pytest.raises(StorageNotFoundError):
            await driver.copy(copy_request(source))
        assert "b" not in fake.objects

    run(check)


def test_a_copy_that_may_only_create_tells_which_condition_failed():
    async def check(fake, driver):
        await driver.put(put_request("a", b"1"))
        source = await driver.head("a")
        await driver.copy(copy_request(source, precondition=CREATE))
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.copy(copy_request(source, precondition=CREATE))
        assert caught.value.applied == "no"

    run(check)


def test_a_copy_whose_answer_was_lost_succeeds():
    async def check(fake, driver):
        await driver.put(put_request("a", b"1"))
        source = await driver.head("a")
        fake.plan("PUT", RESET, applied=True)
        result = await driver.copy(copy_request(source, precondition=CREATE))
        assert (result.etag, result.size, result.digest) == (source.etag, 1, source.digest)

    run(check)


BEGUN = xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
PART = Answer(200, b"", {"ETag": '"p"'})
DONE = xml("<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>")
PARTS = {"multipart_threshold": 10, "part_size": 10}


def complete(fake, key: str, data: bytes):
    """An answer that completes an upload with the metadata it was begun with."""

    def apply(_seen: Seen) -> Answer:
        begun = next(seen for seen in fake.log if "uploads" in seen.query)
        fake.apply(Seen("PUT", f"/bucket/{key}", {}, begun.headers, data))
        return RESET

    return apply


def test_n17_a_completed_upload_whose_answer_was_lost_succeeds():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", complete(fake, "k", b"x" * 20), query="uploadId")
        fake.plan("POST", error(404, "NoSuchUpload"), query="uploadId")
        result = await driver.put(put_request("k", b"x" * 20, precondition=CREATE))
        assert result.size == 20
        assert fake.sent("DELETE") == []

    run(check, **PARTS)


def test_n15_an_error_inside_a_completion_is_retried_and_blanks_before_it_are_read():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", xml("   \n\n" + error(200, "InternalError").body.decode()), query="uploadId")
        fake.plan("POST", xml("   \n\n" + DONE.body.decode()), query="uploadId")
        assert (await driver.put(put_request("k", b"x" * 20))).etag == "e-2"

    run(check, **PARTS)


def test_n27_a_conflict_at_completion_begins_the_upload_anew():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=2, query="uploads")
        fake.plan("PUT", PART, times=4, query="partNumber")
        fake.plan("POST", error(409, "ConditionalRequestConflict"), query="uploadId")
        fake.plan("POST", error(404, "NoSuchUpload"), query="uploadId")
        fake.plan("POST", DONE, query="uploadId")
        fake.plan("DELETE", error(404, "NoSuchUpload"), query="uploadId")
        assert (await driver.put(put_request("k", b"x" * 20, precondition=CREATE))).etag == "e-2"
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 2

    run(check, **PARTS)


def test_an_upload_that_fails_is_aborted_and_applied_nothing():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, query="partNumber")
        fake.plan("PUT", error(500, "InternalError"), times=9, query="partNumber")
        fake.plan("DELETE", Answer(204), query="uploadId")
        with pytest.raises(StorageUnavailableError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert caught.value.applied == "no"
        assert [seen.query["uploadId"] for seen in fake.sent("DELETE")] == ["U1"]
        assert not getattr(caught.value, "__notes__", [])

    run(check, **PARTS)


def test_an_upload_that_cannot_be_aborted_is_told():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", error(403, "AccessDenied"), times=9, query="partNumber")
        fake.plan("DELETE", error(403, "AccessDenied"), query="uploadId")
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert "list_uploads" in caught.value.__notes__[0]

    run(check, **PARTS)


def test_a_source_that_fails_between_parts_aborts_the_upload():
    class SourceError(Exception):
        pass

    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=9, query="partNumber")
        fake.plan("DELETE", Answer(204), query="uploadId")
        stream = Stream(b"x" * 25, error=SourceError())
        with pytest.raises(SourceError):
            await driver.put(put_request("k", body=stream))
        assert (stream.ended, len(fake.sent("DELETE"))) == (1, 1)

    run(check, **PARTS)


def test_p16_a_cancel_aborts_the_upload_and_leaves_no_task():
    async def check(fake, driver):
        reached = asyncio.Event()

        def stall(_seen: Seen) -> Answer:
            reached.set()
            return RESET  # Retried for ever, since the plan has no end.

        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", stall, times=10**6, query="partNumber")
        fake.plan("DELETE", Answer(204), query="uploadId")
        stream = Stream(b"x" * 40, length=40)
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(driver.put(put_request("k", body=stream)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(fake.sent("DELETE")) == 1
        left = {each.get_coro().__qualname__ for each in asyncio.all_tasks() - before}
        assert not any("fake" not in name for name in left)
        assert stream.ended == 1

    run(check, **PARTS, max_retries=10**6)


def test_parts_in_flight_are_bounded():
    async def check(fake, driver):
        taken = 0
        most = 0

        async def chunks(offset=0):
            nonlocal taken, most
            for _ in range(20):
                taken += 1
                most = max(most, taken - len([seen for seen in fake.log if "partNumber" in seen.query]))
                yield b"x" * 10

        stream = Stream(length=200)
        stream.open = chunks
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=20, query="partNumber")
        fake.plan("POST", DONE, query="uploadId")
        await driver.put(put_request("k", body=stream))
        assert most <= 3

    run(check, **PARTS, max_concurrency=2)


def test_a_copy_in_parts_looks_again_where_parts_cannot_be_pinned():
    async def check(fake, driver):
        await driver.put(put_request("a", b"1" * 20))
        source = await driver.head("a")

        def overwrite(seen: Seen) -> Answer:
            fake.apply(Seen("PUT", "/bucket/a", {}, {}, b"2" * 20))
            return xml("<CopyPartResult><ETag>p</ETag></CopyPartResult>")

        fake.plan("POST", BEGUN, times=2, query="uploads")
        fake.plan("PUT", overwrite, query="partNumber")
        fake.plan("PUT", xml("<CopyPartResult><ETag>p</ETag></CopyPartResult>"), query="partNumber")
        fake.plan("DELETE", Answer(204), query="uploadId")
        with pytest.raises(StoragePreconditionFailedError):
            await driver.copy(copy_request(source))
        assert len(fake.sent("DELETE")) == 1

    run(check, kind=WasabiConfig, single_copy_limit=10, copy_part_size=10)


def test_a_conditional_delete_whose_answer_was_lost_succeeds():
    async def check(fake, driver):
        stored = await driver.put(put_request("k", b"1"))
        fake.plan("DELETE", RESET, applied=True)
        fake.plan("DELETE", error(412, "PreconditionFailed"))
        outcome = await driver.delete("k", if_match=stored.etag)
        assert outcome.existed is None
        fake.plan("DELETE", error(412, "PreconditionFailed"))
        with pytest.raises(StoragePreconditionFailedError):
            await driver.delete("k", if_match=stored.etag)

    run(check)


def test_a_locked_put_carries_the_md5_s3_demands():
    options = S3PutOptions(
        acl="bucket-owner-full-control",
        object_lock_mode="GOVERNANCE",
        object_lock_retain_until=datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        legal_hold=True,
    )

    async def check(fake, driver):
        await driver.put(put_request("k", b"x", driver_options={"s3": options}))
        headers = fake.log[0].headers
        assert headers["content-md5"] == b64encode(bytes.fromhex("9dd4e461268c8034f5c8564e155c67a6")).decode()
        assert headers["x-amz-object-lock-retain-until-date"] == "2030-01-01T00:00:00Z"
        assert headers["x-amz-object-lock-mode"] == "GOVERNANCE"
        assert (headers["x-amz-acl"], headers["x-amz-object-lock-legal-hold"]) == (
            "bucket-owner-full-control",
            "ON",
        )

    run(check)
