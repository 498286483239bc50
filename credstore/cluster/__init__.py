"""Work on many objects, done by the workers of a Dask cluster (extra `dask`).

The coordinator lists, plans and keeps the journal; workers get ranges of what was listed and return results,
a few objects at a time. They open the stores by name with the credentials of their own environment, so none
travels. A range whose worker dies is done again by another one: each step may be repeated.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from credstore.extras import require_extra

if TYPE_CHECKING:
    from credstore.cluster.cluster import Cluster
    from credstore.cluster.places import ClusterPlace, StoreAt
    from credstore.cluster.reports import IssueReport, RecompressReport

_HOMES = {
    "Cluster": "cluster",
    "ClusterPlace": "places",
    "IssueReport": "reports",
    "RecompressReport": "reports",
    "StoreAt": "places",
}
__all__ = ["Cluster", "ClusterPlace", "IssueReport", "RecompressReport", "StoreAt"]


if not TYPE_CHECKING:  # So that a wrong name is an error for type checkers too.

    def __getattr__(name: str) -> object:
        """Load a public name at its first use, so that naming a place needs no Dask."""
        if name not in __all__:
            raise AttributeError(f"module 'credstore.cluster' has no attribute {name!r}")
        if name == "Cluster":
            require_extra("dask", "work on a cluster needs")
        value: object = getattr(import_module(f"credstore.cluster.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
