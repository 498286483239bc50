"""Jobs on the objects of one store: one pass over its listing, each object done by a worker.

Rules of this file: the store is listed once for each pass, and nothing that grows with the number of objects
is in memory but what failed. With a journal, what was done and has not changed since is not asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from credstore.cluster.crew import Crew
from credstore.cluster.messages import Request, Step
from credstore.concurrency import for_each
from credstore.errors import StorageError
from credstore.model import Progress
from credstore.transfer.filters import Filter
from credstore.transfer.journal import PAGE, Journal
from credstore.transfer.plan import Entry, Known, State, merged
from credstore.transfer.planning import FATAL, nothing
from credstore.transfer.run import ATTEMPTS, WAIT
from credstore.transfer.sides import Side


@dataclass(slots=True)
class Pass:
    """One pass over many objects.

    Attributes:
        crew: Does it.
        progress: Called with (objects done, None), or None.
        fatal: Errors that every further object would have too.
        done: Objects so far, failures included.
        failed: Why it was not done, by name.
    """

    crew: Crew
    progress: Progress | None
    fatal: tuple[type[StorageError], ...] = FATAL
    done: int = 0
    failed: dict[str, StorageError] = field(default_factory=dict[str, StorageError])

    async def run(
        self, entries: AsyncIterator[Entry], step: Step, took: Callable[[Entry, object], None]
    ) -> None:
        """Have one step done with each object; `took` is called with each result.

        Raises:
            StorageError: The listing failed, or something that every further object would meet.
            LostClusterError: The scheduler is gone.
        """

        async def one(entry: Entry) -> None:
            try:
                result = await self._asked(Request(step, entry))
            except StorageError as error:
                if isinstance(error, self.fatal):
                    raise
                self.failed[entry.name] = error
            else:
                took(entry, result)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, None)

        await for_each(entries, one, at_once=lambda: self.crew.width)

    async def _asked(self, request: Request) -> object:
        for attempt in range(1, ATTEMPTS):
            try:
                return await self.crew.ask(request)
            except StorageError as error:
                if not error.retryable or isinstance(error, self.fatal):
                    raise
                await asyncio.sleep(error.retry_after or WAIT * 2 ** (attempt - 1))
        return await self.crew.ask(request)


async def listed(side: Side) -> AsyncGenerator[Entry, None]:
    """All objects of a place that can be worked on.

    Raises:
        StorageError: It cannot be listed; or, after everything else, an object cannot be shown.
    """
    async with aclosing(side.entries(Filter(), destination=False)) as found:
        async for entry in found:
            if entry.refused is None:
                yield entry
            elif entry.fault:
                raise StorageError(entry.refused, key=entry.name)


class Memory:
    """What earlier runs of the same job have done, in a journal; opened by `async with`.

    Attributes:
        known: Objects that were left out since they were done before and are as they were.
    """

    def __init__(self, path: str | None, *what: str) -> None:
        """Name it; nothing is touched.

        Args:
            path: Of the journal; None to remember nothing.
            what: Names the job and everything that its results depend on.
        """
        name = hashlib.sha256("\n".join(what).encode(errors="surrogateescape")).hexdigest()[:32]
        self._journal = Journal(None if path is None else Path(path), name)
        self._noted: list[Known] = []
        self.known = 0

    async def __aenter__(self) -> Self:
        await self._journal.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._flush()
        finally:
            await self._journal.__aexit__()

    async def left(self, side: Side) -> AsyncGenerator[Entry, None]:
        """The objects of a place that are still to be done, ascending by name.

        Raises:
            StorageError: It cannot be listed.
        """
        entries = listed(side)
        ordered = entries if side.ordered else self._journal.in_order(entries)
        async with aclosing(merged(ordered, nothing(), self._journal.known())) as pairs:
            async for pair in pairs:
                entry, known = pair.source, pair.known
                if entry is None:
                    await self._journal.forget(pair.name)
                elif known is not None and (known.size, known.tag) == (entry.size, entry.tag):
                    self.known += 1
                else:
                    yield entry
                if len(self._noted) >= PAGE:
                    await self._flush()

    def note(self, entry: Entry, result: str) -> None:
        """Remember that an object was done, soon."""
        self._noted.append(Known(entry.name, entry.size, entry.tag, result, None, State.EQUAL))

    async def _flush(self) -> None:
        noted, self._noted = self._noted, []
        for each in noted:
            await self._journal.note(each)
        await self._journal.flush()
