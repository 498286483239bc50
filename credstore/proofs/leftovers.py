"""Removing what an issue left that never committed, without ever taking it from a proof.

The same id may be issued again at any time, by a retry with its idempotency key. So a cleaner first takes
the record's own place (created only where nothing is: whoever has it, record or cleaner, has won), removes
what leads to it, and says so there. That stays for a while: every issue that has written before the removal
gives up before the place is free again (`LEASE`), so none can commit a record whose index name or manifest
was taken from under it. Where a store has no conditions, ids are random, and only their age counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from credstore.errors import StorageAlreadyExistsError, StorageConflictError, StorageTimeoutError
from credstore.model import StoreOptions
from credstore.proofs.index import CLAIMED, CLEANED, Marker
from credstore.proofs.objects import LEASE, SHORT, ProofObjects

SETTLED = 2 * LEASE
"""After so long no issue or cleaner that began before goes on."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is left of issues that never ended.

    Attributes:
        objects: The store's objects.
    """

    objects: ProofObjects

    async def remove(self, proof_id: str, sha256: bytes) -> Literal["free", "begun", "kept"]:
        """Remove index name, manifest and bundle of an id without a record, one step a call.

        A marker of the day lets a sweep take the next step.

        Returns:
            "free" when all is gone, "begun" when the place is taken for a while, "kept" where there is a
            record or another cleaner is at it.

        Raises:
            StorageError: A later call goes on.
        """
        objects = self.objects
        if not objects.conditional:
            if await objects.record(proof_id) is not None:
                return "kept"
            await self._remove(proof_id, sha256)
            return "free"
        began = objects.clock()
        if await self.release(proof_id):
            return "free"
        # Of its own: the one that led here may be removed by another sweeper.
        await objects.put_marker(began, proof_id, Marker(sha256, manifest=True))
        if not await self._claim(proof_id):
            return "kept"
        if objects.clock() - began > LEASE:
            raise StorageTimeoutError("removing leftovers took too long; a later sweep goes on")
        await self._remove(proof_id, sha256)
        await self._put(proof_id, CLEANED, {})
        return "begun"

    async def release(self, proof_id: str) -> bool:
        """Free an id whose leftovers were removed long enough ago; whether it was so."""
        place = self.objects.layout.record(proof_id)
        item = await self.objects.provider.get_metadata(place)
        if item is None or item.size != len(CLEANED) or not self.objects.is_old(item.last_modified, SETTLED):
            return False
        if await self.objects.fetch(place) != CLEANED:
            return False
        bound = item.etag if self.objects.provider.capabilities.conditional_delete else None
        try:
            await self.objects.provider.delete(place, if_match=bound)
        except StorageConflictError:
            return False
        return True

    async def _claim(self, proof_id: str) -> bool:
        """Take the place of a record that is not there, or of a cleaner that has stopped long ago."""
        place = self.objects.layout.record(proof_id)
        try:
            await self._put(proof_id, CLAIMED, {"if_absent": True})
        except StorageAlreadyExistsError:
            item = await self.objects.provider.get_metadata(place)
            if item is None or not self.objects.is_old(item.last_modified, SETTLED):
                return False
            if item.size != len(CLAIMED) or await self.objects.fetch(place) != CLAIMED:
                return False
            bound = item.etag if self.objects.provider.capabilities.conditional_replace else None
            try:
                await self._put(proof_id, CLAIMED, {} if bound is None else {"if_match": bound})
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
        await self.objects.remove_all(
            [layout.manifest(proof_id), layout.bundle(proof_id), layout.index(sha256, proof_id)]
        )
