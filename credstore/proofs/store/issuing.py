"""Issuing: sign in memory, then marker, manifest, index name, and the record as the commit.

An issue that is stopped before its record is there has made no proof: what it left is unreadable and the
sweep removes it. Once the record is there, everything that leads to it is, too. A record is created only
where there is none, so an id says one thing for ever; on stores without conditions ids are random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from credstore.arguments import check_fields
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
    StorageTimeoutError,
    StorageUnsupportedError,
)
from credstore.proofs.format.dsse import Envelope, Signed, encode_envelope, seal_payload
from credstore.proofs.format.errors import (
    ProofConflictError,
    ProofIdMismatchError,
    ProofNotFoundError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.ids import derive_proof_id, new_proof_id
from credstore.proofs.format.policy import Candidate, accept
from credstore.proofs.format.record import (
    AssetDigest,
    ManifestLink,
    ProofRecord,
    encode_record,
)
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.status import known_status
from credstore.proofs.format.verify import VerifiedProof, accept_signatures, known_proof
from credstore.proofs.store.assets import measure_outside, read_small
from credstore.proofs.store.layout import CLAIMED, CLEANED, LARGEST_MANIFEST, Marker, checked_id
from credstore.proofs.store.model import IssueRequest, Proof, proof_of
from credstore.proofs.store.orphans import Leftovers
from credstore.proofs.store.reading import ProofReader
from credstore.proofs.store.repository import LEASE, ProofObjects
from credstore.provider.call import Call
from credstore.quick import made

LONGEST_LIFE = timedelta(days=365 * 1000)
_LONGEST_SECONDS = LONGEST_LIFE.total_seconds()
_MILLISECOND = timedelta(milliseconds=1)
_NOTHING = timedelta(0)
_SCALARS = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Draft:
    """A proof that is signed but not stored.

    Attributes:
        verified: The proof.
        data: Its bytes as stored.
        manifest: The manifest's bytes, or None.
        began: When it was signed.
    """

    verified: VerifiedProof
    data: bytes
    manifest: bytes | None
    began: datetime


@dataclass(frozen=True, slots=True)
class ProofIssuer:
    """Issues the proofs of one issuer.

    Attributes:
        objects: The store's objects.
        reader: Reads what is there.
        issuer: URI of whoever asserts.
        signers: Who signs, 1 to 8.
        randomness: Returns that many random bytes.
    """

    objects: ProofObjects
    reader: ProofReader
    issuer: str
    signers: tuple[Signer, ...]
    randomness: Callable[[int], bytes]

    @classmethod
    def of(
        cls,
        objects: ProofObjects,
        reader: ProofReader,
        issuer: str | None,
        signers: tuple[Signer, ...],
        randomness: Callable[[int], bytes],
    ) -> ProofIssuer:
        """Whoever issues with these signers; without `issuer` the one that the first key is trusted for.

        Raises:
            StorageConfigurationError: There is no signer, or the trust store does not say for whom it signs.
        """
        if not signers:
            raise StorageConfigurationError("issuing needs a signer; this store was opened without one")
        if issuer is None:
            key = reader.trust.find(signers[0].public_key.keyid)
            issuers = frozenset[str]() if key is None else key.issuers
            if len(issuers) != 1:
                raise StorageConfigurationError(
                    "say who issues (issuer=…): the signer's key is trusted for "
                    f"{len(issuers)} issuers, not for one"
                )
            (issuer,) = issuers
        return cls(objects, reader, issuer, signers, randomness)

    def new_id(self) -> str:
        """An id that no other proof has."""
        return new_proof_id(self.objects.clock(), self.randomness(10))

    async def issue(self, request: IssueRequest, call: Call) -> Proof:
        """Issue one proof; see `ProofStore.issue`."""
        check_fields(request)
        asset = request.asset
        if not isinstance(asset, AssetDigest):
            asset = await measure_outside(asset, call, request.progress, media_type=request.media_type)
        manifest = None
        if request.manifest is not None:
            with call.outside():
                manifest = await read_small(request.manifest, most=LARGEST_MANIFEST, what="a manifest")
        proof_id, fixed = self._identify(request, asset)
        record = self._record(request, proof_id, asset, manifest)
        # All of it is checked before the first request to the store.
        payload = encode_record(record)
        if record.claims is not None and not _SCALARS.issuperset(map(type, record.claims.values())):
            # As signed: the caller may change what is inside them while a request is under way.
            record = replace(record, claims=deepcopy(record.claims))
        if record.supersedes is not None:
            await self._check_old(record.supersedes, record.issuer)
        if fixed:
            known = await self._known(record)
            if known is not None:
                return known
        with call.outside():
            envelope = await seal_payload(payload, self.signers)
        verified = self._accept(record, envelope)
        return await self._publish(Draft(verified, encode_envelope(envelope), manifest, record.issued_at))

    def _identify(self, request: IssueRequest, asset: AssetDigest) -> tuple[str, bool]:
        """The proof's id, and whether it may already be in use."""
        key = request.idempotency_key
        if request.proof_id is not None:
            if key is not None:
                raise StorageInvalidRequestError("a proof has a chosen id or an idempotency key, not both")
            return checked_id(request.proof_id), True
        if key is None:
            return self.new_id(), False
        if not self.objects.conditional and not request.best_effort:
            raise StorageUnsupportedError(
                "this store cannot create an object only where there is none, so two racing issues with one "
                "idempotency key may both succeed; accept that with best_effort=True"
            )
        return derive_proof_id(self.issuer, asset.sha256, key), True

    def _record(
        self, request: IssueRequest, proof_id: str, asset: AssetDigest, manifest: bytes | None
    ) -> ProofRecord:
        now = self.objects.clock()
        if now.tzinfo is None:
            raise StorageInvalidRequestError(
                "the clock of a proof store has to return times with a time zone"
            )
        issued_at = now - timedelta(microseconds=now.microsecond % 1000)
        life = _life(request.expires_in)
        try:
            expires_at = None if life is None else issued_at + life
        except OverflowError:
            raise StorageInvalidRequestError("`expires_in` ends after the year 9999") from None
        link: ManifestLink | None = None
        if manifest is not None:
            measured = AssetDigest.of(manifest)
            link = ManifestLink(measured.sha256, measured.size, request.manifest_type, request.manifest_uri)
        return made(
            ProofRecord,
            {
                "proof_id": proof_id,
                "issuer": self.issuer,
                "issued_at": issued_at,
                "asset": asset,
                "expires_at": expires_at,
                "media_type": request.media_type,
                "soft_bindings": tuple(request.soft_bindings),
                "manifest": link,
                "claims": _plain(request.claims),
                "uri": request.uri,
                "supersedes": None if request.supersedes is None else checked_id(request.supersedes),
            },
        )

    def _accept(self, record: ProofRecord, envelope: Envelope) -> VerifiedProof:
        """What was just signed and checked, if readers with this trust store will accept it.

        Raises:
            ProofUntrustedKeyError: They will not; nothing was written.
        """
        signed: list[Signed] = []
        for signature in envelope.signatures:
            key = self.reader.trust.find(signature.keyid)
            if key is not None:
                signed.append(Signed(key, signature.sig))
        if not signed:
            raise ProofUntrustedKeyError("this proof store does not trust the key of its own signer")
        accepted = accept_signatures(
            signed,
            usage="proof",
            issuer=record.issuer,
            claimed=record.issued_at,
            times=(),
            threshold=self.reader.threshold,
        )
        keyids = tuple(each.key.keyid for each, _ in accepted)
        return known_proof(record, envelope, keyids, record.issued_at, "issuer")

    async def _check_old(self, proof_id: str, issuer: str) -> None:
        old = (await self.reader.find(proof_id)).proof
        if old.record.issuer != issuer:
            raise ProofIdMismatchError(
                f"proof {proof_id} belongs to another issuer, who alone can supersede it"
            )

    async def _known(self, record: ProofRecord) -> Proof | None:
        """The proof that is already there, if it says the same."""
        try:
            found = await self.reader.find(record.proof_id)
        except ProofNotFoundError:
            return None
        return self._same(found.proof, record)

    def _same(self, stored: Proof, record: ProofRecord) -> Proof:
        old = stored.record
        if (
            _life_of(old) != _life_of(record)
            or replace(old, issued_at=record.issued_at, expires_at=record.expires_at) != record
        ):
            raise ProofConflictError(f"proof {record.proof_id} was issued before and says something else")
        accept(None, Candidate(stored.verified, stored.status, stored.status.as_of))
        return stored

    async def _publish(self, draft: Draft) -> Proof:
        record = draft.verified.record
        try:
            await self._prepare(draft)
        except StorageError as error:
            error.applied = "no"  # As for the proof: without its record there is none.
            raise
        try:
            await self.objects.put_record(record.proof_id, draft.data)
        except StorageAlreadyExistsError:
            return await self._settle(draft, None)
        except StorageError as error:
            if error.applied == "no":
                raise
            return await self._settle(draft, error)
        if not self.objects.conditional:
            return await self._read_back(draft)
        return self._issued(draft)

    async def _prepare(self, draft: Draft) -> None:
        record, objects = draft.verified.record, self.objects
        proof_id, sha256 = record.proof_id, record.asset.sha256
        if record.expires_at is not None:
            marker = Marker(sha256, draft.manifest is not None)
            await objects.put_marker(record.expires_at, proof_id, marker)
        if record.manifest is not None and draft.manifest is not None:
            await self._put_manifest(record, draft.manifest, record.manifest.media_type)
        await objects.put_index(sha256, proof_id)
        if record.supersedes is not None:
            await objects.put_hint(record.supersedes, proof_id)
        if objects.clock() - draft.began > LEASE:
            # A sweep elsewhere may be taking what was written for leftovers.
            raise StorageTimeoutError("issuing took too long; nothing was issued, so start again")

    async def _put_manifest(self, record: ProofRecord, data: bytes, media_type: str) -> None:
        objects, proof_id = self.objects, record.proof_id
        try:
            await objects.put_manifest(proof_id, data, media_type)
        except StorageAlreadyExistsError:
            if await objects.manifest(proof_id) == data:
                return
            # From an attempt that is under way, or that never ended; then it is removed for a later one.
            item = await objects.provider.get_metadata(objects.layout.manifest(proof_id))
            stale = item is not None and objects.is_old(item.last_modified)
            if stale:
                await Leftovers(objects).remove(proof_id, record.asset.sha256)
            raise ProofConflictError(
                f"proof {proof_id} was started before with another manifest", retryable=stale
            ) from None

    async def _settle(self, draft: Draft, unclear: StorageError | None) -> Proof:
        """What became of a commit: the record that is there decides."""
        proof_id = draft.verified.record.proof_id
        try:
            data = await self.objects.fetch(self.objects.layout.record(proof_id))
        except StorageError as error:
            if unclear is None:
                raise
            raise unclear from error
        if data == draft.data:
            return self._issued(draft)
        if data in (CLAIMED, CLEANED):
            await Leftovers(self.objects).release(proof_id)
            raise ProofConflictError(
                f"leftovers of an earlier attempt at proof {proof_id} are being removed; try again later",
                retryable=True,
            )
        if data is None:
            # It may still land (P7); then it is a proof that its hash finds.
            raise unclear or ProofConflictError(
                f"proof {proof_id} was deleted in the meantime", retryable=True
            )
        return self._same((await self.reader.find(proof_id)).proof, draft.verified.record)

    async def _read_back(self, draft: Draft) -> Proof:
        """Without conditions, the last of two racing issuers wins."""
        if draft.verified.record.proof_id[14] == "7":
            return self._issued(draft)
        return await self._settle(draft, None)

    def _issued(self, draft: Draft) -> Proof:
        status = known_status("valid", "store", draft.verified.record.issued_at)
        return proof_of(draft.verified, status)


def signers_of(given: Signer | Sequence[Signer]) -> tuple[Signer, ...]:
    """One signer or several, as several."""
    return tuple(given) if isinstance(given, Sequence) else (given,)


def _life(expires_in: object) -> timedelta | None:
    if expires_in is None:
        return None
    if isinstance(expires_in, timedelta):
        life = expires_in
    elif isinstance(expires_in, int | float) and not isinstance(expires_in, bool):
        if not 0 < expires_in <= _LONGEST_SECONDS:
            raise _no_life()
        life = timedelta(seconds=expires_in)
    else:
        raise _no_life()
    life -= life % _MILLISECOND
    if not _NOTHING < life <= LONGEST_LIFE:
        raise _no_life()
    return life


def _no_life() -> StorageInvalidRequestError:
    return StorageInvalidRequestError("expires_in is a timedelta or seconds, from 0.001 to 1,000 years")


def _life_of(record: ProofRecord) -> timedelta | None:
    return None if record.expires_at is None else record.expires_at - record.issued_at


def _plain(claims: object) -> Mapping[str, object] | None:
    """The caller's claims as an object whose top level no one else can change."""
    if claims is None:
        return None
    if not isinstance(claims, Mapping):
        raise StorageInvalidRequestError(f"claims are a JSON object, not {type(claims).__name__}")
    return dict(cast("Mapping[str, object]", claims))
