"""What became of a write is told by its write-id, whichever answer came: conflicts, bare answers, lost ones."""

import asyncio
from dataclasses import replace

import pytest

from credstore.driver import CREATE, CopyRequest, Precondition
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from tests.drivers.s3.fake import RESET, Answer, Seen, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, put_request

REFUSALS = [error(412, "PreconditionFailed"), error(409, "ConditionalRequestConflict")]
BEGUN = xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
PART = Answer(200, b"", {"ETag": '"p"'})
DONE = xml("<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>")
PARTS = {"multipart_threshold": 10, "part_size": 10}
WRITE_ID = "x-amz-meta-credstore-write-id"


def completed(fake, data: bytes, answer: Answer):
    """Complete the upload with the metadata it was begun with, and answer so."""

    def apply(seen: Seen) -> Answer:
        begun = next(each for each in fake.log if "uploads" in each.query)
        fake.apply(Seen("PUT", seen.path, {}, begun.headers, data))
        return answer

    return apply


def theirs(fake, key: str = "k") -> None:
    """Another writer's object."""
    fake.apply(Seen("PUT", f"/bucket/{key}", {}, {WRITE_ID: "0" * 32}, b"theirs"))


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("mode", ["create", "replace", "overwrite"])
def test_a_put_that_was_delivered_twice_below_us_succeeds(mode, refusal):
    """The first delivery was applied and its answer lost, so that the only answer is a refusal."""

    async def check(fake, driver):
        condition = Precondition()
        if mode == "create":
            condition = CREATE
        if mode == "replace":
            condition = Precondition("replace", (await driver.put(put_request("k", b"old"))).etag)
        fake.plan("PUT", refusal, applied=True)
        result = await driver.put(put_request("k", b"mine", precondition=condition))
        assert (result.size, result.etag) == (4, fake.objects["k"].etag.strip('"'))
        assert fake.objects["k"].body == b"mine"
        assert len(fake.sent("HEAD")) == 1

    run(check, max_retries=0)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_put_that_another_write_kept_from_happening_is_refused_for_certain(refusal):
    async def check(fake, driver):
        theirs(fake)
        fake.plan("PUT", refusal)
        with pytest.raises(StorageConflictError) as caught:
            await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert (caught.value.applied, len(fake.sent("HEAD"))) == ("no", 1)
        # Where the look fails, the definite answer stands.
        fake.plan("PUT", refusal)
        fake.plan("HEAD", error(403, "AccessDenied"), times=9)
        fake.plan("GET", error(403, "AccessDenied"), times=9)
        with pytest.raises(StorageConflictError) as unseen:
            await driver.put(put_request("k", b"mine", precondition=CREATE))
        assert (type(unseen.value), unseen.value.applied) == (type(caught.value), "no")

    run(check, max_retries=0)


@pytest.mark.parametrize("answer", [*REFUSALS, error(404, "NoSuchUpload")])
def test_a_completion_that_was_delivered_twice_below_us_succeeds(answer):
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", completed(fake, b"x" * 20, answer), query="uploadId")
        result = await driver.put(put_request("k", b"x" * 20, precondition=CREATE))
        assert (result.size, fake.objects["k"].body) == (20, b"x" * 20)
        assert fake.sent("DELETE") == []
        assert len([seen for seen in fake.log if "uploads" in seen.query]) == 1

    run(check, **PARTS, max_retries=0)


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("create", [True, False])
def test_a_copy_that_was_delivered_twice_below_us_succeeds(create, refusal):
    async def check(fake, driver):
        await driver.put(put_request("a", b"data"))
        source = await driver.head("a")
        fake.plan("PUT", refusal, applied=True)
        request = CopyRequest(source=source, destination="b", write_id="1" * 32)
        result = await driver.copy(replace(request, precondition=CREATE) if create else request)
        assert (result.etag, fake.objects["b"].body) == (source.etag, b"data")

    run(check, max_retries=0)


def test_a_copy_whose_source_was_replaced_says_so_whatever_is_at_its_destination():
    async def check(fake, driver):
        await driver.put(put_request("a", b"1"))
        source = await driver.head("a")
        theirs(fake, "a")
        theirs(fake, "b")
        with pytest.raises(StoragePreconditionFailedError, match="not the version") as caught:
            await driver.copy(CopyRequest(source=source, destination="b", write_id="1" * 32))
        assert (type(caught.value), caught.value.applied) == (StoragePreconditionFailedError, "no")

    run(check)


@pytest.mark.parametrize(
    "answer", [error(501, "NotImplemented"), error(405, "MethodNotAllowed"), Answer(501), Answer(505)]
)
def test_what_a_server_does_not_know_it_has_not_done(answer):
    async def check(fake, driver):
        stored = await driver.put(put_request("k", b"1"))
        for call in (
            lambda: driver.delete("k", if_match=stored.etag),
            lambda: driver.delete("k"),
            lambda: driver.put(put_request("k", b"2", precondition=CREATE)),
            lambda: driver.put(put_request("k", b"2")),
            lambda: driver.put_tags("k", {"a": "b"}),
        ):
            fake.plan("PUT", answer)
            fake.plan("DELETE", answer)
            with pytest.raises(StorageError) as caught:
                await call()
            assert caught.value.applied == "no"
            if answer.body:
                assert isinstance(caught.value, StorageUnsupportedError)
            fake.faults.clear()
        assert fake.objects["k"].body == b"1"

    run(check, max_retries=0)


def test_a_wrong_copy_is_removed_also_where_the_server_has_no_conditional_delete():
    async def check(fake, driver):
        def without_conditions(seen: Seen) -> Answer:
            return error(501, "NotImplemented") if "if-match" in seen.headers else fake.apply(seen)

        fake.plan("DELETE", without_conditions, times=2)
        with pytest.raises(StorageIntegrityError, match="removed again") as caught:
            await driver.put(put_request("k", b"secret", encryption="AES256"))
        assert (caught.value.code, "k" in fake.objects) == ("NOT_ENCRYPTED", False)
        assert ["if-match" in seen.headers for seen in fake.sent("DELETE")] == [True, False]

    run(check)


BARE = [Answer(200), Answer(200, b"", {"Server": "bare", "Content-Type": "text/plain"}), Answer(204, b"OK")]


@pytest.mark.parametrize("answer", BARE)
def test_a_put_that_is_acknowledged_without_a_header_of_s3s_is_looked_up_once(answer):
    async def check(fake, driver):
        fake.plan("PUT", answer, applied=True)
        result = await driver.put(put_request("k", b"mine"))
        assert (result.etag, result.size) == (fake.objects["k"].etag.strip('"'), 4)
        assert len(fake.sent("HEAD")) == 1

    run(check)


@pytest.mark.parametrize("answer", BARE)
@pytest.mark.parametrize("condition", [Precondition(), CREATE])
def test_one_that_is_not_there_after_a_bare_acknowledgement_is_not_s3s(answer, condition):
    async def check(fake, driver):
        for others in (False, True):
            if others:
                theirs(fake)
            fake.plan("PUT", answer)
            with pytest.raises(StorageConfigurationError) as caught:
                await driver.put(put_request("k", b"mine", precondition=condition))
            assert (caught.value.code, caught.value.applied) == ("NOT_S3", "maybe")

    run(check)


@pytest.mark.parametrize(
    "answer", [Answer(200), xml("<CopyObjectResult/>"), xml("<Else/>"), Answer(200, b"x")]
)
def test_a_copy_that_is_acknowledged_without_its_result_is_looked_up(answer):
    async def check(fake, driver):
        await driver.put(put_request("a", b"data"))
        source = await driver.head("a")
        fake.plan("PUT", answer, applied=True)
        result = await driver.copy(CopyRequest(source=source, destination="b", write_id="1" * 32))
        assert result.etag == source.etag

    run(check)


LISTED = xml(
    "<ListPartsResult><IsTruncated>false</IsTruncated>"
    "<Part><PartNumber>2</PartNumber><ETag>&quot;two&quot;</ETag><Size>10</Size></Part></ListPartsResult>"
)


@pytest.mark.parametrize("size", [10, 9])
def test_a_part_that_is_acknowledged_without_its_etag_is_looked_up_in_the_list_of_parts(size):
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", lambda seen: PART if seen.query["partNumber"] == "1" else Answer(200), times=2)
        fake.plan("GET", LISTED, query="uploadId")
        fake.plan("POST", DONE, query="uploadId")
        fake.plan("DELETE", Answer(204), query="uploadId")
        request = put_request("k", b"x" * (10 + size))
        if size == 9:  # What is listed is not what was sent.
            with pytest.raises(StorageIntegrityError) as caught:
                await driver.put(request)
            assert (caught.value.code, caught.value.applied) == ("NO_ETAG", "no")
            return
        assert (await driver.put(request)).etag == "e-2"
        sent = next(seen.body for seen in fake.log if seen.method == "POST" and "uploadId" in seen.query)
        assert b'"two"' in sent

    run(check, **PARTS)


@pytest.mark.parametrize("answer", [RESET, error(500, "InternalError"), error(200, "InternalError")])
def test_an_upload_that_may_be_completing_is_not_aborted(answer):
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", answer, times=9, query="uploadId")
        with pytest.raises(StorageError) as caught:
            await driver.put(put_request("k", body=Stream(b"x" * 20)))
        assert caught.value.applied == "maybe"
        assert fake.sent("DELETE") == []
        assert "list_uploads" in caught.value.__notes__[0]

    run(check, **PARTS)


def test_an_upload_whose_completion_another_object_refuses_is_aborted():
    async def check(fake, driver):
        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", error(500, "InternalError"), query="uploadId")
        fake.plan("POST", error(412, "PreconditionFailed"), query="uploadId")
        fake.plan("DELETE", Answer(204), query="uploadId")
        theirs(fake)
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.put(put_request("k", b"x" * 20, precondition=CREATE))
        assert caught.value.applied == "maybe"
        assert [seen.query.get("uploadId") for seen in fake.sent("DELETE")] == ["U1"]

    run(check, **PARTS)


@pytest.mark.parametrize("applied", [True, False])
def test_a_cancel_during_the_completion_aborts_only_what_was_not_completed(applied):
    async def check(fake, driver):
        tasks: list[asyncio.Task] = []

        def cancel(seen: Seen) -> Answer:
            tasks[0].cancel()
            answer = error(500, "InternalError")
            return completed(fake, b"x" * 20, answer)(seen) if applied else answer

        fake.plan("POST", BEGUN, query="uploads")
        fake.plan("PUT", PART, times=2, query="partNumber")
        fake.plan("POST", cancel, query="uploadId")
        fake.plan("DELETE", Answer(204), query="uploadId")
        tasks.append(asyncio.ensure_future(driver.put(put_request("k", b"x" * 20))))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert len(fake.sent("DELETE")) == (0 if applied else 1)
        assert ("k" in fake.objects) is applied

    run(check, **PARTS)


@pytest.mark.parametrize("blanks", [" " * 5000, "\n" * 1_000_000])
@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="UTF-8"?>'])
def test_e6_an_error_behind_any_number_of_blanks_is_no_success(blanks, declaration):
    """Each stands for seconds of work, so that a long completion has many before it fails."""

    async def check(fake, driver):
        await driver.put(put_request("a", b"data"))
        source = await driver.head("a")
        for behind in (declaration + blanks, blanks + declaration):
            fake.plan("PUT", xml(behind + "<Error><Code>AccessDenied</Code></Error>"))
            with pytest.raises(StorageAccessDeniedError):
                await driver.copy(CopyRequest(source=source, destination="b", write_id="1" * 32))
            fake.plan("PUT", xml(behind + "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>"))
            assert (
                await driver.copy(CopyRequest(source=source, destination="b", write_id="2" * 32))
            ).etag == "e"

    run(check, max_retries=0)
