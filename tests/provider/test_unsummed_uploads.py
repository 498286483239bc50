"""Links and forms into a bucket that insists on checksums bind one, or are refused; other buckets are not asked twice."""

import asyncio
import hashlib
from base64 import b64encode

import aiohttp
import pytest

from credstore import StorageError, StorageInvalidRequestError, StorageProvider
from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.prefixed import prefixed
from credstore.testing import count_requests
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.fake import Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import minio_config
from tests.servers.moto import MotoServer

DATA = b"one body"
MD5 = hashlib.md5(DATA).digest()
BOUND = {"content-md5": b64encode(MD5).decode()}


def store_at(server: MotoServer, *, locked: bool) -> StorageProvider:
    place = S3Server(server.url, server.make_bucket(object_lock=locked))
    if locked:
        RawS3(place).retain_by_default()
    config = minio_config(place.url, bucket=place.bucket)
    return StorageProvider(prefixed(S3Driver(config), "below/"), config)


def unbound(store: StorageProvider):
    return {
        "link": lambda: store.get_signed_url("k", method="PUT"),
        "form": lambda: store.get_upload_form("k", max_size=100),
        "form below": lambda: store.get_upload_form(prefix="in/", max_size=100),
    }


@pytest.mark.parametrize("name", ["link", "form", "form below"])
def test_what_the_bucket_would_refuse_is_refused_with_how_to(moto_server: MotoServer, name):
    async def main():
        async with store_at(moto_server, locked=True) as store:
            with pytest.raises(StorageInvalidRequestError, match=r"default retention.*md5") as caught:
                await unbound(store)[name]()
            assert caught.value.code == "CHECKSUM_REQUIRED"

    asyncio.run(main())


def test_a_link_that_binds_the_md5_works_and_only_with_that_body(moto_server: MotoServer):
    async def main():
        async with store_at(moto_server, locked=True) as store, aiohttp.ClientSession() as session:
            link = await store.get_signed_url("k", method="PUT", headers=BOUND)
            assert link.headers["content-md5"] == BOUND["content-md5"]
            async with session.put(str(link), data=DATA, headers=dict(link.headers)) as answer:
                assert answer.status == 200
            assert (await store.get_retention("k")).mode == "governance"
            of_their_own = await store.get_signed_url("l", method="PUT", check=False)
            async with session.put(str(of_their_own), data=DATA, headers=BOUND) as answer:
                assert answer.status == 200

    asyncio.run(main())


def test_a_form_binds_the_md5_in_its_policy(moto_server: MotoServer):
    async def main():
        async with store_at(moto_server, locked=True) as store:
            form = await store.get_upload_form("k", max_size=100, content_md5=MD5)
            assert form.fields["Content-MD5"] == BOUND["content-md5"]

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [b"", b"x" * 15, "0" * 32, BOUND["content-md5"]])
def test_an_md5_has_16_bytes(moto_server: MotoServer, wrong):
    async def main():
        async with store_at(moto_server, locked=False) as store:
            with pytest.raises(StorageInvalidRequestError, match="16 bytes"):
                await store.get_upload_form("k", max_size=100, content_md5=wrong)

    asyncio.run(main())


def test_a_bucket_without_such_a_rule_is_asked_once(moto_server: MotoServer):
    async def main():
        async with store_at(moto_server, locked=False) as store:
            with count_requests() as wire:
                for _ in range(2):
                    for make in unbound(store).values():
                        await make()
            assert wire.by_operation == {"GetObjectLockConfiguration": 1}

    asyncio.run(main())


ENABLED = (
    "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{}</ObjectLockConfiguration>"
)


@pytest.mark.parametrize(
    ("answer", "wanted", "asked"),
    [
        (xml(ENABLED.format("")), False, 1),
        (
            xml(ENABLED.format("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode></DefaultRetention></Rule>")),
            True,
            1,
        ),
        (error(404, "ObjectLockConfigurationNotFoundError"), False, 1),
        (error(403, "AccessDenied"), False, 1),
        (Answer(200, b"<html>log in</html>"), False, 1),
        (error(503, "SlowDown"), False, 2),
    ],
)
def test_only_a_clear_answer_refuses(answer, wanted, asked):
    async def check(fake, driver):
        fake.plan("GET", answer, query="object-lock", times=9)
        assert [await driver.wants_checksums() for _ in range(2)] == [wanted] * 2
        assert len(fake.sent("GET")) == asked

    run(check, max_retries=0)


def test_a_refusal_that_was_seen_is_known_without_a_question():
    async def check(fake, driver):
        driver._bucket.checksums.learn("PutObject")
        assert await driver.wants_checksums()
        assert fake.log == []

    run(check)


def test_a_google_form_checks_no_md5():
    from tests.drivers.gcs.fake import FakeGcs

    fake = FakeGcs()

    async def main():
        async with StorageProvider(fake.driver(), fake.config()) as store:
            with pytest.raises(StorageError, match="MD5"):
                await store.get_upload_form("k", max_size=100, content_md5=MD5)

    asyncio.run(main())
