"""The memory driver keeps the contract."""

import pytest

from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_from, peek_at, poke_at
from tests.orders import odd_order


class TestMemory(DriverConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        objects = MemoryObjects()
        return Harness(
            open=lambda: MemoryDriver(MemoryConfig(), objects=objects),
            peek=peek_at(objects),
            poke=poke_at(objects),
            fetch=fetch_from(objects),
        )


class TestAnOrderOfItsOwn(DriverConformance):
    @pytest.fixture(params=["reverse", "shuffled"])
    def harness(self, request) -> Harness:
        objects = MemoryObjects()
        return Harness(
            open=lambda: odd_order(request.param)(MemoryConfig(), objects=objects),
            peek=peek_at(objects),
            poke=poke_at(objects),
            fetch=fetch_from(objects),
        )
