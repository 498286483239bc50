"""Revocations and erasures: who may, about what exactly, and that nothing takes one back."""

import json
from dataclasses import replace

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.errors import (
    ProofErasedError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofNotYetValidError,
    ProofRevokedError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.policy import verify_proof
from credstore.proofs.format.status import (
    check_status,
    encode_notice,
    make_notice,
    parse_notice,
    verify_notice,
    verify_successor,
)
from credstore.proofs.format.trust import TrustStore, trust_key
from tests.proofs.material import (
    ID,
    ISSUER,
    KEY,
    MINUTE,
    NOW,
    OTHER_ID,
    OTHER_ISSUER,
    P256,
    ROOT,
    SIGNER,
    START,
    STRANGER,
    TRUST,
    issue,
    seal,
)

PROOF = verify_proof(issue(), TRUST, now=NOW)
NOTICE = make_notice("revocation", PROOF, at=NOW, reason="incorrect")


def verify(envelope, trust=TRUST, now=NOW, **options):
    return verify_notice(envelope, trust, now=now, **{"proof_id": ID, "proof": PROOF, **options})


@pytest.mark.parametrize("kind", ["revocation", "erasure"])
@pytest.mark.parametrize("signer", [SIGNER, P256, ROOT])
def test_a_notice_verifies(kind, signer):
    notice = make_notice(kind, PROOF, at=NOW, reason="legal")
    envelope = seal(encode_notice(notice), signer)
    assert verify(encode_envelope(envelope)) == notice == parse_notice(envelope.payload)
    assert verify(envelope, proof=None) == notice
    with pytest.raises(ProofErasedError if kind == "erasure" else ProofRevokedError, match="reason: legal"):
        check_status([notice])


def test_erased_wins_over_revoked_and_one_notice_is_enough():
    erasure = make_notice("erasure", PROOF, at=NOW)
    for notices in ([NOTICE, erasure], [erasure, NOTICE]):
        with pytest.raises(ProofErasedError):
            check_status(notices)
    check_status([])


def test_of_several_revocations_the_first_is_told():
    earlier = replace(NOTICE, at=NOW - MINUTE, reason="legal")
    for notices in ([NOTICE, earlier], [earlier, NOTICE]):
        with pytest.raises(ProofRevokedError, match="reason: legal"):
            check_status(notices)


def test_others_may_not_revoke():
    payload = encode_notice(NOTICE)
    issuing = trust_key(SIGNER.public_key, issuers=[ISSUER], usages=["proof", "log"], valid_from=START)
    foreign = trust_key(SIGNER.public_key, issuers=[OTHER_ISSUER], valid_from=START)
    for key in (issuing, foreign):
        with pytest.raises(ProofUntrustedKeyError):
            verify(seal(payload), TrustStore(1, (key,)))
    with pytest.raises(ProofUntrustedKeyError):
        verify(seal(payload, STRANGER))
    with pytest.raises(ProofSignatureError):
        verify(replace(seal(payload), payload=payload.replace(b"incorrect", b"withdrawn")))


def test_one_key_that_may_is_enough():
    issuing = trust_key(SIGNER.public_key, issuers=[ISSUER], usages=["proof"], valid_from=START)
    trust = TrustStore(1, (issuing, *TRUST.keys[1:]))
    assert verify(seal(encode_notice(NOTICE), SIGNER, P256), trust) == NOTICE


def test_a_notice_is_about_one_exact_statement():
    with pytest.raises(ProofIdMismatchError):
        verify(seal(encode_notice(NOTICE)), proof_id=OTHER_ID, proof=None)
    for changes in ({"digest": bytes(32)}, {"issuer": OTHER_ISSUER}, {"proof_id": OTHER_ID}):
        with pytest.raises(ProofIdMismatchError):
            verify(seal(encode_notice(replace(NOTICE, **changes)), ROOT))


def test_the_keys_window_counts_at_the_notices_time():
    trust = TRUST.retire(KEY.keyid, last_use=NOW - 60 * MINUTE)
    with pytest.raises(ProofKeyExpiredError):
        verify(seal(encode_notice(NOTICE)), trust)
    earlier = replace(NOTICE, at=NOW - 60 * MINUTE)
    assert verify(seal(encode_notice(earlier)), trust) == earlier


def test_a_compromised_key_revokes_no_more_but_what_it_revoked_stays():
    trust = TRUST.revoke(KEY.keyid, at=NOW, invalid_since=NOW)
    with pytest.raises(ProofKeyRevokedError):
        verify(seal(encode_notice(NOTICE)), trust)
    earlier = replace(NOTICE, at=NOW - MINUTE)
    assert verify(seal(encode_notice(earlier)), trust) == earlier


def test_a_notice_from_the_future_is_refused():
    assert verify(seal(encode_notice(NOTICE)), now=NOW - 5 * MINUTE)
    with pytest.raises(ProofNotYetValidError):
        verify(seal(encode_notice(NOTICE)), now=NOW - 6 * MINUTE)


BROKEN = {
    "an unknown reason": {"reason": "because"},
    "no reason": {"reason": None},
    "a time that is none": {"revokedAt": "now"},
    "an id that leads elsewhere": {"proofId": "../x"},
    "something critical": {"critical": ["until"]},
    "no issuer": {"issuer": None},
    "another id than its subject": {"proofId": OTHER_ID},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_notice_is_refused(case):
    value = json.loads(encode_notice(NOTICE))
    value["predicate"] |= BROKEN[case]
    value["predicate"] = {name: each for name, each in value["predicate"].items() if each is not None}
    with pytest.raises(ProofFormatError):
        verify(seal(encode_json(value)))


def test_a_proof_is_no_notice_and_a_notice_no_proof():
    with pytest.raises(ProofFormatError):
        verify(issue())
    with pytest.raises(ProofFormatError):
        verify_proof(seal(encode_notice(NOTICE)), TRUST, now=NOW)


def test_a_notice_that_breaks_a_rule_is_not_issued():
    for changes in (
        {"reason": "because"},
        {"proof_id": "x"},
        {"digest": b""},
        {"at": NOW.replace(tzinfo=None)},
    ):
        with pytest.raises(StorageInvalidRequestError, match="cannot be issued"):
            encode_notice(replace(NOTICE, **changes))


def test_a_successor_names_the_proof_and_has_its_issuer():
    new = verify_proof(issue(proof_id=OTHER_ID, supersedes=ID), TRUST, now=NOW)
    assert verify_successor(new, PROOF) == OTHER_ID
    other = trust_key(STRANGER.public_key, issuers=[OTHER_ISSUER], valid_from=START)
    foreign = issue(STRANGER, proof_id=OTHER_ID, supersedes=ID, issuer=OTHER_ISSUER)
    for claimed in (PROOF, verify_proof(foreign, TRUST.add(other), now=NOW)):
        with pytest.raises(ProofIdMismatchError):
            verify_successor(claimed, PROOF)
