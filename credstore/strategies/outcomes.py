"""What became of a call, as a value."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from credstore.errors import StorageError

T = TypeVar("T")


async def outcome_of(call: Awaitable[T]) -> T | StorageError:
    """What a call returns, or the error it raises."""
    try:
        return await call
    except StorageError as error:
        return error
