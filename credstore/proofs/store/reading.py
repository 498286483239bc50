"""The verified read: a record and its revocation, in two concurrent requests, and an asset's proofs.

A tombstone is looked for only where there is a revocation or no record: erasing writes it first, then the
revocation, and then removes the record. So a valid proof costs two requests, and no order of writers and
readers brings an erased one back.

Rules of this file: nothing unverified is returned, and "no proof" is said only where the store said that
there is nothing: whatever fails raises. A notice that does not verify refuses the proof, too, since it may be
a revocation that someone damaged. Index names and hints are looked up in signed records, never believed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar, cast

from credstore.concurrency import both, map_in_order
from credstore.errors import StorageDecryptionError, StorageError, StorageIntegrityError
from credstore.model import StorageItem
from credstore.proofs.format.dsse import Envelope, needs_search, parse_envelope
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofErasedError,
    ProofError,
    ProofFormatError,
    ProofKeyExpiredError,
    ProofNotFoundError,
    ProofTimestampError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.fields import format_time
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.logged import bind_logged
from credstore.proofs.format.policy import Policy, accept, known_candidate, needs_time
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.status import (
    ProofStatus,
    StatusNotice,
    check_status,
    known_status,
    verify_notice,
    verify_successor,
)
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import VerifiedProof, verify_signed
from credstore.proofs.store.evidence import AT_ONCE, ProofEvidence
from credstore.proofs.store.layout import NEXT
from credstore.proofs.store.logging import StoreLogger
from credstore.proofs.store.model import Proof, ProofHistory, ProofOutcome, proof_of
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.repository import ProofObjects
from credstore.threads import in_pool

T = TypeVar("T")
MOST_HINTS = 8
"""Successors looked at for one proof; the last ones by id, which are the newest with default ids."""


class Found(NamedTuple):
    """A proof with the notices about it as they are stored.

    Attributes:
        proof: The proof.
        notices: Signed notices, verified.
    """

    proof: Proof
    notices: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class ProofReader:
    """Reads proofs of one store against one trust store.

    Attributes:
        objects: The store's objects.
        trust: The trusted keys.
        threshold: How many of them must have signed.
        heal: Whether names that lead nowhere are removed.
        evidence: Timestamps and further signatures.
        logger: Reads what is kept of the log, or None.
    """

    objects: ProofObjects
    trust: TrustStore
    threshold: int
    heal: bool
    evidence: ProofEvidence
    logger: StoreLogger | None = None

    async def get(
        self,
        proof_id: str,
        *,
        sha256: bytes | None = None,
        policy: Policy | None = None,
    ) -> Proof:
        """One proof by its checked id; see `ProofStore.get`."""
        proof = (await self.find(proof_id, sha256=sha256, timed=needs_time(policy))).proof
        candidate = known_candidate(proof.verified, proof.status, proof.status.as_of)
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

    async def find(self, proof_id: str, *, sha256: bytes | None = None, timed: bool = False) -> Found:
        """One proof whatever its state, except erased ones.

        Args:
            proof_id: Its checked id.
            sha256: The asset it must be about, or None.
            timed: Whether trusted time is wanted, also where the proof verifies without.

        Raises:
            ProofNotFoundError: There is none.
            ProofErasedError: Only its tombstone counts.
            ProofError: It does not verify.
        """
        objects = self.objects
        data, revocation = await both(objects.record(proof_id), lambda: objects.revocation(proof_id))
        now = objects.clock()
        if data is None:
            raise await self._absence(proof_id, now)
        verified = await self._verified(data, proof_id, sha256, now, timed=timed)
        if revocation is None:
            return Found(proof_of(verified, _status(verified, now)), ())
        return await self._revoked(verified, revocation, now)

    async def _verified(
        self, data: bytes, proof_id: str, sha256: bytes | None, now: datetime, *, timed: bool
    ) -> VerifiedProof:
        """The record alone where that is enough; what was added to it later, or logged, where it is not."""
        refusal: ProofError | None = None
        verified: VerifiedProof | None = None
        envelope = parse_envelope(data)
        check = partial(
            verify_signed,
            trust=self.trust,
            now=now,
            proof_id=proof_id,
            sha256=sha256,
            threshold=self.threshold,
        )
        try:
            verified = await self._run(check, envelope)
        except (ProofKeyExpiredError, ProofUntrustedKeyError) as error:
            refusal = error
        if verified is not None and not timed:
            return verified
        evidence = await self.evidence.read(proof_id, envelope)
        logged = None
        if self.logger is not None and isinstance(refusal, ProofKeyExpiredError):
            logged = await self.logger.opened(proof_id, envelope)
        times = [*(() if evidence is None else evidence.times), *(() if logged is None else logged.times)]
        if evidence is not None:
            envelope = evidence.envelope
        if evidence is not None or times:
            try:
                proof = await self._run(partial(check, times=times), envelope)
            except ProofError as error:
                refusal = refusal or error
                if evidence is not None and evidence.doubt is not None:
                    refusal = ProofTimestampError(f"{refusal.message}; {evidence.doubt.message}")
            else:
                if logged is not None and logged.times:
                    bind_logged(logged, proof, self.trust)
                return proof
        if verified is None and refusal is not None:
            raise refusal
        return cast("VerifiedProof", verified)

    async def _run(self, check: Callable[[Envelope], T], envelope: Envelope) -> T:
        """Check an envelope: in a thread where many keys may have to be tried."""
        if needs_search(envelope, self.trust):
            return await in_pool(check, envelope)
        return check(envelope)

    async def _revoked(self, verified: VerifiedProof, revocation: bytes, now: datetime) -> Found:
        proof_id = verified.record.proof_id
        erasure = await self.objects.erasure(proof_id)
        notices: list[StatusNotice] = []
        envelopes: list[Envelope] = []
        for data in (erasure, revocation):
            if data is not None:
                envelope = parse_envelope(data)
                check = partial(verify_notice, trust=self.trust, now=now, proof_id=proof_id, proof=verified)
                notices.append(await self._run(check, envelope))
                envelopes.append(envelope)
        check_status([each for each in notices if each.kind == "erasure"])
        status = replace(_status(verified, now), state="revoked", notice=notices[0])
        return Found(proof_of(verified, status), tuple(envelopes))

    async def history(self, proof_id: str) -> ProofHistory:
        """What became of a proof; see `ProofStore.history`."""
        found = await self.find(proof_id)
        verified, status = found.proof.verified, found.proof.status
        newest: VerifiedProof | None = None
        names = await self.objects.names(self.objects.layout.status(proof_id))
        hints = [name.removeprefix(NEXT) for name in names if name.startswith(NEXT)]
        for new_id in [hint for hint in hints if is_proof_id(hint)][-MOST_HINTS:]:
            data = await self.objects.record(new_id)
            if data is None:
                continue
            with suppress(ProofError):
                new = await self._verified(data, new_id, None, status.as_of, timed=False)
                verify_successor(new, verified)
                if newest is None or new.record.issued_at > newest.record.issued_at:
                    newest = new
        successor = None if newest is None else newest.record.proof_id
        return ProofHistory(found.proof, verified.record.supersedes, successor)

    async def _absence(self, proof_id: str, now: datetime) -> ProofError:
        data = await self.objects.erasure(proof_id)
        if data is None:
            return ProofNotFoundError(f"there is no proof {proof_id}")
        check = partial(verify_notice, trust=self.trust, now=now, proof_id=proof_id)
        notice = await self._run(check, parse_envelope(data))
        return ProofErasedError(
            f"the issuer has erased proof {proof_id} at {format_time(notice.at)}, reason: {notice.reason}"
        )

    async def look_up(
        self,
        items: Iterable[StorageItem] | AsyncIterable[StorageItem],
        sha256: bytes,
        *,
        policy: Policy | None,
    ) -> AsyncGenerator[Proof, None]:
        """The proofs of an asset's index names that verify, in the order of the names, in bounded memory.

        Raises:
            StorageDecryptionError: None does, and one is encrypted with another key.
        """
        layout = self.objects.layout
        found, locked = False, list[StorageDecryptionError]()

        async def look(item: StorageItem) -> Proof | None:
            named = layout.parse_index(item.key)
            if named is None:
                return None
            try:
                return await self.get(named[1], sha256=sha256, policy=policy)
            except (ProofNotFoundError, ProofErasedError) as error:
                await self._heal(item, named[1], sha256, erased=isinstance(error, ProofErasedError))
            except StorageDecryptionError as error:
                locked[:] = locked or [error]
            except (ProofError, StorageIntegrityError):
                # Planted, damaged, expired, revoked: whatever is wrong with it, it does not prove this asset.
                pass
            return None

        async with aclosing(map_in_order(items, look, at_once=AT_ONCE)) as proofs:
            async for proof in proofs:
                if proof is not None:
                    found = True
                    yield proof
        if locked and not found:
            raise locked[0]  # With another key there may well be proofs, which "none" would deny.

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
    return known_status("expired" if expires is not None and now >= expires else "valid", "store", now)
