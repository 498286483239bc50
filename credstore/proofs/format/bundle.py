"""The offline bundle: one JSON file with a proof and what is known about it. Pure.

Nothing in a bundle is a trust anchor; keys and timestamping authorities come from the verifier. Only the
signed parts are proved: `made_at` is the maker's claim, and a bundle without a revocation shows at most that
its maker did not have one at that time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from credstore.arguments import typed, typed_request
from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import Envelope, envelope_members, read_envelope
from credstore.proofs.format.errors import ProofFormatError, ProofKeyExpiredError, ProofTimestampError
from credstore.proofs.format.evidence import (
    Renewal,
    encode_renewal,
    read_renewal,
    renewal_members,
    weigh_evidence,
)
from credstore.proofs.format.fields import (
    format_base64,
    format_time,
    read_base64,
    read_list,
    read_object,
    read_time,
    refuse,
)
from credstore.proofs.format.logged import (
    LARGEST_LOG_ENTRY,
    LONGEST_LOG_PROOF,
    CheckLog,
    Logged,
    LogPart,
    bind_logged,
)
from credstore.proofs.format.policy import Candidate, Policy, accept, checked_policy
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.status import ProofStatus, check_status, verify_notice
from credstore.proofs.format.timestamp import TimestampAuthorities
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.verify import TrustedTime, VerifiedProof, verify_signed

BUNDLE_TYPE = "application/vnd.credstore.proof-bundle.v1+json"
LARGEST_BUNDLE = 4 * 1024 * 1024
MOST_NOTICES = 16
MOST_TIMESTAMPS = 8
_LARGEST_TOKEN = 64 * 1024

CheckTimestamp = Callable[[bytes, bytes], datetime]
"""(DER TimeStampResp, raw signature) -> the attested time, or raises `ProofTimestampError`."""


@typed_request
@dataclass(frozen=True, slots=True)
class Bundle:
    """The parts of a bundle; nothing about them is verified.

    Attributes:
        envelope: The proof.
        made_at: When its maker says it was made, UTC.
        status: Notices known at that time.
        timestamps: RFC 3161 responses (DER) over the first signature.
        log: Where the proof is in a log, or None.
        renewals: Timestamps over the proof and earlier timestamps, as `evidence` has them.
    """

    envelope: Envelope
    made_at: datetime
    status: tuple[Envelope, ...] = ()
    timestamps: tuple[bytes, ...] = ()
    log: LogPart | None = None
    renewals: tuple[Renewal, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What verifying a bundle showed; only a proof that the policy accepts gets a report.

    Attributes:
        proof: The proof, its keys and times.
        status: Its state, as far as the bundle knows.
        made_at: When the bundle's maker says it was made.
        status_age: Time since then: a revocation more recent than this is not in it. At least 0.
        unchecked: What was not checked: `asset` (no bytes given), `log` (no log pinned), `timestamps` (no
            authority pinned); `consistency` where a log was checked, since only its reader can see whether
            the log still continues that state.
        logged: Where the proof is in a log that was checked, or None.
    """

    proof: VerifiedProof
    status: ProofStatus
    made_at: datetime
    status_age: timedelta
    unchecked: tuple[str, ...]
    logged: Logged | None = None


@typed
def bundle_name(proof_id: str) -> str:
    """The file name of a bundle."""
    return f"{proof_id}.credproof.json"


@typed
def encode_bundle(bundle: Bundle) -> bytes:
    """The canonical bytes of a bundle.

    Raises:
        StorageInvalidRequestError: A part is too large, there are too many, or a time has no time zone.
    """
    members: dict[str, Json] = {
        "mediaType": BUNDLE_TYPE,
        "envelope": envelope_members(bundle.envelope),
        "status": [envelope_members(each) for each in bundle.status],
        "timestamps": [
            {"type": "rfc3161", "over": "signature", "response": format_base64(each)}
            for each in bundle.timestamps
        ],
    }
    if bundle.renewals:
        members["renewals"] = [renewal_members(each) for each in bundle.renewals]
    if bundle.log is not None:
        members["log"] = {"entry": format_base64(bundle.log.entry), "proof": bundle.log.proof}
    try:
        members["madeAt"] = format_time(bundle.made_at)
        data = encode_json(members)
        parse_bundle(data)
    except ProofFormatError as error:
        raise StorageInvalidRequestError(f"this bundle cannot be made: {error.message}") from None
    return data


@typed
def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle without verifying anything. Strict JSON, which need not be canonical.

    Raises:
        ProofFormatError: Not a bundle of this version, or over 4 MiB.
    """
    members = read_object(
        parse_json(data, limit=LARGEST_BUNDLE),
        "the bundle",
        needs=("mediaType", "envelope", "madeAt"),
        may=("log", "timestamps", "renewals", "status"),
    )
    if members["mediaType"] != BUNDLE_TYPE:
        refuse("mediaType", f"is not {BUNDLE_TYPE}")
    notices = read_list(members.get("status", cast("Json", [])), "status", most=MOST_NOTICES)
    tokens = read_list(members.get("timestamps", cast("Json", [])), "timestamps", most=MOST_TIMESTAMPS)
    renewals = read_list(members.get("renewals", cast("Json", [])), "renewals", most=MOST_TIMESTAMPS)
    return Bundle(
        envelope=read_envelope(members["envelope"], "envelope"),
        made_at=read_time(members["madeAt"], "madeAt"),
        status=tuple(read_envelope(each, "status") for each in notices),
        timestamps=tuple(_read_timestamp(each) for each in tokens),
        log=_read_log(members["log"]) if "log" in members else None,
        renewals=tuple(
            read_renewal(read_object(each, "a renewal", needs=("covers", "response"), may=()))
            for each in renewals
        ),
    )


def _read_timestamp(value: Json) -> bytes:
    members = read_object(value, "a timestamp", needs=("type", "over", "response"), may=())
    if (members["type"], members["over"]) != ("rfc3161", "signature"):
        refuse("a timestamp", "is not an rfc3161 one over a signature")
    return read_base64(members["response"], "a timestamp's response", most=_LARGEST_TOKEN)


def _read_log(value: Json) -> LogPart:
    members = read_object(value, "log", needs=("entry", "proof"), may=())
    proof = members["proof"]
    if not isinstance(proof, str) or len(proof) > LONGEST_LOG_PROOF:
        refuse("log.proof", f"is not a string of at most {LONGEST_LOG_PROOF} characters")
    return LogPart(read_base64(members["entry"], "log.entry", most=LARGEST_LOG_ENTRY), proof)


@typed
def verify_bundle(
    data: bytes | Bundle,
    trust: TrustStore,
    *,
    now: datetime,
    proof_id: str | None = None,
    asset: AssetDigest | None = None,
    check_timestamp: CheckTimestamp | None = None,
    authorities: TimestampAuthorities | None = None,
    check_log: CheckLog | None = None,
    threshold: int = 1,
    policy: Policy | None = None,
) -> BundleReport:
    """Verify a bundle without network or store.

    Args:
        data: The bundle, as bytes or parsed.
        trust: The trusted keys.
        now: The verifier's clock, with a time zone.
        proof_id: The id it must have, or None.
        asset: Digest and size of the asset, if it is available, or None.
        check_timestamp: Verifies an RFC 3161 response, such as `timestamp.TimestampAuthorities.check`; None
            leaves timestamps unchecked, and the report says so.
        authorities: Whose timestamps count, in place of `check_timestamp`: with these, renewals are looked at
            too, and timestamps of others are listed as unchecked.
        check_log: Verifies where the proof is in a log, such as `log.LogCheck`; None leaves that unchecked,
            and the report says so. A policy such as `InLog()` requires that it is in one.
        threshold: How many different keys must have signed.
        policy: What else is required of the proof; None requires that it is neither revoked nor expired.

    Raises:
        ProofRevokedError: It has a valid revocation.
        ProofErasedError: It has a valid erasure.
        ProofPolicyError: The policy refuses it.
        StorageInvalidRequestError: `policy` is not a policy, or as `verify_proof`.
        ProofError: As `verify_proof`, `verify_notice`, `check_timestamp` and `check_log` say: a part that
            does not verify makes the whole bundle invalid.
    """
    asked = checked_policy(policy)
    bundle = data if isinstance(data, Bundle) else parse_bundle(data)
    unchecked: list[str] = []
    times: list[TrustedTime] = []
    logged: Logged | None = None
    if bundle.log is not None:
        logged = None if check_log is None else check_log(bundle.log, bundle.envelope)
        # Of a log that is not pinned nothing is believed, as of a timestamping authority.
        unchecked.append("log" if logged is None else "consistency")
    envelope = bundle.envelope
    outdated: ProofTimestampError | None = None
    stamps = [*bundle.timestamps, *map(encode_renewal, bundle.renewals)]
    if authorities is not None:
        evidence = weigh_evidence(envelope, stamps, authorities, trust)
        if evidence.refused is not None:
            raise evidence.refused
        times, outdated = list(evidence.times), evidence.outdated
        if evidence.unchecked:
            unchecked.append("timestamps")
    elif stamps and (check_timestamp is None or bundle.renewals):
        unchecked.append("timestamps")
    if authorities is None and check_timestamp is not None:
        sig = bundle.envelope.signatures[0].sig
        times += [TrustedTime(check_timestamp(each, sig), "rfc3161", sig) for each in bundle.timestamps]
    times += () if logged is None else logged.times
    try:
        proof = verify_signed(
            envelope,
            trust,
            now=now,
            proof_id=proof_id,
            asset=asset,
            times=times,
            threshold=threshold,
        )
    except ProofKeyExpiredError as error:
        if outdated is None:
            raise
        raise ProofTimestampError(f"{error.message}; {outdated.message}") from error
    if logged is not None:
        bind_logged(logged, proof, trust)
    if asset is None:
        unchecked.append("asset")
    notices = [
        verify_notice(each, trust, now=now, proof_id=proof.record.proof_id, proof=proof)
        for each in bundle.status
    ]
    check_status([each for each in notices if each.kind == "erasure"])
    expired = proof.record.expires_at is not None and now >= proof.record.expires_at
    status = ProofStatus("expired" if expired else "valid", "bundle", bundle.made_at)
    if notices:
        status = replace(status, state="revoked", notice=min(notices, key=lambda each: each.at))
    accept(asked, Candidate(proof, status, now, logged=logged))
    return BundleReport(
        proof=proof,
        status=status,
        made_at=bundle.made_at,
        status_age=max(now - bundle.made_at, timedelta(0)),
        unchecked=tuple(unchecked),
        logged=logged,
    )
