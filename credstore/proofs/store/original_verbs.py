"""The verbs of a proof store about records of the original service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from credstore.errors import StorageConfigurationError
from credstore.proofs.format.original import LegacyProof, legacy_members
from credstore.proofs.format.policy import Policy, checked_policy
from credstore.proofs.store.layout import checked_digest, checked_id, shown_id
from credstore.proofs.store.model import LegacyImport
from credstore.provider.call import Call, Lifetime

if TYPE_CHECKING:
    from credstore.proofs.store.original_records import LegacyRecords
    from credstore.proofs.store.reading import ProofReader


class LegacyVerbs:
    """Finds and imports them; no one signed them."""

    _lifetime: Lifetime
    _reader: ProofReader
    _legacy: LegacyRecords | None

    async def import_legacy(self) -> LegacyImport:
        """Find all records of the original service once, so that ids and hashes lead to them.

        Returns:
            How many were read, what else was there, and what looks like a record but did not open, as with
            a wrong passphrase: nothing leads to those.

        Raises:
            StorageConfigurationError: The store was opened without `legacy`.
            StorageError: The store failed.

        Cost: 1 request per 1,000 objects, 3 for each record.
        """
        with Call(self._lifetime, "proof.import_legacy", None, mutation=True) as call:
            done = await self._records().import_all()
            call.attributes.update(read=done.read, skipped=done.skipped, unopened=done.unopened)
            return done

    async def find_legacy(self, digest: bytes | str) -> list[LegacyProof]:
        """The records of the original service about an asset, after `import_legacy`; no one signed them.

        Raises:
            StorageError: As `import_legacy`.
        """
        with Call(self._lifetime, "proof.find_legacy", None):
            return await self._records().find_by_hash(checked_digest(digest))

    async def export_legacy(self, proof_id: str, *, policy: Policy | None = None) -> dict[str, Any]:
        """The seven fields in which the original service keeps a record, for its readers.

        Args:
            proof_id: UUID in lower case.
            policy: As `get`.

        Raises:
            ProofError: As `get`.
            StorageError: The store failed.
        """
        with Call(self._lifetime, "proof.export_legacy", shown_id(proof_id)):
            proof = await self._reader.get(checked_id(proof_id), policy=checked_policy(policy))
            return legacy_members(proof.record, proof.envelope.digest)

    def _records(self) -> LegacyRecords:
        if self._legacy is None:
            raise StorageConfigurationError("open the store with legacy=LegacyHomes(…) to read old records")
        return self._legacy
