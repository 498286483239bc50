"""The hands of a transfer that are those of the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from credstore.cluster.crew import Crew
from credstore.cluster.messages import Request, Step
from credstore.transfer.plan import Entry, Facts
from credstore.transfer.sides import Depth, Written

PAGE = 1000


@dataclass(frozen=True, slots=True)
class CrewHands:
    """What looks and moves by asking a crew; see `Hands`.

    Attributes:
        crew: Does it, and counts what was read.
    """

    crew: Crew

    @property
    def page(self) -> int:
        """Enough names that all workers have some of them to look at."""
        return max(PAGE, 2 * self.crew.width)

    @property
    def looks(self) -> int:
        """As many as keep all workers busy."""
        return self.crew.width

    @property
    def width(self) -> int:
        """As many as keep all workers busy; each of them finds its own pace."""
        return self.crew.width

    async def look(self, source: Entry, destination: Entry, depth: Depth) -> tuple[Facts, Facts]:
        """More about a name that both ends have; see `Hands.look`."""
        asked = Request("look", source, destination, depth)
        return cast("tuple[Facts, Facts]", await self.crew.ask(asked))

    async def copy(self, entry: Entry) -> Written:
        """Copy one object, and verify it; see `Hands.copy`."""
        return cast("Written", await self._ask("copy", entry))

    async def check(self, entry: Entry) -> bytes:
        """Read one object at both ends; see `Hands.check`."""
        return cast("bytes", await self._ask("check", entry))

    async def reread(self, entry: Entry) -> bytes | None:
        """The digest of what is at the destination; see `Hands.reread`."""
        return cast("bytes | None", await self._ask("reread", entry))

    async def delete_source(self, entry: Entry) -> None:
        """Delete at the source; see `Hands.delete_source`."""
        await self._ask("delete_source", entry)

    async def delete_copy(self, entry: Entry) -> None:
        """Delete at the destination; see `Hands.delete_copy`."""
        await self._ask("delete_copy", entry)

    async def _ask(self, step: Step, entry: Entry) -> object:
        return await self.crew.ask(Request(step, entry))
