"""Removing what an issue left that never committed, without ever taking it from a proof.

The same id may be issued again at any time, by a retry with its idempotency key. So a cleaner first takes
the record's own place (created only where there is nothing: whoever has it, record or cleaner, has won),
removes what leads to it, and notes that there. The note stays for a while: every issue that wrote anything
before the removal gives up before the place is free again (`LEASE`), so none can commit a record whose index
name or manifest was removed from under it. Where a store has no conditions, ids are random, and only their
age counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageObjectNotFoundError,
    StorageTimeoutError,
    StorageUnsupportedError,
)
from credstore.model import UNSET, StoreOptions, strong_etag
from credstore.proofs.format.dsse import Envelope, parse_envelope
from credstore.proofs.store.layout import CLAIMED, CLEANED, Marker
from credstore.proofs.store.repository import LEASE, SHORT, ProofObjects
from credstore.provider.remaining import remain

SETTLED = 2 * LEASE
"""After this time, no issue or cleaner that started earlier continues."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is left of issues that never ended.

    Attributes:
        objects: The store's objects.
    """

    objects: ProofObjects

    async def remove(self, proof_id: str, sha256: bytes) -> Literal["free", "started", "kept"]:
        """Remove index name, manifest and bundle of an id without a record, one step per call.

        A marker of the day lets a sweep take the next step.

        Returns:
            "free" when everything is gone, "started" when the place is taken for a while, "kept" where there
            is a record or another cleaner is working on it.

        Raises:
            StorageError: A later call continues.
        """
        objects = self.objects
        if not objects.conditional:
            if await objects.record(proof_id) is not None:
                return "kept"
            await self._remove(proof_id, sha256)
            # A record that a sweep has hidden, whose versions could not be removed then.
            await objects.remove_all([objects.layout.record(proof_id)])
            return "free"
        began = objects.clock()
        if await self.release(proof_id):
            return "free"
        # Its own marker: the one that led here may be removed by another sweeper.
        await objects.put_marker(began, proof_id, Marker(sha256, manifest=True))
        if not await self._claim(proof_id):
            return "kept"
        await self._empty(proof_id, sha256, began)
        return "started"

    async def retire(self, proof_id: str, sha256: bytes, envelope: Envelope) -> bool:
        """Take the place of an expired record whose id may be issued again, and remove what led to it.

        The id cannot be issued until a later call of `release`, so nothing is taken from its next proof.

        Returns:
            Whether it was still that record; if not, nothing was touched.

        Raises:
            StorageError: A later sweep continues.
        """
        objects = self.objects
        began, place = objects.clock(), objects.layout.record(proof_id)
        item = await objects.provider.get_metadata(place)
        data = None if item is None else await objects.fetch(place)
        if item is None or data is None or data in (CLAIMED, CLEANED):
            return False
        if parse_envelope(data).digest != envelope.digest:
            return False
        await objects.put_marker(began, proof_id, Marker(sha256, manifest=True))
        bindable = objects.provider.capabilities.conditional_replace
        etag = strong_etag(item.etag)
        if bindable and etag is None:
            return False  # Nothing to bind to: whatever came in the meantime would be replaced.
        condition: StoreOptions = {"if_match": etag} if bindable and etag is not None else {}
        try:
            await self._put(proof_id, CLAIMED, condition)
        except (StorageConflictError, StorageObjectNotFoundError):
            return False
        await self._empty(proof_id, sha256, began)
        return True

    async def _empty(self, proof_id: str, sha256: bytes, began: datetime) -> None:
        if self.objects.clock() - began > LEASE:
            raise StorageTimeoutError("removing leftovers took too long; a later sweep continues")
        await self._remove(proof_id, sha256)
        await self._put(proof_id, CLEANED, {})

    async def release(self, proof_id: str) -> bool:
        """Free an id whose leftovers were removed long enough ago; returns whether that was the case."""
        place = self.objects.layout.record(proof_id)
        provider = self.objects.provider
        item = await provider.get_metadata(place)
        if item is None or not self.objects.is_old(item.last_modified, SETTLED):
            return False
        if await self.objects.fetch(place) != CLEANED:
            return False
        # While the place is taken, no newer record can be among them; afterwards one could.
        old = await provider.delete_versions(place, exact=True, keep_latest=True)
        if not old.complete:
            raise remain(old.remaining, old.remaining_count, place)
        bindable = provider.capabilities.conditional_delete
        etag = strong_etag(item.etag)
        if bindable and etag is None:
            return False
        bound = etag if bindable and etag is not None else UNSET
        try:
            if item.version_id is not None and provider.capabilities.versions:
                # That very version, so nothing newer is touched and no delete marker is left.
                await provider.delete(place, version_id=item.version_id)
            else:
                try:
                    await provider.delete(place, if_match=bound)
                except StorageUnsupportedError:
                    if bound is UNSET:
                        raise
                    await provider.delete(place)  # The server at this endpoint has no such condition.
        except StorageConflictError:
            return False
        return True

    async def _claim(self, proof_id: str) -> bool:
        """Take the place of a record that is not there, or of a cleaner that stopped long ago."""
        place = self.objects.layout.record(proof_id)
        try:
            await self._put(proof_id, CLAIMED, {"if_absent": True})
        except StorageAlreadyExistsError:
            item = await self.objects.provider.get_metadata(place)
            if item is None or not self.objects.is_old(item.last_modified, SETTLED):
                return False
            if await self.objects.fetch(place) != CLAIMED:
                return False
            bindable = self.objects.provider.capabilities.conditional_replace
            etag = strong_etag(item.etag)
            if bindable and etag is None:
                return False
            condition: StoreOptions = {"if_match": etag} if bindable and etag is not None else {}
            try:
                await self._put(proof_id, CLAIMED, condition)
            except StorageConflictError:
                return False
        return True

    async def _put(self, proof_id: str, data: bytes, condition: StoreOptions) -> None:
        options: StoreOptions = {
            "content_type": "application/json",
            "cache_control": SHORT,
            "compress": False,
            **condition,
        }
        await self.objects.provider.store(self.objects.layout.record(proof_id), data, **options)

    async def _remove(self, proof_id: str, sha256: bytes) -> None:
        layout = self.objects.layout
        # Before the place is free again: a revocation of this proof would spoil the next one with its id.
        await self.objects.remove_belongings(
            proof_id, layout.manifest(proof_id), layout.bundle(proof_id), layout.index(sha256, proof_id)
        )
