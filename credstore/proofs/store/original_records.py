"""Finding records of the original service on the provider: by id where it may be, by hash once imported."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from credstore.concurrency import map_in_order
from credstore.model import StorageItem
from credstore.proofs.format.canonical import encode_json, parse_json
from credstore.proofs.format.errors import ProofError, ProofFormatError
from credstore.proofs.format.fields import read_object, read_text
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.original import LARGEST_LEGACY, LegacyHomes, LegacyProof, parse_legacy
from credstore.proofs.store.layout import INDEX_BODY, LARGEST_MARKER
from credstore.proofs.store.reading import AT_ONCE
from credstore.proofs.store.repository import ProofObjects


@dataclass(frozen=True, slots=True)
class LegacyRecords:
    """Reads the original service's records.

    Attributes:
        objects: The store's objects.
        homes: Where they are.
    """

    objects: ProofObjects
    homes: LegacyHomes

    async def find(self, proof_id: str) -> LegacyProof | None:
        """The record of a checked id, or None.

        Raises:
            ProofFormatError: What is there is no such record, or of another id.
        """
        for key in self.homes.keys(proof_id):
            found = await self._read(key)
            if found is not None:
                return self._of(found, proof_id)
        pointer = await self.objects.fetch(self.objects.layout.legacy(proof_id), LARGEST_MARKER)
        if pointer is None:
            return None
        members = read_object(parse_json(pointer, limit=LARGEST_MARKER), "the pointer", needs=("key",))
        found = await self._read(read_text(members["key"], "key", longest=1024))
        return None if found is None else self._of(found, proof_id)

    def _of(self, found: LegacyProof, proof_id: str) -> LegacyProof:
        if found.proof_id != proof_id:
            raise ProofFormatError(f"a record of another id than {proof_id}")
        return found

    async def _read(self, key: str) -> LegacyProof | None:
        data = await self.objects.fetch(key, LARGEST_LEGACY)
        return None if data is None else parse_legacy(data, self.homes.key)

    async def find_by_hash(self, sha256: bytes) -> list[LegacyProof]:
        """The imported records that name an asset."""
        found: list[LegacyProof] = []
        for name in await self.objects.names(self.objects.layout.legacy_asset(sha256)):
            if is_proof_id(name):
                legacy = await self.find(name)
                if legacy is not None and legacy.sha256 == sha256:
                    found.append(legacy)
        return found

    async def import_all(self) -> int:
        """Write a pointer and an index name for each record; see `ProofStore.import_legacy`."""
        count = 0
        prefixes = [self.homes.prefix] if self.homes.files is None else [self.homes.files, self.homes.prefix]
        # One of them may lie within the other; what was seen is written once more, harmlessly.
        if any(self.homes.prefix != each and self.homes.prefix.startswith(each) for each in prefixes):
            prefixes.remove(self.homes.prefix)
        for prefix in dict.fromkeys(prefixes):
            async with aclosing(
                map_in_order(self.objects.scan(prefix), self._import, at_once=AT_ONCE)
            ) as done:
                async for found in done:
                    count += found
        return count

    async def _import(self, item: StorageItem) -> bool:
        key, layout = item.key, self.objects.layout
        if key.startswith(layout.prefix) or not key.endswith(".json"):
            return False
        try:
            legacy = await self._read(key)
        except ProofError:
            return False  # Something else's JSON.
        if legacy is None or not is_proof_id(legacy.proof_id):
            return False
        name = layout.legacy_asset(legacy.sha256) + legacy.proof_id
        await self.objects.put_legacy(layout.legacy(legacy.proof_id), encode_json({"key": key}))
        await self.objects.put_legacy(name, INDEX_BODY)
        return True
