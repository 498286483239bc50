"""Which members are worth asking: a dead one costs one timeout, not one per call.

Rules of this file: only what says that a member cannot be reached counts against it (`is_outage`); a response
that refuses, or says that there is no such object, proves that it is alive. After one failure a member is
left alone for a moment that doubles with each failed trial; one call at a time finds out whether it is back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from credstore.driver.contract import Driver
from credstore.errors import (
    ErrorCode,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.wire.breaker import Breaker

P = ParamSpec("P")
T = TypeVar("T")
PAUSE = 1.0
"""Seconds for which a member is left alone after its first failure."""
LONGEST = 30.0
"""Seconds to which that grows."""
_OUTAGES = (StorageConnectionError, StorageTimeoutError, StorageUnavailableError)
_WRONG_REQUEST = (StorageInvalidRequestError, StorageUnsupportedError)


def is_outage(error: StorageError) -> bool:
    """Whether an error says that the member cannot be reached, or cannot serve anything."""
    return isinstance(error, _OUTAGES)


def is_absence(error: StorageError) -> bool:
    """Whether the member responded that it has no such object."""
    return isinstance(error, StorageObjectNotFoundError)


def is_wrong_request(error: StorageError) -> bool:
    """Whether the request is at fault, so that no member would serve it."""
    return isinstance(error, _WRONG_REQUEST)


def labels_of(drivers: list[Driver]) -> list[str]:
    """What members are called in `served_by`: their names, numbered where two have the same."""
    names = [driver.name for driver in drivers]
    return [
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)
    ]


class Member:
    """One driver of a strategy, and what its calls have shown.

    Attributes:
        driver: Makes the calls.
        label: Its name in `served_by`.
        index: Its place among the members, 0-based.
        came_back: Called when it responds again after an outage.
    """

    __slots__ = ("_breaker", "_clock", "came_back", "driver", "index", "label")

    def __init__(
        self, driver: Driver, label: str, index: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Assume that it is well.

        Args:
            driver: Makes the calls.
            label: Its name in `served_by`.
            index: Its place among the members, 0-based.
            clock: Seconds.
        """
        self.driver = driver
        self.label = label
        self.index = index
        self.came_back: Callable[[], None] | None = None
        self._clock = clock
        self._breaker = Breaker(failures=1, period=0.0, pause=PAUSE, longest=LONGEST)

    @property
    def down(self) -> bool:
        """Whether its last call showed an outage."""
        return self._breaker.failures > 0  # One opens the circuit at once.

    @property
    def surely_down(self) -> bool:
        """Whether more than one call in a row has shown an outage."""
        return self._breaker.failures > 1

    def admits(self) -> bool:
        """Whether to ask it now; True for a member that is down makes this call the one that finds out."""
        return not self._breaker.failures or self._breaker.refusal(self._clock()) is None

    def left_alone(self) -> StorageUnavailableError:
        """The error of a call that is not made because the member is down."""
        return StorageUnavailableError(
            f"{self.label} was not asked: it did not respond a moment ago",
            code=ErrorCode.CIRCUIT_OPEN,
            applied="no",
        )

    async def ask(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a call to the driver returns, and remember whether that responded.

        Raises:
            StorageError: As the call raised it.
        """
        try:
            found = await call(*args, **kwargs)
        except StorageError as error:
            self.saw(error)
            raise
        if self._breaker.failures:
            self.saw(None)
        return found

    def saw(self, error: StorageError | None) -> None:
        """Remember the outcome of a call: its error, or None where it succeeded."""
        if error is not None and is_outage(error):
            self._breaker.failed(self._clock())
            return
        was_down = self._breaker.tripped
        self._breaker.succeeded()
        if was_down and self.came_back is not None:
            self.came_back()
