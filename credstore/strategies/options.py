"""What can be said about several stores as one. Imports no strategy, so that one store does without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class MultiOptions(TypedDict, total=False):
    """What can be said about a strategy; each takes only what has a meaning for it.

    Attributes:
        write_quorum: REDUNDANT and PERFORMANCE_OPTIMIZED: number of stores that have to have a write before
            it returns; a majority unless given.
        read_quorum: The same: number of stores that have to answer a read; as few as `write_quorum` permits
            unless given.
        weights: LOAD_BALANCED: one number for each store, how much of all objects it gets; equal unless
            given.
        days: COST_OPTIMIZED: number of days that objects are kept, which decides where they cost least; 30
            unless given.
    """

    write_quorum: int
    read_quorum: int
    weights: Sequence[float]
    days: float
