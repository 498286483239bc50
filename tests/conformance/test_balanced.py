"""The balanced strategy keeps the contract of any driver, also while a member refuses writes."""

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import Driver
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_from, peek_at, poke_at
from tests.conformance.test_redundant import Flaky


@pytest.mark.parametrize("kind", [MemoryDriver, Flaky])
class TestBalanced(DriverConformance):
    @pytest.fixture
    def harness(self, kind: type[MemoryDriver]) -> Harness:
        stores = [MemoryObjects() for _ in range(3)]

        def open_driver() -> Driver:
            kinds = (MemoryDriver, kind, MemoryDriver)
            return BalancedDriver(
                [each(MemoryConfig(), objects=objects) for each, objects in zip(kinds, stores, strict=True)]
            )

        return Harness(
            open=open_driver, peek=peek_at(*stores), poke=poke_at(*stores), fetch=fetch_from(*stores)
        )
