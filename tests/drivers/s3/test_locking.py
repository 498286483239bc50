"""Object Lock on the wire: what a write carries, what is asked, and servers that ignore it."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import md5

import pytest

from credstore.config.stores import R2Config, SpacesConfig, WasabiConfig
from credstore.driver import CopyRequest, LockingDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.drivers.s3.options import S3PutOptions
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.fake import RESET, Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import Stream, minio_config, put_request
from tests.servers.moto import MotoServer

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
KEPT = Retention(mode="compliance", retain_until=FAR, legal_hold=True)
SENT = {
    "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-object-lock-retain-until-date": "2037-01-02T03:04:05Z",
    "x-amz-object-lock-legal-hold": "ON",
}


def locks(headers):
    return {name: value for name, value in headers.items() if "object-lock" in name}


def content_md5(data: bytes) -> str:
    return b64encode(md5(data).digest()).decode()


def lock_told(until: str = "2037-01-02T03:04:05Z"):
    return Answer(headers={**SENT, "x-amz-object-lock-retain-until-date": until, "x-amz-version-id": "v"})


def plan_upload(fake):
    """An upload in parts that works."""
    fake.plan(
        "POST",
        xml("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        query="uploads",
    )
    fake.plan(
        "POST",
        xml('<CompleteMultipartUploadResult><ETag>"e-3"</ETag></CompleteMultipartUploadResult>'),
        query="uploadId",
    )
    fake.plan("HEAD", lock_told())


@pytest.mark.parametrize("known", [True, False])
def test_a_small_body_is_locked_by_its_own_request(known):
    async def check(fake, driver):
        body = {} if known else {"body": Stream(b"a", b"bc")}
        await driver.put(put_request("k", b"abc", retention=KEPT, **body))
        (sent,) = [each for each in fake.log if each.method == "PUT"]
        assert locks(sent.headers) == SENT
        assert sent.headers["content-md5"] == content_md5(b"abc")

    run(check)


@pytest.mark.parametrize("length", [2500, None])
def test_parts_are_locked_when_the_upload_is_created_and_each_has_its_md5(length):
    data = b"x" * 2500

    async def check(fake, driver):
        plan_upload(fake)
        await driver.put(
            put_request("k", retention=KEPT, body=Stream(data[:1300], data[1300:], length=length))
        )
        (created,) = [each for each in fake.log if "uploads" in each.query]
        assert locks(created.headers) == SENT
        parts = [each for each in fake.log if "partNumber" in each.query]
        assert [each.headers["content-md5"] for each in parts] == [
            content_md5(data[start : start + 1000]) for start in (0, 1000, 2000)
        ]

    # Above a part and below the threshold, an unlocked body would be one request without a checksum.
    run(check, part_size=1000, multipart_threshold=5000)


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_copy_carries_its_own_lock(in_parts):
    async def check(fake, driver):
        await driver.put(put_request("k", b"x" * 100, retention=Retention(legal_hold=True)))
        source = await driver.head("k")
        fake.log.clear()
        if in_parts:
            plan_upload(fake)
            tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
            fake.plan("GET", xml(tags), query="tagging")
            fake.plan("HEAD", lock_told())  # Both the metadata and the lock are looked at.
        await driver.copy(CopyRequest(source=source, destination="c", write_id="0" * 32, retention=KEPT))
        sent = [locks(each.headers) for each in fake.log if locks(each.headers)]
        assert sent == [SENT]

    run(check, single_copy_limit=10 if in_parts else 1000, copy_part_size=100)


def test_a_lock_is_given_once():
    options = S3PutOptions(legal_hold=True)

    async def check(fake, driver):
        with pytest.raises(StorageInvalidRequestError, match="both"):
            await driver.put(put_request("k", b"1", retention=KEPT, driver_options={"s3": options}))
        assert fake.log == []

    run(check)


@pytest.mark.parametrize(("kind", "place"), [(R2Config, {}), (SpacesConfig, {"region": "fra1"})])
def test_a_cloud_without_object_lock_is_not_asked(kind, place):
    async def check(fake, driver):
        assert isinstance(driver, LockingDriver)
        assert not driver.capabilities.retention_modes
        for call in (
            driver.put(put_request("k", b"1", retention=Retention(legal_hold=True))),
            driver.put(put_request("k", b"1", retention=Retention(mode="governance", retain_until=FAR))),
            driver.set_retention("k", FAR, "governance"),
            driver.set_legal_hold("k", held=True),
            driver.get_retention("k"),
        ):
            with pytest.raises(StorageUnsupportedError):
                await call
        assert fake.log == []

    run(check, kind=kind, **place)


LOCKING = {
    "retain": lambda driver: driver.set_retention("k", FAR, "compliance"),
    "hold": lambda driver: driver.set_legal_hold("k", held=True),
}


@pytest.mark.parametrize("verb", LOCKING)
@pytest.mark.parametrize("told", ["locked", "free", "nothing"])
def test_a_lock_whose_answer_was_lost_is_looked_for(verb, told):
    async def check(fake, driver):
        fake.plan("PUT", RESET, times=9)
        if told == "nothing":
            fake.plan("HEAD", error(500, "InternalError"), times=9)
        elif told == "locked":
            fake.plan("HEAD", lock_told())
        else:
            fake.plan("HEAD", Answer())
            fake.plan("GET", error(404, "NoSuchObjectLockConfiguration"), times=2)
        if told == "locked":
            await LOCKING[verb](driver)
            return
        with pytest.raises(StorageConnectionError) as caught:
            await LOCKING[verb](driver)
        assert caught.value.applied == "maybe"

    run(check, max_retries=0)


def test_a_lock_that_is_refused_is_not_looked_for():
    async def check(fake, driver):
        fake.plan("PUT", error(403, "AccessDenied"))
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.set_legal_hold("k", held=True)
        assert caught.value.applied == "no"
        assert [each.method for each in fake.log] == ["PUT"]

    run(check)


@pytest.mark.parametrize("found", ["locked", "free"])
@pytest.mark.parametrize("verb", LOCKING)
def test_a_success_that_nothing_shows_to_be_s3s_is_looked_into(verb, found):
    async def check(fake, driver):
        fake.plan("PUT", Answer())
        if found == "locked":
            fake.plan("HEAD", lock_told())
            await LOCKING[verb](driver)
            return
        fake.plan("HEAD", Answer(headers={"x-amz-request-id": "1"}))
        fake.plan("GET", error(404, "NoSuchObjectLockConfiguration"), times=2)
        with pytest.raises(StorageConfigurationError) as caught:
            await LOCKING[verb](driver)
        assert (caught.value.code, caught.value.applied) == (ErrorCode.NOT_S3, "maybe")

    run(check, endpoint=None, region="us-east-1")


@pytest.mark.parametrize("status", [405, 501])
def test_a_bare_refusal_does_not_say_that_nothing_is_kept(status):
    async def check(fake, driver):
        for method in ("HEAD", "GET"):
            fake.plan(method, Answer(status), times=9)
        with pytest.raises(StorageUnsupportedError) as caught:
            await driver.get_retention("k", "v")
        assert caught.value.applied == "no"

    run(check)


def test_what_is_asked_of_the_server():
    async def check(fake, driver):
        done = Answer(headers={"x-amz-request-id": "1"})
        fake.plan("PUT", done, query="retention", times=2)
        fake.plan("PUT", done, query="legal-hold")
        await driver.set_retention("k", FAR, "governance", version_id="v", bypass_governance=True)
        await driver.set_retention("k", None, "governance", bypass_governance=True)
        await driver.set_legal_hold("k", held=False)
        one, two, three = fake.log
        assert one.query["versionId"] == "v"
        assert one.headers["x-amz-bypass-governance-retention"] == "true"
        assert b"<Mode>GOVERNANCE</Mode><RetainUntilDate>2037-01-02T03:04:05Z</RetainUntilDate>" in one.body
        assert two.body.endswith(b'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/" />')
        assert b"<Status>OFF</Status>" in three.body
        for each in fake.log:
            assert each.headers["content-md5"] == content_md5(each.body)

    run(check)


@pytest.mark.parametrize(
    "refusal",
    [
        error(403, "AccessDenied", Message="Access Denied because object protected by object lock."),
        error(400, "InvalidRequest", Message="Object is WORM protected and cannot be overwritten"),
    ],
)
def test_what_forbids_a_deletion_is_a_retention(refusal):
    async def check(fake, driver):
        fake.plan("DELETE", refusal)
        with pytest.raises(StorageRetainedError) as caught:
            await driver.delete("k", version_id="v")
        assert caught.value.code == ErrorCode.LOCKED

    run(check)


@pytest.mark.parametrize(
    "message", ["Bucket is missing Object Lock Configuration", "bucket object lock not configured"]
)
def test_a_bucket_without_object_lock_says_so(message):
    async def check(fake, driver):
        fake.plan("PUT", error(400, "InvalidRequest", Message=message))
        with pytest.raises(StorageUnsupportedError, match="enable it") as caught:
            await driver.put(put_request("k", b"1", retention=KEPT))
        assert (caught.value.code, caught.value.applied) == (ErrorCode.RETENTION_DISABLED, "no")

    run(check)


# Another server than the cloud's own is looked at once.


def test_a_server_that_ignores_the_lock_of_an_upload_is_found_out(moto_server: MotoServer):
    """moto 5.2 drops the lock of an upload in parts, unlike S3."""

    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))
        limits = {"part_size": 1000, "multipart_threshold": 1000}
        driver = S3Driver(minio_config(place.url, bucket=place.bucket, **limits))
        try:
            with pytest.raises(StorageIntegrityError) as caught:
                await driver.put(put_request("k", b"x" * 2500, retention=KEPT))
            assert caught.value.code == ErrorCode.NOT_HONOURED
            assert "removed" in caught.value.message
            assert RawS3(place).versions() == []
            stored = await driver.put(put_request("k", b"x", retention=KEPT))
            assert RawS3(place).lock("k", stored.version_id) == ("COMPLIANCE", FAR, "ON")
        finally:
            await driver.aclose()

    asyncio.run(main())


def test_a_server_is_looked_at_once_for_each_way():
    async def check(fake, driver):
        fake.plan("HEAD", lock_told())
        await driver.put(put_request("k", b"1", retention=KEPT))
        assert [each.method for each in fake.log] == ["PUT", "HEAD"]
        fake.log.clear()
        await driver.put(put_request("k", b"1", retention=KEPT))
        assert [each.method for each in fake.log] == ["PUT"]

    run(check, kind=WasabiConfig)


def test_a_shorter_lock_than_was_asked_for_is_found_out():
    async def check(fake, driver):
        fake.plan("HEAD", lock_told("2037-01-02T03:04:04Z"))
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(put_request("k", b"1", retention=KEPT))
        assert (caught.value.code, caught.value.applied) == (ErrorCode.NOT_HONOURED, "yes")

    run(check, kind=WasabiConfig)


def test_a_lock_that_may_not_be_read_is_believed():
    async def check(fake, driver):
        denied = error(403, "AccessDenied")
        fake.plan("HEAD", denied)
        fake.plan("GET", denied)
        fake.plan("GET", denied, query="retention")
        await driver.put(put_request("k", b"1", retention=KEPT))

    run(check, kind=WasabiConfig)
