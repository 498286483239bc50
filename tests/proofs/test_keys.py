"""Keys and trust stores: which keys are loaded, what a trust store says, how it changes and travels."""

import asyncio
import base64
import hashlib
import json
import pickle
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.errors import (
    ProofAlgorithmError,
    ProofConflictError,
    ProofFormatError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.record import make_statement
from credstore.proofs.format.signing import LocalSigner, PublicKey, Signer, keyid_of
from credstore.proofs.format.trust import TrustStore, encode_trust_store, parse_trust_store, trust_key
from credstore.proofs.format.trust_publication import (
    TRUST_STORE_TYPE,
    encode_trust_statement,
    verify_trust_store,
)
from tests.proofs.material import (
    INDEPENDENT,
    ISSUER,
    KEY,
    MINUTE,
    NOW,
    P256,
    ROOT,
    ROOT_KEY,
    SIGNER,
    START,
    STRANGER,
    TRUST,
    bundle,
    issue,
    seal,
)

DER, RAW = serialization.Encoding.DER, serialization.Encoding.Raw
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PREFIX = SIGNER.public_key.spki[:-32]
PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME


def spki_of(private):
    return private.public_key().public_bytes(DER, SPKI)


def entry(**changes):
    members = json.loads(encode_trust_store(TrustStore(1, (KEY,))))["keys"][0] | changes
    return {name: value for name, value in members.items() if value is not None}


def trust_of(*entries, **members):
    return encode_json({"version": 1, "keys": list(entries), **members})


def with_key(scheme, spki):
    return entry(scheme=scheme, publicKey=base64.b64encode(spki).decode(), keyid=keyid_of(spki))


def refuse_trust_store(data, kind):
    with pytest.raises(kind):
        parse_trust_store(data)
    with pytest.raises(ValueError):
        INDEPENDENT.verify(bundle(issue()), data, NOW)


@pytest.mark.parametrize(
    "signer", [SIGNER, P256, LocalSigner.generate(), LocalSigner.generate("ecdsa-p256-sha256")]
)
def test_a_signer_signs_what_its_public_key_verifies(signer):
    assert isinstance(signer, Signer)
    sig = asyncio.run(signer.sign(b"message"))
    assert signer.public_key.is_signature(sig, b"message")
    assert not signer.public_key.is_signature(sig, b"messagE")
    assert not STRANGER.public_key.is_signature(sig, b"message")


@pytest.mark.parametrize("signer", [SIGNER, P256])
@pytest.mark.parametrize("password", [None, Secret("open sesame")])
def test_a_private_key_is_written_and_read(signer, password):
    pem = signer.to_pem(password)
    assert LocalSigner.from_pem(pem, password).public_key == signer.public_key
    for wrong in (Secret("wrong"), None if password else Secret("needless")):
        with pytest.raises(StorageConfigurationError, match="not a private key"):
            LocalSigner.from_pem(pem, wrong)
    with pytest.raises(StorageConfigurationError) as failure:
        LocalSigner.from_pem(b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----", password)
    assert "secret" not in str(failure.value)


def test_a_private_key_is_not_shown_and_not_pickled():
    assert repr(SIGNER) == f"LocalSigner(PublicKey('ed25519', keyid='{SIGNER.public_key.keyid}'))"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(SIGNER)
    assert pickle.loads(pickle.dumps(SIGNER.public_key)) == SIGNER.public_key
    assert len({SIGNER.public_key, PublicKey("ed25519", SIGNER.public_key.spki), P256.public_key}) == 2
    assert SIGNER.public_key != "key"


def test_a_raw_signature_has_one_length():
    """A leading zero of s cannot be dropped: the same numbers in fewer bytes are another signature."""
    key = PublicKey("ecdsa-p256-sha256-p1363", P256.public_key.spki)
    s = 2**256
    while s >= 2**248:
        r, s = decode_dss_signature(asyncio.run(P256.sign(b"message")))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert key.is_signature(raw, b"message")
    assert not key.is_signature(raw[:32] + raw[33:], b"message")
    assert not key.is_signature(raw[:32] + b"\0" + raw[32:], b"message")


def test_other_kinds_of_private_keys_sign_nothing():
    for private in (
        rsa.generate_private_key(65537, 2048), ed448.Ed448PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()),
    ):  # fmt: skip
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with pytest.raises(ProofAlgorithmError):
            LocalSigner.from_pem(pem)
    for scheme in ("rsa", "none", "HS256", "ecdsa-p256-sha256-p1363"):
        with pytest.raises(ProofAlgorithmError, match="keys are made for"):
            LocalSigner.generate(scheme)


RSA = spki_of(rsa.generate_private_key(65537, 2048))
UNUSABLE = {
    "RSA as Ed25519": ("ed25519", RSA),
    "RSA as ECDSA": ("ecdsa-p256-sha256", RSA),
    "Ed25519 as ECDSA": ("ecdsa-p256-sha256", SIGNER.public_key.spki),
    "ECDSA as Ed25519": ("ed25519", P256.public_key.spki),
    "P-384": ("ecdsa-p256-sha256", spki_of(ec.generate_private_key(ec.SECP384R1()))),
    "secp256k1": ("ecdsa-p256-sha256", spki_of(ec.generate_private_key(ec.SECP256K1()))),
    "X25519": ("ed25519", spki_of(x25519.X25519PrivateKey.generate())),
    "no scheme": ("none", SIGNER.public_key.spki),
    "a symmetric scheme": ("HS256", SIGNER.public_key.spki),
    "an RSA scheme": ("rsa-sha256", RSA),
    "a scheme in upper case": ("ED25519", SIGNER.public_key.spki),
    "no key": ("ed25519", b""),
    "bytes that are no key": ("ed25519", b"\x30\x03\x02\x01\x01"),
    "bytes behind the key": ("ed25519", SIGNER.public_key.spki + b"\0"),
    "a compressed point": (
        "ecdsa-p256-sha256",
        bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
        + serialization.load_der_public_key(P256.public_key.spki).public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        ),
    ),
    "a point off the curve": ("ecdsa-p256-sha256", P256.public_key.spki[:-1] + b"\x01"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_key_of_another_kind_is_refused(case):
    with pytest.raises(ProofAlgorithmError):
        PublicKey(*UNUSABLE[case])
    refuse_trust_store(trust_of(with_key(*UNUSABLE[case])), ProofAlgorithmError)


def small_order_points():
    """The y coordinates of points of order 1, 2, 4 and 8, computed here from the curve's equation."""
    identity, one = (0, 1), pow(2, (PRIME - 1) // 4, PRIME)

    def add(p, q):
        (x1, y1), (x2, y2) = p, q
        t = D * x1 * x2 * y1 * y2 % PRIME
        x3 = (x1 * y2 + x2 * y1) * pow(1 + t, -1, PRIME) % PRIME
        return x3, (y1 * y2 + x1 * x2) * pow(1 - t, -1, PRIME) % PRIME

    def point(y):
        square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
        x = pow(square, (PRIME + 3) // 8, PRIME)
        if x * x % PRIME != square:
            x = x * one % PRIME
        return (x, y) if x * x % PRIME == square else None

    order = 2**252 + 27742317777372353535851937790883648493
    found, y = set(), 2
    while len(found) < 5:
        start = point(y)
        y += 1
        if start is None:
            continue
        # A point times the prime order is in the group of eight.
        total, base, rest = identity, start, order
        while rest:
            if rest & 1:
                total = add(total, base)
            base, rest = add(base, base), rest >> 1
        each = total
        for _ in range(8):
            found.add(each[1])
            each = add(each, total)
    return found


def test_points_of_small_order_and_second_encodings_are_refused():
    points = small_order_points()
    assert len(points) == 5
    encodings = [y | sign << 255 for y in points for sign in (0, 1)]
    encodings += [PRIME, PRIME + 1, 2**255 - 1, PRIME + 5]
    for number in encodings:
        spki = PREFIX + number.to_bytes(32, "little")
        assert isinstance(serialization.load_der_public_key(spki), Ed25519PublicKey)
        with pytest.raises(ProofAlgorithmError, match="small order"):
            PublicKey("ed25519", spki)
        refuse_trust_store(trust_of(with_key("ed25519", spki)), ProofAlgorithmError)


def test_a_trust_store_reads_back():
    trust = TRUST.revoke(P256.public_key.keyid, at=NOW, invalid_since=NOW - MINUTE).retire(
        KEY.keyid, last_use=NOW
    )
    assert parse_trust_store(encode_trust_store(trust)) == trust
    assert parse_trust_store(json.dumps(json.loads(encode_trust_store(trust)), indent=2).encode()) == trust
    assert trust.find(KEY.keyid).public_key == SIGNER.public_key
    assert trust.find(STRANGER.public_key.keyid) is None


TIME = "2026-01-02T03:04:05.678Z"
BROKEN = {
    "no JSON": b"keys",
    "a name twice": b'{"version":1,"version":2,"keys":[]}',
    "an array": b"[]",
    "no version": encode_json({"keys": []}),
    "version 0": trust_of(version=0),
    "version true": trust_of(version=True),
    "an unknown member": trust_of(comment="x"),
    "keys that are an object": encode_json({"version": 1, "keys": {}}),
    "a key twice": trust_of(entry(), entry()),
    "a key twice under two schemes": trust_of(
        with_key("ecdsa-p256-sha256", P256.public_key.spki), with_key("ecdsa-p256-sha256-p1363", P256.public_key.spki)
    ),
    "a key with an unknown member": trust_of(entry(alg="none")),
    "another key's id": trust_of(entry(keyid=P256.public_key.keyid)),
    "no id": trust_of(entry(keyid=None)),
    "an unknown usage": trust_of(entry(usages=["proof", "everything"])),
    "no usage": trust_of(entry(usages=[])),
    "a usage that is a list": trust_of(entry(usages=[["proof"]])),
    "an issuer that is none": trust_of(entry(issuers=["*"])),
    "issuers that are a string": trust_of(entry(issuers=ISSUER)),
    "a window that ends before it begins": trust_of(entry(validUntil="2025-12-31T23:59:59.999Z")),
    "a time that is none": trust_of(entry(validFrom="2026-01-01")),
    "no beginning": trust_of(entry(validFrom=None)),
    "a revocation without its time": trust_of(entry(revoked={"at": TIME})),
    "a revocation with more": trust_of(entry(revoked={"at": TIME, "invalidSince": TIME, "why": "x"})),
    "a key in URL-safe base64": trust_of(entry(publicKey=entry()["publicKey"].replace("/", "_").replace("+", "-") + "-")),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_trust_store_is_refused(case):
    refuse_trust_store(BROKEN[case], StorageConfigurationError)


def test_entries_are_checked_when_made():
    for arguments in ({"issuers": ["x"]}, {"usages": []}, {"valid_from": NOW.replace(tzinfo=None)},
                      {"valid_until": START - MINUTE}):  # fmt: skip
        with pytest.raises(StorageConfigurationError):
            trust_key(SIGNER.public_key, **{"issuers": [ISSUER], "valid_from": START, **arguments})
    with pytest.raises(StorageConfigurationError, match="twice"):
        TRUST.add(KEY)


def test_rotation_keeps_what_the_old_key_signed():
    trust = TrustStore(1, (KEY,)).rotate(KEY.keyid, P256.public_key, at=NOW)
    assert trust.version == 2
    old, new = trust.keys
    assert (old.valid_from, old.valid_until) == (START, NOW + 5 * MINUTE)
    assert (new.issuers, new.usages, new.valid_from, new.valid_until) == (KEY.issuers, KEY.usages, NOW, None)
    assert old.is_within(NOW + 5 * MINUTE)
    assert not old.is_within(NOW + 5 * MINUTE + timedelta(milliseconds=1))
    assert new.is_within(NOW)
    assert not new.is_within(NOW - timedelta(milliseconds=1))
    earlier = trust.retire(KEY.keyid, last_use=START)
    assert earlier.retire(KEY.keyid, last_use=NOW).keys[0].valid_until == START + 5 * MINUTE
    for change in (
        lambda: trust.rotate(STRANGER.public_key.keyid, P256.public_key, at=NOW),
        lambda: trust.rotate(KEY.keyid, P256.public_key, at=NOW),
        lambda: trust.revoke("sha256:00", at=NOW, invalid_since=NOW),
    ):
        with pytest.raises(StorageConfigurationError):
            change()


def test_a_published_trust_store_is_accepted_from_a_pinned_root_only():
    trust = TRUST.add(trust_key(STRANGER.public_key, issuers=[ISSUER], valid_from=NOW))
    payload = encode_trust_statement(trust)
    assert verify_trust_store(seal(payload, ROOT), TRUST, now=NOW) == trust
    for signer, kind in ((SIGNER, ProofUntrustedKeyError), (STRANGER, ProofUntrustedKeyError)):
        with pytest.raises(kind):
            verify_trust_store(seal(payload, signer), TRUST, now=NOW)
    changed = replace(seal(payload, ROOT), payload=payload.replace(b'"version":2', b'"version":3'))
    with pytest.raises(ProofSignatureError):
        verify_trust_store(changed, TRUST, now=NOW)
    for pinned in (TrustStore(1, (KEY, replace(ROOT_KEY, valid_until=START))),
                   TRUST.revoke(ROOT_KEY.keyid, at=NOW, invalid_since=NOW)):  # fmt: skip
        with pytest.raises(ProofUntrustedKeyError):
            verify_trust_store(seal(payload, ROOT), pinned, now=NOW)


def test_an_older_trust_store_is_a_rollback():
    with pytest.raises(ProofConflictError, match="version 1"):
        verify_trust_store(seal(encode_trust_statement(TRUST), ROOT), TRUST, now=NOW)
    with pytest.raises(ProofConflictError):
        verify_trust_store(
            seal(encode_trust_statement(TrustStore(1, TRUST.keys)), ROOT), TrustStore(5, TRUST.keys), now=NOW
        )


def test_a_published_trust_store_of_another_shape_is_refused():
    payload = encode_trust_statement(TrustStore(2, (KEY,)))
    value = json.loads(payload)
    value["subject"][0]["digest"]["sha256"] = "0" * 64
    for broken in (encode_json(value), issue().payload, payload + b" "):
        with pytest.raises(ProofFormatError):
            verify_trust_store(seal(broken, ROOT), TRUST, now=NOW)
    members = json.loads(encode_trust_store(TrustStore(2, (KEY,))))
    members["keys"] *= 2
    digest = {"sha256": hashlib.sha256(encode_json(members)).hexdigest()}
    twice = encode_json(make_statement("keyring", digest, TRUST_STORE_TYPE, members))
    with pytest.raises(ProofFormatError, match="twice"):
        verify_trust_store(seal(twice, ROOT), TRUST, now=NOW)
    with pytest.raises(StorageInvalidRequestError):
        encode_trust_statement(TrustStore(0, ()))
