"""What every read does before anyone sees a proof: signature, form, id, trust, time, asset. Pure.

Rules of this file: it fails closed, so a result means that every check here passed; the order is that of the
checks' own needs (nothing is parsed before its signature fits), and the clock is an argument. Expiry and
revocation are looked at after this, in `policy`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from credstore.arguments import typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.dsse import Envelope, Signed, parse_envelope, verify_signatures
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofError,
    ProofExpiredError,
    ProofIdMismatchError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofNotYetValidError,
    ProofTimestampError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.fields import format_time
from credstore.proofs.format.record import AssetDigest, ProofRecord, parse_record
from credstore.proofs.format.trust import TrustedKey, TrustStore, Usage
from credstore.quick import made

SKEW = timedelta(minutes=5)
"""How much two clocks may differ; it forgives early ones, and never extends an expiry."""
TimeSource = Literal["issuer", "rfc3161", "witness"]


@typed_request
@dataclass(frozen=True, slots=True)
class TrustedTime:
    """A third party's statement, already verified, that a signature existed at a time.

    Attributes:
        time: When.
        source: `rfc3161` (a timestamping authority) or `witness` (a log's witnesses).
        sig: The signature it is about, raw. It says nothing about any other.
    """

    time: datetime
    source: Literal["rfc3161", "witness"]
    sig: bytes


@typed_request
@dataclass(frozen=True)
class VerifiedProof:
    """A proof that verified.

    Attributes:
        record: What it says.
        envelope: The bytes it came in.
        keyids: Ids of the keys that signed and may sign, at least `threshold`.
        time: When it was signed: the earliest trusted time, else the issuer's claim.
        time_source: Who stated `time`.
    """

    record: ProofRecord
    envelope: Envelope
    keyids: tuple[str, ...]
    time: datetime
    time_source: TimeSource


def known_proof(
    record: ProofRecord, envelope: Envelope, keyids: tuple[str, ...], time: datetime, time_source: TimeSource
) -> VerifiedProof:
    """A proof whose parts are checked."""
    return made(
        VerifiedProof,
        {
            "record": record,
            "envelope": envelope,
            "keyids": keyids,
            "time": time,
            "time_source": time_source,
        },
    )


def verify_signed(
    data: bytes | Envelope,
    trust: TrustStore,
    *,
    now: datetime,
    proof_id: str | None = None,
    sha256: bytes | None = None,
    asset: AssetDigest | None = None,
    times: Sequence[TrustedTime] = (),
    threshold: int = 1,
) -> VerifiedProof:
    """Verify what no reader may skip, apart from expiry and revocation, which a policy judges.

    Raises:
        ProofError: As `policy.verify_proof`.
        StorageInvalidRequestError: `now` has no time zone, or `threshold` is under 1.
    """
    if now.tzinfo is None or threshold < 1:
        raise StorageInvalidRequestError(
            "verifying takes a clock with a time zone and a threshold of at least 1"
        )
    envelope = data if isinstance(data, Envelope) else parse_envelope(data)
    signed = verify_signatures(envelope, trust)
    record = parse_record(envelope.payload)
    _check_identity(record, proof_id, sha256)
    accepted = accept_signatures(
        signed,
        usage="proof",
        issuer=record.issuer,
        claimed=record.issued_at,
        times=times,
        threshold=threshold,
    )
    if record.issued_at - now > SKEW:  # A sum could be beyond the calendar.
        raise ProofNotYetValidError(
            f"the proof was issued at {format_time(record.issued_at)}, which is in the future"
        )
    if asset is not None:
        check_asset(record, asset)
    keyids = tuple([each.key.keyid for each, _ in accepted])
    found = [found for _, found in accepted if found is not None] if times else None
    if not found:
        return known_proof(record, envelope, keyids, record.issued_at, "issuer")
    attested = min(found, key=_time_of)
    return known_proof(record, envelope, keyids, attested.time, attested.source)


def _time_of(trusted: TrustedTime) -> datetime:
    return trusted.time


def _check_identity(record: ProofRecord, proof_id: str | None, sha256: bytes | None) -> None:
    if proof_id is not None and record.proof_id != proof_id:
        raise ProofIdMismatchError(f"this is proof {record.proof_id}, moved or copied to another's place")
    if sha256 is not None and not hmac.compare_digest(record.asset.sha256, sha256):
        raise ProofAssetMismatchError("this is a proof of an asset other than the one looked for")


def check_asset(record: ProofRecord, asset: AssetDigest) -> None:
    """Compare an asset with the one that the proof is about.

    Raises:
        ProofAssetMismatchError: Other bytes.
    """
    proved = record.asset
    same = proved.sha256 == asset.sha256 and proved.size == asset.size
    if same and proved.sha512 is not None and asset.sha512 is not None:
        same = proved.sha512 == asset.sha512
    if not same:
        raise ProofAssetMismatchError(
            f"the asset is not the one proved: {asset.size} bytes with SHA-256 {asset.sha256.hex()}, "
            f"not {proved.size} with {proved.sha256.hex()}"
        )


def check_expiry(record: ProofRecord, now: datetime) -> None:
    """A proof is valid while now is before its expiry.

    Raises:
        ProofExpiredError: It has passed.
    """
    if record.expires_at is not None and now >= record.expires_at:
        raise ProofExpiredError(f"the proof expired at {format_time(record.expires_at)}")


def accept_signatures(
    signed: Sequence[Signed],
    *,
    usage: Usage,
    issuer: str,
    claimed: datetime,
    times: Sequence[TrustedTime],
    threshold: int,
) -> list[tuple[Signed, TrustedTime | None]]:
    """The signatures of keys that may sign this for the issuer at that time, with the trusted time of each.

    Raises:
        ProofError: Fewer than `threshold` remain: the reason of the first key that was refused.
    """
    accepted: list[tuple[Signed, TrustedTime | None]] = []
    refused: ProofError | None = None
    for each in signed:
        # A trusted time is about one signature; it says nothing about one that was added later.
        about = [time for time in times if time.sig == each.sig] if times else None
        found = min(about, key=_time_of) if about else None
        try:
            check_key(each.key, usage=usage, issuer=issuer)
            _check_time(each.key, claimed, found)
        except ProofError as error:
            refused = refused or error
        else:
            accepted.append((each, found))
    if len(accepted) >= threshold:
        return accepted
    raise refused or ProofUntrustedKeyError(f"{len(accepted)} keys have signed, but {threshold} must")


def check_key(key: TrustedKey, *, usage: Usage, issuer: str) -> None:
    """Whether a key may sign this kind of statement for the issuer.

    Raises:
        ProofUntrustedKeyError: It may not.
    """
    if usage not in key.usages:
        raise ProofUntrustedKeyError(f"the key {key.keyid} is not for use {usage!r}")
    if issuer not in key.issuers:
        raise ProofUntrustedKeyError(f"the key {key.keyid} is not trusted for the issuer {issuer}")


def _check_time(key: TrustedKey, claimed: datetime, trusted: TrustedTime | None) -> None:
    time = claimed if trusted is None else trusted.time
    if key.revoked is not None and (trusted is None or time >= key.revoked.invalid_since):
        # Whoever has a stolen key can sign any time: only what a third party states counts.
        raise ProofKeyRevokedError(
            f"the key {key.keyid} has not counted since {format_time(key.revoked.invalid_since)}, "
            "and no trusted time shows the signature to be older"
        )
    # An authority's clock may be behind, and often has whole seconds only.
    early = trusted is not None and key.valid_from - SKEW <= time < key.valid_from <= claimed
    if not key.is_within(claimed if early else time):
        raise ProofKeyExpiredError(f"the key {key.keyid} was not valid at {format_time(time)}")
    if trusted is not None and claimed - trusted.time > SKEW:
        raise ProofTimestampError("the proof says it was issued after the time that was attested for it")
