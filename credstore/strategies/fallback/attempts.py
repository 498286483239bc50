"""What the primary gets of a call, so that enough is left for the fallback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from credstore.driver.values import Body, ReadOptions
from credstore.quick import changed


@dataclass(slots=True)
class Watched:
    """A body that records whether it was opened."""

    source: Body
    opened: bool = False

    @property
    def length(self) -> int | None:
        """The same as the source's."""
        return self.source.length

    @property
    def replayable(self) -> bool:
        """The same as the source's."""
        return self.source.replayable

    @property
    def data(self) -> bytes | None:
        """The same as the source's."""
        return self.source.data

    def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The source's bytes."""
        self.opened = True
        return self.source.open(offset)


def half(deadline: float | None) -> float | None:
    """Leave the other half of the time to the fallback."""
    return None if deadline is None else (time.monotonic() + deadline) / 2


def hurried(options: ReadOptions) -> ReadOptions:
    """The same read in half the time."""
    if options.deadline is None:
        return options
    return changed(options, {"deadline": half(options.deadline)})
