"""Stores that keep versions keep the contract, and the optional protocols for versions."""

import pytest

from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_from, peek_at, poke_at
from tests.conformance.raw_s3 import IN_PARTS, LARGE, CountingClient, LikeS3, RawS3
from tests.conformance.versioned import VersionedMemory, Versions
from tests.conftest import S3Server
from tests.drivers.s3.support import minio_config
from tests.servers.moto import MotoServer


@pytest.mark.parametrize("state", ["on", "suspended", "off"])
class TestVersionedMemory(DriverConformance):
    @pytest.fixture
    def harness(self, state: str) -> Harness:
        versions = Versions(state=state)
        return Harness(
            open=lambda: VersionedMemory(versions),
            peek=peek_at(versions.objects),
            poke=poke_at(versions.objects),
            fetch=fetch_from(versions.objects),
        )


@pytest.mark.parametrize("versioned", [{0}, {1}, {0, 1}], ids=["primary", "fallback", "both"])
class TestFallbackOverVersions(DriverConformance):
    @pytest.fixture
    def harness(self, versioned: set[int]) -> Harness:
        stores = [Versions(), Versions()]

        def member(at: int) -> MemoryDriver:
            if at in versioned:
                return VersionedMemory(stores[at])
            return MemoryDriver(MemoryConfig(), objects=stores[at].objects)

        objects = [each.objects for each in stores]
        return Harness(
            open=lambda: FallbackDriver(member(0), member(1)),
            peek=peek_at(*objects),
            poke=poke_at(*objects),
            fetch=fetch_from(*objects),
        )


@pytest.mark.parametrize("object_lock", [False, True])
class TestS3OnMotoWithVersions(DriverConformance):
    @pytest.fixture
    def harness(self, moto_server: MotoServer, object_lock: bool) -> Harness:
        server = S3Server(moto_server.url, moto_server.make_bucket(object_lock=object_lock))
        raw, sent = RawS3(server), CountingClient.counter()
        if not object_lock:
            raw.switch_versions("Enabled")
        config = minio_config(server.url, bucket=server.bucket, **IN_PARTS)
        return Harness(
            large=LARGE,
            uploads=raw.uploads,
            open=lambda: S3Driver(config, transport=LikeS3(sent, raw)),
            peek=raw.peek,
            poke=raw.poke,
            requests=lambda: len(sent),
        )
