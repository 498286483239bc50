"""The first half of a transfer: both listings, looked through, become the plan in the journal.

Rules of this file: those of `run.py`; nothing is changed at either end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from credstore.concurrency import in_thread, map_all
from credstore.errors import (
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
    StorageQuotaExceededError,
)
from credstore.transfer.evidence import Evidence
from credstore.transfer.filters import Filter
from credstore.transfer.journal import Journal, Kind
from credstore.transfer.mapping import Names
from credstore.transfer.moving import Hands, Mover
from credstore.transfer.pace import Pace, Rate
from credstore.transfer.plan import (
    UNCHANGED,
    Entry,
    Judged,
    Known,
    Pair,
    Rules,
    State,
    Verdict,
    judge,
    judge_looked,
    merged,
)
from credstore.transfer.sides import Depth, Flow, Side, pair_name
from credstore.transfer.sifting import Sieve
from credstore.transfer.values import (
    EventKind,
    Tally,
    TransferEvent,
    TransferOptions,
    TransferPlan,
    TransferProgress,
    check_options,
)
from credstore.wire.bandwidth import Bandwidth

FATAL = (
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageQuotaExceededError,
)
"""Errors that every further object would have too."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a transfer is for.

    Attributes:
        delete: Delete at the destination what the source lacks.
        drop: Delete at the source what is at the destination.
        compare: Change nothing.
        always_again: Look at the source a second time even if nothing was to be done.
        evidence: Leave a signed list of what is at both ends; every object is then compared by content.
    """

    delete: bool = False
    drop: bool = False
    compare: bool = False
    always_again: bool = False
    evidence: Evidence | None = None


class Planning:
    """What is to be done, found out; `Run` does it."""

    def __init__(
        self,
        source: Side,
        destination: Side,
        goal: Goal,
        options: TransferOptions,
        *,
        hands: Callable[[Flow], Hands] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Check the options; nothing is touched.

        Args:
            source: Where the objects are.
            destination: Where they go.
            goal: What for.
            options: How.
            hands: Makes what looks and moves, given what counts bytes; this process does it unless given.
            clock: Seconds.
            sleep: Waits that many.

        Raises:
            StorageInvalidRequestError: One is wrong.
        """
        self._source, self._destination, self._goal = source, destination, goal
        self._options, self._clock, self._sleep = options, clock, sleep
        check_options(options)
        self._filter = Filter(
            options.get("include", ()),
            options.get("exclude", ()),
            options.get("files_from"),
            options.get("within", ()),
        )
        self._rules = Rules(
            overwrite=options.get("overwrite", "different"),
            checksum=options.get("checksum", False) or goal.evidence is not None,
            plain=source.plain and destination.plain,
            sealed=bool(source.sealed or destination.sealed),
        )
        self._dry = goal.compare or options.get("dry_run", False)
        journal = options.get("journal")
        self._journal = Journal(None if journal is None else Path(journal), pair_name(source, destination))
        self._sieve = Sieve(source, destination, self._filter, self._journal)
        self._pace = Pace(most=options.get("concurrency", 64))
        limit = options.get("bandwidth")
        self._bandwidth = None if limit is None else Bandwidth(limit)
        self._tally = Tally()
        self._plan: TransferPlan = TransferPlan()
        self._begun = clock()
        self._rate = Rate(self._begun)
        self._done = self._started = self._moved = 0
        self._hands: Hands = (
            hands(self._flow) if hands else mover_of(source, destination, options, self._flow)
        )

    def _tell(self, event: TransferEvent) -> None:
        self._tally.add(event)
        told = self._options.get("on_event")
        if told is not None:
            told(event)

    async def _renamed(self) -> Names:
        """What is called otherwise at one of the ends, known to both before anything is planned.

        Raises:
            StorageInvalidRequestError: The file is not a mapping, or cannot be written.
        """
        given = self._options.get("mapping")
        if given is None:
            return Names()
        path = Path(given)
        names = await in_thread(Names.read, path)
        for side in (self._source, self._destination):
            side.held.names = names
            side.ordered = side.ordered and not names
        known = len(names)
        await self._sieve.rename(names, self._tell)
        for side in (self._source, self._destination):
            side.ordered = side.ordered and not names
        if len(names) > known and not self._dry:
            try:
                await in_thread(names.write, path)
            except OSError as error:
                raise StorageInvalidRequestError(
                    f"the mapping {path} cannot be written: {error.strerror}; nothing was changed"
                ) from None
        return names

    async def _planned(self) -> None:
        seen = False
        # What only the destination has is what one of these is about, and else a name that was not found.
        deletes = self._goal.delete or self._goal.compare
        names = await self._renamed()
        known = self._journal.known()
        pairs = merged(
            self._sieve.fit(self._refuse),
            self._sieve.destination(),
            known,
        )
        async with aclosing(pairs) as found:
            page: list[Pair] = []
            async for pair in found:
                seen = seen or pair.source is not None
                if self._filter.unseen and (pair.source is not None or (pair.destination and deletes)):
                    self._filter.unseen.discard(pair.name)
                if pair.name in names.new and pair.destination is not None:
                    why = f"the destination has something else as {names.called(pair.name)!r} already"
                    self._refuse(TransferEvent(kind="refused", name=pair.name, detail=why))
                    continue
                page.append(pair)
                if len(page) >= self._hands.page:
                    await self._decide(page)
                    page = []
            await self._decide(page)
        only = self._source.only
        lacking = {*self._filter.unseen, *([only[0]] if only and not seen else [])}
        for name in sorted(lacking):
            self._refuse(TransferEvent(kind="failed", name=name, detail="the source has no such object"))
        await self._journal.flush()
        self._check_belts(seen=seen)

    def _refuse(self, event: TransferEvent) -> None:
        self._filter.unseen.discard(event.name)  # It is there, and this says what is wrong with it.
        if event.kind != "skipped":
            self._plan = replace(self._plan, refused=self._plan.refused + 1)
        self._tell(event)

    async def _decide(self, page: list[Pair]) -> None:
        """Judge some names, and add what is to be done to the plan."""
        judged = [judge(pair, self._rules) for pair in page]
        unclear = [
            number
            for number, (verdict, _) in enumerate(judged)
            if verdict is Verdict.LOOK or verdict is Verdict.READ
        ]
        digests: dict[int, bytes | None] = {}

        async def look(number: int) -> Judged | StorageError:
            pair = page[number]
            again = pair.known is not None and pair.known.state is State.UNSURE
            depth: Depth = "read" if again else "digest" if judged[number][0] is Verdict.READ else "facts"
            try:
                verdict, digests[number] = await self._looked(pair, depth)
                return verdict
            except StorageError as error:
                if isinstance(error, FATAL):
                    raise
                return error

        for number, outcome in zip(
            unclear, await map_all(unclear, look, at_once=self._hands.looks), strict=True
        ):
            if isinstance(outcome, StorageError):
                self._refuse(TransferEvent(kind="failed", name=page[number].name, error=outcome))
                judged[number] = Verdict.KEPT, "name"
            else:
                judged[number] = outcome
        failed = {number for number in unclear if judged[number] == (Verdict.KEPT, "name")}
        actions: list[tuple[Kind, Entry, str | None]] = []
        counts_alone = self._options.get("on_event") is None and not self._goal.drop
        unchanged = 0
        for number, (pair, verdict) in enumerate(zip(page, judged, strict=True)):
            if number in failed and not self._dry:
                await self._journal.note(Known(pair.name, 0, "", "", None, State.UNSURE))
            elif verdict is UNCHANGED and counts_alone:  # As most are, and there is nothing to do.
                unchanged += 1
            elif number not in failed:
                await self._settle(pair, verdict, digests.get(number), actions)
        if unchanged:
            self._tally.count("same", "journal", unchanged)
        if actions and not self._dry:
            await self._journal.plan(actions)
        self._progress()

    async def _looked(self, pair: Pair, depth: Depth) -> tuple[Judged, bytes | None]:
        """The verdict, and the digest that both ends have where they were compared by it."""
        source, destination = pair.source, pair.destination
        if source is None or destination is None:
            return judge(pair, self._rules), None
        mine, theirs = await self._hands.look(source, destination, depth)
        judged = judge_looked(mine, theirs)
        digest = mine.digest if mine.digest == theirs.digest else mine.stored
        return judged, digest if judged == (Verdict.SAME, "digest") else None

    async def _settle(
        self, pair: Pair, judged: Judged, digest: bytes | None, actions: list[tuple[Kind, Entry, str | None]]
    ) -> None:
        """Take one name into the plan."""
        verdict, basis = judged
        source, there, plan = pair.source, pair.destination, self._plan
        if source is None:
            if pair.known is not None and not self._dry and self._filter(pair.name):
                if pair.is_moved:
                    await self._journal.note(pair.known._replace(state=State.MOVED))
                else:
                    await self._journal.forget(pair.name)
            if there is None:
                return
            self._tell(TransferEvent(kind="extra", name=pair.name, size=there.size))
            if self._goal.delete:
                actions.append(("delete", there, there.version))
                self._plan = replace(plan, deletions=plan.deletions + 1)
            return
        if verdict is Verdict.MISSING or verdict is Verdict.DIFFERING:
            kind: EventKind = "missing" if there is None else "differing"
            self._tell(
                TransferEvent(
                    kind=kind, name=pair.name, size=source.size, basis=None if there is None else basis
                )
            )
            actions.append(("copy", source, None if there is None else there.version))
            self._plan = replace(plan, copies=plan.copies + 1, copy_bytes=plan.copy_bytes + source.size)
            return
        same = verdict is Verdict.SAME
        if same and self._options.get("on_event") is None:
            self._tally.count("same", basis)
        else:
            self._tell(
                TransferEvent(
                    kind="same" if same else "kept",
                    name=pair.name,
                    size=source.size,
                    basis=basis if same else None,
                )
            )
        if there is not None and not (same and basis == "journal") and not self._dry:
            state = State.EQUAL if same else State.KEPT
            await self._journal.note(Known(pair.name, source.size, source.tag, there.version, digest, state))
        if same and self._goal.drop:
            actions.append(("drop", source, there.version if there else None))
            self._plan = replace(plan, drops=plan.drops + 1)

    def _check_belts(self, *, seen: bool) -> None:
        """Refuse a plan that deletes more than was permitted.

        Raises:
            StorageInvalidRequestError: It does.
        """
        most, planned = self._options.get("max_delete"), self._plan.deletions
        if most is not None and planned > most:
            raise StorageInvalidRequestError(
                f"{planned:,} objects would be deleted at the destination, more than max_delete ({most:,}); "
                "nothing was changed"
            )
        if planned and not seen and most is None:
            raise StorageInvalidRequestError(
                f"the source is empty, so all {planned:,} objects at the destination would be deleted; "
                "if that is meant, set max_delete; nothing was changed"
            )

    async def _flow(self, size: int) -> None:
        self._moved += size
        self._progress()
        if self._bandwidth is not None and size:
            wait = self._bandwidth.delay(self._clock(), size)
            if wait:
                await self._sleep(wait)

    def _progress(self) -> None:
        told = self._options.get("progress")
        if told is None:
            return
        now, plan = self._clock(), self._plan
        total = plan.copies + plan.drops + plan.deletions
        told(
            TransferProgress(
                objects=self._done,
                bytes=self._moved,
                total_objects=total,
                total_bytes=plan.copy_bytes,
                elapsed=now - self._begun,
                rate=self._rate.speed(now, self._moved),
                remaining=self._rate.left(now, self._moved, plan.copy_bytes),
                at_once=self._hands.width or self._pace.width,
            )
        )


async def nothing() -> AsyncGenerator[Entry, None]:
    """A listing of an empty place."""
    entries: tuple[Entry, ...] = ()
    for each in entries:
        yield each


def mover_of(source: Side, destination: Side, options: TransferOptions, flow: Flow) -> Mover:
    """What moves objects in this process, as the options say."""
    return Mover(
        source,
        destination,
        verify=options.get("verify", "read") == "read",
        if_absent=options.get("overwrite") == "never",
        flow=flow,
        keep_retention=options.get("keep_retention", False),
    )
