"""The redundant strategy keeps the contract of any driver, also while a member refuses every second call."""

import os
from itertools import count

import pytest

from credstore.config.stores import LocalConfig, MemoryConfig
from credstore.driver import Driver, PutRequest, PutResult
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageUnavailableError
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at, fetch_from, peek_at, poke_at
from tests.conformance.replicas import caught_up, hurried


class Flaky(MemoryDriver):
    """Refuses every second write that is in order, having applied nothing."""

    writes = count()

    async def put(self, request: PutRequest) -> PutResult:
        wrong = request.encryption or request.storage_class or request.deadline
        if not wrong and next(self.writes) % 2:
            raise StorageUnavailableError("out of order", applied="no")
        return await super().put(request)


class Opened:
    """The drivers of one test; looking past them waits until every member has what it missed."""

    def __init__(self, make, kind=RedundantDriver) -> None:
        self._make = make
        self._kind = kind
        self.drivers: list[RedundantDriver] = []

    def open(self) -> Driver:
        self.drivers.append(self._kind(self._make(), clock=hurried))
        return self.drivers[-1]

    def after(self, look):
        async def run(*args):
            for driver in self.drivers:
                await caught_up(driver)
            return await look(*args)

        return run


@pytest.mark.parametrize("kind", [MemoryDriver, Flaky])
class TestMemory(DriverConformance):
    @pytest.fixture
    def harness(self, kind: type[MemoryDriver]) -> Harness:
        stores = [MemoryObjects() for _ in range(3)]

        def make() -> list[Driver]:
            kinds = (MemoryDriver, kind, MemoryDriver)
            return [
                each(MemoryConfig(), objects=objects) for each, objects in zip(kinds, stores, strict=True)
            ]

        opened = Opened(make)
        return Harness(
            open=opened.open,
            peek=opened.after(peek_at(*stores)),
            poke=opened.after(poke_at(*stores)),
            fetch=fetch_from(*stores),
        )


@pytest.mark.parametrize("kind", [MemoryDriver, Flaky])
class TestFastest(DriverConformance):
    @pytest.fixture
    def harness(self, kind: type[MemoryDriver]) -> Harness:
        stores = [MemoryObjects() for _ in range(3)]

        def make() -> list[Driver]:
            kinds = (MemoryDriver, kind, MemoryDriver)
            return [
                each(MemoryConfig(), objects=objects) for each, objects in zip(kinds, stores, strict=True)
            ]

        opened = Opened(make, FastestDriver)
        return Harness(
            open=opened.open,
            peek=opened.after(peek_at(*stores)),
            poke=opened.after(poke_at(*stores)),
            fetch=fetch_from(*stores),
        )


class TestLocal(DriverConformance):
    @pytest.fixture
    def harness(self, tmp_path) -> Harness:
        roots = [tmp_path / name for name in ("one", "two", "three")]

        def make() -> list[Driver]:
            return [LocalDriver(LocalConfig(path=str(root), fsync=False)) for root in roots]

        async def peek(key):
            found = [path.read_bytes() for root in roots if (path := root / key).is_file()]
            assert len(set(found)) <= 1
            return found[0] if found else None

        async def poke(key, data):
            for path in (root / key for root in roots):
                before = path.stat()
                path.write_bytes(data)
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        opened = Opened(make)
        return Harness(
            open=opened.open,
            peek=opened.after(peek),
            poke=opened.after(poke),
            fetch=fetch_at(*(lambda at=at: make()[at] for at in range(3))),
        )
