"""Keys, times and records that the tests of proofs share, and the independent verifier as a module."""

import asyncio
import importlib.util
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credstore.proofs.format.bundle import Bundle, encode_bundle
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import Envelope, encode_envelope, seal_payload
from credstore.proofs.format.record import AssetDigest, ProofRecord, encode_record
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key

ISSUER = "https://issuer.example"
OTHER_ISSUER = "https://other.example"
ID = "01920000-0000-7000-8000-0000000000ff"
OTHER_ID = "01920000-0000-7000-8000-0000000000fe"
ISSUED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
EXPIRES = datetime(2027, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
P256 = LocalSigner(ec.derive_private_key(2**200 + 7, ec.SECP256R1()))
STRANGER = LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
ROOT = LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))

ASSET = b"hello"
RECORD = ProofRecord(ID, ISSUER, ISSUED, AssetDigest.of(ASSET), EXPIRES, "text/plain")
KEY = trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=START)
P256_KEY = trust_key(P256.public_key, issuers=[ISSUER], valid_from=START)
ROOT_KEY = trust_key(ROOT.public_key, issuers=[], usages=["root"], valid_from=START)
TRUST = TrustStore(1, (KEY, P256_KEY, ROOT_KEY))


def seal(payload: bytes, *signers: LocalSigner) -> Envelope:
    return asyncio.run(seal_payload(payload, signers or (SIGNER,)))


def issue(*signers: LocalSigner, **changes: object) -> Envelope:
    return seal(encode_record(replace(RECORD, **changes)), *signers)


def bundle(envelope: Envelope, **parts: object) -> bytes:
    return encode_bundle(Bundle(envelope, NOW, **parts))


def statement(**predicate: object) -> dict[str, object]:
    """The statement of RECORD, to be broken; a member set to None is left out."""
    members = {
        "proofId": ID,
        "issuer": ISSUER,
        "issuedAt": "2026-01-02T03:04:05.678Z",
        "expiresAt": "2027-01-02T03:04:05.678Z",
        "asset": {"mediaType": "text/plain", "size": 5},
    }
    members |= predicate
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "asset", "digest": {"sha256": RECORD.asset.sha256.hex()}}],
        "predicateType": "https://credstore.dev/proof/v1",
        "predicate": {name: value for name, value in members.items() if value is not None},
    }


def sealed_statement(value: object) -> bytes:
    """Whatever is canonical JSON, signed by a trusted key."""
    return encode_envelope(seal(encode_json(value)))


def load_verifier():
    """docs/verify_proof.py; it must not import credstore."""
    path = Path(__file__).parents[2] / "docs" / "verify_proof.py"
    spec = importlib.util.spec_from_file_location("verify_proof", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INDEPENDENT = load_verifier()
