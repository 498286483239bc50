"""Trusted time: tokens that a local authority made with OpenSSL, over the signature of the shared record.

`vectors/timestamps.json` has a root certificate and a response for each case: "good"; "sha512", an imprint by
another digest, which is good too; "other", over other bytes; "expired certificate", made after its certificate had ended. The
authorities' keys are gone. Tokens are judged at their own time, so the vectors stay good.
"""

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rfc3161_client import decode_timestamp_response

from credstore.errors import StorageConfigurationError
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.errors import ProofKeyRevokedError, ProofTimestampError
from credstore.proofs.format.timestamp import TimestampAuthorities, make_timestamp_request
from tests.proofs.material import ISSUED, KEY, P256, SIGNER, TRUST, bundle, issue

VECTORS = json.loads((Path(__file__).parent / "vectors" / "timestamps.json").read_text())
RESPONSES = {name: base64.b64decode(each["response"]) for name, each in VECTORS.items()}
ROOTS = {name: each["root"].encode() for name, each in VECTORS.items()}
ENVELOPE = issue()
SIG = ENVELOPE.signatures[0].sig
TIME = decode_timestamp_response(RESPONSES["good"]).tst_info.gen_time
GOOD = TimestampAuthorities(ROOTS["good"])


def test_a_token_attests_its_time():
    assert GOOD.check(RESPONSES["good"], SIG) == TIME
    assert TIME.tzinfo is UTC or TIME.utcoffset() == timedelta(0)
    assert datetime(2026, 11, 21, tzinfo=UTC) < TIME < datetime(2026, 11, 22, tzinfo=UTC)
    several = TimestampAuthorities(ROOTS["other"] + ROOTS["good"])
    assert several.check(RESPONSES["good"], SIG) == TIME


def test_an_imprint_may_be_of_a_longer_digest():
    time = decode_timestamp_response(RESPONSES["sha512"]).tst_info.gen_time
    assert TimestampAuthorities(ROOTS["sha512"]).check(RESPONSES["sha512"], SIG) == time


@pytest.mark.parametrize("case", ["other", "expired certificate"])
def test_a_token_that_is_not_for_this_is_refused(case):
    with pytest.raises(ProofTimestampError):
        TimestampAuthorities(ROOTS[case]).check(RESPONSES[case], SIG)


def test_a_token_of_another_authority_is_refused():
    """Its certificate is in the token, and has the same names."""
    with pytest.raises(ProofTimestampError):
        TimestampAuthorities(ROOTS["other"]).check(RESPONSES["good"], SIG)


def test_a_nonce_is_compared():
    nonce = decode_timestamp_response(RESPONSES["good"]).tst_info.nonce
    assert GOOD.check(RESPONSES["good"], SIG, nonce=nonce) == TIME
    with pytest.raises(ProofTimestampError):
        GOOD.check(RESPONSES["good"], SIG, nonce=nonce + 1)


@pytest.mark.parametrize("response", [b"", b"token", b"\x30\x80" * 1000, bytes(70_000)])
def test_what_is_no_token_is_refused(response):
    with pytest.raises(ProofTimestampError):
        GOOD.check(response, SIG)


def test_no_mutated_token_attests_another_time():
    rng = random.Random("tokens")
    good = RESPONSES["good"]
    for _ in range(300):
        broken = bytearray(good)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        try:
            assert GOOD.check(bytes(broken), SIG) == TIME
        except ProofTimestampError:
            continue


def test_roots_are_certificates():
    for pem in (b"", b"roots", SIGNER.to_pem()):
        with pytest.raises(StorageConfigurationError):
            TimestampAuthorities(pem)


def test_a_request_is_over_the_digest_of_the_signature():
    import hashlib

    request, nonce = make_timestamp_request(SIG)
    assert hashlib.sha256(SIG).digest() in request
    assert nonce.to_bytes(9, "big").lstrip(b"\0") in request
    assert make_timestamp_request(SIG)[1] != nonce
    with pytest.raises(ProofTimestampError):
        make_timestamp_request(b"")


def test_a_timestamp_in_a_bundle_saves_a_proof_from_a_key_compromised_later():
    data = bundle(ENVELOPE, timestamps=(RESPONSES["good"],))
    now = TIME + timedelta(days=1)
    later = TRUST.revoke(KEY.keyid, at=now, invalid_since=TIME + timedelta(minutes=1))
    report = verify_bundle(data, later, now=now, check_timestamp=GOOD.check)
    assert (report.proof.time, report.proof.time_source) == (TIME, "rfc3161")
    earlier = TRUST.revoke(KEY.keyid, at=now, invalid_since=ISSUED + timedelta(minutes=1))
    for trust, check in ((earlier, GOOD.check), (later, None)):
        with pytest.raises(ProofKeyRevokedError):
            verify_bundle(data, trust, now=now, check_timestamp=check)


def test_a_bundle_with_a_timestamp_of_another_signature_is_refused():
    data = bundle(issue(P256), timestamps=(RESPONSES["good"],))
    with pytest.raises(ProofTimestampError):
        verify_bundle(data, TRUST, now=TIME, check_timestamp=GOOD.check)
