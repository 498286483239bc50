"""A transfer from its listings to its report: plan, work, second pass.

Rules of this file: nothing that grows with the number of objects is in memory: listings come page by page,
the plan and what is known are in the journal. Nothing is changed anywhere before the whole plan is known.
What is deleted, at either end, is deleted last and under the condition that it is what was seen. Only what
stands where a folder or a file has to be is deleted before that is copied, when all others are. One object
that fails does not end the others; what would fail for all of them does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from credstore.concurrency import for_each, in_thread
from credstore.errors import ErrorCode, StorageError
from credstore.transfer.journal import Action, Kind
from credstore.transfer.moving import Mover
from credstore.transfer.pace import OVERLOAD, Rate
from credstore.transfer.plan import (
    Known,
    Pair,
    State,
    merged,
)
from credstore.transfer.planning import FATAL, Planning, nothing
from credstore.transfer.values import (
    TROUBLE,
    TransferEvent,
    TransferReport,
)

ATTEMPTS = 3
"""For one object, besides what the store's own client repeats."""
TOGETHER = 32
"""Objects whose reading is prepared together."""
WAIT = 0.5
"""Seconds before the first repetition; twice as many before each further one."""


_COPIES = frozenset({"copy", "late"})
_DELETIONS = frozenset({"delete", "way"})


class Run(Planning):
    """One transfer; used once."""

    _postponed = False
    """Whether the name of a copy was taken by what is to be deleted."""

    async def report(self) -> TransferReport:
        """Do it all.

        Raises:
            StorageError: One end cannot be listed, a belt (`max_delete`) holds, or an error came that every
                further object would have had. What was done until then is in the journal.
        """
        async with self._journal as journal:
            approve = self._options.get("approve")
            approved = False
            if self._goal.evidence is not None and not self._dry:
                await in_thread(self._goal.evidence.check)
            try:
                await self._planned()
                approved = not self._dry and (approve is None or approve(self._plan))
            finally:
                if not approved:
                    await journal.drop_plan()  # Of which nothing was done.
            if approved:
                self._rate = Rate(self._clock())
                await self._work()
                if self._plan.copies or self._plan.drops or self._goal.always_again:
                    await self._look_again()
                await journal.end()
                if self._goal.evidence is not None:
                    await self._goal.evidence.write(
                        self._source,
                        self._destination,
                        journal.known(),
                        self._filter,
                        complete=not self._tally.counts.keys() & TROUBLE,
                    )
            else:
                self._dry = True
        return TransferReport(
            counts=self._tally.counts,
            bytes=self._tally.bytes,
            compared_by=self._tally.compared_by,
            lost=self._tally.lost,
            events=tuple(self._tally.events),
            plan=self._plan,
            dry_run=self._dry,
            seconds=self._clock() - self._begun,
            resumed=self._journal.resumed,
        )

    async def _work(self) -> None:
        def width() -> int:
            return self._hands.width or self._pace.width

        await for_each(self._prepared("copy", "drop"), self._one, at_once=width)
        await self._journal.flush()
        if self._postponed:
            if not self._troubled():
                await self._keep_what_stays()
                await for_each(self._journal.actions("way"), self._one, at_once=width)
            await for_each(self._prepared("late"), self._one, at_once=width)
            await self._journal.flush()
        if self._plan.deletions and self._troubled():
            count = self._plan.deletions - self._tally.counts.get("deleted", 0)
            why = f"{count:,} objects at the destination were not deleted, because not everything was copied"
            if count:
                self._tell(TransferEvent(kind="left", name="", detail=why))
            return
        await for_each(self._journal.actions("delete"), self._one, at_once=width)

    async def _keep_what_stays(self) -> None:
        """Keep all that is in a folder in which anything stays, since no file can take its place."""
        async with aclosing(self._journal.actions("late")) as late:
            async for action in late:
                name = action.entry.name
                if await self._destination.below(name) != await self._journal.below(name):
                    await self._journal.keep_below(name)

    def _troubled(self) -> bool:
        return any(self._tally.counts.get(kind) for kind in ("failed", "refused", "left"))

    async def _prepared(self, *kinds: Kind) -> AsyncGenerator[Action, None]:
        """What is to be copied, some of it at a time, so that small files are read together."""
        here = isinstance(self._hands, Mover)  # Other processes read by themselves.
        async with aclosing(self._journal.actions(*kinds)) as found:
            some: list[Action] = []
            async for action in found:
                some.append(action)
                if len(some) == TOGETHER:
                    if here:
                        await self._source.prepare([each.entry for each in some])
                    for each in some:
                        yield each
                    some = []
            if here:
                await self._source.prepare([each.entry for each in some])
            for each in some:
                yield each

    async def _one(self, action: Action) -> None:
        """Do one thing, again where that may help; report how it ended."""
        entry = action.entry
        most = self._options.get("max_transfer")
        if action.kind in _COPIES:
            if most is not None and self._started + entry.size > most:
                self._tell(
                    TransferEvent(kind="left", name=entry.name, size=entry.size, detail="max_transfer")
                )
                return
            self._started += entry.size
        for attempt in range(1, ATTEMPTS + 1):
            start = self._clock()
            try:
                await self._act(action)
            except StorageError as error:
                if isinstance(error, OVERLOAD):
                    self._pace.overloaded()
                if isinstance(error, FATAL):
                    raise
                if error.code == ErrorCode.IN_THE_WAY and self._goal.delete and action.kind == "copy":
                    await self._journal.postpone(action)
                    self._postponed = True
                    self._started -= entry.size
                    return
                if error.retryable and attempt < ATTEMPTS:
                    await self._sleep(error.retry_after or WAIT * 2 ** (attempt - 1))
                    continue
                self._tell(TransferEvent(kind="failed", name=entry.name, size=entry.size, error=error))
            else:
                self._pace.succeeded(self._clock() - start, entry.size)
            break
        self._done += 1
        self._progress()

    async def _act(self, action: Action) -> None:
        entry, name = action.entry, action.entry.name
        if action.kind in _DELETIONS:
            await self._hands.delete_copy(entry)
            await self._journal.finish(action, None)
            self._tell(TransferEvent(kind="deleted", name=name, size=entry.size))
            return
        digest: bytes | None
        if action.kind == "drop":
            digest = await self._hands.check(entry)
            # Exactly what was read is deleted, not what may be there by now.
            await self._hands.delete_source(entry)
            known = Known(name, entry.size, entry.tag, action.there or "", digest, State.MOVED)
        else:
            if action.kind == "late":
                await self._destination.make_way(name)
            written = await self._hands.copy(entry)
            digest = written.digest
            if digest is None and self._goal.evidence is not None:
                digest = await self._hands.reread(entry)
            known = Known(name, entry.size, written.tag, written.version, digest)
            self._tally.bytes += entry.size
            for what in written.lost:
                self._tally.lost[what] = self._tally.lost.get(what, 0) + 1
            if written.lost:
                self._tell(TransferEvent(kind="lost", name=name, detail=", ".join(sorted(written.lost))))
            if not self._goal.drop:
                await self._journal.finish(action, known)
                self._tell(TransferEvent(kind="copied", name=name, size=entry.size))
                return
            await self._journal.note(known)
            await self._journal.flush()  # Once the source is gone, nothing else knows what it was.
            # Exactly what was read and verified is deleted, not what may be there by now.
            if not written.tag:
                raise StorageError("the source changed while it was being copied, so it was kept")
            await self._hands.delete_source(entry)
        await self._journal.finish(action, known._replace(state=State.MOVED))
        self._tell(TransferEvent(kind="moved", name=name, size=entry.size))

    async def _look_again(self) -> None:
        """Name what changed at the source since it was listed; what failed was named already."""
        await self._journal.flush()
        none = nothing()
        async with aclosing(merged(self._sieve.fit(), none, self._journal.known())) as pairs:
            async for pair in pairs:
                why = self._changed(pair)
                if why is not None and not await self._journal.is_waiting(pair.name):
                    self._tell(TransferEvent(kind="changed", name=pair.name, detail=why))

    def _changed(self, pair: Pair) -> str | None:
        source, known = pair.source, pair.known
        if source is None:
            if known is not None and known.state is State.MOVED:
                return None
            return "it was deleted at the source meanwhile" if self._filter(pair.name) else None
        if known is None or known.state is State.MOVED:
            return "it came to the source meanwhile"
        if known.state is not State.UNSURE and (known.size, known.tag) != (source.size, source.tag):
            return "it was changed at the source meanwhile"
        return None
