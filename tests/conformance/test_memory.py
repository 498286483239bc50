"""The memory driver keeps the contract."""

import pytest

from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_from, peek_at, poke_at


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
