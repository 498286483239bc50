"""The verified read: a record and what became of it, in two concurrent requests, and an asset's proofs.

Rules of this file: nothing unverified is returned, and "no proof" is said only where the store said that
there is nothing: whatever fails raises. A notice that does not verify refuses the proof, too, since it may be
a revocation that someone damaged. Index names and hints are looked up in signed records, never believed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from credstore.concurrency import both, map_in_order
from credstore.errors import StorageError, StorageIntegrityError
from credstore.model import StorageItem
from credstore.proofs.format.dsse import Envelope, parse_envelope
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofErasedError,
    ProofError,
    ProofFormatError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofNotFoundError,
)
from credstore.proofs.format.fields import format_time
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.logged import bind_logged
from credstore.proofs.format.policy import Candidate, Policy, accept
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.status import (
    ProofStatus,
    StatusNotice,
    check_status,
    verify_notice,
    verify_successor,
)
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import TrustedTime, VerifiedProof, verify_signed
from credstore.proofs.store.layout import ERASED, NEXT, REVOKED
from credstore.proofs.store.logging import StoreLogger
from credstore.proofs.store.model import Proof, ProofOutcome
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.repository import PAGE, ProofObjects

AT_ONCE = 32
MOST_HINTS = 8
"""Successors looked at for one proof; the last ones by id, which are the newest with default ids."""


@dataclass(frozen=True, slots=True)
class Found:
    """A proof with the notices about it as they are stored.

    Attributes:
        proof: The proof.
        notices: Signed notices, verified.
        names: What is under its status prefix.
    """

    proof: Proof
    notices: tuple[Envelope, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProofReader:
    """Reads proofs of one store against one trust store.

    Attributes:
        objects: The store's objects.
        trust: The trusted keys.
        threshold: How many of them must have signed.
        heal: Whether names that lead nowhere are removed.
        logger: Reads what is kept of the log, or None.
    """

    objects: ProofObjects
    trust: TrustStore
    threshold: int
    heal: bool
    logger: StoreLogger | None = None

    async def get(
        self,
        proof_id: str,
        *,
        sha256: bytes | None = None,
        policy: Policy | None = None,
    ) -> Proof:
        """One proof by its checked id; see `ProofStore.get`."""
        found = await self.find(proof_id, sha256=sha256)
        proof = found.proof
        candidate = Candidate(proof.verified, proof.status, proof.status.as_of)
        try:
            accept(policy, candidate)
        except ProofError:
            if policy is None or self.logger is None:
                raise
            # It may be accepted with what the log has shown, which is read only where it is needed.
            logged = await self.logger.evidence(proof.verified)
            if logged is None:
                raise
            accept(policy, replace(candidate, logged=logged))
            return replace(proof, logged=logged)
        return proof

    async def find(self, proof_id: str, *, sha256: bytes | None = None) -> Found:
        """One proof whatever its state, except erased ones.

        Raises:
            ProofNotFoundError: There is none.
            ProofErasedError: Only its tombstone counts.
            ProofError: It does not verify.
        """
        objects = self.objects
        data, names = await both(
            objects.record(proof_id), lambda: objects.names(objects.layout.status(proof_id))
        )
        now = objects.clock()
        if data is None:
            await self._explain_absence(proof_id, names, now)
        verified = await self._verified(parse_envelope(data or b""), proof_id, sha256, now)
        if not names:
            return Found(Proof(verified, _status(verified, now)), (), ())
        return await self._found(verified, names, now)

    async def _verified(
        self, envelope: Envelope, proof_id: str, sha256: bytes | None, now: datetime
    ) -> VerifiedProof:
        """A proof that verifies, if need be at the time when the log's witnesses saw it."""

        def verified(times: Sequence[TrustedTime] = ()) -> VerifiedProof:
            return verify_signed(
                envelope,
                self.trust,
                now=now,
                proof_id=proof_id,
                sha256=sha256,
                times=times,
                threshold=self.threshold,
            )

        try:
            return verified()
        except (ProofKeyExpiredError, ProofKeyRevokedError):
            if self.logger is None:
                raise
            logged = await self.logger.opened(proof_id, envelope)
            if logged is None or not logged.times:
                raise
            proof = verified(logged.times)
            bind_logged(logged, proof, self.trust)
            return proof

    async def _found(self, verified: VerifiedProof, names: list[str], now: datetime) -> Found:
        proof_id = verified.record.proof_id
        notices: list[StatusNotice] = []
        envelopes: list[Envelope] = []
        for name in (ERASED, REVOKED):
            # Planted names must not hide one: beyond a full page it is requested separately.
            if name not in names and len(names) < PAGE:
                continue
            data = await self.objects.fetch(self.objects.layout.status(proof_id) + name)
            if data is not None:
                envelope = parse_envelope(data)
                notices.append(
                    verify_notice(envelope, self.trust, now=now, proof_id=proof_id, proof=verified)
                )
                envelopes.append(envelope)
        check_status([each for each in notices if each.kind == "erasure"])
        status = _status(verified, now)
        if notices:
            status = replace(status, state="revoked", notice=notices[0])
        hints = [name.removeprefix(NEXT) for name in names if name.startswith(NEXT)]
        if hints:
            status = replace(status, superseded_by=await self._successor(verified, hints, now))
        return Found(Proof(verified, status), tuple(envelopes), tuple(names))

    async def _successor(self, old: VerifiedProof, hints: list[str], now: datetime) -> str | None:
        newest: VerifiedProof | None = None
        for new_id in [hint for hint in hints if is_proof_id(hint)][-MOST_HINTS:]:
            data = await self.objects.record(new_id)
            if data is None:
                continue
            with suppress(ProofError):
                new = verify_signed(data, self.trust, now=now, proof_id=new_id, threshold=self.threshold)
                verify_successor(new, old)
                if newest is None or new.record.issued_at > newest.record.issued_at:
                    newest = new
        return None if newest is None else newest.record.proof_id

    async def _explain_absence(self, proof_id: str, names: list[str], now: datetime) -> None:
        if ERASED in names or len(names) == PAGE:
            data = await self.objects.fetch(self.objects.layout.erasure(proof_id))
            if data is not None:
                notice = verify_notice(data, self.trust, now=now, proof_id=proof_id)
                raise ProofErasedError(
                    f"the issuer has erased proof {proof_id} at {format_time(notice.at)}, "
                    f"reason: {notice.reason}"
                )
        raise ProofNotFoundError(f"there is no proof {proof_id}")

    async def look_up(
        self,
        items: Iterable[StorageItem] | AsyncIterable[StorageItem],
        sha256: bytes,
        *,
        policy: Policy | None,
    ) -> AsyncGenerator[Proof, None]:
        """The proofs of an asset's index names that verify, in the order of the names, in bounded memory."""
        layout = self.objects.layout

        async def look(item: StorageItem) -> Proof | None:
            named = layout.parse_index(item.key)
            if named is None:
                return None
            try:
                return await self.get(named[1], sha256=sha256, policy=policy)
            except (ProofNotFoundError, ProofErasedError) as error:
                await self._heal(item, named[1], sha256, erased=isinstance(error, ProofErasedError))
            except (ProofError, StorageIntegrityError):
                # Planted, damaged, expired, revoked: whatever is wrong with it, it does not prove this asset.
                pass
            return None

        async with aclosing(map_in_order(items, look, at_once=AT_ONCE)) as proofs:
            async for proof in proofs:
                if proof is not None:
                    yield proof

    async def scan(self) -> AsyncGenerator[ProofOutcome, None]:
        """Every record with its proof, or the error why there is none; erased ones left out."""
        layout = self.objects.layout

        async def look(item: StorageItem) -> ProofOutcome | None:
            proof_id = layout.parse_record(item.key)
            try:
                if proof_id is None:
                    raise ProofFormatError("not the key of a record", key=item.key)
                return ProofOutcome(proof_id, (await self.find(proof_id)).proof)
            except (ProofNotFoundError, ProofErasedError):
                return None
            except (ProofError, StorageIntegrityError) as error:  # Damage that the store itself notices too.
                return ProofOutcome(proof_id, None, error)

        async with aclosing(
            map_in_order(self.objects.scan(layout.records), look, at_once=AT_ONCE)
        ) as outcomes:
            async for outcome in outcomes:
                if outcome is not None:
                    yield outcome

    async def manifest(self, proof: Proof) -> bytes:
        """The manifest that a record names.

        Raises:
            ProofNotFoundError: There is none.
            ProofAssetMismatchError: What is stored is something else.
        """
        link = proof.record.manifest
        data = None if link is None else await self.objects.manifest(proof.proof_id)
        if link is None or data is None:
            raise ProofNotFoundError(f"proof {proof.proof_id} has no manifest")
        if AssetDigest.of(data) != AssetDigest(link.sha256, link.size):
            raise ProofAssetMismatchError("the stored manifest is not the one that the record names")
        return data

    async def _heal(self, item: StorageItem, proof_id: str, sha256: bytes, *, erased: bool) -> None:
        """Remove an index name that leads nowhere; a reader that may not write leaves it."""
        if not self.heal or not self.objects.provider.capabilities.writable:
            return
        with suppress(StorageError):
            if erased:
                await self.objects.remove_all([self.objects.layout.index(sha256, proof_id)])
            elif self.objects.is_old(item.last_modified):
                await Leftovers(self.objects).remove(proof_id, sha256)


def newest_first(proof: Proof) -> tuple[datetime, str]:
    """The key to sort proofs by, in reverse."""
    return proof.record.issued_at, proof.proof_id


def _status(verified: VerifiedProof, now: datetime) -> ProofStatus:
    expires = verified.record.expires_at
    return ProofStatus("expired" if expires is not None and now >= expires else "valid", "store", now)
