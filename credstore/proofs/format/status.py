"""What becomes of a proof: revoked, erased, superseded. Pure.

A revocation and an erasure are signed statements about one exact envelope. Revoked is monotone: one valid
notice is enough, their order is irrelevant, and nothing undoes it. Superseded is information, since the
old proof stays true. Absence proves nothing: whoever keeps the notices can hide one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from credstore.arguments import typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import Envelope, Signed, parse_envelope, verify_signatures
from credstore.proofs.format.errors import (
    ProofErasedError,
    ProofError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofNotYetValidError,
    ProofRevokedError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.fields import (
    LONGEST_ISSUER,
    format_time,
    read_hex,
    read_id,
    read_object,
    read_time,
    read_uri,
    refuse,
)
from credstore.proofs.format.record import LARGEST_PAYLOAD, make_statement, parse_payload, read_statement
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import SKEW, VerifiedProof
from credstore.quick import made

REVOCATION_TYPE = "https://credstore.dev/revocation/v1"
ERASURE_TYPE = "https://credstore.dev/erasure/v1"
Reason = Literal["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"]
Kind = Literal["revocation", "erasure"]
_TYPES: dict[Kind, str] = {"revocation": REVOCATION_TYPE, "erasure": ERASURE_TYPE}


@dataclass(frozen=True, slots=True)
class StatusNotice:
    """A revocation or an erasure (tombstone).

    Attributes:
        kind: Which of the two.
        proof_id: Id of the proof.
        digest: SHA-256 of the PAE of the proof's envelope, 32 bytes: not a digest of the asset.
        issuer: The proof's issuer.
        reason: Why.
        at: Since when, UTC, milliseconds.
    """

    kind: Kind
    proof_id: str
    digest: bytes
    issuer: str
    reason: Reason
    at: datetime


@typed_request
@dataclass(frozen=True)
class ProofStatus:
    """The state of a proof, as far as its source knows.

    Attributes:
        state: `valid`, `expired`, `revoked` or `erased`.
        source: Who said so: the `store`, a `log`, or a `bundle`.
        as_of: When the source knew this.
        notice: The notice behind `revoked` and `erased`, else None.
    """

    state: Literal["valid", "expired", "revoked", "erased"]
    source: Literal["store", "log", "bundle"]
    as_of: datetime
    notice: StatusNotice | None = None


def known_status(
    state: Literal["valid", "expired", "revoked", "erased"],
    source: Literal["store", "log", "bundle"],
    as_of: datetime,
) -> ProofStatus:
    """A state whose parts are checked, without a notice."""
    return made(ProofStatus, {"state": state, "source": source, "as_of": as_of})


def make_notice(
    kind: Kind, proof: VerifiedProof, *, at: datetime, reason: Reason = "unspecified"
) -> StatusNotice:
    """The notice about one proof, for `encode_notice`."""
    return StatusNotice(kind, proof.record.proof_id, proof.envelope.digest, proof.record.issuer, reason, at)


def encode_notice(notice: StatusNotice) -> bytes:
    """The canonical bytes to sign, with a key of usage `revoke` or `root`.

    Raises:
        StorageInvalidRequestError: A field breaks its rule; the message names it.
    """
    predicate: dict[str, Json] = {
        "proofId": notice.proof_id,
        "reason": notice.reason,
        "issuer": notice.issuer,
    }
    try:
        predicate["revokedAt"] = format_time(notice.at)
        digest: dict[str, Json] = {"sha256": notice.digest.hex()}
        payload = encode_json(make_statement(notice.proof_id, digest, _TYPES[notice.kind], predicate))
        _read_notice(parse_json(payload, limit=LARGEST_PAYLOAD), notice.kind)
    except ProofFormatError as error:
        raise StorageInvalidRequestError(f"this notice cannot be issued: {error.message}") from None
    return payload


def parse_notice(payload: bytes) -> StatusNotice:
    """Read a notice from the bytes that were signed, without verifying anything.

    Raises:
        ProofFormatError: Not a revocation or erasure of this version.
    """
    statement = read_object(parse_payload(payload), "the statement", needs=("predicateType",))
    kind: Kind = "erasure" if statement["predicateType"] == ERASURE_TYPE else "revocation"
    return _read_notice(statement, kind)


def _read_notice(statement: Json, kind: Kind) -> StatusNotice:
    name, digest, predicate = read_statement(statement, _TYPES[kind])
    read_object(predicate, "predicate", needs=("proofId", "reason", "revokedAt", "issuer"))
    if "critical" in predicate:
        refuse("critical", "names a member that this version does not understand")
    reason = predicate["reason"]
    if reason not in get_args(Reason):
        refuse("reason", f"is not one of {', '.join(get_args(Reason))}")
    notice = StatusNotice(
        kind,
        read_id(predicate["proofId"], "proofId"),
        read_hex(digest["sha256"], "subject.digest.sha256", size=32),
        read_uri(predicate["issuer"], "issuer", longest=LONGEST_ISSUER),
        cast("Reason", reason),
        read_time(predicate["revokedAt"], "revokedAt"),
    )
    if name != notice.proof_id:
        refuse("subject.name", "is not the proofId")
    return notice


def verify_notice(
    data: bytes | Envelope,
    trust: TrustStore,
    *,
    now: datetime,
    proof_id: str,
    proof: VerifiedProof | None = None,
) -> StatusNotice:
    """Verify a revocation or an erasure.

    Args:
        data: The signed notice, as bytes or parsed.
        trust: The trusted keys; one of usage `revoke` for the issuer, or of usage `root`, must have signed.
        now: The verifier's clock.
        proof_id: The proof it must be about.
        proof: The proof itself, to compare issuer and digest, or None where only the tombstone is left.

    Raises:
        ProofFormatError: Not a notice of this version.
        ProofSignatureError: No signature fits.
        ProofUntrustedKeyError: The key may not revoke for this issuer.
        ProofKeyExpiredError: Signed outside the key's window, or after it was compromised.
        ProofIdMismatchError: A notice about another proof.
        ProofNotYetValidError: Signed more than 5 minutes in the future.
    """
    envelope = data if isinstance(data, Envelope) else parse_envelope(data)
    signed = verify_signatures(envelope, trust)
    notice = parse_notice(envelope.payload)
    if notice.proof_id != proof_id or (
        proof is not None and (notice.digest, notice.issuer) != (proof.envelope.digest, proof.record.issuer)
    ):
        raise ProofIdMismatchError(f"this {notice.kind} is about another proof with id {notice.proof_id}")
    _accept(signed, notice)
    if notice.at - now > SKEW:
        raise ProofNotYetValidError(
            f"the {notice.kind} is dated {format_time(notice.at)}, which is in the future"
        )
    return notice


def _accept(signed: Sequence[Signed], notice: StatusNotice) -> None:
    refused: ProofError | None = None
    for key in (each.key for each in signed):
        revoked = key.revoked
        if "root" not in key.usages and not ("revoke" in key.usages and notice.issuer in key.issuers):
            refused = refused or ProofUntrustedKeyError(
                f"the key {key.keyid} may not revoke for the issuer {notice.issuer}"
            )
        # The key's own claim is enough here: a thief who revokes does less harm than a revocation undone.
        elif revoked is not None and notice.at >= revoked.invalid_since:
            refused = refused or ProofKeyRevokedError(
                f"the key {key.keyid} was compromised before it signed this"
            )
        elif not key.is_within(notice.at):
            refused = refused or ProofKeyExpiredError(
                f"the key {key.keyid} was not valid at {format_time(notice.at)}"
            )
        else:
            return
    raise refused or ProofUntrustedKeyError("no key may revoke this")


def check_status(notices: Sequence[StatusNotice]) -> None:
    """Refuse a proof that has a verified notice.

    Raises:
        ProofErasedError: It was erased.
        ProofRevokedError: It was revoked.
    """
    for notice in sorted(notices, key=lambda each: (each.kind != "erasure", each.at)):
        text = f"the issuer has {'erased' if notice.kind == 'erasure' else 'revoked'} proof {notice.proof_id}"
        kind = ProofErasedError if notice.kind == "erasure" else ProofRevokedError
        raise kind(f"{text} at {format_time(notice.at)}, reason: {notice.reason}")


def verify_successor(new: VerifiedProof, old: VerifiedProof) -> str:
    """The id of `new` if it really supersedes `old`: it says so, and the issuer is the same.

    Raises:
        ProofIdMismatchError: It does not.
    """
    if new.record.supersedes != old.record.proof_id or new.record.issuer != old.record.issuer:
        raise ProofIdMismatchError(f"proof {new.record.proof_id} does not supersede {old.record.proof_id}")
    return new.record.proof_id
