"""`Guard`: whether a driver may still be called, as every call checks first."""

from __future__ import annotations

import time

from credstore import forks
from credstore.errors import ErrorCode, StorageInvalidRequestError, StorageTimeoutError


class Guard:
    """Knows whether a driver is open and in the process that made it.

    Attributes:
        closed: Set when the driver is closed.
    """

    def __init__(self, name: str) -> None:
        """Start out open.

        Args:
            name: The driver's, for messages.
        """
        self._name = name
        self._forks = forks.count
        self.closed = False

    def check(self, deadline: float | None = None) -> None:
        """Refuse a call that must not start.

        Args:
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageInvalidRequestError: The driver is closed (code "CLOSED"), or was made by the process
                that this one was forked from ("FORKED").
            StorageTimeoutError: The deadline has passed; `applied` is "no".
        """
        if self.closed:
            raise StorageInvalidRequestError(
                f"this {self._name} store is closed; open a new one", code=ErrorCode.CLOSED
            )
        if self._forks != forks.count:
            raise StorageInvalidRequestError(
                f"this {self._name} store was opened by the process that this one was forked from; open a "
                "new one",
                code=ErrorCode.FORKED,
            )
        if deadline is not None and time.monotonic() >= deadline:
            raise StorageTimeoutError("the deadline had passed before anything was sent", applied="no")
