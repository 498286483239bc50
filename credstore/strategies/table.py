"""The strategies that have a name: a row each, which says how its driver is made of the members'.

Rules of this file: a row is all that has to be added for another strategy. The words are the original
design's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from credstore.driver.contract import Driver
from credstore.errors import StorageConfigurationError
from credstore.prices.plan import MONTH, Facts
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.options import MultiOptions
from credstore.strategies.priced.driver import PricedDriver
from credstore.strategies.redundant.driver import RedundantDriver


@dataclass(frozen=True, slots=True)
class Strategy:
    """One row.

    Attributes:
        word: What users call it.
        build: Makes its driver, which owns the members' drivers; what those cost comes second.
        options: The names of `MultiOptions` that it takes.
        least: Stores that it needs.
        uses: Stores that it uses, the first ones; None for all.
    """

    word: str
    build: Callable[[Sequence[Driver], Sequence[Facts], MultiOptions], Driver]
    options: frozenset[str] = frozenset()
    least: int = 2
    uses: int | None = None


def _only(members: Sequence[Driver], facts: Sequence[Facts], options: MultiOptions) -> Driver:
    del facts, options
    return members[0]


def _balanced(members: Sequence[Driver], facts: Sequence[Facts], options: MultiOptions) -> Driver:
    del facts
    return BalancedDriver(members, options.get("weights"))


def _fastest(members: Sequence[Driver], facts: Sequence[Facts], options: MultiOptions) -> Driver:
    del facts
    return FastestDriver(members, options.get("write_quorum"), options.get("read_quorum"))


def _priced(members: Sequence[Driver], facts: Sequence[Facts], options: MultiOptions) -> Driver:
    return PricedDriver(members, facts, days=options.get("days", MONTH))


def _redundant(members: Sequence[Driver], facts: Sequence[Facts], options: MultiOptions) -> Driver:
    del facts
    return RedundantDriver(members, options.get("write_quorum"), options.get("read_quorum"))


_QUORUMS = frozenset({"write_quorum", "read_quorum"})
STRATEGIES: Mapping[str, Strategy] = {
    row.word: row
    for row in (
        Strategy("PRIMARY_ONLY", _only, least=1, uses=1),
        Strategy("REDUNDANT", _redundant, _QUORUMS),
        Strategy("LOAD_BALANCED", _balanced, frozenset({"weights"})),
        Strategy("COST_OPTIMIZED", _priced, frozenset({"days"})),
        Strategy("PERFORMANCE_OPTIMIZED", _fastest, _QUORUMS),
    )
}
"""By word."""


def strategy_of(word: str, stores: int, options: Mapping[str, object]) -> Strategy:
    """The row of a strategy, for a number of stores and these options.

    Args:
        word: Its name, in either case; `-` counts as `_`.
        stores: Number of members.
        options: By name; those that are None count as not given.

    Raises:
        StorageConfigurationError: There is no such strategy, it has no such option, or needs more stores.
    """
    name = word.strip().upper().replace("-", "_") if isinstance(cast("object", word), str) else ""
    row = STRATEGIES.get(name)
    if row is None:
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise StorageConfigurationError(
            f"there is no such strategy; {hint}choose one of {', '.join(sorted(STRATEGIES))}"
        )
    unknown = sorted(options.keys() - row.options)
    if unknown:
        takes = f"it takes {', '.join(sorted(row.options))}" if row.options else "it takes no options"
        raise StorageConfigurationError(f"{row.word} has no option {unknown[0]!r}; {takes}")
    for name in row.options & _QUORUMS & options.keys():
        if type(options[name]) is not int:
            raise StorageConfigurationError(f"`{name}` is a whole number")
    weights = options.get("weights", ())
    numbers = cast("tuple[object, ...]", weights) if isinstance(weights, tuple) else (None,)
    if not all(type(each) in {int, float} for each in numbers):
        raise StorageConfigurationError("`weights` is a list of numbers, one for each store")
    days = options.get("days", MONTH)
    if type(days) not in {int, float} or not 0 < cast("float", days) < float("inf"):
        raise StorageConfigurationError("`days` is a number above 0")
    if stores < row.least:
        raise StorageConfigurationError(f"{row.word} needs at least {row.least} stores, not {stores}")
    return row
