"""The pytest plugin: fixtures of a store in memory, and faults by marker.

    @pytest.mark.credstore_fault("store", "unavailable")
    async def test_an_outage_is_reported(credstore_store): ...

Rules of this file: pytest loads it in every run of an environment that has credstore, so nothing is imported
before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

_MARKER = (
    'credstore_fault(verb, kind, key="*", times=1, after=0): calls of `credstore_store` that fail, and how; '
    "see credstore.testing.Fault. The test fails if the fault never happened."
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def credstore_store_factory(request: pytest.FixtureRequest) -> Iterator[Callable[[], StorageProvider]]:
    """Opens stores that share their objects, one for each event loop; the faults of the test are theirs."""
    from credstore.config.local import MemoryConfig
    from credstore.drivers.memory import MemoryObjects
    from credstore.errors import StorageError
    from credstore.provider.provider import StorageProvider
    from credstore.testing.faults import Fault, FaultyDriver

    try:
        # The marker that is closest to the test comes first.
        faults = [Fault(*each.args, **each.kwargs) for each in request.node.iter_markers("credstore_fault")]
    except (TypeError, StorageError) as error:
        said = error.message if isinstance(error, StorageError) else str(error)
        pytest.fail(f"credstore_fault: {said}", pytrace=False)
    config, objects = MemoryConfig(), MemoryObjects()
    yield lambda: StorageProvider(FaultyDriver(config, objects=objects, faults=faults), config)
    never = [each for each in faults if not each.happened]
    if never:
        pytest.fail(f"a fault never happened: {', '.join(map(repr, never))}", pytrace=False)


@pytest.fixture
def credstore_store(credstore_store_factory: Callable[[], StorageProvider]) -> StorageProvider:
    """A store in memory, empty, of this test alone; it belongs to the event loop that uses it first."""
    return credstore_store_factory()
