"""Revoking and erasing: signed notices about a proof, and the removal of what an erased one leaves.

Erase order: tombstone, bundle, record, manifest, index name, marker. From the tombstone on, readers refuse
the proof; the marker stays until all else is gone, so that a sweep goes on where a deletion stopped. A proof
that never expires gets a marker of the day for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from credstore.errors import StorageConfigurationError
from credstore.proofs.envelope import encode_envelope, seal_payload
from credstore.proofs.errors import ProofErasedError, ProofNotFoundError
from credstore.proofs.index import Marker
from credstore.proofs.objects import ProofObjects
from credstore.proofs.reading import ProofReader
from credstore.proofs.record import ProofRecord
from credstore.proofs.results import Proof
from credstore.proofs.schemes import Signer
from credstore.proofs.status import Kind, ProofStatus, Reason, encode_notice, make_notice, verify_notice
from credstore.proofs.verify import VerifiedProof, verify_proof


@dataclass(frozen=True, slots=True)
class ProofEraser:
    """Revokes and erases.

    Attributes:
        objects: The store's objects.
        reader: Reads what is there.
        signers: Keys of usage `revoke` or `root`; may be empty.
    """

    objects: ProofObjects
    reader: ProofReader
    signers: tuple[Signer, ...]

    async def revoke(self, proof_id: str, reason: Reason) -> ProofStatus:
        """Revoke one proof; see `ProofStore.revoke`."""
        proof = (await self.reader.find(proof_id)).proof
        if proof.status.state == "revoked":
            return proof.status
        notice = await self._notify("revocation", proof.verified, reason)
        return ProofStatus("revoked", "store", notice.as_of, notice.notice, proof.status.superseded_by)

    async def _notify(self, kind: Kind, proof: VerifiedProof, reason: Reason) -> ProofStatus:
        if not self.signers:
            raise StorageConfigurationError(f"a {kind} is signed; this store was opened without a signer")
        now = self.objects.clock()
        payload = encode_notice(make_notice(kind, proof, at=now, reason=reason))
        envelope = await seal_payload(payload, self.signers)
        proof_id = proof.record.proof_id
        # What readers with this ring would refuse is not written.
        notice = verify_notice(envelope, self.reader.ring, now=now, proof_id=proof_id, proof=proof)
        layout = self.objects.layout
        key = layout.revocation(proof_id) if kind == "revocation" else layout.erasure(proof_id)
        await self.objects.put_notice(key, encode_envelope(envelope))
        return ProofStatus("revoked" if kind == "revocation" else "erased", "store", now, notice)

    async def delete(self, proof_id: str, reason: Reason) -> bool:
        """Erase one proof; see `ProofStore.delete`."""
        objects = self.objects
        try:
            proof: Proof = (await self.reader.find(proof_id)).proof
        except ProofNotFoundError:
            return False
        except ProofErasedError:
            await self.finish(proof_id, await self.remains(proof_id))
            return False
        record = proof.record
        today = objects.clock()
        if record.expires_at is None:
            marker = Marker(record.asset.sha256, record.manifest is not None)
            await objects.put_marker(today, proof_id, marker)
        await self._notify("erasure", proof.verified, reason)
        await self.finish(proof_id, record)
        if record.expires_at is None:
            await objects.remove_all([objects.layout.marker(today, proof_id)])
        return True

    async def remains(self, proof_id: str) -> ProofRecord | None:
        """The record of an erased proof where it is still there and verifies."""
        data = await self.objects.record(proof_id)
        if data is None:
            return None
        now = self.objects.clock()
        return verify_proof(
            data,
            self.reader.ring,
            now=now,
            proof_id=proof_id,
            allow_expired=True,
            threshold=self.reader.threshold,
        ).record

    async def finish(self, proof_id: str, record: ProofRecord | None) -> None:
        """Remove what an erased proof left, in order; going on after a crash is the same.

        Args:
            proof_id: The proof, whose tombstone is there.
            record: What it said, where that is still known; else a look-up by its asset or the marker's sweep
                removes the index name.
        """
        layout, remove = self.objects.layout, self.objects.remove_all
        await remove([layout.bundle(proof_id)])
        await remove([layout.record(proof_id)])
        await remove([layout.manifest(proof_id)])
        if record is None:
            return
        await remove([layout.index(record.asset.sha256, proof_id)])
        if record.expires_at is not None:
            await remove([layout.marker(record.expires_at, proof_id)])
