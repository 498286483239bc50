"""The full check: every record with what leads to it, every name with its record; and totals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from credstore.concurrency import map_in_order
from credstore.errors import StorageError
from credstore.model import StorageItem
from credstore.proofs.format.errors import ProofErasedError, ProofError, ProofNotFoundError
from credstore.proofs.store.layout import ERASED, REVOKED, Marker
from credstore.proofs.store.model import FsckReport, ProofStats
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.reading import AT_ONCE, ProofReader
from credstore.proofs.store.repository import ProofObjects


@dataclass(slots=True)
class _Tally:
    repair: bool
    records: int = 0
    restored: int = 0
    removed: int = 0
    problems: dict[str, StorageError] = field(default_factory=dict[str, StorageError])


@dataclass(frozen=True, slots=True)
class ProofChecker:
    """Checks everything there is.

    Attributes:
        objects: The store's objects.
        reader: Reads records.
    """

    objects: ProofObjects
    reader: ProofReader

    async def check(self, *, repair: bool) -> FsckReport:
        """See `ProofStore.fsck`."""
        layout = self.objects.layout
        tally = _Tally(repair)
        for prefix, look in (
            (layout.records, self._record),
            (layout.assets, self._index),
            (layout.manifests, self._manifest),
        ):
            await self._each(prefix, look, tally)
        return FsckReport(tally.records, tally.restored, tally.removed, tally.problems, repair)

    async def _each(
        self, prefix: str, look: Callable[[StorageItem, _Tally], Awaitable[None]], tally: _Tally
    ) -> None:
        async def one(item: StorageItem) -> None:
            try:
                await look(item, tally)
            except StorageError as error:
                tally.problems[item.key] = error

        async with aclosing(map_in_order(self.objects.scan(prefix), one, at_once=AT_ONCE)) as done:
            async for _ in done:
                pass

    async def _record(self, item: StorageItem, tally: _Tally) -> None:
        layout, has = self.objects.layout, self.objects.has
        proof_id = layout.parse_record(item.key)
        if proof_id is None:
            raise ProofError("not the key of a record")
        try:
            proof = (await self.reader.find(proof_id)).proof
        except (ProofNotFoundError, ProofErasedError):
            return  # Leftovers that a cleaner or deletion is working on; the sweep and find continue those.
        tally.records += 1
        record = proof.record
        if not await has(layout.index(record.asset.sha256, proof_id)):
            tally.restored += 1
            if tally.repair:
                await self.objects.put_index(record.asset.sha256, proof_id)
        if record.expires_at is not None and not await has(layout.marker(record.expires_at, proof_id)):
            tally.restored += 1
            if tally.repair:
                marker = Marker(record.asset.sha256, record.manifest is not None)
                await self.objects.put_marker(record.expires_at, proof_id, marker)
        if record.manifest is not None:
            await self.reader.manifest(proof)

    async def _index(self, item: StorageItem, tally: _Tally) -> None:
        named = self.objects.layout.parse_index(item.key)
        if named is None:
            raise ProofError("not the key of an index name")
        sha256, proof_id = named
        try:
            await self.reader.find(proof_id, sha256=sha256)
        except (ProofNotFoundError, ProofErasedError) as error:
            await self._lost(item, proof_id, sha256, tally, erased=isinstance(error, ProofErasedError))

    async def _manifest(self, item: StorageItem, tally: _Tally) -> None:
        proof_id = self.objects.layout.parse_manifest(item.key)
        if proof_id is None:
            raise ProofError("not the key of a manifest")
        try:
            await self.reader.find(proof_id)
        except (ProofNotFoundError, ProofErasedError) as error:
            # The index name, if any, is gone by now or is looked up by its asset.
            await self._lost(item, proof_id, bytes(32), tally, erased=isinstance(error, ProofErasedError))

    async def _lost(
        self, item: StorageItem, proof_id: str, sha256: bytes, tally: _Tally, *, erased: bool
    ) -> None:
        if not erased and not self.objects.is_old(item.last_modified):
            return
        tally.removed += 1
        if not tally.repair:
            return
        if erased:
            await self.objects.remove_all([item.key])
        else:
            await Leftovers(self.objects).remove(proof_id, sha256)

    async def stats(self) -> ProofStats:
        """See `ProofStore.stats`."""
        layout, stats = self.objects.layout, self.objects.provider.get_stats
        records = await stats(layout.records)
        manifests = await stats(layout.manifests)
        indexes = await stats(layout.assets)
        expiring = await stats(layout.markers)
        revoked = erased = size = 0
        async for item in self.objects.scan(layout.statuses):
            name = item.key.rpartition("/")[2]
            revoked += name == REVOKED
            erased += name == ERASED
            size += item.size
        return ProofStats(
            proofs=records.total_objects,
            manifests=manifests.total_objects,
            revoked=revoked,
            erased=erased,
            expiring=expiring.total_objects,
            total_size=size + sum(each.total_size for each in (records, manifests, indexes, expiring)),
            last_updated=self.objects.clock(),
        )
