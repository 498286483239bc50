"""The sweep of expired proofs: it only looks at the markers of due days, and believes none of them.

A marker leads to a proof, and its signed record says whether it is due. So a forged marker removes nothing,
and any number of sweepers may run. Removal happens in stages for a page of proofs: bundles and records, then
what belongs to them and index names, then the markers, which stay while anything else may be left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from credstore.concurrency import map_in_order
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageVersionsRemainError,
)
from credstore.model import StorageItem
from credstore.proofs.format.errors import ProofErasedError, ProofNotFoundError
from credstore.proofs.format.record import ProofRecord
from credstore.proofs.store.erasing import ProofEraser
from credstore.proofs.store.evidence import AT_ONCE
from credstore.proofs.store.layout import LARGEST_MARKER, parse_marker_body
from credstore.proofs.store.model import SweepReport
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.reading import ProofReader
from credstore.proofs.store.repository import NOTHING_ELSE, PAGE, Belongings, ProofObjects

Fate = Literal["swept", "cleaned", "stray", "kept", "later", "failed"]
_REMOVED: frozenset[Fate] = frozenset({"swept", "cleaned", "stray"})


@dataclass(slots=True)
class _Due:
    """One marker of a due day and what to do with it."""

    marker: str
    proof_id: str
    fate: Fate = "kept"
    record: ProofRecord | None = None
    belongings: Belongings = NOTHING_ELSE
    error: StorageError | None = None
    stays: bool = False

    def fail(self, error: StorageError) -> None:
        """Leave it as it is, for a later sweep."""
        self.fate = "later" if _is_kept(error) else "failed"
        self.error = error


@dataclass(slots=True)
class _Tally:
    """What became of the markers so far.

    Attributes:
        left: How many more may be removed, or None for all. One that stays does not count, whatever keeps it:
            as many of them as the limit would keep every sweep from those behind them.
    """

    left: int | None
    counts: Counter[Fate] = field(default_factory=Counter["Fate"])
    failed: dict[str, StorageError] = field(default_factory=dict[str, StorageError])

    @property
    def room(self) -> int:
        """How many markers to look at together."""
        return PAGE if self.left is None else min(PAGE, self.left)

    def add(self, due: _Due) -> None:
        """Count one."""
        self.counts[due.fate] += 1
        if due.fate == "failed" and due.error is not None:
            self.failed[due.proof_id] = due.error
        if self.left is not None:
            self.left -= due.fate in _REMOVED

    def report(self) -> SweepReport:
        """All of it."""
        counts = self.counts
        return SweepReport(
            swept=counts["swept"],
            cleaned=counts["cleaned"],
            stray=counts["stray"],
            kept=counts["kept"],
            later=counts["later"],
            failed=self.failed,
        )


def _is_kept(error: StorageError) -> bool:
    """Whether a lock keeps it: that will end, and nothing is wrong."""
    if isinstance(error, StorageVersionsRemainError):
        return any(each.error.code == ErrorCode.LOCKED for each in error.remaining)
    return isinstance(error, StorageAccessDeniedError)


@dataclass(frozen=True, slots=True)
class ProofSweeper:
    """Removes what has expired.

    Attributes:
        objects: The store's objects.
        reader: Reads records.
        eraser: Continues deletions that never ended.
    """

    objects: ProofObjects
    reader: ProofReader
    eraser: ProofEraser

    async def sweep(self, grace: timedelta, limit: int | None) -> SweepReport:
        """One pass; see `ProofStore.sweep_expired`."""
        try:
            until = self.objects.clock() - grace
        except OverflowError:
            return SweepReport(swept=0, cleaned=0, stray=0, kept=0, later=0, failed={})
        tally = _Tally(limit)
        page: list[StorageItem] = []
        async with aclosing(self._due(until)) as markers:
            async for item in markers:
                page.append(item)
                if len(page) == tally.room:
                    await self._page(page, until, tally)
                    page = []
                    if tally.room == 0:
                        break
        if page:
            await self._page(page, until, tally)
        return tally.report()

    async def _page(self, page: Sequence[StorageItem], until: datetime, tally: _Tally) -> None:
        async with aclosing(
            map_in_order(page, lambda item: self._decide(item, until), at_once=AT_ONCE)
        ) as decided:
            found = [each async for each in decided if each is not None]
        await self._remove([each for each in found if each.fate in {"swept", "stray"}])
        for each in found:
            tally.add(each)

    async def _due(self, until: datetime) -> AsyncGenerator[StorageItem, None]:
        """The markers of due days; later days are not listed, where the store lists in the order of days."""
        last = until.date()
        ordered = self.objects.provider.capabilities.ordered
        items = self.objects.scan(self.objects.layout.markers)
        try:
            async for item in items:
                named = self.objects.layout.parse_marker(item.key)
                if named is None:
                    continue
                if named[0] <= last:
                    yield item
                elif ordered:
                    break
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def _decide(self, item: StorageItem, until: datetime) -> _Due | None:
        named = self.objects.layout.parse_marker(item.key)
        if named is None:
            return None
        due = _Due(item.key, named[1])
        try:
            await self._look(due, item, until)
        except StorageError as error:
            due.fail(error)
        return due

    async def _look(self, due: _Due, item: StorageItem, until: datetime) -> None:
        try:
            found = await self.reader.find(due.proof_id)
        except ProofErasedError:
            await self._finish(due)
        except ProofNotFoundError:
            await self._clean(due, item)
        else:
            record = found.proof.record
            if record.expires_at is None and await self.objects.erasure(due.proof_id) is not None:
                # An erasure that never ended, and is no more than announced.
                await self.eraser.end(due.proof_id, found.proof.verified)
                await self._finish(due)
            elif (
                record.expires_at is None
                or self.objects.layout.marker(record.expires_at, due.proof_id) != due.marker
            ):
                # A record's own marker was written before it, so this one belongs to no record.
                due.fate = "stray" if self.objects.is_old(item.last_modified) else "kept"
            elif record.expires_at <= until:
                if not self.objects.conditional or due.proof_id[14] == "7":
                    due.fate, due.record = "swept", record
                    due.belongings = await self.objects.belongings(due.proof_id)
                elif await Leftovers(self.objects).retire(
                    due.proof_id, record.asset.sha256, found.proof.envelope
                ):
                    # The id may be issued again at any time; the marker of today frees its place.
                    due.fate = "swept"
                    due.stays = due.marker == self.objects.layout.marker(self.objects.clock(), due.proof_id)

    async def _finish(self, due: _Due) -> None:
        """Continue a deletion of what the record, or else the marker, names."""
        objects, layout = self.objects, self.objects.layout
        record = await self.eraser.remains(due.proof_id)
        own = due.marker
        if record is None:
            data = await objects.fetch(due.marker, LARGEST_MARKER)
            sha256 = None if data is None else parse_marker_body(data).sha256
        else:
            sha256 = record.asset.sha256
            if record.expires_at is not None:
                own = layout.marker(record.expires_at, due.proof_id)
        await self.eraser.finish(due.proof_id, sha256, own)
        if own != due.marker:
            await objects.remove_all([due.marker])
        due.fate = "cleaned"

    async def _clean(self, due: _Due, item: StorageItem) -> None:
        """Remove what was left by an issue that never committed, or by a sweep that stopped."""
        if not self.objects.is_old(item.last_modified):
            return
        data = await self.objects.fetch(due.marker, LARGEST_MARKER)
        if data is None:
            return
        marker = parse_marker_body(data)
        became = await Leftovers(self.objects).remove(due.proof_id, marker.sha256)
        today = self.objects.layout.marker(self.objects.clock(), due.proof_id)
        if became == "kept" or (became == "started" and due.marker == today):
            return
        await self.objects.remove_belongings(due.proof_id)
        await self.objects.remove_all([due.marker])
        if became == "free":
            due.fate = "cleaned"

    async def _remove(self, dues: Sequence[_Due]) -> None:
        layout = self.objects.layout
        await self._stage(
            {layout.bundle(each.proof_id): each for each in dues if each.record}
            | {layout.record(each.proof_id): each for each in dues if each.record}
        )
        await self._stage(
            {key: each for each in dues if each.fate == "swept" for key in self._belongings(each)}
        )
        await self._restore([each for each in dues if each.belongings.restore])
        await self._stage(
            {each.marker: each for each in dues if each.fate in {"swept", "stray"} and not each.stays}
        )

    async def _restore(self, dues: Sequence[_Due]) -> None:
        for each in dues:
            try:
                await self.objects.restore_erasure(each.proof_id)
            except StorageError as error:
                each.fail(error)

    def _belongings(self, due: _Due) -> list[str]:
        layout, record = self.objects.layout, due.record
        if record is None:
            return []
        keys = [layout.index(record.asset.sha256, due.proof_id), *due.belongings.keys]
        if record.manifest is not None:
            keys.append(layout.manifest(due.proof_id))
        return keys

    async def _stage(self, owners: dict[str, _Due]) -> None:
        if not owners:
            return
        try:
            failures = await self.objects.remove(owners)
        except StorageError as error:
            failures = dict.fromkeys(owners, error)
        for key, failure in failures.items():
            owners[key].fail(failure)
