"""The edges that the tests play with."""

from pathlib import Path

import pytest

from tests.edge.support import Edge


@pytest.fixture(params=["local", "memory"])
def edge(request: pytest.FixtureRequest, tmp_path: Path) -> Edge:
    """Over either kind of store."""
    return Edge(tmp_path / "store" if request.param == "local" else None)


@pytest.fixture
def memory_edge() -> Edge:
    """Where the store makes no difference."""
    return Edge(None)


@pytest.fixture
def local_edge(tmp_path: Path) -> Edge:
    """With files to reach under."""
    return Edge(tmp_path / "store")
