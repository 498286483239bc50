"""The S3 driver keeps the contract, on moto's server."""

import pytest

from credstore.drivers.s3.driver import S3Driver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.raw_s3 import IN_PARTS, LARGE, CountingClient, RawS3
from tests.conftest import S3Server
from tests.drivers.s3.support import minio_config


class TestS3OnMoto(DriverConformance):
    @pytest.fixture
    def harness(self, s3_server: S3Server) -> Harness:
        config = minio_config(s3_server.url, bucket=s3_server.bucket, **IN_PARTS)
        raw, sent = RawS3(s3_server), CountingClient.counter()
        return Harness(
            open=lambda: S3Driver(config, transport=CountingClient(sent)),
            peek=raw.peek,
            poke=raw.poke,
            requests=lambda: len(sent),
            large=LARGE,
            uploads=raw.uploads,
        )
