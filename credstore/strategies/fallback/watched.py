"""`Watched`: a body of which it is known whether it was started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from credstore.driver.values import Body


@dataclass(slots=True)
class Watched:
    """A body that records whether it was opened."""

    source: Body
    opened: bool = False

    @property
    def length(self) -> int | None:
        """See `Body`."""
        return self.source.length

    @property
    def replayable(self) -> bool:
        """See `Body`."""
        return self.source.replayable

    @property
    def data(self) -> bytes | None:
        """See `Body`."""
        return self.source.data

    def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """See `Body`."""
        self.opened = True
        return self.source.open(offset)
