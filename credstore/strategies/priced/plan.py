"""Where an object costs least, by the price table. Pure.

- A new object goes to the member where storing it costs least: its requests, and its storage for as long as
  it is kept, with what the member bills at least.
- What a member already holds is replaced there, so that there is never an older version elsewhere.
- Members are asked in the order of what reading from them costs. Where several hold an object, all writes go
  to the one that is asked first, so that it has the newest version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from credstore.driver.values import Capabilities
from credstore.errors import RetentionMode
from credstore.model import Method
from credstore.prices.plan import Facts, explained

UNSIZED = 64 * 2**20
"""Bytes that a body of unknown length is taken to have."""
_READ_OF = 2**20
"""Bytes of the read by which members are compared."""
_LINKS: frozenset[Method] = frozenset({"GET", "HEAD"})
_UNKNOWN = float("inf")
"""A member whose prices are not known comes after all others."""


def able_together(members: Sequence[Capabilities]) -> Capabilities:
    """What several members can do as one store, of which each has a part of the objects."""
    met = reduce(Capabilities.meet, members)
    return replace(
        met,
        writable=any(each.writable for each in members),
        conditional_create=False,  # Two members cannot be asked in one step.
        conditional_replace=False,
        conditional_delete=False,
        versions=False,
        resumable=False,
        upload_forms=False,
        presign=met.presign & _LINKS,
        retention_modes=frozenset[RetentionMode](),
        legal_holds=False,
    )


def read_order(facts: Sequence[Facts]) -> list[int]:
    """The members, the one that reading costs least at first."""
    costs = [_cost(explained(each, "retrieve", _READ_OF).total) for each in facts]
    return sorted(range(len(facts)), key=lambda at: (costs[at], at))


def write_order(
    facts: Sequence[Facts], size: int | None, storage_class: str | None, days: float
) -> list[int]:
    """The members, the one that keeping an object costs least at first.

    Args:
        facts: Of the members.
        size: Stored bytes, or None where that is not known.
        storage_class: Of the write.
        days: How long the object is kept.
    """
    stored = UNSIZED if size is None else size
    costs = [
        _cost(explained(each, "store", stored, storage_class=storage_class, days=days).total)
        for each in facts
    ]
    reads = {at: rank for rank, at in enumerate(read_order(facts))}
    return sorted(range(len(facts)), key=lambda at: (costs[at], reads[at]))


def _cost(total: float | None) -> float:
    return _UNKNOWN if total is None else total
