"""What every job has in a process that works on it."""

from __future__ import annotations

from typing import Protocol

from credstore.cluster.messages import Facts, Request
from credstore.transfer.sides import Flow


class Bench(Protocol):
    """An open job in a process that works on it.

    Attributes:
        facts: What must be the same for all who work on it.
    """

    facts: Facts

    async def do(self, request: Request, flow: Flow) -> object:
        """Do one step.

        Args:
            request: Which one, with which object.
            flow: Counts bytes of content that are read.

        Raises:
            StorageError: It was not done.
        """
        ...
