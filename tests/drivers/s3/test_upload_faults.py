"""Copies and uploads in parts against a server that misbehaves."""

import asyncio
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from credstore.config.stores import WasabiConfig
from credstore.driver import CREATE, OVERWRITE, CopyRequest, Precondition
from credstore.drivers.s3 import multipart
from credstore.drivers.s3.options import S3PutOptions
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageBucketNotFoundError,
    StorageError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from tests.drivers.s3.fake import RESET, Answer, Seen, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, put_request


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
            await driver.copy(replace(copy_request(source, precondition=CREATE), write_id="e" * 32))
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


def test_an_upload_that_may_have_been_completed_is_not_begun_anew():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=9, query="partNumber")
        fake.plan("POST", RESET, query="uploadId")
        fake.plan("POST", error(404, "NoSuchUpload"), query="uploadId")
        # Whether it was completed, and replaced or deleted since, nobody knows: another write could undo that.
        with pytest.raises(StorageNotFoundError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert (caught.value.code, caught.value.applied) == ("UPLOAD_NOT_FOUND", "maybe")
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 1
        assert len([seen for seen in fake.log if "partNumber" in seen.query]) == 2

    run(check, **PARTS)


GONE = [
    error(404, "NoSuchUpload"),
    error(404, "NoSuchKey"),
    Answer(404),
    Answer(404, headers={"x-amz-request-id": "1"}),
    Answer(404, b"<html>not here</html>", {"Content-Type": "text/html"}),
]


@pytest.mark.parametrize("answer", GONE)
@pytest.mark.parametrize("mode", [OVERWRITE, CREATE, Precondition("replace", "e")])
def test_a_completion_that_finds_nothing_is_looked_up_by_its_write_id(answer, mode):
    """A network below us delivered it twice; the second delivery found the upload gone."""

    async def check(fake, driver):
        def twice(seen: Seen) -> Answer:
            complete(fake, "k", b"x" * 20)(seen)
            return answer

        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", twice, query="uploadId")
        result = await driver.put(put_request("k", b"x" * 20, precondition=mode))
        assert (result.size, result.etag) == (20, fake.objects["k"].etag.strip('"'))
        assert fake.sent("DELETE") == []

    run(check, **PARTS, max_retries=0)


@pytest.mark.parametrize("answer", GONE)
@pytest.mark.parametrize("there", ["nothing", "another's", "unseen"])
def test_a_completion_that_finds_nothing_may_have_been_applied(answer, there):
    async def check(fake, driver):
        if there == "another's":
            await driver.put(put_request("k", b"theirs"))
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=9, query="partNumber")
        fake.plan("POST", answer, query="uploadId")
        if there == "unseen":
            for method in ("HEAD", "GET"):
                fake.plan(method, error(403, "AccessDenied"), times=9)
        with pytest.raises(StorageError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert caught.value.applied == "maybe"
        assert fake.sent("DELETE") == []
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 1

    run(check, **PARTS, max_retries=0)


def test_what_became_of_the_first_upload_is_not_forgotten_with_the_second():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", error(404, "NoSuchUpload"), query="uploadId")
        fake.plan("PUT", error(403, "AccessDenied"), times=2, query="partNumber")
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.put(put_request("k", b"x" * 20, precondition=CREATE))
        assert caught.value.applied == "maybe"

    run(check, **PARTS)


def test_a_bucket_that_is_gone_completes_nothing():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", error(404, "NoSuchBucket"), query="uploadId")
        with pytest.raises(StorageBucketNotFoundError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert caught.value.applied == "no"

    run(check, **PARTS)


def test_an_upload_that_keeps_conflicting_ends_after_two_more():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=9, query="partNumber")
        fake.plan("POST", error(404, "NoSuchUpload"), times=9, query="uploadId")
        with pytest.raises(StorageNotFoundError) as caught:
            await driver.put(put_request("k", b"x" * 20, precondition=CREATE))
        assert (caught.value.code, caught.value.applied) == ("UPLOAD_NOT_FOUND", "maybe")
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 3

    run(check, **PARTS)


def test_an_upload_of_a_body_that_came_once_is_not_begun_anew():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=9, query="partNumber")
        fake.plan("POST", error(404, "NoSuchUpload"), times=9, query="uploadId")
        stream = Stream(b"x" * 20, length=20)
        with pytest.raises(StorageNotFoundError) as caught:
            await driver.put(put_request("k", body=stream, precondition=CREATE))
        assert (caught.value.applied, stream.opened) == ("maybe", 1)
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 1

    run(check, **PARTS)


def test_a_stream_of_unknown_length_has_at_most_ten_thousand_parts(monkeypatch):
    monkeypatch.setattr(multipart, "MAX_PARTS", 4)

    async def check(fake, driver):
        fake.plan("POST", BEGUN, times=9, query="uploads")
        fake.plan("PUT", PART, times=99, query="partNumber")
        fake.plan("POST", DONE, query="uploadId")
        fake.plan("DELETE", Answer(204), query="uploadId")
        assert (await driver.put(put_request("k", body=Stream(b"x" * 40)))).size == 40
        assert "DELETE" not in {seen.method for seen in fake.log}
        fake.log.clear()
        stream = Stream(b"x" * 30, b"x" * 11, b"x" * 99)
        with pytest.raises(StorageInvalidRequestError, match="pass its length") as caught:
            await driver.put(put_request("k", body=stream))
        assert (caught.value.code, caught.value.applied, stream.ended) == ("TOO_LARGE", "no", 1)
        sent = [seen.query["partNumber"] for seen in fake.log if "partNumber" in seen.query]
        assert set(sent) <= {"1", "2", "3", "4"}
        assert [seen.method for seen in fake.log if "uploadId" in seen.query and seen.method != "PUT"] == [
            "DELETE"
        ]

    run(check, **PARTS)


def test_an_object_of_the_largest_size_is_begun_and_one_byte_more_is_refused_unread():
    async def check(fake, driver):
        largest = driver.capabilities.max_object_size
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, query="partNumber")
        fake.plan("DELETE", Answer(204), query="uploadId")
        for length, code, opened in ((largest, "BODY_LENGTH", 1), (largest + 1, "TOO_LARGE", 0)):
            stream = Stream(b"x", length=length)
            with pytest.raises(StorageInvalidRequestError) as caught:
                await driver.put(put_request("k", body=stream))
            assert (caught.value.code, caught.value.applied, stream.opened) == (code, "no", opened)

    run(check)


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
