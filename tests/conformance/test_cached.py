"""The cached strategy keeps the contract of any driver, with a cache that knows nothing, and one that is warm."""

from pathlib import Path

import pytest

from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.driver import READ_ALL, Driver, ReadOptions
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.strategies.cached.driver import CachedDriver, cached_driver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at, fetch_from, peek_at, poke_at
from tests.conformance.test_prefixed import files_of

SIZE = 1024 * 1024


class TestCachedMemory(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        objects = MemoryObjects()

        def open_driver() -> Driver:
            return cached_driver(
                MemoryDriver(MemoryConfig(), objects=objects), tmp_path, space="s", max_size=SIZE
            )

        return Harness(
            open=open_driver, peek=peek_at(objects), poke=poke_at(objects), fetch=fetch_from(objects)
        )


class Warm(CachedDriver):
    """Has read each object before it is asked for it."""

    async def get(self, key: str, options: ReadOptions = READ_ALL):
        if options.customer_key is None and options.version_id is None and options.deadline is None:
            async with await super().get(key) as reader:
                async for _ in reader:
                    pass
        return await super().get(key, options)


class TestWarmLocal(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        root = tmp_path / "store"
        peek, poke = files_of(root)
        config = LocalConfig(path=root, fsync=False)

        def open_driver() -> Driver:
            return LocalDriver(config)

        def open_warm() -> Driver:
            inner = open_driver()
            kind = type(cached_driver(inner, tmp_path / "cache", space="s", max_size=SIZE))
            warm = type("Warm", (Warm, *kind.__bases__[1:]), {})
            return warm(inner, tmp_path / "cache", space="s", max_size=SIZE)

        return Harness(open=open_warm, peek=peek, poke=poke, fetch=fetch_at(open_driver))
