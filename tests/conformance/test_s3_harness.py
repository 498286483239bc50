"""The S3 driver keeps the contract in a bucket in use, as a user checks it at a server of their own."""

import asyncio
import traceback
from collections.abc import Iterator

import pytest

from credstore.config.stores import S3CompatibleConfig
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageConnectionError
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import ConformanceError, Harness
from credstore.testing.s3 import s3_harness
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.drivers.s3.support import KEY_ID, SECRET
from tests.servers.moto import MotoServer

KEYS = {"CREDSTORE_ACCESS_KEY_ID": KEY_ID, "CREDSTORE_SECRET_ACCESS_KEY": SECRET}
THEIRS = {"above", "team/scratch", "team/scratch/theirs", "team/scratchy"}


class TestAServerOfOnesOwn(DriverConformance):
    @pytest.fixture
    def harness(self, moto_server: MotoServer) -> Iterator[Harness]:
        server = S3Server(moto_server.url, moto_server.make_bucket())
        raw = RawS3(server)
        raw.switch_versions("Enabled")
        for key in THEIRS:
            raw.put(key, b"theirs")
        host = server.url.removeprefix("http://")
        store = f"minio://{host}/{server.bucket}/team/scratch?http=true&part_size=64KiB"
        yield s3_harness(store, environ=KEYS)
        assert raw.names() == THEIRS
        assert raw.markers() == []
        assert raw.unfinished() == []


def test_a_harness_is_of_the_stores_settings(s3_server):
    config = S3CompatibleConfig(
        bucket=s3_server.bucket,
        endpoint=s3_server.url,
        access_key_id=KEY_ID,
        secret_access_key=Secret(SECRET),
        prefix="a/b",
        part_size=2000,
        capabilities="conditional_create",
    )
    harness = s3_harness(config)
    assert (harness.prefix, harness.large) == ("a/b/", 2001)
    assert harness.open().capabilities.conditional_create


def test_other_stores_than_s3_are_refused(tmp_path):
    with pytest.raises(StorageConfigurationError, match="speak S3, not local"):
        s3_harness(f"file://{tmp_path}", environ={})


def test_a_link_that_nobody_answers_is_told_without_it():
    harness = s3_harness("minio://127.0.0.1:1/bucket?http=true", environ=KEYS)
    with pytest.raises(StorageConnectionError, match="nothing answers the link") as caught:
        asyncio.run(harness.peek("key"))
    assert "X-Amz" not in "".join(traceback.format_exception(caught.value))


def test_an_answer_past_the_driver_that_is_no_absence_is_not_taken_for_one(s3_server):
    store = f"minio://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}?http=true"
    harness = s3_harness(store, environ=KEYS)
    assert asyncio.run(harness.peek("never-there")) is None
    with pytest.raises(ConformanceError, match="a HEAD past the driver, by a link, was answered 404"):
        asyncio.run(harness.poke("never-there", b"data"))
    elsewhere = s3_harness(store.replace(s3_server.bucket, "no-such-bucket"), environ=KEYS)
    with pytest.raises(ConformanceError, match="a GET past the driver, by a link, was answered 404"):
        asyncio.run(elsewhere.peek("key"))
