"""The full check: every record with what leads to it, every name with its record; and totals."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from credstore.concurrency import map_in_order
from credstore.errors import (
    StorageDecryptionError,
    StorageError,
    StorageIntegrityError,
    StorageUnavailableError,
)
from credstore.model import StorageItem
from credstore.proofs.format.errors import ProofErasedError, ProofError, ProofNotFoundError
from credstore.proofs.format.status import verify_notice
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.store.evidence import AT_ONCE, ProofEvidence
from credstore.proofs.store.layout import ERASED, REVOKED, SMALLEST_RECORD, Layout, Marker
from credstore.proofs.store.model import FsckReport, ProofStats
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.reading import ProofReader
from credstore.proofs.store.repository import ProofObjects, proof_objects
from credstore.provider.provider import StorageProvider


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of one object found.

    Attributes:
        records: 1 for a record that verifies.
        restored: Names, markers and revocations that led to it and were missing.
        removed: 1 for a name or manifest without a record.
        problem: What is wrong with a record that verifies.
    """

    records: int = 0
    restored: int = 0
    removed: int = 0
    problem: StorageError | None = None


@dataclass(slots=True)
class Tally:
    """What the checks of many objects found together; see `FsckReport`."""

    records: int = 0
    restored: int = 0
    removed: int = 0
    problems: dict[str, StorageError] = field(default_factory=dict[str, StorageError])

    def add(self, key: str, checked: Checked) -> None:
        """Count one."""
        if checked.problem is not None:
            self.problems[key] = checked.problem
        self.records += checked.records
        self.restored += checked.restored
        self.removed += checked.removed

    def report(self, *, repair: bool) -> FsckReport:
        """All of it."""
        return FsckReport(self.records, self.restored, self.removed, self.problems, repair)


@dataclass(frozen=True, slots=True)
class ProofChecker:
    """Checks everything there is.

    Attributes:
        objects: The store's objects.
        reader: Reads records.
        repair: Whether what can be mended is.
    """

    objects: ProofObjects
    reader: ProofReader
    repair: bool

    async def check(self) -> FsckReport:
        """See `ProofStore.fsck`."""
        self.objects.check_erasable("check of objects")
        tally = Tally()

        async def one(item: StorageItem) -> None:
            try:
                tally.add(item.key, await self.look(item.key, item.last_modified))
            except StorageError as error:
                tally.problems[item.key] = error

        async with aclosing(map_in_order(items_of(self.objects), one, at_once=AT_ONCE)) as done:
            async for _ in done:
                pass
        return tally.report(repair=self.repair)

    async def look(self, key: str, modified: datetime | None) -> Checked:
        """Check one object.

        Args:
            key: Of a record, an index name, a manifest, a notice, or a timestamp or further signature.
            modified: When it was stored.

        Raises:
            StorageError: Something is wrong with it that cannot be mended here.
        """
        layout = self.objects.layout
        if key.startswith(layout.records):
            return await self._record(key)
        if key.startswith(layout.assets):
            return await self._index(key, modified)
        if key.startswith(layout.statuses):
            return await self._notice(key)
        if key.startswith(layout.all_evidence):
            return await self._piece(key, modified)
        return await self._manifest(key, modified)

    async def _record(self, key: str) -> Checked:
        layout, has = self.objects.layout, self.objects.has
        proof_id = layout.parse_record(key)
        if proof_id is None:
            raise ProofError("not the key of a record")
        try:
            proof = (await self.reader.find(proof_id)).proof
        except (ProofNotFoundError, ProofErasedError):
            return (
                Checked()
            )  # Leftovers that a cleaner or deletion works on; the sweep and find continue those.
        record, restored = proof.record, 0
        if not await has(layout.index(record.asset.sha256, proof_id)):
            restored += 1
            if self.repair:
                await self.objects.put_index(record.asset.sha256, proof_id)
        if record.expires_at is not None and not await has(layout.marker(record.expires_at, proof_id)):
            restored += 1
            if self.repair:
                marker = Marker(record.asset.sha256, record.manifest is not None)
                await self.objects.put_marker(record.expires_at, proof_id, marker)
        problem: StorageError | None = None
        if record.manifest is not None:
            try:
                await self.reader.manifest(proof)
            except StorageError as error:
                problem = error
        return Checked(records=1, restored=restored, problem=problem)

    async def _index(self, key: str, modified: datetime | None) -> Checked:
        named = self.objects.layout.parse_index(key)
        if named is None:
            raise ProofError("not the key of an index name")
        sha256, proof_id = named
        try:
            await self.reader.find(proof_id, sha256=sha256)
        except (ProofNotFoundError, ProofErasedError) as error:
            erased = isinstance(error, ProofErasedError)
            return await self._lost(key, modified, proof_id, sha256, erased=erased)
        return Checked()

    async def _notice(self, key: str) -> Checked:
        """A tombstone needs the revocation that leads readers to it; an erasure that stopped has none."""
        layout = self.objects.layout
        proof_id, name = layout.parse_notice(key) or ("", "")
        if name != ERASED or await self.objects.has(layout.revocation(proof_id)):
            return Checked()
        tombstone = await self.objects.erasure(proof_id)
        if tombstone is None:
            return Checked()
        verify_notice(tombstone, self.reader.trust, now=self.objects.clock(), proof_id=proof_id)
        if self.repair:
            await self.objects.put_notice(layout.revocation(proof_id), tombstone)
        return Checked(restored=1)

    async def _piece(self, key: str, modified: datetime | None) -> Checked:
        named = self.objects.layout.parse_piece(key)
        if named is None:
            raise ProofError("not the key of a timestamp or signature")
        try:
            await self.reader.find(named[0])
        except (ProofNotFoundError, ProofErasedError) as error:
            if not isinstance(error, ProofErasedError) and not self.objects.is_old(modified):
                return Checked()
            if self.repair:
                await self.objects.remove_all([key])
            return Checked(removed=1)
        return Checked()

    async def _manifest(self, key: str, modified: datetime | None) -> Checked:
        proof_id = self.objects.layout.parse_manifest(key)
        if proof_id is None:
            raise ProofError("not the key of a manifest")
        try:
            await self.reader.find(proof_id)
        except (ProofNotFoundError, ProofErasedError) as error:
            # The index name, if any, is gone by now or is looked up by its asset.
            erased = isinstance(error, ProofErasedError)
            return await self._lost(key, modified, proof_id, bytes(32), erased=erased)
        return Checked()

    async def _lost(
        self, key: str, modified: datetime | None, proof_id: str, sha256: bytes, *, erased: bool
    ) -> Checked:
        if not erased and not self.objects.is_old(modified):
            return Checked()
        if self.repair and erased:
            await self.objects.remove_all([key])
        elif self.repair:
            await Leftovers(self.objects).remove(proof_id, sha256)
        return Checked(removed=1)


async def items_of(objects: ProofObjects) -> AsyncGenerator[StorageItem, None]:
    """All that a full check looks at: records, index names, manifests, notices, timestamps and signatures.

    Raises:
        StorageError: The store cannot be listed.
    """
    layout = objects.layout
    for prefix in (layout.records, layout.assets, layout.manifests, layout.statuses, layout.all_evidence):
        scan = cast("AsyncGenerator[StorageItem, None]", objects.scan(prefix))
        async with aclosing(scan) as found:
            async for item in found:
                yield item


def checker_for(
    provider: StorageProvider, trust: TrustStore, *, prefix: str, threshold: int, repair: bool
) -> ProofChecker:
    """What checks the proofs of a provider; the arguments are those of `ProofStore`.

    Raises:
        StorageInvalidRequestError: The prefix is malformed.
    """
    objects = proof_objects(provider, Layout(prefix), lambda: datetime.now(UTC), None)
    evidence = ProofEvidence(objects, None, trust)
    return ProofChecker(objects, ProofReader(objects, trust, threshold, False, evidence), repair)


@dataclass(frozen=True, slots=True)
class ProofTotals:
    """Counts everything there is.

    Attributes:
        objects: The store's objects.
    """

    objects: ProofObjects

    async def stats(self) -> ProofStats:
        """See `ProofStore.stats`."""
        self.objects.check_erasable("count of objects")
        layout, stats = self.objects.layout, self.objects.provider.get_stats
        records, record_bytes = await self._records()
        manifests = await stats(layout.manifests)
        indexes = await stats(layout.assets)
        expiring = await stats(layout.markers)
        evidence = await stats(layout.all_evidence)
        revoked = erased = size = 0
        tombstone = ""  # The last one: it sorts before the revocation that goes with it.
        async for item in self.objects.ascending(layout.statuses):
            _check_whole(item)
            place, _, name = item.key.rpartition("/")
            revoked += name == REVOKED and place != tombstone
            if name == ERASED:
                erased, tombstone = erased + 1, place
            size += item.size
        return ProofStats(
            proofs=records,
            manifests=manifests.total_objects,
            revoked=revoked,
            erased=erased,
            expiring=expiring.total_objects,
            total_size=record_bytes
            + size
            + sum(each.total_size for each in (manifests, indexes, expiring, evidence)),
            last_updated=self.objects.clock(),
        )

    async def _records(self) -> tuple[int, int]:
        """Number of records, and bytes of all that is in their places.

        What takes a place while leftovers are removed does not count. It is smaller than any record, so only
        small objects are read.
        """
        objects, count, size = self.objects, 0, 0

        async def small() -> AsyncGenerator[StorageItem, None]:
            nonlocal count, size
            async for item in objects.scan(objects.layout.records):
                _check_whole(item)
                count, size = count + 1, size + item.size
                if item.size < SMALLEST_RECORD:
                    yield item

        async def is_none(item: StorageItem) -> bool:
            proof_id = objects.layout.parse_record(item.key)
            try:
                return proof_id is not None and await objects.record(proof_id) is None
            except (ProofError, StorageDecryptionError, StorageIntegrityError):
                return False  # A damaged one, which `fsck` reports.

        async with aclosing(map_in_order(small(), is_none, at_once=AT_ONCE)) as looked:
            async for none in looked:
                count -= none
        return count, size


def _check_whole(item: StorageItem) -> None:
    if item.degraded:
        raise StorageUnavailableError(
            "a member of the store cannot be listed now, so the totals would lack its objects",
            applied="no",
            retryable=True,
        )
