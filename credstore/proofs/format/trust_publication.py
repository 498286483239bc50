"""Trust stores that travel: signed by a root key that the client already trusts. Pure.

A trust store found with the proofs counts only if a pinned `root` key signed it and its version is larger
than every version this client has kept; so writing to the bucket is not enough to add a key, or bring one
back.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, encode_json
from credstore.proofs.format.dsse import Envelope, parse_envelope, verify_signatures
from credstore.proofs.format.errors import ProofConflictError, ProofFormatError, ProofUntrustedKeyError
from credstore.proofs.format.fields import read_hex, refuse
from credstore.proofs.format.record import make_statement, parse_payload, read_statement
from credstore.proofs.format.trust import TrustStore, read_trust_store, trust_store_members

TRUST_STORE_TYPE = "https://credstore.dev/keyring/v1"
_SUBJECT = "keyring"


def encode_trust_statement(trust: TrustStore) -> bytes:
    """The canonical bytes to sign, with a key of usage `root`.

    Raises:
        StorageInvalidRequestError: The trust store is too large or has a time without a time zone.
    """
    try:
        members: dict[str, Json] = trust_store_members(trust)
        digest: dict[str, Json] = {"sha256": hashlib.sha256(encode_json(members)).hexdigest()}
        payload = encode_json(make_statement(_SUBJECT, digest, TRUST_STORE_TYPE, members))
        read_trust_store(read_statement(parse_payload(payload), TRUST_STORE_TYPE)[2])
    except ProofFormatError as error:
        raise StorageInvalidRequestError(f"this trust store cannot be published: {error.message}") from None
    return payload


def verify_trust_store(data: bytes | Envelope, pinned: TrustStore, *, now: datetime) -> TrustStore:
    """Open a published trust store.

    Args:
        data: The signed trust store, as bytes or parsed.
        pinned: The newest trust store this client has kept.
        now: The verifier's clock.

    Raises:
        ProofFormatError: Not a trust store of this version.
        ProofSignatureError: No signature fits.
        ProofUntrustedKeyError: Not signed by a pinned key of usage `root` that is valid now.
        ProofAlgorithmError: It has a key of an unknown scheme, or one that must not be used.
        ProofConflictError: Not newer than the trust store that was kept: a rollback.
    """
    trust = open_trust_store(data, pinned, now=now)
    if trust.version <= pinned.version:
        raise ProofConflictError(
            f"the trust store is version {trust.version}, but version {pinned.version} is already known"
        )
    return trust


def open_trust_store(data: bytes | Envelope, pinned: TrustStore, *, now: datetime) -> TrustStore:
    """Open a published trust store, of whatever version.

    Raises:
        ProofError: As `verify_trust_store`, except for its version.
    """
    envelope = data if isinstance(data, Envelope) else parse_envelope(data)
    signed = verify_signatures(envelope, pinned)
    if not any(
        "root" in each.key.usages and each.key.is_within(now) and not each.key.revoked for each in signed
    ):
        raise ProofUntrustedKeyError("no pinned root key that is valid now has signed this trust store")
    name, digest, predicate = read_statement(parse_payload(envelope.payload), TRUST_STORE_TYPE)
    trust = read_trust_store(predicate)
    found = hashlib.sha256(encode_json(predicate)).digest()
    if name != _SUBJECT or read_hex(digest["sha256"], "subject.digest.sha256", size=32) != found:
        refuse("subject", "is not this trust store")
    return trust
