"""The verbs of a proof store about records of the original service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.model import Progress
from credstore.proofs.format.original import LegacyProof, legacy_members
from credstore.proofs.format.policy import Policy, checked_policy
from credstore.proofs.store.layout import checked_digest, checked_id, shown_id
from credstore.proofs.store.model import LegacyImport
from credstore.provider.call import Call, Lifetime
from credstore.provider.provider import StorageProvider
from credstore.provider.validation import check_flag, check_progress

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

    async def import_legacy_from(
        self, source: StorageProvider, *, dry_run: bool = False, progress: Progress | None = None
    ) -> LegacyImport:
        """Bring all records of the original service from another store, so that ids and hashes lead to them.

        They are copied byte for byte, encrypted ones too, and found afterwards as with `import_legacy`. The
        original may be running: nothing of it is changed, and a repeated import brings what is new.

        Args:
            source: Where the original's four homes are, as this store's `legacy` names them; not owned.
            dry_run: Write nothing, and report what would be brought.
            progress: Called with (objects looked at, None), in order.

        Returns:
            How many were read and how many of them were known, what else was there, what looks like a record
            but did not open, and which ones contradict an earlier record with their id.

        Raises:
            StorageConfigurationError: The store was opened without `legacy`.
            StorageError: One of the stores failed; what was brought stays, and a repeat continues.

        Cost: 1 request to the source per 1,000 objects and for each record; 1 to 4 here for each record.
        """
        mutation = dry_run is not True
        with Call(self._lifetime, "proof.import_legacy_from", None, mutation=mutation) as call:
            check_flag("dry_run", dry_run)
            check_progress(progress)
            if not isinstance(cast("object", source), StorageProvider):
                raise StorageInvalidRequestError("the source is a StorageProvider")
            watch = None if progress is None else call.watching(progress)
            done = await self._records().copy_all(source, dry_run=dry_run, progress=watch)
            call.attributes.update(read=done.read, known=done.known, unopened=done.unopened)
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
