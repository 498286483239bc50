"""The SHA-256 that a store computed over a copy: asked for, believed only of the very object, and what proves a move."""

import asyncio
import hashlib
from base64 import b64encode

import pytest

from credstore.driver import CopyRequest, ReportsDigests
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import StorageConnectionError, StorageIntegrityError
from credstore.provider.provider import StorageProvider
from credstore.testing import count_requests
from tests.drivers.s3.fake import RESET, Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import minio_config, put_request
from tests.servers.moto import MotoServer

DATA = b"0123456789abcdef" * 65537
"""A little more than what is read at once."""
TRUE = b64encode(hashlib.sha256(DATA).digest()).decode()
STATED = "copy_digests,-content_etags"


def attributes(etag: str, digest: str, kind: str | None = "FULL_OBJECT", size: int = len(DATA)) -> Answer:
    told = "" if kind is None else f"<ChecksumType>{kind}</ChecksumType>"
    return xml(
        f"<GetObjectAttributesResponse><ETag>{etag}</ETag><ObjectSize>{size}</ObjectSize><Checksum>"
        f"<ChecksumSHA256>{digest}</ChecksumSHA256>{told}</Checksum></GetObjectAttributesResponse>"
    )


def over(driver: S3Driver) -> StorageProvider:
    return StorageProvider(driver, driver._bucket.config)


def test_a_move_is_proved_by_what_the_store_computed(moto_server: MotoServer):
    async def main():
        config = minio_config(moto_server.url, bucket=moto_server.make_bucket(), capabilities=STATED)
        async with over(S3Driver(config)) as store:
            assert isinstance(store._session.driver, ReportsDigests)
            await store.store("from", DATA, content_type="text/plain", compress=False)
            with count_requests() as wire:
                await store.move("from", "to")
            assert wire.by_operation["GetObjectAttributes"] == 1
            assert "GetObject" not in wire.by_operation
            assert await store.retrieve("to") == DATA
            assert not await store.exists("from")

    asyncio.run(main())


def test_a_small_copy_is_read_sooner_than_asked_about(moto_server: MotoServer):
    async def main():
        config = minio_config(moto_server.url, bucket=moto_server.make_bucket(), capabilities=STATED)
        async with over(S3Driver(config)) as store:
            await store.store("from", b"small")
            with count_requests() as wire:
                await store.move("from", "to")
            assert (wire.by_operation["GetObject"], wire.by_operation.get("GetObjectAttributes")) == (1, None)

    asyncio.run(main())


def moved(fake, driver):
    async def move():
        store = over(driver)
        await store.store("from", DATA, compress=False)
        fake.log.clear()
        await store.move("from", "to")

    return move()


@pytest.mark.parametrize(
    "answer",
    [
        attributes("other", TRUE),
        attributes("", TRUE),
        attributes("{etag}", TRUE, "COMPOSITE"),
        attributes("{etag}", f"{TRUE}-2", None),
        attributes("{etag}", TRUE, size=1),
        attributes("{etag}", b64encode(b"short").decode()),
        attributes("{etag}", b64encode(hashlib.sha256(b"other").digest()).decode()),
        xml("<GetObjectAttributesResponse><ETag>{etag}</ETag></GetObjectAttributesResponse>"),
        Answer(200, b"the object itself", {"x-amz-request-id": "1"}),
        error(403, "AccessDenied"),
        error(501, "NotImplemented"),
        error(400, "InvalidArgument"),
        Answer(405, headers={"x-amz-request-id": "1"}),
    ],
)
def test_what_does_not_decide_leaves_the_bytes_to_be_read(answer):
    async def check(fake, driver):
        etag = hashlib.md5(DATA).hexdigest()
        body = answer.body.replace(b"{etag}", etag.encode())
        fake.plan("GET", Answer(answer.status, body, answer.headers), query="attributes")
        await moved(fake, driver)
        assert sum("attributes" in seen.query for seen in fake.sent("GET")) == 1
        assert sum("attributes" not in seen.query for seen in fake.sent("GET")) >= 1
        assert sorted(fake.objects) == ["to"]

    run(check, capabilities=STATED)


def test_a_refusal_is_asked_for_once():
    async def check(fake, driver):
        fake.plan("GET", error(403, "AccessDenied"), query="attributes")
        for _ in range(2):
            await moved(fake, driver)
        assert not any("attributes" in seen.query for seen in fake.log)
        assert not any("x-amz-checksum-algorithm" in seen.headers for seen in fake.log)

    run(check, capabilities=STATED)


def test_a_copy_of_other_bytes_is_found_out_whatever_the_digest_says():
    async def check(fake, driver):
        def other(seen):
            given = fake.apply(seen)
            copy = fake.objects["to"]
            fake.objects["to"] = type(copy)(copy.headers, b"x" * len(copy.body))
            return given

        fake.plan("PUT", Answer(headers={"x-amz-request-id": "1"}), query="never")
        store = over(driver)
        await store.store("from", DATA, compress=False)
        fake.plan("PUT", other)
        wrong = b64encode(hashlib.sha256(b"x" * len(DATA)).digest()).decode()
        etag = hashlib.md5(b"x" * len(DATA)).hexdigest()
        fake.plan("GET", attributes(etag, wrong), query="attributes")
        with pytest.raises(StorageIntegrityError, match="source is kept"):
            await store.move("from", "to")
        assert fake.objects["from"].body == DATA

    run(check, capabilities=STATED)


def test_a_store_that_cannot_be_asked_leaves_the_source():
    async def check(fake, driver):
        fake.plan("GET", RESET, query="attributes")
        with pytest.raises(StorageConnectionError) as caught:
            await moved(fake, driver)
        assert caught.value.applied == "maybe"
        assert "from" in fake.objects

    run(check, capabilities=STATED, max_retries=0)


def test_a_copy_asks_for_a_digest_only_where_it_is_granted_and_wanted():
    async def check(fake, driver):
        await driver.put(put_request("k", b"1", digest=hashlib.sha256(b"1").digest()))
        source = await driver.head("k")
        for provable in (True, False):
            fake.log.clear()
            await driver.copy(
                CopyRequest(source=source, destination="c", write_id="0" * 32, provable=provable)
            )
            (sent,) = (seen for seen in fake.sent("PUT"))
            told.append(sent.headers.get("x-amz-checksum-algorithm"))

    told: list[str | None] = []
    run(check, capabilities="copy_digests")
    run(check)  # An endpoint that is not the cloud's own.
    assert told == ["SHA256", None, None, None]
