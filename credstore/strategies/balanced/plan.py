"""Where an object belongs: weighted rendezvous hashing. Pure.

Each store draws a number for the key; the order of the draws is the order of the stores for it. A store that
is added draws for every key, and wins its share; all other keys stay where they are.

Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996); with weights,
Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite, log

from credstore.errors import StorageConfigurationError

_RANGE = (1 << 64) + 1


def checked_weights(weights: Sequence[float] | None, members: int) -> tuple[float, ...]:
    """One weight for each store; equal ones unless given.

    Raises:
        StorageConfigurationError: There is not one for each, or one is not a number greater than 0.
    """
    if weights is None:
        return (1.0,) * members
    if len(weights) != members or not all(isfinite(each) and each > 0 for each in weights):
        raise StorageConfigurationError(
            f"`weights` has one number greater than 0 for each of the {members} stores, in their order"
        )
    return tuple(float(each) for each in weights)


def ranking(key: str, weights: Sequence[float]) -> list[int]:
    """The stores for a key, by index, where it belongs first.

    >>> ranking("proofs/1", (1.0, 1.0, 1.0))
    [2, 1, 0]
    """
    name = key.encode()
    drawn = b"".join(
        blake2b(name, salt=block.to_bytes(16)).digest() for block in range((len(weights) + 7) // 8)
    )
    draws = [
        (log((int.from_bytes(drawn[8 * index : 8 * index + 8]) + 1) / _RANGE) / weight, index)
        for index, weight in enumerate(weights)
    ]
    draws.sort(reverse=True)
    return [index for _, index in draws]


def adjusted(
    weights: Sequence[float], typical: Sequence[float | None], down: Sequence[bool]
) -> tuple[float, ...]:
    """Weights by which faster stores get more: each by how its latency compares with the middle one.

    None changes to less than half or more than double at once, since load changes latencies. A store of which
    nothing recent is known keeps its weight; one that does not respond gets half.

    Args:
        weights: That are used now.
        typical: Seconds within which most recent reads of each ended; None where there were none.
        down: Whether each does not respond.

    >>> adjusted((1.0, 1.0, 2.0), (0.010, 0.020, 0.020), (False, False, True))
    (2.0, 1.0, 1.0)
    """
    known = sorted(each for each in typical if each is not None and each > 0)
    middle = known[len(known) // 2] if known else 0.0

    def factor(seconds: float | None, *, away: bool) -> float:
        if away:
            return 0.5
        return min(2.0, max(0.5, middle / seconds)) if seconds else 1.0

    return tuple(
        weight * factor(seconds, away=away)
        for weight, seconds, away in zip(weights, typical, down, strict=True)
    )
