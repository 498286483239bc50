"""How a strategy over one store can do beyond `Driver` what that store can, and no more.

Rules of this file: `isinstance` looks for a protocol's members on the class, so each combination of optional
protocols is a class of its own, made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import new_class
from typing import TypeVar, cast

from credstore.driver.contract import Driver

D = TypeVar("D", bound=Driver)


def able_as(driver: Driver, strategy: type[D], abilities: Mapping[type, type[Driver]]) -> type[D]:
    """The class of a strategy with the optional protocols that the driver below it has.

    Args:
        driver: The store below.
        strategy: The class without any of them; what it defines itself counts before its abilities.
        abilities: For each protocol, what implements it over a driver that has it: a class derived
            from `strategy`, or one that goes with it.
    """
    return _combined(strategy, tuple(made for each, made in abilities.items() if isinstance(driver, each)))


@cache
def _combined(strategy: type[D], abilities: tuple[type[Driver], ...]) -> type[D]:
    if not abilities:
        return strategy
    below = all(issubclass(each, strategy) for each in abilities)
    return cast("type[D]", new_class(strategy.__name__, abilities if below else (strategy, *abilities)))
