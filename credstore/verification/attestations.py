"""Bundles and envelopes that are kept next to a file: sigstore's, in-toto's, and credstore's own.

Rules of this file: a signature counts by a key or identity of the policy, never by what a bundle says about
itself; and a statement counts only if its subject is this file's digest. Sources: Sigstore bundle v0.3; DSSE
1.0.2; in-toto Statement v1.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from credstore.errors import StorageError
from credstore.extras import is_installed, missing_extra
from credstore.proofs.attestations.verifiers import sigstore_verifier
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.canonical import Json, parse_json
from credstore.proofs.format.dsse import encode_pae
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofError,
    ProofFormatError,
    ProofPolicyError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.record import AssetDigest
from credstore.verification.evidence import Evidence, State, clock_of
from credstore.verification.policy import SigstoreIdentity, VerificationPolicy

if TYPE_CHECKING:
    from sigstore.verify import Verifier

LARGEST = 4 * 1024 * 1024
_MOST_LINES = 100
_SIGSTORE = "application/vnd.dev.sigstore.bundle"
_OWN = "credproof"
_STATEMENT = "application/vnd.in-toto+json"


def judge_file(
    data: bytes, place: str, digest: AssetDigest, policy: VerificationPolicy, now: datetime
) -> list[Evidence]:
    """Evidence in a file that is kept next to an asset; blocks.

    Args:
        data: Its bytes, up to 4 MiB.
        place: Its name.
        digest: Of the asset.
        policy: Whom to trust.
        now: The verifier's clock.
    """
    if f".{_OWN}." in place:
        return [_own(data, place, digest, policy, now)]
    found: list[Evidence] = []
    for line in _documents(data, jsonl=place.endswith(".jsonl")):
        try:
            found.append(_judge(line, place, digest, policy))
        except (ProofError, ValueError) as error:
            found.append(failure("attestation", place, error))
    return found


def failure(kind: Any, place: str, error: Exception, state: State = "failed", **facts: Any) -> Evidence:
    """Evidence that does not hold, with the error that says why."""
    known = error if isinstance(error, StorageError) else ProofFormatError("it is not what its name says")
    return Evidence(kind, state, place, reasons=(known.message,), error=known, **facts)


def _documents(data: bytes, *, jsonl: bool) -> list[bytes]:
    lines = [line for line in data.splitlines() if line.strip()] if jsonl else [data]
    return lines[:_MOST_LINES]


def _own(data: bytes, place: str, digest: AssetDigest, policy: VerificationPolicy, now: datetime) -> Evidence:
    if policy.proofs is None:
        return failure(
            "proof",
            place,
            ProofPolicyError("the policy has no trust store for credstore's proofs"),
            "unchecked",
        )
    check = None
    if policy.timestamps:
        from credstore.proofs.format.timestamp import TimestampAuthorities

        check = TimestampAuthorities(policy.timestamps).check
    try:
        report = verify_bundle(
            data, policy.proofs, now=now, asset=digest, check_timestamp=check, threshold=policy.threshold
        )
    except ProofUntrustedKeyError as error:
        return failure("proof", place, error, "untrusted")
    except ProofError as error:
        return failure("proof", place, error)
    proof = report.proof
    return Evidence(
        "proof",
        "trusted",
        place,
        who=proof.record.issuer,
        what=("a proof of credstore",),
        when=proof.time,
        clock=clock_of(proof.time_source),
        details={"proof_id": proof.record.proof_id, "media_type": proof.record.media_type},
    )


def _judge(data: bytes, place: str, digest: AssetDigest, policy: VerificationPolicy) -> Evidence:
    document = _object(parse_json(data, limit=LARGEST), "the bundle")
    if str(document.get("mediaType", "")).startswith(_SIGSTORE):
        material = _object(document.get("verificationMaterial"), "verificationMaterial")
        message = document.get("messageSignature")
        if "publicKey" not in material:
            about = message.get("messageDigest") if isinstance(message, dict) else None
            if isinstance(about, dict) and not _is_about(about, digest):
                return failure("signature", place, _about_another())
            return _by_certificate(data, place, digest, policy)
        if message is not None:
            return _message(_object(message, "messageSignature"), place, digest, policy)
        return _envelope(_object(document.get("dsseEnvelope"), "dsseEnvelope"), place, digest, policy)
    return _envelope(document, place, digest, policy)


def _envelope(
    envelope: dict[str, Json], place: str, digest: AssetDigest, policy: VerificationPolicy
) -> Evidence:
    payload = _base64(envelope.get("payload"), "payload")
    kind = envelope.get("payloadType")
    signatures = envelope.get("signatures")
    if not isinstance(kind, str) or not isinstance(signatures, list) or not signatures:
        raise ProofFormatError("this is not a DSSE envelope with signatures")
    statement = _object(parse_json(payload, limit=LARGEST), "the statement") if kind == _STATEMENT else {}
    what = (str(statement.get("predicateType", kind)),)
    if digest.sha256.hex() not in _subjects(statement):
        error = ProofAssetMismatchError("the statement is about other files")
        return failure("attestation", place, error, what=what)
    pae = encode_pae(kind, payload)
    sigs = [_base64(_object(each, "a signature").get("sig"), "sig") for each in signatures[:8]]
    for each in policy.keys:
        if any(each.key.is_signature(sig, pae) for sig in sigs):
            return Evidence("attestation", "trusted", place, who=each.name, what=what)
    return _by_no_one("attestation", place, policy, what)


def _message(
    signature: dict[str, Json], place: str, digest: AssetDigest, policy: VerificationPolicy
) -> Evidence:
    if not _is_about(_object(signature.get("messageDigest"), "messageDigest"), digest):
        return failure("signature", place, _about_another())
    sig = _base64(signature.get("signature"), "signature")
    for each in policy.keys:
        key = serialization.load_pem_public_key(each.key.to_pem())
        try:
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
                key.verify(sig, digest.sha256, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
                return Evidence("signature", "trusted", place, who=each.name, what=("the file",))
        except (InvalidSignature, ValueError):
            continue
    return _by_no_one("signature", place, policy, ("the file",))


def _is_about(about: dict[str, Json], digest: AssetDigest) -> bool:
    return about.get("algorithm") == "SHA2_256" and _base64(about.get("digest"), "digest") == digest.sha256


def _about_another() -> ProofAssetMismatchError:
    return ProofAssetMismatchError("the signature is about another file")


def _by_no_one(kind: Any, place: str, policy: VerificationPolicy, what: tuple[str, ...]) -> Evidence:
    words = "no key of the policy has signed it" if policy.keys else "the policy has no keys to check it with"
    return failure(kind, place, ProofUntrustedKeyError(words), "untrusted", what=what)


def _by_certificate(data: bytes, place: str, digest: AssetDigest, policy: VerificationPolicy) -> Evidence:
    """A bundle with a certificate, by `sigstore` and the identities of the policy; without a request."""
    if not policy.identities:
        words = "the policy names no sigstore identity that may have signed it"
        return failure("signature", place, ProofUntrustedKeyError(words), "untrusted")
    if not is_installed("sigstore"):
        return failure(
            "signature", place, missing_extra("sigstore", "bundles with a certificate need"), "unchecked"
        )
    from sigstore.errors import Error

    refusal: ProofError | None = None
    for each in policy.identities:
        try:
            verifier = sigstore_verifier(each.trusted_root)
        except (Error, OSError) as error:
            words = f"sigstore has no roots of trust here: {error}"
            return failure("signature", place, ProofPolicyError(words), "unchecked")
        try:
            kind, what, when = _certified(data, digest, each, verifier)
        except ProofAssetMismatchError as error:
            return failure("attestation", place, error)
        except Exception as error:  # noqa: BLE001 - whatever a planted bundle makes a parser raise
            words = str(error) if isinstance(error, Error) else type(error).__name__
            refusal = refusal or ProofUntrustedKeyError(f"sigstore: {' '.join(words.split())[:200]}")
        else:
            return Evidence(
                kind,
                "trusted",
                place,
                who=each.identity,
                what=(what,),
                when=when,
                clock="sigstore's certificate authority",
            )
    return failure("signature", place, cast("ProofError", refusal))


def _certified(
    data: bytes, digest: AssetDigest, signer: SigstoreIdentity, verifier: Verifier
) -> tuple[Literal["attestation", "signature"], str, datetime]:
    """What an identity has signed about an asset, and when it was certified for that, minutes before.

    Raises:
        ProofAssetMismatchError: It is about other files.
        Exception: It does not verify, or this identity has not signed it.
    """
    from sigstore.hashes import Hashed
    from sigstore.models import Bundle
    from sigstore.verify.policy import Identity
    from sigstore_models.common.v1 import HashAlgorithm

    asked = Identity(identity=signer.identity, issuer=signer.issuer)
    bundle = Bundle.from_json(data)
    if bundle._dsse_envelope is None:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to ask
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest.sha256)
        verifier.verify_artifact(hashed, bundle, asked)
        return "signature", "the file", bundle.signing_certificate.not_valid_before_utc
    kind, payload = verifier.verify_dsse(bundle, asked)
    # What another type means is not for us to say, even if it reads like a statement.
    statement = _object(parse_json(payload, limit=LARGEST), "the statement") if kind == _STATEMENT else {}
    if digest.sha256.hex() not in _subjects(statement):
        raise ProofAssetMismatchError("the statement is about other files")
    what = str(statement.get("predicateType", kind))
    return "attestation", what, bundle.signing_certificate.not_valid_before_utc


def _subjects(statement: dict[str, Json]) -> set[str]:
    subjects = statement.get("subject")
    if not isinstance(subjects, list):
        return set()
    found: set[str] = set()
    for each in subjects:
        known = each.get("digest") if isinstance(each, dict) else None
        if isinstance(known, dict) and isinstance(known.get("sha256"), str):
            found.add(cast("str", known["sha256"]))
    return found


def _object(value: Json | None, name: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ProofFormatError(f"{name} is not an object")
    return value


def _base64(value: Json | None, name: str) -> bytes:
    if not isinstance(value, str):
        raise ProofFormatError(f"{name} is not base64")
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ProofFormatError(f"{name} is not base64") from None
