"""What every job has in a process that works on it."""

from __future__ import annotations

from typing import Protocol

from credstore.cluster.messages import Facts, Request


class Bench(Protocol):
    """An open job in a process that works on it.

    Attributes:
        facts: What must be the same for all who work on it.
    """

    facts: Facts

    async def do(self, request: Request) -> object:
        """Do one step.

        Raises:
            StorageError: It was not done.
        """
        ...


async def uncounted(size: int) -> None:
    """Count nothing, where no one waits for the number of bytes."""
    del size
