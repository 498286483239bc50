"""Verifying: every attack is refused with its own error, by credstore and by the independent verifier."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import (
    MOST_TRIES,
    Envelope,
    Signature,
    encode_envelope,
    encode_pae,
    parse_envelope,
    seal_payload,
)
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofError,
    ProofExpiredError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofNotYetValidError,
    ProofSignatureError,
    ProofTimestampError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.policy import unsafe_allow_expired, verify_proof
from credstore.proofs.format.record import AssetDigest, encode_record
from credstore.proofs.format.signing import LocalSigner, PublicKey
from credstore.proofs.format.trust import TrustStore, encode_trust_store, trust_key
from credstore.proofs.format.verify import TrustedTime
from tests.proofs.material import (
    ASSET,
    EXPIRES,
    ID,
    INDEPENDENT,
    ISSUED,
    ISSUER,
    KEY,
    MINUTE,
    NOW,
    OTHER_ID,
    OTHER_ISSUER,
    P256,
    P256_KEY,
    RECORD,
    ROOT,
    SIGNER,
    START,
    STRANGER,
    TRUST,
    issue,
)

MS = timedelta(milliseconds=1)


def as_bundle(envelope):
    data = envelope if isinstance(envelope, bytes) else encode_envelope(envelope)
    return (
        b'{"envelope":' + data + b',"madeAt":"2026-06-01T00:00:00.000Z",'
        b'"mediaType":"application/vnd.credstore.proof-bundle.v1+json"}'
    )


def accept(envelope, trust=TRUST, now=NOW):
    proof = verify_proof(envelope, trust, now=now)
    predicate = INDEPENDENT.verify(as_bundle(envelope), encode_trust_store(trust), now)
    assert predicate["proofId"] == proof.record.proof_id
    return proof


def refuse(kind, envelope, trust=TRUST, now=NOW):
    with pytest.raises(kind) as failure:
        verify_proof(envelope, trust, now=now)
    assert type(failure.value) is kind
    assert failure.value.retryable is (kind is ProofNotYetValidError)
    with pytest.raises(ValueError):
        INDEPENDENT.verify(as_bundle(envelope), encode_trust_store(trust), now)


@pytest.mark.parametrize("signer", [SIGNER, P256])
def test_a_proof_verifies(signer):
    data = encode_envelope(issue(signer))
    proof = verify_proof(
        data, TRUST, now=NOW, proof_id=ID, sha256=RECORD.asset.sha256, asset=AssetDigest.of(ASSET)
    )
    assert proof.record == RECORD
    assert proof.keyids == (signer.public_key.keyid,)
    assert (proof.time, proof.time_source) == (ISSUED, "issuer")
    assert accept(data) == proof


def test_a_changed_byte_is_no_signature():
    envelope = issue()
    refuse(
        ProofSignatureError, replace(envelope, payload=envelope.payload.replace(b"text/plain", b"text/plais"))
    )
    sig = bytearray(envelope.signatures[0].sig)
    sig[10] ^= 1
    refuse(ProofSignatureError, replace(envelope, signatures=(Signature(KEY.keyid, bytes(sig)),)))


def test_a_strange_key_is_untrusted():
    refuse(ProofUntrustedKeyError, issue(STRANGER))
    refuse(ProofUntrustedKeyError, issue(), TrustStore(1, ()))


def test_a_key_id_decides_nothing():
    stranger = issue(STRANGER).signatures[0].sig
    # A stranger's signature under a trusted id, and without one.
    for keyid in (KEY.keyid, P256_KEY.keyid, ""):
        refuse(ProofSignatureError, Envelope(issue().payload, (Signature(keyid, stranger),)))
    # A good signature under another key's id, and an id that differs in case.
    good = issue().signatures[0].sig
    refuse(ProofSignatureError, Envelope(issue().payload, (Signature(P256_KEY.keyid, good),)))
    unknown = "sha256:" + "0" * 64
    refuse(ProofUntrustedKeyError, Envelope(issue().payload, (Signature(unknown, good),)))
    assert accept(Envelope(issue().payload, (Signature("", good),))).keyids == (KEY.keyid,)


def test_nobody_chooses_the_algorithm():
    """Members that name one are ignored, and a signature of another scheme never fits."""
    value = json.loads(encode_envelope(issue()))
    value |= {"alg": "none", "scheme": "ecdsa-p256-sha256", "publicKey": STRANGER.public_key.keyid}
    value["signatures"][0] |= {"alg": "HS256", "cert": "mine"}
    assert accept(encode_json(value)).record == RECORD
    stranger = json.loads(encode_envelope(issue(STRANGER)))
    stranger["signatures"][0]["publicKey"] = base64.b64encode(STRANGER.public_key.spki).decode()
    refuse(ProofUntrustedKeyError, encode_json(stranger))
    # An HMAC with the public key as secret, an empty signature, the digest itself.
    import hashlib
    import hmac

    pae = issue().pae
    for sig in (
        hmac.digest(SIGNER.public_key.spki, pae, "sha256"),
        b"",
        bytes(64),
        hashlib.sha256(pae).digest(),
    ):
        refuse(ProofSignatureError, Envelope(issue().payload, (Signature(KEY.keyid, sig),)))
    raw = PublicKey("ecdsa-p256-sha256-p1363", P256.public_key.spki)
    trust = TrustStore(1, (trust_key(raw, issuers=[ISSUER], valid_from=START),))
    refuse(ProofSignatureError, issue(P256), trust)


def test_the_type_is_signed():
    payload = encode_record(RECORD)
    sig = asyncio.run(SIGNER.sign(encode_pae("application/json", payload)))
    refuse(ProofSignatureError, Envelope(payload, (Signature(KEY.keyid, sig),)))
    sig = asyncio.run(SIGNER.sign(payload))
    refuse(ProofSignatureError, Envelope(payload, (Signature(KEY.keyid, sig),)))


B64 = base64.b64encode(issue().payload).decode()
ENVELOPES = {
    "no JSON": b"proof",
    "nothing": b"",
    "an array": b"[]",
    "no signatures": {"signatures": []},
    "signatures that are an object": {"signatures": {}},
    "nine signatures": {"signatures": [{"sig": "AAAA"}] * 9},
    "a signature without sig": {"signatures": [{"keyid": "x"}]},
    "a sig that is a number": {"signatures": [{"sig": 1}]},
    "a keyid that is a number": {"signatures": [{"keyid": 1, "sig": "AAAA"}]},
    "a keyid that is long": {"signatures": [{"keyid": "x" * 256, "sig": "AAAA"}]},
    "another payload type": {"payloadType": "application/json"},
    "a payload type like ours": {"payloadType": "application/vndXin-toto+json"},
    "a payload that is no base64": {"payload": "%%%%"},
    "a payload with spaces": {"payload": B64[:4] + " " + B64[4:]},
    "a payload with a line end": {"payload": B64 + "\n"},
    "a payload without padding": {"payload": B64.rstrip("=") + "A"},
    "a payload in two alphabets": {"payload": "+_" + B64[2:]},
    "a payload of other letters": {"payload": "é" * 4},
    "a payload of a megabyte": {"payload": "A" * (4 * (1024 * 1024 // 3) + 8)},
    "an envelope of two megabytes": {"comment": "x" * 2 * 1024 * 1024},
}


@pytest.mark.parametrize("case", ENVELOPES)
def test_a_broken_envelope_is_refused(case):
    broken = ENVELOPES[case]
    if isinstance(broken, dict):
        broken = json.dumps(json.loads(encode_envelope(issue())) | broken).encode()
    with pytest.raises(ProofFormatError):
        parse_envelope(broken)
    # The limit of an envelope is of stored ones; in a bundle the bundle's counts.
    if case != "an envelope of two megabytes":
        refuse(ProofFormatError, broken)


def test_a_name_twice_in_the_envelope_is_refused():
    data = encode_envelope(issue())
    for twice in (b'{"payload":"AAAA",' + data[1:], data.replace(b'"sig":', b'"sig":"AAAA","sig":')):
        refuse(ProofFormatError, twice)


def test_url_safe_base64_is_read():
    value = json.loads(encode_envelope(issue()))
    value["signatures"][0]["sig"] = value["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    assert value["signatures"][0]["sig"].count("_") + value["signatures"][0]["sig"].count("-")
    assert accept(encode_json(value)).envelope == issue()


def test_spare_bits_of_base64_are_refused():
    value = json.loads(encode_envelope(issue()))
    sig = value["signatures"][0]["sig"]
    assert sig.endswith("w==")
    value["signatures"][0]["sig"] = sig[:-3] + "x=="
    refuse(ProofFormatError, encode_json(value))


def test_a_record_under_another_id_is_refused():
    with pytest.raises(ProofIdMismatchError, match=ID):
        verify_proof(issue(), TRUST, now=NOW, proof_id=OTHER_ID)


def test_a_record_of_another_asset_is_refused():
    for options in (
        {"sha256": bytes(32)}, {"asset": AssetDigest.of(b"hellp")}, {"asset": replace(RECORD.asset, size=6)},
    ):  # fmt: skip
        with pytest.raises(ProofAssetMismatchError):
            verify_proof(issue(), TRUST, now=NOW, **options)
    long = replace(RECORD.asset, sha512=bytes(64))
    assert verify_proof(issue(asset=long), TRUST, now=NOW, asset=RECORD.asset)
    with pytest.raises(ProofAssetMismatchError):
        verify_proof(issue(asset=long), TRUST, now=NOW, asset=replace(long, sha512=b"\1" * 64))
    with pytest.raises(ValueError, match="another asset"):
        INDEPENDENT.verify(as_bundle(issue()), encode_trust_store(TRUST), NOW, b"hellp")
    with pytest.raises(ValueError, match="another asset"):
        INDEPENDENT.verify(as_bundle(issue()), encode_trust_store(TRUST), NOW, b"")


def test_a_key_is_trusted_for_its_issuers_and_uses_only():
    refuse(ProofUntrustedKeyError, issue(issuer=OTHER_ISSUER))
    refuse(ProofUntrustedKeyError, issue(issuer=ISSUER + "/"))
    refuse(ProofUntrustedKeyError, issue(ROOT))
    for usage in ("revoke", "log", "root"):
        trust = TrustStore(
            1, (trust_key(SIGNER.public_key, issuers=[ISSUER], usages=[usage], valid_from=START),)
        )
        refuse(ProofUntrustedKeyError, issue(), trust)


def trust_from(start, end=None):
    return TrustStore(1, (trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=start, valid_until=end),))


def test_a_key_counts_within_its_window_both_ends_included():
    accept(issue(), trust_from(ISSUED, ISSUED))
    accept(issue(), trust_from(START, ISSUED), EXPIRES - MS)
    refuse(ProofKeyExpiredError, issue(), trust_from(ISSUED + MS))
    refuse(ProofKeyExpiredError, issue(), trust_from(START, ISSUED - MS))


def test_after_rotation_old_proofs_stay_and_old_keys_sign_no_new_ones():
    trust = TrustStore(1, (KEY,)).rotate(KEY.keyid, P256.public_key, at=NOW)
    later = NOW + 60 * MINUTE
    accept(issue(), trust, later)
    accept(issue(P256, issued_at=NOW), trust, later)
    accept(issue(issued_at=NOW + 5 * MINUTE), trust, later)
    refuse(ProofKeyExpiredError, issue(issued_at=NOW + 5 * MINUTE + MS), trust, later)
    refuse(ProofKeyExpiredError, issue(P256, issued_at=NOW - MS), trust, later)


def at(time, envelope, source="rfc3161", place=0):
    return TrustedTime(time, source, envelope.signatures[place].sig)


def test_a_compromised_key_counts_only_with_a_trusted_time_before():
    envelope = issue()
    trust = TRUST.revoke(KEY.keyid, at=NOW, invalid_since=ISSUED + 60 * MINUTE)
    # However early it says it was issued.
    refuse(ProofKeyRevokedError, envelope, trust)
    proof = verify_proof(envelope, trust, now=NOW, times=[at(ISSUED + MINUTE, envelope)])
    assert (proof.time, proof.time_source) == (ISSUED + MINUTE, "rfc3161")
    for times in (
        [at(ISSUED + 60 * MINUTE, envelope)],
        [TrustedTime(ISSUED, "witness", b"another signature")],
    ):
        with pytest.raises(ProofKeyRevokedError):
            verify_proof(envelope, trust, now=NOW, times=times)


def test_a_time_of_one_signature_says_nothing_about_another():
    """Whoever stole a key may put its signature beside an old one that has a timestamp."""
    envelope = issue(P256, SIGNER)
    trust = TRUST.revoke(KEY.keyid, at=NOW, invalid_since=ISSUED + 60 * MINUTE)
    proof = verify_proof(envelope, trust, now=NOW, times=[at(ISSUED, envelope)])
    assert proof.keyids == (P256.public_key.keyid,)
    with pytest.raises(ProofKeyRevokedError):
        verify_proof(envelope, trust, now=NOW, times=[at(ISSUED, envelope)], threshold=2)


def test_the_earliest_trusted_time_counts():
    envelope = issue()
    times = [at(ISSUED + 2 * MINUTE, envelope), at(ISSUED + MINUTE, envelope, "witness"), at(NOW, envelope)]
    proof = verify_proof(envelope, TRUST, now=NOW, times=times)
    assert (proof.time, proof.time_source) == (ISSUED + MINUTE, "witness")
    # The window is judged at that time, too.
    with pytest.raises(ProofKeyExpiredError):
        verify_proof(envelope, trust_from(START, ISSUED), now=NOW, times=times)


def test_the_earliest_time_of_all_signatures_is_that_of_the_proof():
    envelope = issue(SIGNER, P256)
    for first, second in ((1, 2), (2, 1)):
        times = [at(ISSUED + first * MINUTE, envelope), at(ISSUED + second * MINUTE, envelope, "witness", 1)]
        proof = verify_proof(envelope, TRUST, now=NOW, times=times)
        assert proof.time == ISSUED + MINUTE
        assert proof.time_source == ("rfc3161" if first == 1 else "witness")


def test_the_reason_told_is_that_of_the_first_key_refused():
    trust = TRUST.revoke(KEY.keyid, at=NOW, invalid_since=START).retire(P256_KEY.keyid, last_use=START)
    for signers, kind in (((SIGNER, P256), ProofKeyRevokedError), ((P256, SIGNER), ProofKeyExpiredError)):
        with pytest.raises(kind):
            verify_proof(issue(*signers), trust, now=NOW)


def test_a_proof_issued_after_its_own_timestamp_is_refused():
    envelope = issue()
    assert verify_proof(envelope, TRUST, now=NOW, times=[at(ISSUED - 5 * MINUTE, envelope)])
    with pytest.raises(ProofTimestampError):
        verify_proof(envelope, TRUST, now=NOW, times=[at(ISSUED - 5 * MINUTE - MS, envelope)])


def test_expiry_is_exact_and_never_extended():
    accept(issue(), now=EXPIRES - MS)
    refuse(ProofExpiredError, issue(), now=EXPIRES)
    assert verify_proof(issue(), TRUST, now=EXPIRES, policy=unsafe_allow_expired()).record == RECORD
    accept(issue(expires_at=None), now=EXPIRES + timedelta(days=10_000))


def test_clocks_may_differ_by_five_minutes():
    accept(issue(), now=ISSUED - 5 * MINUTE)
    refuse(ProofNotYetValidError, issue(), now=ISSUED - 5 * MINUTE - MS)


def test_a_threshold_counts_keys_not_ids_nor_signatures():
    two = issue(SIGNER, P256)
    proof = verify_proof(two, TRUST, now=NOW, threshold=2)
    assert proof.keyids == (SIGNER.public_key.keyid, P256.public_key.keyid)
    one = two.signatures[0]
    spoofed = Signature("", one.sig)
    for signatures in ((one, one), (one, spoofed), (spoofed, spoofed)):
        assert verify_proof(Envelope(two.payload, signatures), TRUST, now=NOW).keyids == (KEY.keyid,)
        with pytest.raises(ProofUntrustedKeyError):
            verify_proof(Envelope(two.payload, signatures), TRUST, now=NOW, threshold=2)
    # A second key that may not sign this does not count either.
    with pytest.raises(ProofUntrustedKeyError):
        verify_proof(issue(SIGNER, ROOT), TRUST, now=NOW, threshold=2)


def test_one_good_signature_among_bad_ones_is_enough():
    envelope = issue()
    bad = Signature(P256_KEY.keyid, b"bad")
    accept(replace(envelope, signatures=(bad, Signature("unknown", b"x"), *envelope.signatures)))


def test_only_so_many_keys_are_tried():
    """A hostile envelope cannot make a verifier with many keys work for long."""
    strangers = [LocalSigner.generate() for _ in range(MOST_TRIES)]
    keys = tuple(trust_key(each.public_key, issuers=[ISSUER], valid_from=START) for each in strangers)
    trust = TrustStore(1, (*keys, KEY))
    signature = Signature("", issue().signatures[0].sig)
    with pytest.raises(ProofUntrustedKeyError, match="1 were not"):
        verify_proof(Envelope(issue().payload, (signature,)), trust, now=NOW)
    accept(issue(), trust)


def test_arguments_are_checked():
    for options in ({"now": NOW.replace(tzinfo=None)}, {"now": NOW, "threshold": 0}):
        with pytest.raises(StorageInvalidRequestError):
            verify_proof(issue(), TRUST, **options)


class Mixed:
    """A KMS that signs with another key than it says, or answers nonsense."""

    public_key = SIGNER.public_key

    def __init__(self, answer):
        self.answer = answer

    async def sign(self, pae):
        await asyncio.sleep(0)
        return await self.answer(pae) if callable(self.answer) else self.answer


def test_a_signers_answer_is_checked_before_anything_is_kept():
    payload = encode_record(RECORD)
    for answer in (STRANGER.sign, bytes(64), b""):
        with pytest.raises(ProofSignatureError, match="own key"):
            asyncio.run(seal_payload(payload, [Mixed(answer)]))
    assert asyncio.run(seal_payload(payload, [Mixed(SIGNER.sign)])) == issue()


def test_signers_are_one_to_eight_different_keys_that_may_be_written():
    read_only = Mixed(SIGNER.sign)
    read_only.public_key = PublicKey("ecdsa-p256-sha256-p1363", P256.public_key.spki)
    for signers in ([], [SIGNER, SIGNER], [LocalSigner.generate() for _ in range(9)], [read_only]):
        with pytest.raises(StorageInvalidRequestError):
            asyncio.run(seal_payload(b"{}", signers))


def test_identity_is_of_what_was_said():
    """Another encoding or one more signature changes the envelope's bytes, not the statement."""
    assert issue(SIGNER).digest == issue(P256).digest == issue(SIGNER, P256).digest
    assert issue(SIGNER).digest != issue(expires_at=None).digest


def test_a_rollback_to_an_older_record_is_a_record_of_another_id():
    old, new = issue(), issue(proof_id=OTHER_ID, supersedes=ID)
    assert verify_proof(new, TRUST, now=NOW, proof_id=OTHER_ID).record.supersedes == ID
    with pytest.raises(ProofIdMismatchError):
        verify_proof(old, TRUST, now=NOW, proof_id=OTHER_ID)


def test_every_refusal_is_a_proof_error_that_says_no_content():
    secret = issue(claims={"who": "a private name"})
    for broken in (replace(secret, payload=secret.payload + b" "), replace(secret, payload=b"private")):
        with pytest.raises(ProofError) as failure:
            verify_proof(broken, TRUST, now=NOW)
        assert "private" not in str(failure.value)
    assert "private" not in repr(verify_proof(secret, TRUST, now=NOW))


def test_a_timestamp_of_whole_seconds_may_be_before_a_key_that_is_new():
    key = replace(KEY, valid_from=ISSUED)
    envelope = issue()
    sig = envelope.signatures[0].sig
    for early, counts in ((timedelta(seconds=1), True), (timedelta(minutes=5, seconds=1), False)):
        times = (TrustedTime(ISSUED - early, "rfc3161", sig),)
        if counts:
            found = verify_proof(envelope, TrustStore(1, (key,)), now=NOW, times=times)
            assert found.time == ISSUED - early
        else:
            with pytest.raises(ProofKeyExpiredError):
                verify_proof(envelope, TrustStore(1, (key,)), now=NOW, times=times)
