"""`ProofStore`: signed proofs on any provider, verified on every read."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast, overload

from credstore.arguments import given, typed, typed_class
from credstore.concurrency import map_in_order
from credstore.errors import ErrorCode, StorageConfigurationError, StorageError, StorageInvalidRequestError
from credstore.model import SignedUrl
from credstore.observe import Observer
from credstore.proofs.format.bundle import encode_bundle
from credstore.proofs.format.dsse import parse_envelope
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofErasedError,
    ProofExpiredError,
    ProofNotFoundError,
    ProofUnsignedError,
)
from credstore.proofs.format.logged import StatementLog
from credstore.proofs.format.original import LegacyHomes, LegacyProof
from credstore.proofs.format.policy import Policy, UnsafeUnsigned, checked_policy
from credstore.proofs.format.record import AssetDigest, ProofRecord, parse_record
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.status import ProofStatus, Reason
from credstore.proofs.format.timestamp import TimestampAuthorities
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import check_asset
from credstore.proofs.store.assets import Asset, measure_outside
from credstore.proofs.store.bundled import open_objects
from credstore.proofs.store.erasing import ProofEraser
from credstore.proofs.store.evidence import ProofEvidence, bundled
from credstore.proofs.store.fsck import ProofChecker, ProofTotals
from credstore.proofs.store.issuing import ProofIssuer, signers_of
from credstore.proofs.store.layout import PREFIX, Layout, checked_digest, checked_id
from credstore.proofs.store.log_verbs import LogVerbs
from credstore.proofs.store.model import (
    FsckReport,
    IssueOptions,
    IssueRequest,
    Proof,
    ProofHistory,
    ProofOutcome,
    ProofRetention,
    ProofStats,
    SweepReport,
)
from credstore.proofs.store.original_records import LegacyRecords
from credstore.proofs.store.original_verbs import LegacyVerbs
from credstore.proofs.store.reading import ProofReader, newest_first
from credstore.proofs.store.repository import proof_objects
from credstore.proofs.store.sweeping import ProofSweeper
from credstore.proofs.store.timestamping import TimestampVerbs
from credstore.proofs.store.trust_stores import PublishedTrust
from credstore.provider.call import Call, Lifetime
from credstore.provider.links import LinkOptions
from credstore.provider.provider import StorageProvider
from credstore.provider.validation import check_prefix

MOST_NAMES = 10_000
"""Maximum number of an asset's index names that `find_by_hash` reads: whoever can write may plant many."""
MOST_PROOFS = 1000
"""Maximum number of proofs that it returns; `scan_by_hash` has neither limit."""
MOST_AT_ONCE = 1000
GRACE = timedelta(days=1)


@typed_class
class ProofStore(LegacyVerbs, LogVerbs, TimestampVerbs):
    """Proofs about assets: issued, found by id or by hash, revoked, swept; verified on every read.

    Open it with `async with`, or close it with `aclose()`. Like its provider, it belongs to the event loop of
    its first call and to the process that made it. All errors are `StorageError`s; those about a
    proof are `ProofError`s. A read that raises found no valid proof; only `ProofNotFoundError` means that
    there is none.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        trust: TrustStore,
        signer: Signer | Sequence[Signer] = (),
        revoker: Signer | Sequence[Signer] | None = None,
        issuer: str | None = None,
        prefix: str = PREFIX,
        threshold: int = 1,
        legacy: LegacyHomes | None = None,
        heal: bool | None = None,
        retention: ProofRetention | None = None,
        log: StatementLog | None = None,
        erasable: bool = True,
        close_provider: bool = True,
        observers: Iterable[Observer] | None = None,
        timestamps: TimestampAuthorities | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Put proofs on a provider.

        Args:
            provider: Where they are. The store owns it from now on: `aclose` closes it, once the store's own
                calls have ended. With `close_provider=False` it still belongs to whoever opened it, who
                closes it after the store. If this raises, nothing is owned.
            trust: The keys whose proofs count: the only trust anchor.
            signer: Signs what is issued; without one, the store only reads.
            revoker: Signs revocations and tombstones; by default the signer.
            issuer: URI of whoever issues; by default the one that the signer is trusted for.
            prefix: Leading part of all keys.
            threshold: How many different keys must have signed a proof.
            legacy: Where records of the original service are, if there are any.
            heal: Whether reads remove index names that lead nowhere; by default if there is a signer.
            retention: Of the records that are issued, for a provider with `capabilities.retention_modes`;
                never of index names and markers. A proof that is erased or expires before it ends is refused
                by readers, and its record stays until then.
            log: A `ProofLog`: what is signed here is logged before its verb returns, what is kept of the log
                is verified, and a policy such as `InLog()` can require it. It stays the caller's. A
                `BundledLog` has the proofs themselves as its entries, and there are no records.
            erasable: False accepts that proofs can never be erased, as a `BundledLog` needs.
            close_provider: Whether the store owns the provider.
            observers: Called with an `Event` after each verb, such as "credstore.proof.issue", whose `key` is
                the proof's id; by default those of the provider, which also see the requests behind it.
            timestamps: The authorities whose timestamps count, where the time of a signature has to be shown;
                without them a proof is judged by its issuer's claim.
            clock: Returns the current time, with a time zone.
            randomness: Returns that many unpredictable bytes.

        Raises:
            StorageConfigurationError: `threshold` is under 1.
            StorageUnsupportedError: `retention`, and the provider has none of this mode; or a `BundledLog`
                without `erasable=False`.
            StorageInvalidRequestError: The prefix is malformed.
            StorageInvalidKeyError: The prefix is one of credstore's own objects (code "RESERVED_KEY").
        """
        if threshold < 1:
            raise StorageConfigurationError("a threshold is 1 or more keys")
        self.provider = provider
        self.trust = trust
        self._owned = close_provider
        self._clock = clock
        seeing = provider.observers if observers is None else tuple(observers)
        self._lifetime = Lifetime.on(provider, seeing, "proof store")
        signers = signers_of(signer)
        layout = Layout(prefix)
        for each in (prefix, *(() if legacy is None else (legacy.prefix, legacy.files or ""))):
            check_prefix(each, provider.capabilities.max_key_size)
        objects = proof_objects(provider, layout, clock, retention)
        self._objects, self._logger = open_objects(objects, trust, log, erasable=erasable)
        heals = bool(signers) if heal is None else heal
        evidence = ProofEvidence(self._objects, timestamps, trust)
        self._reader = ProofReader(self._objects, trust, threshold, heals, evidence, self._logger)
        self._eraser = ProofEraser(
            self._objects, self._reader, signers if revoker is None else signers_of(revoker), self._logger
        )
        self._published = PublishedTrust(self._objects, trust)
        self._sweeper = ProofSweeper(self._objects, self._reader, self._eraser)
        self._issues: ProofIssuer | None = None
        self._signers = signers
        self._issuer_uri = issuer
        self._randomness = randomness
        self._legacy = None if legacy is None else LegacyRecords(self._objects, legacy)

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._lifetime.closed

    @property
    def prefix(self) -> str:
        """Leading part of all its keys."""
        return self._objects.layout.prefix

    def new_proof_id(self) -> str:
        """An id for `issue(proof_id=…)`, where a manifest must know it before the proof exists."""
        return self._issuer().new_id()

    async def issue(self, asset: Asset, **options: Unpack[IssueOptions]) -> Proof:
        """Sign a proof about an asset and store it; once this returns, id and hash find it.

        Args:
            asset: Bytes, a path object, a binary file, an (async) iterable of bytes, or an
                `AssetDigest` where digest and size are known. Only its digest and size are kept.
            options: See `IssueRequest`.

        Returns:
            The proof; for a repeat with the same `idempotency_key`, the one that is there.

        Raises:
            StorageInvalidRequestError: An argument breaks its rule; nothing was written.
            StorageConfigurationError: The store has no signer, or the issuer is not clear.
            StorageUnsupportedError: `idempotency_key` on a store without conditional writes.
            ProofUntrustedKeyError: Readers with this trust store would refuse it; nothing was written.
            ProofKeyExpiredError: The signer's key is not valid now.
            ProofSignatureError: The signer's signature does not verify.
            ProofConflictError: The id or key was used for something else; or, `retryable`, leftovers of an
                earlier attempt are still being removed.
            ProofExpiredError: A repeat of a proof that has expired.
            ProofRevokedError: A repeat of a proof that was revoked.
            ProofErasedError: A repeat of a proof that was erased.
            ProofNotFoundError: There is no proof to supersede.
            ProofIdMismatchError: The proof to supersede belongs to another issuer.
            StorageError: `.applied` "no": there is no proof. "maybe": a repeat with the same
                `idempotency_key` shows which.
            LogError: The log is another one than the store's settings say, forked, or was restored; nothing
                was signed, and retrying does not help.
            LogPendingError: It was issued, and could not be logged; a repeat with the same `idempotency_key`,
                or `reconcile`, logs it.
            Exception: What the signer, or the user's own stream, raised.

        Cost: 2 requests; 1 more with an expiry, a manifest, or a superseded proof (and 2 to look at it);
            2 more, at the same time, with an id that may already be there, and only those for a repeat.
        Source: provenance §3, issue order.
        """
        request = IssueRequest(asset=asset, **options)
        with self._call("issue", request.proof_id, mutation=True) as call:
            return await self._issue(self._issuer(), request, call)

    async def _issue(self, issuer: ProofIssuer, request: IssueRequest, call: Call) -> Proof:
        await self._ready()
        proof = await issuer.issue(request, call)
        call.key = call.key or proof.proof_id
        call.attributes.update(size=proof.record.asset.size)
        if self._logger is not None:
            repeated = request.idempotency_key is not None or request.proof_id is not None
            proof = await self._logger.issued(proof, repeated=repeated)
        return proof

    @typed
    async def issue_many(
        self, requests: Iterable[IssueRequest] | AsyncIterable[IssueRequest], *, at_once: int = 64
    ) -> AsyncGenerator[ProofOutcome, None]:
        """Issue many proofs, several at a time; the outcomes come in the order of the requests.

        Args:
            requests: Taken as there is room, so they may be endless.
            at_once: Maximum number of proofs under way, 1 to 1,000.

        Returns:
            For each request its proof, or the error why there is none; one failure does not stop the others.

        Raises:
            StorageInvalidRequestError: `at_once` out of range, or the store is closed. Where it is closed
                in the meantime, that is the outcome of each request that had not started.
            Exception: What a signer or a user's own stream raised.
        """
        with self._call("issue_many", None, mutation=True, awaited=False) as call:
            if not 1 <= at_once <= MOST_AT_ONCE:
                raise StorageInvalidRequestError("at_once is 1 to 1,000")
            issuer = self._issuer()

            async def one(request: IssueRequest) -> ProofOutcome:
                if not isinstance(cast("object", request), IssueRequest):
                    raise StorageInvalidRequestError(f"`requests` are IssueRequests, not {given(request)}")
                try:
                    with self._call("issue", request.proof_id, mutation=True) as each:
                        proof = await self._issue(issuer, request, each)
                except StorageError as error:
                    return ProofOutcome(request.proof_id, None, error)
                return ProofOutcome(proof.proof_id, proof)

            issued = failed = 0
            # What is raised here comes from the requests, or from what the call of one let through.
            with call.outside():
                async with aclosing(map_in_order(requests, one, at_once=at_once)) as outcomes:
                    async for outcome in outcomes:
                        issued += outcome.error is None
                        failed += outcome.error is not None
                        call.attributes.update(issued=issued, failed=failed)
                        yield outcome

    async def supersede(self, proof_id: str, /, asset: Asset, **options: Unpack[IssueOptions]) -> Proof:
        """Issue a proof that replaces an earlier one; that stays true, and its `history` names the new one.

        Args:
            proof_id: The earlier proof, of the same issuer.
            asset: As `issue`.
            options: As `issue`.

        Raises:
            StorageError: As `issue`.
        """
        options["supersedes"] = proof_id
        request = IssueRequest(asset=asset, **options)
        with self._call("supersede", proof_id, mutation=True) as call:
            proof = await self._issue(self._issuer(), request, call)
            call.attributes.update(superseded_by=proof.proof_id)
            return proof

    @overload
    async def get(
        self,
        proof_id: str,
        *,
        asset: Asset | None = None,
        policy: Policy | None = None,
    ) -> Proof: ...

    @overload
    async def get(
        self,
        proof_id: str,
        *,
        asset: Asset | None = None,
        policy: Policy | UnsafeUnsigned | None,
    ) -> Proof | LegacyProof: ...

    async def get(
        self,
        proof_id: str,
        *,
        asset: Asset | None = None,
        policy: Policy | UnsafeUnsigned | None = None,
    ) -> Proof | LegacyProof:
        """The proof of an id, verified.

        Args:
            proof_id: UUID in lower case.
            asset: What the proof must be about, or None where it is not available.
            policy: What else is required of the proof; None requires that it is neither revoked nor expired.
                `unsafe_allow_unsigned()` also returns a record of the original service, as `LegacyProof`.

        Raises:
            ProofNotFoundError: There is none.
            ProofUnsignedError: There is only a record of the original service.
            ProofErasedError: It was erased.
            ProofRevokedError: It was revoked.
            ProofExpiredError: It has expired.
            ProofNotYetValidError: It was issued in the future.
            ProofIdMismatchError: What is stored there is another proof.
            ProofAssetMismatchError: It is about bytes other than `asset`.
            ProofFormatError: What is stored there is not a proof.
            ProofSignatureError: No signature fits.
            ProofUntrustedKeyError: No trusted key signed it.
            ProofKeyExpiredError: The key was not valid then, or is compromised.
            ProofPolicyError: The policy refuses it.
            StorageInvalidRequestError: `proof_id` is not a UUID, or `policy` is not a policy.
            StorageError: The store failed; that says nothing about the proof.

        Cost: 2 concurrent requests for a valid proof; 1 more where it was revoked, erased or never there.
        Source: provenance §2.6.
        """
        with self._call("get", proof_id) as call:
            name = checked_id(proof_id)
            unsigned = isinstance(policy, UnsafeUnsigned)
            asked = policy.signed if isinstance(policy, UnsafeUnsigned) else checked_policy(policy)
            try:
                proof = await self._reader.get(name, policy=asked)
            except ProofNotFoundError:
                legacy = None if self._legacy is None else await self._legacy.find(name)
                if legacy is None:
                    raise
                if not unsigned:
                    raise ProofUnsignedError(
                        f"proof {name} is a record of the original service, which no one signed"
                    ) from None
                if asset is not None and (await measure_outside(asset, call)).sha256 != legacy.sha256:
                    raise ProofAssetMismatchError("the record is about bytes other than the asset") from None
                return legacy
            if asset is not None:
                check_asset(proof.record, await measure_outside(asset, call))
            return proof

    async def find_by_hash(self, digest: bytes | str, *, policy: Policy | None = None) -> list[Proof]:
        """All proofs about an asset that the policy accepts, newest first; empty where there are none.

        Index names that do not lead to a proof of this asset are passed over; those left by an issue or a
        deletion that never ended are removed.

        Args:
            digest: SHA-256 of the asset: 32 bytes, 64 hex digits, or these after `sha256:`.
            policy: What else is required of each proof; None requires that it is neither revoked nor expired.

        Raises:
            StorageInvalidRequestError: Not a digest, or not a policy; or more than 1,000 proofs or 10,000
                names (code "TOO_MANY_PROOFS"), for which there is `scan_by_hash`.
            StorageError: The store failed.

        Cost: 1 listing per 1,000 names, then 2 requests for each proof, 3 for other names, several at a time.
        """
        with self._call("find_by_hash", None) as call:
            sha256 = checked_digest(digest)
            asked = checked_policy(policy)
            items = await self._objects.first(self._objects.layout.asset(sha256), MOST_NAMES + 1)
            if len(items) > MOST_NAMES:
                raise _too_many(f"more than {MOST_NAMES} names")
            proofs: list[Proof] = []
            async with aclosing(self._reader.look_up(items, sha256, policy=asked)) as found:
                async for proof in found:
                    proofs.append(proof)
                    if len(proofs) > MOST_PROOFS:
                        raise _too_many(f"more than {MOST_PROOFS} proofs")
            proofs.sort(key=newest_first, reverse=True)
            call.attributes.update(proofs=len(proofs))
            return proofs

    async def scan_by_hash(
        self, digest: bytes | str, *, policy: Policy | None = None
    ) -> AsyncGenerator[Proof, None]:
        """As `find_by_hash`, one proof at a time in the order of the listing, however many there are.

        Raises:
            StorageInvalidRequestError: Not a digest, or not a policy; or the store was closed meanwhile.
            StorageError: The store failed.
        """
        with self._call("scan_by_hash", None, awaited=False) as call:
            sha256 = checked_digest(digest)
            asked = checked_policy(policy)
            items = self._objects.scan(self._objects.layout.asset(sha256))
            looking = self._reader.look_up(items, sha256, policy=asked)
            async with aclosing(looking) as found:
                async for proof in found:
                    yield proof
                    self._lifetime.check(call.operation)

    async def history(self, proof_id: str) -> ProofHistory:
        """A proof, valid or not, with the one that it replaces and the newest one that replaces it.

        Args:
            proof_id: UUID in lower case.

        Raises:
            ProofError: As `get`, except for revoked and expired proofs.
            StorageError: The store failed.

        Cost: as `get`, plus 1 listing and 1 request for each of at most 8 later proofs.
        """
        with self._call("history", proof_id):
            return await self._reader.history(checked_id(proof_id))

    async def exists(self, proof_id: str) -> bool:
        """Whether there is a proof with this id that verifies, still valid or not; erased ones are gone.

        Raises:
            ProofError: What is there is not a proof that verifies.
            StorageError: The store failed.

        Cost: as `get`.
        """
        with self._call("exists", proof_id):
            try:
                await self._reader.find(checked_id(proof_id))
            except (ProofNotFoundError, ProofErasedError):
                return False
            return True

    async def revoke(self, proof_id: str, reason: Reason = "unspecified") -> ProofStatus:
        """Revoke a proof for ever; once this returns, every read refuses it. Repeating it is harmless.

        Args:
            proof_id: UUID in lower case.
            reason: Recorded in the notice.

        Raises:
            ProofNotFoundError: There is none.
            ProofErasedError: It was erased.
            ProofUntrustedKeyError: The revoker's key may not revoke for this issuer; nothing was written.
            ProofError: What is there is not a proof that verifies.
            LogError: The log is another one than the store's settings say, forked, or was restored; nothing
                was signed, and retrying does not help.
            LogPendingError: It was revoked, and could not be logged.
            StorageConfigurationError: The store has no signer.
            StorageError: `.applied` "maybe": revoke again.

        Cost: 3 requests.
        """
        with self._call("revoke", proof_id, mutation=True) as call:
            await self._ready()
            return await self._eraser.revoke(checked_id(proof_id), reason, call)

    async def delete(self, proof_id: str, reason: Reason = "unspecified") -> bool:
        """Erase a proof and its manifest in every version.

        A signed tombstone is left, which does not contain the asset's digest.

        Args:
            proof_id: UUID in lower case.
            reason: Recorded in the tombstone.

        Returns:
            Whether there was a proof, which is gone now: no version and no delete marker of its record,
            manifest and index name is left. What an earlier call left behind is removed in any case.

        Raises:
            ProofUntrustedKeyError: The revoker's key may not erase for this issuer; nothing was written.
            ProofError: What is there is not a proof that verifies.
            LogError: The log is another one than the store's settings say, forked, or was restored; nothing
                was signed, and retrying does not help.
            LogPendingError: It was erased, and could not be logged.
            StorageConfigurationError: The store has no signer.
            StorageVersionsRemainError: Readers no longer find anything, but versions stay, or may:
                `remaining` says which, and what keeps each until when. Everything else is gone; delete again
                afterwards, or leave it to a sweep.
            StorageError: Once tombstone and revocation are there, the proof is erased for readers; delete
                again to remove the rest, or leave it to a sweep.

        Cost: 2 requests, the tombstone, the revocation, a listing, and 3 deletions; 2 more for a proof that
            never expires. Where the provider can keep versions, 3 more; where it does keep them, 5 listings
            and up to 6 deletions.
        Source: provenance §3, erase order.
        """
        with self._call("delete", proof_id, mutation=True) as call:
            await self._ready()
            return await self._eraser.delete(checked_id(proof_id), reason, call)

    @typed
    async def sweep_expired(
        self, *, grace: timedelta | float = GRACE, limit: int | None = None
    ) -> SweepReport:
        """Remove proofs that have expired, and what unfinished issues and deletions left behind.

        Any number of sweepers may run, and any of them may stop. Only markers of due days are listed, and
        all markers where the store lists in an order of its own (`capabilities.ordered`).

        Args:
            grace: How long after its expiry a proof is kept, a timedelta or seconds.
            limit: Maximum number of proofs, leftovers and stray markers to remove; None for all that are due.
                What has to stay is looked at and not counted, so it keeps no sweep from what is behind it.

        Raises:
            StorageError: The markers cannot be listed; errors of single proofs are in the report.

        Cost: 1 listing per 1,000 markers, 4 requests and 4 to 6 deletions in batches for each proof.
        """
        with self._call("sweep_expired", None, mutation=True) as call:
            try:
                kept = grace if isinstance(grace, timedelta) else timedelta(seconds=grace)
            except (ValueError, OverflowError):
                raise StorageInvalidRequestError("grace is a timedelta or a number of seconds") from None
            if kept < timedelta(0) or (limit is not None and limit < 1):
                raise StorageInvalidRequestError("grace is 0 or more, and a limit 1 or more")
            report = await self._sweeper.sweep(kept, limit)
            call.attributes.update(swept=report.swept, cleaned=report.cleaned, failed=len(report.failed))
            return report

    async def link(
        self,
        proof_id: str,
        expires_in: float = 3600.0,
        *,
        of: Literal["record", "manifest"] = "record",
        policy: Policy | None = None,
        **options: Unpack[LinkOptions],
    ) -> SignedUrl:
        """A temporary link to a proof that is valid now; it ends no later than the proof.

        Args:
            proof_id: UUID in lower case.
            expires_in: Seconds, 1 to 604,800.
            of: The signed record, or the manifest.
            policy: As `get`; an expired proof gets no link in any case.
            options: As for `StorageProvider.get_signed_url`.

        Raises:
            ProofError: As `get`.
            StorageNotFoundError: The proof has no manifest.
            StorageUnsupportedError: The provider does not make such links.
            StorageError: Anything else.

        Cost: as `get`, plus that of `get_signed_url`.
        """
        with self._call("link", proof_id):
            proof = await self._reader.get(checked_id(proof_id), policy=checked_policy(policy))
            key = self._objects.linked(proof.record, of)
            if proof.record.expires_at is not None:
                # Whole seconds, as links have them: rounded up, the link would outlive the proof.
                left = (proof.record.expires_at - self._clock()) // timedelta(seconds=1)
                if left < 1:
                    raise ProofExpiredError("the proof expires within a second, sooner than any link could")
                expires_in = min(expires_in, float(left)) if expires_in >= 1 else expires_in
            return await self.provider.get_signed_url(key, expires_in, **options)

    async def get_manifest(self, proof_id: str, *, policy: Policy | None = None) -> bytes:
        """The manifest of a valid proof, exactly the bytes that the record names.

        Args:
            proof_id: UUID in lower case.
            policy: As `get`.

        Raises:
            ProofNotFoundError: The proof has none, or it is gone.
            ProofAssetMismatchError: What is stored is not what the record names.
            ProofError: As `get`.
            StorageError: The store failed.

        Cost: as `get`, plus 1 request.
        """
        with self._call("get_manifest", proof_id) as call:
            proof = await self._reader.get(checked_id(proof_id), policy=checked_policy(policy))
            manifest = await self._reader.manifest(proof)
            call.attributes.update(size=len(manifest))
            return manifest

    @typed
    async def export(self, proof_id: str, *, timestamps: Sequence[bytes] = ()) -> bytes:
        """An offline bundle: one file that verifies with `verify_bundle`, without store or network.

        A revoked or expired proof is also exported, with its revocation; verifying refuses it.

        Args:
            proof_id: UUID in lower case.
            timestamps: RFC 3161 responses (DER) over the first signature, besides those that the store has
                and counts.

        Raises:
            ProofError: As `get`.
            StorageError: The store failed.

        Cost: as `get`, plus 1 listing and 1 request for each timestamp and further signature.
        Source: provenance §5.
        """
        with self._call("export", proof_id):
            name = checked_id(proof_id)
            found = await self._reader.find(name)
            proof = found.proof
            evidence = await self._reader.evidence.read(name, proof.envelope)
            log = None if self._logger is None else await self._logger.part(proof.verified)
            return encode_bundle(bundled(proof, found.notices, evidence, timestamps, log))

    async def read_unverified(self, proof_id: str) -> ProofRecord | None:
        """What a stored record says, although nothing about it was verified; None where there is none.

        For looking into what `get` refuses. Never base a decision on it.

        Raises:
            ProofFormatError: It is not a record at all.
            StorageError: The store failed.

        Cost: 1 request.
        """
        with self._call("read_unverified", proof_id):
            data = await self._objects.record(checked_id(proof_id))
            return None if data is None else parse_record(parse_envelope(data).payload)

    async def stats(self) -> ProofStats:
        """Exact totals, counted by listing.

        Raises:
            StorageError: The store failed; there are no totals then.

        Cost: 1 request per 1,000 objects, and 1 for each id whose leftovers are being removed. Up to 256
            more where the store lists in an order of its own.
        """
        with self._call("stats", None):
            return await ProofTotals(self._objects).stats()

    async def fsck(self, *, repair: bool = False) -> FsckReport:
        """Check everything: each record with what leads to it, each name with its record.

        Args:
            repair: Write missing index names, markers and revocations of what was erased; remove names,
                manifests, timestamps and signatures without a record that are older than a day.

        Raises:
            StorageError: The store cannot be listed.

        Cost: 1 request per 1,000 objects, 4 to 5 for each record, 1 to 3 for each name.
        """
        with self._call("fsck", None, mutation=repair) as call:
            report = await ProofChecker(self._objects, self._reader, repair).check()
            call.attributes.update(proofs=report.records, failed=len(report.problems))
            return report

    @typed
    async def list(self, most: int | None = None) -> list[ProofOutcome]:
        """All proofs, or the first `most`, as `scan` yields them.

        Raises:
            StorageError: The store failed.
        """
        found: list[ProofOutcome] = []
        with self._call("list", None) as call:
            async with aclosing(self._reader.scan()) as outcomes:
                async for outcome in outcomes:
                    if most is not None and len(found) >= most:
                        break
                    found.append(outcome)
            call.attributes.update(proofs=len(found))
        return found

    async def scan(self) -> AsyncGenerator[ProofOutcome, None]:
        """Every record with its proof, whatever its status, or the error why there is none; bounded memory.

        Erased proofs are left out. The order is that of the keys, which means nothing.

        Raises:
            StorageError: The store failed.

        Cost: 1 request per 1,000 records, and 2 for each.
        """
        with self._call("scan", None, awaited=False) as call:
            async with aclosing(self._reader.scan()) as outcomes:
                async for outcome in outcomes:
                    yield outcome
                    self._lifetime.check(call.operation)

    async def adopt(self, legacy: LegacyProof, asset: Asset, **options: Unpack[IssueOptions]) -> Proof:
        """Issue a signed proof in place of a record of the original service, with its id.

        Args:
            legacy: The record; its manifest becomes the claims, unless `options` say otherwise.
            asset: The bytes, which are hashed here: what the record says is not enough.
            options: As `issue`.

        Raises:
            ProofAssetMismatchError: The record is about other bytes.
            StorageError: As `issue`.
        """
        if not isinstance(cast("object", legacy), LegacyProof):
            raise StorageInvalidRequestError(f"`legacy` of adopt is a LegacyProof, not {given(legacy)}")
        with self._call("adopt", legacy.proof_id, mutation=True) as call:
            if isinstance(asset, AssetDigest):
                raise StorageInvalidRequestError("adopt takes the bytes of the asset, not a digest of them")
            measured = await measure_outside(asset, call, options.get("progress"))
            if measured.sha256 != legacy.sha256:
                raise ProofAssetMismatchError("the record is about bytes other than the asset")
            said: IssueOptions = {
                "claims": legacy.manifest,
                "uri": legacy.uri,
                "soft_bindings": legacy.soft_bindings,
                **options,
                "proof_id": legacy.proof_id,
            }
            return await self._issue(self._issuer(), IssueRequest(asset=measured, **said), call)

    async def store_proof(
        self, manifest: Mapping[str, Any], /, asset: Asset, **options: Unpack[IssueOptions]
    ) -> str:
        """The original service's verb: `issue` with `manifest` as claims; returns the id."""
        options["claims"] = manifest
        return (await self.issue(asset, **options)).proof_id

    async def get_proof(self, proof_id: str) -> Proof | None:
        """The original service's verb: `get`, but None where there is no proof; what is invalid raises."""
        try:
            return await self.get(proof_id)
        except (ProofNotFoundError, ProofErasedError):
            return None

    async def get_proof_by_hash(self, digest: bytes | str) -> Proof | None:
        """The original service's verb: the newest of `find_by_hash`, or None."""
        found = await self.find_by_hash(digest)
        return found[0] if found else None

    async def proof_exists(self, proof_id: str) -> bool:
        """The original service's verb for `exists`."""
        return await self.exists(proof_id)

    async def delete_proof(self, proof_id: str) -> bool:
        """The original service's verb for `delete`."""
        return await self.delete(proof_id)

    async def close(self) -> None:
        """The original service's verb for `aclose`."""
        await self.aclose()

    async def aclose(self) -> None:
        """Refuse further calls, wait for those under way, then close the provider if it is owned.

        A `scan`, `scan_by_hash` or `issue_many` that its user holds open is not waited for, but what
        it has started to issue is. Safe to call again, even if it was cancelled.
        """
        await self._lifetime.close(self._release)

    async def _release(self) -> None:
        if self._owned:
            await self.provider.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<ProofStore {self.prefix} on {self.provider.get_provider_name()} ({state})>"

    def _call(self, verb: str, key: object, *, mutation: bool = False, awaited: bool = True) -> Call:
        """The call of a verb; `key` may be anything that a user took for an id."""
        name = key if isinstance(key, str) else None
        return Call(self._lifetime, f"proof.{verb}", name, mutation=mutation, awaited=awaited)

    async def _ready(self) -> None:
        if self._logger is not None:
            await self._logger.ready()

    def _issuer(self) -> ProofIssuer:
        if self._issues is None:
            self._issues = ProofIssuer.of(
                self._objects, self._reader, self._issuer_uri, self._signers, self._randomness
            )
        return self._issues


def _too_many(what: str) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        f"the asset has {what}; read them one by one with scan_by_hash()", code=ErrorCode.TOO_MANY_PROOFS
    )
