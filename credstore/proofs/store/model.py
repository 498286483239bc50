"""What the proof store takes and returns: frozen values that do nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict

from credstore.arguments import typed_request
from credstore.errors import RetentionMode, StorageError, StorageInvalidRequestError
from credstore.model import NOTHING, LockOptions, Progress, Storable
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.logged import Logged
from credstore.proofs.format.record import AssetDigest, ProofRecord, SoftBinding
from credstore.proofs.format.status import ProofStatus
from credstore.proofs.format.verify import VerifiedProof
from credstore.quick import made


@dataclass(frozen=True)
class Proof:
    """A proof that verified, and its state.

    Attributes:
        verified: The record, its envelope, keys and time.
        status: Valid, expired or revoked, according to the store.
        logged: Where it is in the log, where that was asked or it was just logged; else None.
    """

    verified: VerifiedProof
    status: ProofStatus
    logged: Logged | None = None

    @property
    def proof_id(self) -> str:
        """Id of the proof."""
        return self.verified.record.proof_id

    @property
    def record(self) -> ProofRecord:
        """What it says."""
        return self.verified.record

    @property
    def envelope(self) -> Envelope:
        """The signed bytes."""
        return self.verified.envelope

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims of the record; empty where it has none."""
        claims = self.verified.record.claims
        return NOTHING if claims is None else claims


def proof_of(verified: VerifiedProof, status: ProofStatus) -> Proof:
    """A proof whose parts are checked."""
    return made(Proof, {"verified": verified, "status": status})


@dataclass(frozen=True, slots=True)
class ProofHistory:
    """A proof with those before and after it.

    Attributes:
        proof: The proof, which stays true.
        supersedes: Id of the proof that it says it replaces, or None.
        superseded_by: Id of the newest proof of the same issuer that says it replaces this one, or None.
    """

    proof: Proof
    supersedes: str | None
    superseded_by: str | None


@typed_request
@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRetention:
    """How long the record of a proof is kept from being removed or replaced, whatever is asked of the store.

    Attributes:
        keep_for: From its issue on; more than 0, and reckoned in whole seconds, rounded up.
        mode: "governance", which those with a permission for it can end early, or "compliance", which no one
            can.

    Raises:
        StorageInvalidRequestError: `keep_for` is not more than 0, or the mode is unknown.
    """

    keep_for: timedelta
    mode: RetentionMode = "governance"

    def __post_init__(self) -> None:
        if self.keep_for <= timedelta(0):
            raise StorageInvalidRequestError("keep_for is a duration of more than 0")

    def from_now(self, now: datetime) -> LockOptions:
        """The options of a record that is written now.

        Raises:
            StorageInvalidRequestError: It would end after the year 9999.
        """
        try:
            until = now + self.keep_for
        except OverflowError:
            raise StorageInvalidRequestError("keep_for ends after the year 9999") from None
        return {"retain_until": until, "retain_mode": self.mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """One proof to issue.

    Attributes:
        asset: Bytes, a path object, a binary file, a stream, or an `AssetDigest`. A proof is about its bytes.
        manifest: Bytes, a path or a stream of at most 16 MiB that is kept with the proof.
        manifest_type: Its media type.
        manifest_uri: A hint of where else it is.
        claims: A JSON object of at most 256 KiB.
        expires_in: Seconds or a timedelta; None for ever.
        idempotency_key: 1 to 255 characters: a repeat gets the same proof again. None for a proof of its own.
        media_type: Of the asset.
        supersedes: Id of an earlier proof of the same issuer that this one replaces.
        soft_bindings: Perceptual hashes.
        uri: Where the original is.
        proof_id: An id chosen beforehand; not together with `idempotency_key`.
        best_effort: Accept `idempotency_key` on a store without conditional writes, where two racing
            issuers may both succeed and the last one wins.
        progress: Called with (bytes of the asset hashed, total or None).
    """

    asset: Storable | AssetDigest
    manifest: Storable | None = None
    manifest_type: str = "application/c2pa"
    manifest_uri: str | None = None
    claims: Mapping[str, Any] | None = None
    expires_in: float | timedelta | None = None
    idempotency_key: str | None = None
    media_type: str | None = None
    supersedes: str | None = None
    soft_bindings: tuple[SoftBinding, ...] = ()
    uri: str | None = None
    proof_id: str | None = None
    best_effort: bool = False
    progress: Progress | None = None


class IssueOptions(TypedDict, total=False):
    """Options of `ProofStore.issue`, as the fields of `IssueRequest`."""

    manifest: Storable | None
    manifest_type: str
    manifest_uri: str | None
    claims: Mapping[str, Any] | None
    expires_in: float | timedelta | None
    idempotency_key: str | None
    media_type: str | None
    supersedes: str | None
    soft_bindings: tuple[SoftBinding, ...]
    uri: str | None
    proof_id: str | None
    best_effort: bool
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class ProofOutcome:
    """What became of one of many: a proof, or the error why there is none.

    Attributes:
        proof_id: Its id, or None where there is none yet.
        proof: The proof, or None.
        error: Why there is none, or None.
    """

    proof_id: str | None
    proof: Proof | None
    error: StorageError | None = None


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        swept: Expired proofs that were removed.
        cleaned: Leftovers of issues and deletions that never ended, removed.
        stray: Markers removed that a signed record contradicts.
        kept: Markers whose proof is not due yet, or is just being issued, or whose leftovers go in two steps.
        later: Proofs that a retention or hold keeps, in one version or another; a later sweep removes them.
        failed: The error of each other proof, by id; it was left as it is.
    """

    swept: int = 0
    cleaned: int = 0
    stray: int = 0
    kept: int = 0
    later: int = 0
    failed: Mapping[str, StorageError] = field(default_factory=dict[str, StorageError])


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What `reconcile` did.

    Attributes:
        logged: Statements that were not logged before, and are now.
        failed: The error of each other one, by its key.
    """

    logged: int
    failed: Mapping[str, StorageError] = field(default_factory=dict[str, StorageError])


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a full check found.

    Attributes:
        records: Records that verify.
        restored: Index names and expiry markers that were missing, and revocations next to a tombstone.
        removed: Names, manifests, timestamps and signatures without a record, older than a day.
        problems: What is wrong with a key and cannot be fixed here, by key.
        repaired: Whether what `restored` and `removed` count was done, or only found.
    """

    records: int
    restored: int
    removed: int
    problems: Mapping[str, StorageError]
    repaired: bool


@dataclass(frozen=True, slots=True)
class ProofStats:
    """Exact totals at the time of the listing.

    Attributes:
        proofs: Number of records.
        manifests: Number of manifests.
        revoked: Number of revocations.
        erased: Number of tombstones.
        expiring: Number of expiry markers.
        total_size: Stored bytes of all of it.
        last_updated: When the listing ended, UTC.
    """

    proofs: int
    manifests: int
    revoked: int
    erased: int
    expiring: int
    total_size: int
    last_updated: datetime


@dataclass(frozen=True, slots=True)
class LegacyImport:
    """What an import of the original service's records found.

    Attributes:
        read: Records that ids and hashes lead to now.
        skipped: Objects that are something else.
        unopened: What looks like a record but did not open: a wrong or missing key, a changed file, or fields
            that cannot be right.
        unopened_keys: Their keys, at most 1,000.
        known: Records, of those read, that an earlier import has brought; nothing was written for them.
        differing_keys: Keys of records whose id an earlier one has that says something else, at most 1,000;
            the earlier one stays.
    """

    read: int
    skipped: int
    unopened: int
    unopened_keys: tuple[str, ...] = ()
    known: int = 0
    differing_keys: tuple[str, ...] = ()
