"""What is below a prefix keeps the contract, over every kind of store."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.prefixed import prefixed
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at, fetch_from, peek_at, poke_at
from tests.conformance.raw_s3 import IN_PARTS, LARGE, CountingClient, RawS3
from tests.conftest import S3Server
from tests.drivers.s3.support import minio_config

PREFIX = "team/ä b/"


def below(harness: Harness) -> Harness:
    """The same store, seen from below the prefix."""

    peek, poke = harness.peek, harness.poke
    assert peek is not None
    assert poke is not None
    return replace(
        harness,
        open=lambda: prefixed(harness.open(), PREFIX),
        peek=lambda key: peek(PREFIX + key),
        poke=lambda key, data: poke(PREFIX + key, data),
    )


class TestPrefixedMemory(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        objects = MemoryObjects()
        return below(
            Harness(
                open=lambda: MemoryDriver(MemoryConfig(), objects=objects),
                peek=peek_at(objects),
                poke=poke_at(objects),
                fetch=fetch_from(objects),
            )
        )


class TestPrefixedLocal(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        peek, poke = files_of(tmp_path)
        config = LocalConfig(path=tmp_path, fsync=False)

        def open_driver() -> LocalDriver:
            return LocalDriver(config)

        return below(Harness(open=open_driver, peek=peek, poke=poke, fetch=fetch_at(open_driver)))


class TestPrefixedS3(DriverConformance):
    @pytest.fixture
    def harness(self, s3_server: S3Server) -> Harness:
        config = minio_config(s3_server.url, bucket=s3_server.bucket, **IN_PARTS)
        raw, sent = RawS3(s3_server), CountingClient.counter()
        return below(
            Harness(
                open=lambda: S3Driver(config, transport=CountingClient(sent)),
                peek=raw.peek,
                poke=raw.poke,
                requests=lambda: len(sent),
                large=LARGE,
                uploads=raw.uploads,
            )
        )


def files_of(
    root: Path,
) -> tuple[Callable[[str], Awaitable[bytes | None]], Callable[[str, bytes], Awaitable[None]]]:
    """Past a local driver to its files."""

    async def peek(key: str) -> bytes | None:
        path = root / key
        return path.read_bytes() if path.is_file() else None

    async def poke(key: str, data: bytes) -> None:
        path = root / key
        before = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return peek, poke
