"""Where a bucket is, as its server says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLocation:
    """Where a bucket is.

    Attributes:
        region: As the server names it, or None.
        type: What kind of place that is, in the server's words, or None.
    """

    region: str | None = None
    type: str | None = None


@runtime_checkable
class TellsLocation(Protocol):
    """A driver of a store that says where its bucket is."""

    async def locate(self, *, deadline: float | None = None) -> BucketLocation:
        """Ask where the bucket is, with one request.

        Raises:
            StorageError: The server could not be asked, or does not say it to everybody.
        """
        ...
