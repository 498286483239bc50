"""The fallback strategy keeps the contract of any driver, also while its primary refuses writes."""

import time
from itertools import count

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import PutRequest, PutResult
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageUnavailableError
from credstore.strategies.fallback.detours import FRESH
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_from, peek_at, poke_at


class Flaky(MemoryDriver):
    """Refuses every second write that is in order, having applied nothing."""

    writes = count()

    async def put(self, request: PutRequest) -> PutResult:
        wrong = request.encryption or request.storage_class or request.deadline
        if not wrong and next(self.writes) % 2:
            raise StorageUnavailableError("out of order", applied="no")
        return await super().put(request)


class Hurrying:
    """A clock that moves on so far at each look that what is known of detours is always stale."""

    def __init__(self) -> None:
        self._looks = count()

    def __call__(self) -> float:
        return time.time() + next(self._looks) * 2 * FRESH


@pytest.mark.parametrize("kind", [MemoryDriver, Flaky])
class TestFallback(DriverConformance):
    @pytest.fixture
    def harness(self, kind: type[MemoryDriver]) -> Harness:
        stores = first, second = MemoryObjects(), MemoryObjects()

        def member(kind: type[MemoryDriver], objects: MemoryObjects) -> MemoryDriver:
            return kind(MemoryConfig(), objects=objects)

        return Harness(
            open=lambda: FallbackDriver(member(kind, first), member(MemoryDriver, second), clock=Hurrying()),
            peek=peek_at(*stores),
            poke=poke_at(*stores),
            fetch=fetch_from(*stores),
        )
