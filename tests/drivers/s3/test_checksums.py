"""Buckets that take no body without a checksum, as under a default retention: learnt once, then one request each.

Judges: the origin of the fault table, which compares each `Content-MD5` with its body, and moto.
"""

import asyncio
from base64 import b64encode
from hashlib import md5

import pytest

from credstore.config.stores import R2Config, WasabiConfig
from credstore.driver import CopyRequest
from credstore.driver.values import Precondition
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import ErrorCode, StorageAlreadyExistsError, StorageInvalidRequestError
from credstore.model import Retention
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.fake import RESET, error
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, minio_config, put_request
from tests.faults import rig as rigs
from tests.faults.messages import error as s3_error
from tests.faults.script import Respond
from tests.servers.moto import MotoServer

AWS = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
BODIES = frozenset({"PutObject", "UploadPart"})
IN_PARTS = {"part_size": 1000, "multipart_threshold": 1000}
LATE_PARTS = {"part_size": 1000, "multipart_threshold": 5000}
"""Bodies between the two are streamed in one request."""
WORDS = [
    ("InvalidRequest", AWS),
    ("InvalidRequest", AWS.replace("OR x-amz-checksum- ", "")),
    ("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"),
    ("MissingContentMD5", "Missing required header for this request: Content-Md5."),
    ("MissingContentMD5", ""),
    (
        "MissingUploadObjectWithObjectLockHeaders",
        "Content-MD5 or x-amz-sdk-checksum-algorithm header required to upload an object",
    ),
]


def content_md5(data: bytes) -> str:
    return b64encode(md5(data).digest()).decode()


def given(requests) -> list[str | None]:
    return [each.headers.get("content-md5") for each in requests]


def insisting(test, *, on=BODIES, **settings):
    """Run `test(rig, driver)` against an origin that insists on checksums, as one that is sent no SHA-256."""
    if not settings.get("aws"):
        settings.setdefault("flavor", "ceph")

    async def main(rig):
        rig.origin.store.insists = frozenset(on)
        await test(rig, rig.store._session.driver)

    rigs.run(main, **settings)


@pytest.mark.parametrize("aws", [True, False])
def test_a_write_is_sent_again_once_and_later_ones_carry_the_checksum(aws):
    async def check(rig, driver):
        for number in range(3):
            data = b"%d" % number * 50
            await rig.store.store(f"k{number}", data)
            assert rig.body(f"k{number}") == data
        assert [(each.key, "content-md5" in each.headers) for each in rig.origin.sent("PutObject")] == [
            ("k0", False),
            ("k0", True),
            ("k1", True),
            ("k2", True),
        ]

    insisting(check, aws=aws)


@pytest.mark.parametrize("kind", [None, R2Config, WasabiConfig])
@pytest.mark.parametrize(("code", "message"), WORDS)
def test_each_wording_is_understood(code, message, kind):
    async def check(fake, driver):
        fake.plan("PUT", error(400, code, Message=message))
        await driver.put(put_request("k", b"abc"))
        await driver.put(put_request("k", b"abcd"))
        assert given(fake.log) == [None, content_md5(b"abc"), content_md5(b"abcd")]

    run(check, kind=kind)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "InvalidRequest", "The Content-MD5 you specified was invalid."),
        (400, "InvalidDigest", "The Content-MD5 you specified is not valid."),
        (400, "InvalidRequest", "x-amz-acl is required"),
        (403, "AccessDenied", AWS),
    ],
)
def test_other_refusals_are_not_taken_for_it(status, code, message):
    async def check(fake, driver):
        fake.plan("PUT", error(status, code, Message=message))
        with pytest.raises(Exception) as caught:
            await driver.put(put_request("k", b"abc"))
        assert caught.value.code != ErrorCode.CHECKSUM_REQUIRED
        await driver.put(put_request("k", b"abc"))
        assert given(fake.log) == [None, None]

    run(check)


def test_a_bucket_that_is_not_content_with_it_either_is_asked_no_third_time():
    async def check(fake, driver):
        fake.plan("PUT", error(400, "InvalidRequest", Message=AWS), times=9)
        with pytest.raises(StorageInvalidRequestError) as caught:
            await driver.put(put_request("k", b"abc"))
        assert (caught.value.code, caught.value.applied) == (ErrorCode.CHECKSUM_REQUIRED, "no")
        assert not caught.value.retryable
        assert given(fake.log) == [None, content_md5(b"abc")]

    run(check)


def test_what_the_first_sending_left_unclear_stays_unclear():
    async def check(fake, driver):
        fake.plan("PUT", RESET, applied=True)
        fake.plan("PUT", error(400, "InvalidRequest", Message=AWS))
        fake.plan("PUT", error(403, "AccessDenied"))
        fake.plan("HEAD", error(403, "AccessDenied"))
        fake.plan("GET", error(403, "AccessDenied"))
        with pytest.raises(Exception) as caught:
            await driver.put(put_request("k", b"abc"))
        assert caught.value.applied == "maybe"

    run(check)


def test_conditions_hold_for_what_is_sent_again():
    async def check(rig, driver):
        await driver.put(put_request("k", b"first", precondition=Precondition("create")))
        with pytest.raises(StorageAlreadyExistsError):
            await driver.put(put_request("k", b"second", precondition=Precondition("create")))
        assert rig.body() == b"first"

    insisting(check, aws=True)


@pytest.mark.parametrize("length", [5500, None])
def test_parts_are_sent_again_and_later_ones_are_one_request_each(length):
    data = bytes(range(250)) * 22

    async def check(rig, driver):
        for key in ("k", "l"):
            body = Stream(data[:1300], data[1300:], length=length)
            await driver.put(put_request(key, body=body))
            assert rig.body(key) == data
        first = [each for each in rig.origin.sent("UploadPart") if each.key == "k"]
        assert sorted(
            each.request.query["partNumber"] for each in first if "content-md5" in each.headers
        ) == list("123456")
        assert sum("content-md5" not in each.headers for each in first) >= 1
        assert given(each for each in rig.origin.sent("UploadPart") if each.key == "l").count(None) == 0
        assert rig.requests("UploadPart", "l") == 6

    insisting(check, **IN_PARTS)


def test_what_was_learnt_of_a_put_holds_for_parts():
    async def check(rig, driver):
        await driver.put(put_request("small", b"abc"))
        await driver.put(put_request("large", b"x" * 2500))
        assert [None not in given(rig.origin.sent("UploadPart")), rig.requests("UploadPart")] == [True, 3]

    insisting(check, **IN_PARTS)


def test_a_stream_that_can_be_read_again_is_sent_again():
    async def check(rig, driver):
        for key in ("k", "l"):
            body = Stream(b"a" * 1500, b"b" * 1500, length=3000, replayable=True)
            await driver.put(put_request(key, body=body))
            assert rig.body(key) == b"a" * 1500 + b"b" * 1500
            assert body.opened == body.ended
        assert given(rig.origin.sent("PutObject", "l")) == [content_md5(rig.body("l"))]
        assert rig.requests("CreateMultipartUpload") == 0

    insisting(check, **LATE_PARTS)


def test_a_stream_that_cannot_be_read_again_is_an_error_that_says_so_and_the_next_goes_in_parts():
    async def check(rig, driver):
        with pytest.raises(StorageInvalidRequestError, match="give it again") as caught:
            await driver.put(put_request("k", body=Stream(b"a" * 3000, length=3000)))
        failed = caught.value
        assert (failed.code, failed.applied, failed.retryable) == (ErrorCode.CHECKSUM_REQUIRED, "no", True)
        assert (rig.body(), rig.requests("PutObject")) == (None, 1)
        await driver.put(put_request("k", body=Stream(b"a" * 3000, length=3000)))
        assert rig.body() == b"a" * 3000
        assert rig.requests("PutObject") == 1
        assert given(rig.origin.sent("UploadPart")).count(None) == 0

    insisting(check, **LATE_PARTS)


def test_a_stream_under_way_while_another_write_learns_it_is_not_read_for_its_checksum():
    """The requirement comes to be known after the way was chosen: the body must not be used up."""

    async def check(rig, driver):
        bucket = driver._bucket
        lacks = bucket.checksums.lacks

        def learning(request):
            bucket.checksums.learn("PutObject")
            return lacks(request)

        bucket.checksums.lacks = learning
        rig.origin.store.insists = frozenset()
        await driver.put(put_request("k", body=Stream(b"a" * 3000, length=3000)))
        assert rig.body() == b"a" * 3000
        assert given(rig.origin.sent("PutObject")) == [None]

    insisting(check, **LATE_PARTS)


def test_a_refusal_before_the_body_has_left_is_understood():
    data = b"x" * 3_000_000

    async def check(rig, driver):
        rig.origin.plan("head", Respond(s3_error(400, "InvalidRequest", AWS)), operation="PutObject", times=1)
        await rig.store.store("k", data)
        assert rig.body() == data

    insisting(check, on=())


@pytest.mark.parametrize("in_parts", [False, True])
def test_copies_are_sent_again_where_a_server_insists_on_it(in_parts):
    operation = "UploadPartCopy" if in_parts else "CopyObject"
    limits = {"single_copy_limit": 10, "copy_part_size": 5 * 1024 * 1024} if in_parts else {}

    async def check(rig, driver):
        await driver.put(put_request("k", b"x" * 100))
        source = await driver.head("k")
        for number in range(2):
            await driver.copy(CopyRequest(source=source, destination=f"c{number}", write_id="0" * 32))
            assert rig.body(f"c{number}") == b"x" * 100
        assert given(rig.origin.sent(operation)) == [None, content_md5(b""), content_md5(b"")]

    insisting(check, on={operation}, aws=True, **limits)


def test_a_locked_stream_that_can_be_read_again_is_one_request():
    body = Stream(b"a" * 1500, b"b" * 1500, length=3000, replayable=True)

    async def check(fake, driver):
        await driver.put(put_request("k", body=body, retention=Retention(legal_hold=True)))
        assert given(fake.sent("PUT")) == [content_md5(b"a" * 1500 + b"b" * 1500)]

    run(check, **LATE_PARTS)


def test_it_is_learnt_for_each_store():
    async def check(rig, driver):
        await rig.store.store("k", b"1")
        other = rig.open(flavor="ceph")
        await other.store("l", b"2")
        assert given(rig.origin.sent("PutObject", "l")) == [None, content_md5(b"2")]

    insisting(check)


def test_a_cloud_that_compares_the_sha256_is_content_with_it():
    async def check(rig, driver):
        result = await driver.put(put_request("k", b"abc"))
        assert result.proved
        assert given(rig.origin.sent("PutObject")) == [None]

    insisting(check, flavor="minio")


def test_a_server_that_is_not_the_clouds_own_proves_nothing():
    async def check(rig, driver):
        assert not (await driver.put(put_request("k", b"abc"))).proved

    insisting(check, aws=True, on=())


def test_a_store_that_does_not_insist_gets_no_checksum():
    async def check(rig, driver):
        await driver.put(put_request("k", b"abc"))
        await driver.put(put_request("l", b"x" * 2500))
        assert set(given(rig.origin.sent("PutObject") + rig.origin.sent("UploadPart"))) == {None}

    insisting(check, on=(), **IN_PARTS)


def test_a_bucket_of_moto_with_a_default_retention(moto_server: MotoServer):
    """moto 5.2 refuses puts without a checksum as S3 does, with a code of its own."""

    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))
        raw = RawS3(place)
        raw.retain_by_default()
        driver = S3Driver(minio_config(place.url, bucket=place.bucket, **IN_PARTS))
        try:
            for key, data in (("k", b"abc"), ("l", b"x" * 2500), ("m", b"")):
                stored = await driver.put(put_request(key, data))
                in_parts = len(data) > IN_PARTS["part_size"]  # moto does not lock what was uploaded in parts.
                assert raw.lock(key, stored.version_id)[0] == (None if in_parts else "GOVERNANCE")
                assert raw.read(key, stored.version_id) == data
            await driver.copy(CopyRequest(source=await driver.head("k"), destination="c", write_id="0" * 32))
        finally:
            await driver.aclose()

    asyncio.run(main())
