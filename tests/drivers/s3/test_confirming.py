"""What the answers to one upload in parts must have said of its encryption, and what is done where they did not."""

import pytest

from credstore.encryption import KmsKey
from credstore.errors import StorageAccessDeniedError, StorageIntegrityError
from tests.drivers.s3.fake import Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, put_request

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
        if fails:
            with pytest.raises(StorageIntegrityError) as caught:
                await stored(driver)
            assert (caught.value.code, caught.value.applied) == ("NOT_ENCRYPTED", "yes")
        else:
            assert (await stored(driver)).etag == "e-2"
        assert fake.sent("HEAD")

    run(check, **PARTS)


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
