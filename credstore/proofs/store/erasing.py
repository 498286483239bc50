"""Revoking and erasing: signed notices about a proof, and the removal of what an erased one leaves.

Erase order: tombstone; the same as revocation, from which on readers refuse the proof; bundle, manifest,
timestamps and index name; record; marker. The record says where the index name is, so it is removed after
that, and a repeated call can continue; the marker stays until all else is gone, so that a sweep can continue
too. A proof that never expires gets a marker of the day for that. Each is gone in every version
before the next is removed; a record that is left only in versions is looked up there. What a retention keeps
does not stop the rest, except the marker.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass

from credstore.errors import StorageConfigurationError, StorageError, StorageVersionsRemainError
from credstore.proofs.format.dsse import Envelope, encode_envelope, parse_envelope, seal_payload
from credstore.proofs.format.errors import ProofErasedError, ProofError, ProofNotFoundError
from credstore.proofs.format.record import ProofRecord
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.status import (
    Kind,
    ProofStatus,
    Reason,
    encode_notice,
    make_notice,
    verify_notice,
)
from credstore.proofs.format.verify import VerifiedProof, verify_signed
from credstore.proofs.store.layout import ERASED, LARGEST_MARKER, REVOKED, Marker, parse_marker_body
from credstore.proofs.store.logging import StoreLogger
from credstore.proofs.store.model import Proof
from credstore.proofs.store.reading import ProofReader
from credstore.proofs.store.repository import ProofObjects
from credstore.provider.call import Call
from credstore.provider.remaining import merged


@dataclass(frozen=True, slots=True)
class ProofEraser:
    """Revokes and erases.

    Attributes:
        objects: The store's objects.
        reader: Reads what is there.
        signers: Keys of usage `revoke` or `root`; may be empty.
        logger: Logs the notices, or None.
    """

    objects: ProofObjects
    reader: ProofReader
    signers: tuple[Signer, ...]
    logger: StoreLogger | None = None

    async def revoke(self, proof_id: str, reason: Reason, call: Call) -> ProofStatus:
        """Revoke one proof; see `ProofStore.revoke`."""
        found = await self.reader.find(proof_id)
        proof = found.proof
        if proof.status.state == "revoked":
            if self.logger is not None:
                await self.logger.noticed(proof_id, REVOKED, found.notices[0], repeated=True)
            return proof.status
        notice, envelope = await self._notify("revocation", proof.verified, reason, call)
        if self.logger is not None:
            await self.logger.noticed(proof_id, REVOKED, envelope)
        return ProofStatus("revoked", "store", notice.as_of, notice.notice)

    async def _notify(
        self, kind: Kind, proof: VerifiedProof, reason: Reason, call: Call, *, revoked: bool = False
    ) -> tuple[ProofStatus, Envelope]:
        if not self.signers:
            raise StorageConfigurationError(
                f"a {kind} has to be signed; this store was opened without a signer"
            )
        now = self.objects.clock()
        payload = encode_notice(make_notice(kind, proof, at=now, reason=reason))
        with call.outside():
            envelope = await seal_payload(payload, self.signers)
        proof_id = proof.record.proof_id
        # What readers with this trust store would refuse is not written.
        notice = verify_notice(envelope, self.reader.trust, now=now, proof_id=proof_id, proof=proof)
        data = encode_envelope(envelope)
        if kind == "erasure":
            await self.objects.put_erasure(proof_id, data, revoked=revoked)
        else:
            await self.objects.put_notice(self.objects.layout.revocation(proof_id), data)
        return ProofStatus("revoked" if kind == "revocation" else "erased", "store", now, notice), envelope

    async def delete(self, proof_id: str, reason: Reason, call: Call) -> bool:
        """Erase one proof; see `ProofStore.delete`."""
        objects = self.objects
        objects.check_erasable("deletion")
        try:
            found = await self.reader.find(proof_id)
            proof: Proof = found.proof
        except ProofNotFoundError:
            return False
        except ProofErasedError:
            await self._continue(proof_id)
            if self.logger is not None:
                await self._log_tombstone(self.logger, proof_id)
            return False
        record = proof.record
        if record.expires_at is None:
            marker = Marker(record.asset.sha256, record.manifest is not None)
            today = objects.clock()
            await objects.put_marker(today, proof_id, marker)
        else:
            today = record.expires_at
        _, envelope = await self._notify("erasure", proof.verified, reason, call, revoked=bool(found.notices))
        try:
            await self.finish(proof_id, record.asset.sha256, objects.layout.marker(today, proof_id))
        except StorageError:
            if self.logger is not None:
                with suppress(StorageError):  # A repeated call logs it, and this error says what to repeat.
                    await self.logger.noticed(proof_id, ERASED, envelope)
            raise
        if self.logger is not None:
            await self.logger.noticed(proof_id, ERASED, envelope)
        return True

    async def _log_tombstone(self, logger: StoreLogger, proof_id: str) -> None:
        data = await self.objects.erasure(proof_id)
        if data is not None:
            await logger.noticed(proof_id, ERASED, parse_envelope(data), repeated=True)

    async def end(self, proof_id: str, proof: VerifiedProof) -> None:
        """Let readers see a tombstone that was written without the revocation that leads them to it.

        Raises:
            ProofError: It does not verify.
            StorageError: A later call continues.
        """
        tombstone = await self.objects.erasure(proof_id)
        if tombstone is not None:
            now = self.objects.clock()
            verify_notice(tombstone, self.reader.trust, now=now, proof_id=proof_id, proof=proof)
            await self.objects.put_erasure(proof_id, tombstone)

    async def _continue(self, proof_id: str) -> None:
        """Finish what an earlier call started."""
        objects, layout = self.objects, self.objects.layout
        tombstone = await objects.erasure(proof_id)
        if tombstone is None:
            return  # Gone since it was read.
        erased_at = verify_notice(tombstone, self.reader.trust, now=objects.clock(), proof_id=proof_id).at
        if await objects.revocation(proof_id) is None:
            await objects.put_notice(layout.revocation(proof_id), tombstone)
        record = await self.remains(proof_id)
        if record is not None and record.expires_at is not None:
            marker = layout.marker(record.expires_at, proof_id)
            await self.finish(proof_id, record.asset.sha256, marker)
            return
        marker = layout.marker(erased_at, proof_id)
        sha256 = record.asset.sha256 if record is not None else None
        if sha256 is None:
            data = await objects.fetch(marker, LARGEST_MARKER)
            sha256 = None if data is None else parse_marker_body(data).sha256
        await self.finish(proof_id, sha256, None if sha256 is None else marker)

    async def remains(self, proof_id: str) -> ProofRecord | None:
        """The record of an erased proof where it, or a version of it, is still there and verifies."""
        data = await self.objects.record(proof_id)
        if data is not None:
            return self._verified(proof_id, data)
        async with aclosing(self.objects.old_records(proof_id)) as records:
            async for old in records:
                with suppress(ProofError):
                    return self._verified(proof_id, old)
        return None

    def _verified(self, proof_id: str, data: bytes) -> ProofRecord:
        return verify_signed(
            data,
            self.reader.trust,
            now=self.objects.clock(),
            proof_id=proof_id,
            threshold=self.reader.threshold,
        ).record

    async def finish(self, proof_id: str, sha256: bytes | None, marker: str | None) -> None:
        """Remove what an erased proof left, in order and in every version; also to continue an earlier call.

        Args:
            proof_id: The proof, whose tombstone is there.
            sha256: Digest of its asset, if that is still known; otherwise a look-up by its asset or the
                marker's sweep removes the index name.
            marker: Key of the marker to remove at the end, or None to leave it.

        Raises:
            StorageVersionsRemainError: Versions stay, or may; everything else except the marker is gone.
            StorageError: A later call or sweep continues.
        """
        layout = self.objects.layout
        names = [layout.bundle(proof_id), layout.manifest(proof_id)]
        names += await self.objects.evidence(proof_id)
        if sha256 is not None:
            names.append(layout.index(sha256, proof_id))
        remain: list[StorageVersionsRemainError] = []
        for keys in (names, [layout.record(proof_id)]):
            try:
                await self.objects.remove_all(keys)
            except StorageVersionsRemainError as error:
                remain.append(error)
        if remain:
            raise merged(remain)
        if marker is not None:
            await self.objects.remove_all([marker])
