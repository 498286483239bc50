"""Facts recomputed from the specifications: DSSE, RFC 8032, RFC 8785, and our own record."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope, encode_pae
from credstore.proofs.format.ids import derive_proof_id
from credstore.proofs.format.record import encode_record
from credstore.proofs.format.signing import PublicKey
from tests.proofs.material import INDEPENDENT, ISSUER, RECORD, SIGNER, seal

SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_our_record():
    payload = encode_record(RECORD)
    envelope = seal(payload)
    data = encode_envelope(envelope)
    assert (
        SIGNER.public_key.keyid == "sha256:a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5"
    )
    assert len(payload) == 426
    assert envelope.digest.hex() == "f892c9d122f0180bc77d889d3bbc04518871913f9aeb7a45fcfba2b16fd4866a"
    assert base64.b64encode(envelope.signatures[0].sig) == (
        b"1SW48YunxOEKq7vMt7KdqNEzYr5/dWt3mmoWHW0yKZO7ZiIwK1pSMdOKzxyTSC7wZrwbnAoJrjvZc8XUSKTFDw=="
    )
    assert len(data) == 823
    digest = "58f25f74cbb32d059db95f7ffd8b431dcbaf9e989caf36967e7d0a9a8a634a48"
    assert hashlib.sha256(data).hexdigest() == digest


def test_our_idempotent_id():
    assert derive_proof_id(ISSUER, RECORD.asset.sha256, "key-1") == "8fe9538e-7f49-86d2-b6c2-600a168c7f26"


def test_dsse():
    message = encode_pae("http://example.com/HelloWorld", b"hello world")
    assert message == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    point = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    )
    key = PublicKey("ecdsa-p256-sha256-p1363", point.public_key().public_bytes(*SPKI))
    sig = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    assert key.is_signature(sig, message)
    assert not key.is_signature(sig, message + b"!")
    assert not key.is_signature(sig[:-1], message)
    assert not PublicKey("ecdsa-p256-sha256", key.spki).is_signature(sig, message)


def test_ed25519_of_rfc_8032():
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    private = Ed25519PrivateKey.from_private_bytes(secret)
    key = PublicKey("ed25519", private.public_key().public_bytes(*SPKI))
    assert key.spki[-32:].hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    sig = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert key.is_signature(sig, b"")


EXAMPLE = {
    "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": '€$\u000f\nA\'B"\\\\"/',
    "literals": [None, True, False],
}
SORTED = {
    "€": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\U0001f600": "Emoji: Grinning Face",
    "\u0080": "Control",
    "ö": "Latin Small Letter O With Diaeresis",
}


@pytest.mark.parametrize("encode", [encode_json, lambda value: INDEPENDENT.jcs(value).encode()])
def test_canonical_json_of_rfc_8785(encode):
    data = encode(EXAMPLE)
    assert (
        hashlib.sha256(data).hexdigest() == "2d5e01a318d0f0879ab568c4be289c8b1f64ef8921a53c6277d5e069978baacb"
    )
    assert b"[333333333.3333333,1e+30,4.5,0.002,1e-27]" in data
    text = encode(SORTED).decode()
    places = [text.index(word) for word in ("Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew")]
    assert places == sorted(places)
