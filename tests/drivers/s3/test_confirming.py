"""What the answers to one upload in parts must have said of its encryption, and what is done where they did not."""

import asyncio

import pytest

from credstore.config.stores import BackblazeConfig, R2Config, S3Config, SpacesConfig
from credstore.driver import cleanup
from credstore.drivers.s3 import ours
from credstore.drivers.s3.ours import Write, take_back
from credstore.encryption import KmsKey
from credstore.errors import StorageAccessDeniedError, StorageError, StorageIntegrityError
from credstore.testing import ScriptedTransport
from tests.drivers.s3.fake import RESET, Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, make_driver, put_request

SSE = "x-amz-server-side-encryption"
KMS = {SSE: "aws:kms", SSE + "-aws-kms-key-id": "id"}
OTHER = {SSE: "AES256"}
BEGUN = xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>").body
DONE = xml("<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>").body
PARTS = {"multipart_threshold": 10, "part_size": 10, "max_concurrency": 1}
WRITE = "a" * 32
OURS = {"x-amz-meta-credstore-write-id": WRITE, "ETag": '"e-2"'}


def plan(fake, *, begun=KMS, parts=(KMS, KMS), done=KMS, head=None):
    """An upload in two parts whose answers have these headers beside what they need."""
    fake.plan("POST", Answer(200, BEGUN, begun), query="uploads")
    for each in parts:
        fake.plan("PUT", Answer(200, b"", {"ETag": '"p"', **each}), query="partNumber")
    fake.plan("POST", Answer(200, DONE, done), query="uploadId")
    fake.plan("DELETE", Answer(204), query="uploadId")
    if head is not None:
        fake.plan("HEAD", head, times=2)


async def stored(driver):
    return await driver.put(put_request("k", b"x" * 20, write_id=WRITE, encryption=KmsKey("id")))


def test_what_the_last_answer_confirms_is_enough():
    async def check(fake, driver):
        plan(fake, parts=({}, {}))
        assert (await stored(driver)).encryption == "aws:kms"
        assert fake.sent("HEAD") == []

    run(check, **PARTS)


def test_a_last_answer_that_says_otherwise_is_believed_and_the_object_removed():
    async def check(fake, driver):
        plan(fake, done=OTHER, head=Answer(200, headers=OURS))
        with pytest.raises(StorageIntegrityError) as caught:
            await stored(driver)
        assert (caught.value.code, caught.value.applied) == ("NOT_ENCRYPTED", "yes")
        assert "uploadId" not in fake.sent("DELETE")[0].query

    run(check, **PARTS)


def refuse_reason(fake, head):
    """The reason of a refused HEAD is asked for with a GET, which is refused as well."""
    if head.status == 403:
        fake.plan("GET", head)


@pytest.mark.parametrize("parts", [({}, {}), (KMS, {}), ({}, KMS)], ids=["none", "first", "second"])
@pytest.mark.parametrize(
    ("head", "fails"),
    [
        (Answer(200, headers={**OURS, **KMS}), False),
        (Answer(200, headers=OURS), True),
        (Answer(200, headers={**OURS, **OTHER}), True),
        (error(403, "AccessDenied"), True),
        (Answer(200, headers={"ETag": '"x"', "x-amz-meta-credstore-write-id": "b" * 32}), False),
        (error(404, "NoSuchKey"), False),
    ],
    ids=["confirms", "silent", "otherwise", "refused", "replaced", "gone"],
)
def test_where_a_part_and_the_last_answer_are_silent_a_head_decides(parts, head, fails):
    async def check(fake, driver):
        plan(fake, parts=parts, done={}, head=head)
        refuse_reason(fake, head)
        if fails:
            with pytest.raises(StorageIntegrityError) as caught:
                await stored(driver)
            assert (caught.value.code, caught.value.applied) == ("NOT_ENCRYPTED", "yes")
        else:
            assert (await stored(driver)).etag == "e-2"
        assert fake.sent("HEAD")

    run(check, **PARTS)


def test_an_upload_without_encryption_is_looked_at_only_for_an_etag_that_was_not_given():
    async def check(fake, driver):
        plan(fake, begun={}, parts=({}, {}), done={})
        body = Stream(b"x" * 20, length=20)
        assert (await driver.put(put_request("k", body=body))).etag == "e-2"
        assert fake.sent("HEAD") == []

    run(check, **PARTS)


@pytest.mark.parametrize("told", [{}, KMS], ids=["silent", "confirmed"])
def test_an_etag_that_was_not_given_costs_one_head(told):
    async def check(fake, driver):
        fake.plan("POST", xml("<CompleteMultipartUploadResult/>", 200), query="uploadId")
        plan(fake, parts=({}, {}) if not told else (KMS, KMS), head=Answer(200, headers={**OURS, **KMS}))
        result = await stored(driver)
        assert (result.etag, result.encryption, len(fake.sent("HEAD"))) == ("e-2", "aws:kms", 1)

    run(check, **PARTS)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (Answer(200, headers={**OURS, "x-amz-version-id": "v1"}), ("e-2", "v1")),
        (Answer(200, headers={"ETag": '"x"', "x-amz-meta-credstore-write-id": "b" * 32}), (None, None)),
        (error(403, "AccessDenied"), (None, None)),
    ],
    ids=["ours", "theirs", "refused"],
)
def test_an_etag_that_a_put_did_not_give_is_that_of_the_object_if_it_is_ours(head, found):
    async def check(fake, driver):
        fake.plan("PUT", Answer(200, b"", {"x-amz-request-id": "1"}))
        fake.plan("HEAD", head)
        refuse_reason(fake, head)
        result = await driver.put(put_request("k", b"x", write_id=WRITE))
        assert (result.etag, result.version_id, len(fake.sent("HEAD"))) == (*found, 1)

    run(check)


def test_parts_that_all_confirm_need_no_word_of_the_last_answer():
    async def check(fake, driver):
        plan(fake, begun={}, done={})
        assert (await stored(driver)).encryption == "aws:kms"
        assert fake.sent("HEAD") == []

    run(check, **PARTS)


@pytest.mark.parametrize(
    ("begun", "parts", "sent"),
    [(OTHER, (), 0), ({}, ({},), 1), (KMS, (OTHER,), 1), ({}, (KMS, OTHER), 2)],
    ids=["begun otherwise", "nothing confirmed", "a part otherwise", "a later part otherwise"],
)
def test_nothing_more_is_sent_once_it_cannot_be_as_asked(begun, parts, sent):
    async def check(fake, driver):
        plan(fake, begun=begun, parts=parts)
        with pytest.raises(StorageIntegrityError) as caught:
            await stored(driver)
        assert (caught.value.code, caught.value.applied) == ("NOT_ENCRYPTED", "no")
        assert len([seen for seen in fake.log if "partNumber" in seen.query]) == sent
        assert [seen.query.get("uploadId") for seen in fake.sent("DELETE")] == ["U1"]

    run(check, **PARTS)


def test_an_upload_that_ended_by_itself_needs_no_abort():
    async def check(fake, driver):
        fake.plan("POST", Answer(200, BEGUN), query="uploads")
        fake.plan("PUT", error(403, "AccessDenied"), query="partNumber")
        fake.plan("DELETE", error(404, "NoSuchUpload"), query="uploadId")
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert not getattr(caught.value, "__notes__", [])

    run(check, **PARTS)


def test_a_checksum_of_parts_or_of_what_was_not_hashed_before_says_nothing():
    async def check(fake, driver):
        fake.plan("PUT", Answer(200, b"", {"ETag": '"e"', "x-amz-checksum-sha256": "other"}), times=2)
        body = Stream(b"x" * 20, length=20, replayable=True)
        assert (await driver.put(put_request("k", body=body))).digest is None
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert (caught.value.code, caught.value.applied) == ("CHECKSUM_MISMATCH", "maybe")
        fake.plan("PUT", Answer(200, b"", {"ETag": '"e"', "x-amz-checksum-sha256": "other-2"}))
        assert (await driver.put(put_request("k", b"x" * 20))).size == 20

    run(check, part_size=10, multipart_threshold=100)


def test_a_stream_of_one_part_is_hashed_before_it_is_sent_and_a_longer_one_is_not():
    async def check(fake, driver):
        for length, hashed in ((10, True), (11, False)):
            fake.log.clear()
            result = await driver.put(put_request("k", body=Stream(b"x" * length, length=length)))
            assert (result.digest is not None) is hashed
            assert [(seen.method, dict(seen.query)) for seen in fake.log] == [("PUT", {})]

    run(check, part_size=10, multipart_threshold=11)


def test_what_is_longer_than_the_threshold_by_a_byte_goes_in_parts():
    async def check(fake, driver):
        plan(fake, begun={}, parts=({}, {}), done={})
        await driver.put(put_request("k", b"x" * 12))
        assert [seen.method for seen in fake.log] == ["POST", "PUT", "PUT", "POST"]

    run(check, part_size=10, multipart_threshold=11, max_concurrency=1)


@pytest.mark.parametrize(
    ("fields", "headers", "honoured"),
    [
        ({"storage_class": "STANDARD_IA"}, {}, True),
        ({"storage_class": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD_IA"}, True),
        ({"storage_class": "STANDARD_IA"}, {"x-amz-storage-class": "STANDARD"}, False),
        ({"tags": {"a": "1"}}, {}, True),
        ({"tags": {"a": "1"}}, {"x-amz-tagging-count": "1"}, True),
        ({"tags": {"a": "1"}}, {"x-amz-tagging-count": "0"}, False),
        ({}, {"x-amz-storage-class": "GLACIER", "x-amz-tagging-count": "3"}, True),
    ],
)
@pytest.mark.parametrize("in_parts", [False, True], ids=["one", "parts"])
def test_only_what_an_answer_says_otherwise_than_was_asked_is_refused(fields, headers, honoured, in_parts):
    async def check(fake, driver):
        if in_parts:
            plan(fake, begun={}, parts=({}, {}), done=headers, head=Answer(200, headers=OURS))
        else:
            fake.plan("PUT", lambda seen: Answer(200, b"", {**fake.apply(seen).headers, **headers}))
        if honoured:
            await driver.put(put_request("k", b"x" * 20, write_id=WRITE, **fields))
            assert fake.sent("DELETE") == []
        else:
            with pytest.raises(StorageIntegrityError) as caught:
                await driver.put(put_request("k", b"x" * 20, write_id=WRITE, **fields))
            assert (caught.value.code, caught.value.applied) == ("NOT_HONOURED", "yes")
            assert "removed again" in str(caught.value)
            assert (fake.objects, len(fake.sent("DELETE"))) == ({}, 1)

    run(check, part_size=10, multipart_threshold=10 if in_parts else 100)


THEIRS = {"ETag": '"t"', "x-amz-meta-credstore-write-id": "b" * 32}


@pytest.mark.parametrize(
    ("answered", "head", "query", "if_match", "clause"),
    [
        ({"x-amz-version-id": "v1"}, None, {"versionId": "v1"}, None, "removed again"),
        ({}, Answer(200, headers=OURS), {}, '"e-2"', "removed again"),
        (
            {},
            Answer(200, headers={**OURS, "x-amz-version-id": "v2"}),
            {"versionId": "v2"},
            None,
            "removed again",
        ),
        ({"x-amz-version-id": "null"}, Answer(200, headers=OURS), {}, '"e-2"', "removed again"),
        ({}, Answer(200, headers=THEIRS), None, None, "no longer there"),
        ({}, error(404, "NoSuchKey"), None, None, "no longer there"),
        ({}, Answer(200, headers={"ETag": '"x"'}), None, None, "left alone"),
        ({}, error(403, "AccessDenied"), None, None, "could not be removed"),
    ],
    ids=["version", "etag", "seen version", "no version", "theirs", "gone", "unknown", "refused"],
)
def test_what_is_taken_back_is_this_writes_own_and_nothing_else(answered, head, query, if_match, clause):
    async def check(fake, driver):
        fake.plan("PUT", Answer(200, b"", {"ETag": '"e-2"', "x-amz-storage-class": "STANDARD", **answered}))
        if head is not None:
            fake.plan("HEAD", head, times=9)
            refuse_reason(fake, head)
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(put_request("k", b"x", write_id=WRITE, storage_class="STANDARD_IA"))
        assert clause in str(caught.value)
        assert len(fake.sent("HEAD")) == (0 if head is None else 1)
        deleted = [(dict(seen.query), seen.headers.get("if-match")) for seen in fake.sent("DELETE")]
        assert deleted == ([] if query is None else [(query, if_match)])

    run(check)


@pytest.mark.parametrize(
    ("kind", "told", "query", "if_match"),
    [
        (R2Config, "v1", {}, None),
        (SpacesConfig, None, {}, None),
        (SpacesConfig, "v1", {"versionId": "v1"}, None),
        (BackblazeConfig, None, {}, None),
        (S3Config, None, {}, '"e-2"'),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_each_cloud_is_asked_to_remove_what_it_can_tell_apart(kind, told, query, if_match):
    """A version id of a cloud without versions names nothing, and conditions are sent where they are heeded."""

    async def check(fake, driver):
        fake.plan("HEAD", Answer(200, headers={**OURS, **({"x-amz-version-id": told} if told else {})}))
        write = Write(key="k", write_id=WRITE)
        taken = await take_back(driver._bucket, write, told if kind is R2Config else None)
        assert taken.gone
        assert [seen.method for seen in fake.log] == ["HEAD", "DELETE"]
        assert (dict(fake.log[1].query), fake.log[1].headers.get("if-match")) == (query, if_match)

    settings = {"account_id": "0" * 32} if kind is R2Config else {}
    settings |= {"region": "us-west-004"} if kind in {SpacesConfig, BackblazeConfig} else {}
    run(check, kind=kind, **settings)


@pytest.mark.parametrize(
    ("kind", "version_id", "gone"), [(S3Config, "v1", True), (S3Config, None, False), (R2Config, "v1", False)]
)
def test_an_object_rewritten_in_place_is_left_unless_its_new_version_can_be_removed(kind, version_id, gone):
    async def check(fake, driver):
        write = Write(key="k", write_id=WRITE, in_place=True)
        taken = await take_back(driver._bucket, write, version_id)
        assert (taken.gone, len(fake.log)) == (gone, int(gone))
        assert gone or "left as it is" in taken.clause

    run(check, kind=kind, **({"account_id": "0" * 32} if kind is R2Config else {}))


def test_a_removal_that_takes_too_long_is_told_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(ours, "ABORT_TIME", 0.01)
    monkeypatch.setattr(cleanup, "ABORT_TIME", 0.01)

    async def never(_sent):
        await asyncio.Event().wait()

    async def main():
        driver = make_driver("http://127.0.0.1:9", transport=ScriptedTransport(never))
        try:
            return await take_back(driver._bucket, Write(key="k", write_id=WRITE), None)
        finally:
            await driver.aclose()

    taken = asyncio.run(main())
    assert (taken.gone, "may still be there" in taken.clause) == (False, True)


@pytest.mark.parametrize("headers", [{"x-amz-storage-class": "STANDARD"}, {"x-amz-tagging-count": "2"}])
def test_what_a_head_says_otherwise_of_a_write_whose_answer_was_lost_is_refused_too(headers):
    async def check(fake, driver):
        fake.plan("PUT", RESET)
        fake.plan("HEAD", Answer(200, headers={**OURS, **headers}), times=2)
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(
                put_request("k", b"", write_id=WRITE, storage_class="STANDARD_IA", tags={"a": "1"})
            )
        assert (caught.value.code, caught.value.applied) == ("NOT_HONOURED", "yes")

    run(check, max_retries=0)


@pytest.mark.parametrize("code", ["NoSuchBucket", "AccessDenied"])
def test_only_a_conflict_begins_an_upload_again(code):
    async def check(fake, driver):
        fake.plan("POST", error(404 if code == "NoSuchBucket" else 403, code), times=9, query="uploads")
        with pytest.raises(StorageError) as caught:
            await driver.put(put_request("k", b"x" * 20))
        assert (caught.value.provider_code, caught.value.applied, len(fake.log)) == (code, "no", 1)

    run(check, **PARTS)
