"""Offline bundles: both verifiers accept the same and refuse the same; the independent one stands alone."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.bundle import (
    Bundle,
    LogPart,
    bundle_name,
    encode_bundle,
    parse_bundle,
    verify_bundle,
)
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.errors import (
    ProofAssetMismatchError,
    ProofErasedError,
    ProofError,
    ProofExpiredError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofKeyRevokedError,
    ProofRevokedError,
    ProofSignatureError,
    ProofTimestampError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.policy import unsafe_allow_expired, verify_proof
from credstore.proofs.format.record import AssetDigest, ManifestLink, SoftBinding
from credstore.proofs.format.status import encode_notice, make_notice
from credstore.proofs.format.trust import TrustStore, encode_trust_store
from tests.proofs.material import (
    ASSET,
    EXPIRES,
    ID,
    INDEPENDENT,
    ISSUED,
    KEY,
    MINUTE,
    NOW,
    OTHER_ID,
    P256,
    ROOT,
    SIGNER,
    STRANGER,
    TRUST,
    bundle,
    issue,
    seal,
)

SOURCE = Path(__file__).parents[2] / "docs" / "verify_proof.py"
LOG = LogPart(b"entry", "c2sp.org/tlog-proof@v1\nindex 0\n\n")


def both(data, trust=TRUST, now=NOW, asset=ASSET):
    report = verify_bundle(data, trust, now=now, asset=None if asset is None else AssetDigest.of(asset))
    predicate = INDEPENDENT.verify(data, encode_trust_store(trust), now, asset)
    assert predicate == json.loads(report.proof.envelope.payload)["predicate"]
    return report


def refuse(kind, data, trust=TRUST, now=NOW, asset=ASSET):
    with pytest.raises(kind) as failure:
        verify_bundle(data, trust, now=now, asset=AssetDigest.of(asset))
    assert type(failure.value) is kind
    with pytest.raises(ValueError):
        INDEPENDENT.verify(data, encode_trust_store(trust), now, asset)


FULL = {
    "claims": {"é": [1, 2.5, 1e-7, {"deep": None}], "title": "€ \U0001f600"},
    "soft_bindings": (SoftBinding("phash", "d1d1"),),
    "manifest": ManifestLink(bytes(32), 12_345, uri="https://proofs.example/m.c2pa"),
    "uri": "proof:1",
    "supersedes": OTHER_ID,
    "critical": ("supersedes",),
    "asset": replace(AssetDigest.of(ASSET), sha512=bytes(64)),
}


@pytest.mark.parametrize("signers", [(SIGNER,), (P256,), (SIGNER, P256)])
@pytest.mark.parametrize("changes", [{}, FULL, {"expires_at": None, "media_type": None}])
def test_both_accept(signers, changes):
    data = bundle(issue(*signers, **changes))
    report = both(data)
    assert report.proof.keyids == tuple(signer.public_key.keyid for signer in signers)
    assert report.status.state == "valid"
    assert report.status.source == "bundle"
    assert report.unchecked == ()
    # Laid out for people, and re-ordered, it is the same bundle.
    assert both(json.dumps(json.loads(data), indent=2).encode()).proof == report.proof


def test_what_was_not_checked_is_said():
    data = bundle(issue(), log=LOG, timestamps=(b"token",))
    assert both(data, asset=None).unchecked == ("log", "timestamps", "asset")
    report = both(data, now=NOW + MINUTE)
    assert report.status_age == MINUTE
    assert report.made_at == NOW
    assert both(data, now=NOW - MINUTE).status_age == timedelta(0)


def test_a_bundle_reads_back():
    made = Bundle(issue(), NOW, (issue(P256),), (b"token",), LOG)
    assert parse_bundle(encode_bundle(made)) == made
    assert bundle_name(ID) == f"{ID}.credproof.json"


def test_each_failure_is_its_own():
    good = issue()
    changed = replace(good, payload=good.payload.replace(b"plain", b"plaim"))
    refuse(ProofSignatureError, bundle(changed))
    refuse(ProofUntrustedKeyError, bundle(issue(STRANGER)))
    refuse(ProofAssetMismatchError, bundle(good), asset=b"hellp")
    refuse(ProofExpiredError, bundle(good), now=EXPIRES)
    refuse(ProofKeyRevokedError, bundle(good), TRUST.revoke(KEY.keyid, at=NOW, invalid_since=NOW))
    with pytest.raises(ProofIdMismatchError):
        verify_bundle(bundle(good), TRUST, now=NOW, proof_id=OTHER_ID)
    assert (
        verify_bundle(bundle(good), TRUST, now=EXPIRES, policy=unsafe_allow_expired()).status.state
        == "expired"
    )


def test_a_trust_store_in_the_bundle_is_no_trust_store():
    value = json.loads(bundle(issue(STRANGER)))
    for name in ("keys", "trust", "verificationMaterial"):
        refuse(ProofFormatError, json.dumps({**value, name: json.loads(encode_trust_store(TRUST))}).encode())
    refuse(ProofUntrustedKeyError, bundle(issue()), TrustStore(1, ()))


def notice(kind="revocation", *, envelope=None, signer=SIGNER):
    proof = verify_proof(envelope or issue(), TRUST, now=NOW)
    return seal(encode_notice(make_notice(kind, proof, at=NOW)), signer)


def test_a_revocation_in_the_bundle_counts():
    for signer in (SIGNER, P256, ROOT):
        refuse(ProofRevokedError, bundle(issue(), status=(notice(signer=signer),)))
        refuse(ProofErasedError, bundle(issue(), status=(notice("erasure", signer=signer),)))
    # Also of an expired proof, and said first.
    refuse(ProofRevokedError, bundle(issue(), status=(notice(),)), now=EXPIRES)


def test_a_notice_that_does_not_verify_spoils_the_bundle():
    other = notice(envelope=issue(expires_at=None))
    refuse(ProofIdMismatchError, bundle(issue(), status=(other,)))
    refuse(ProofUntrustedKeyError, bundle(issue(), status=(notice(signer=STRANGER),)))
    refuse(ProofFormatError, bundle(issue(), status=(issue(),)))


def test_timestamps_are_checked_over_the_first_signature():
    envelope = issue()
    trust = TRUST.revoke(KEY.keyid, at=NOW, invalid_since=NOW)
    seen = []

    def check(token, sig):
        seen.append((token, sig))
        return ISSUED

    data = bundle(envelope, timestamps=(b"one", b"two"))
    report = verify_bundle(data, trust, now=NOW, check_timestamp=check)
    assert (report.proof.time, report.proof.time_source) == (ISSUED, "rfc3161")
    assert seen == [(token, envelope.signatures[0].sig) for token in (b"one", b"two")]
    assert "timestamps" not in report.unchecked

    def fail(token, sig):
        raise ProofTimestampError("no")

    with pytest.raises(ProofTimestampError):
        verify_bundle(data, TRUST, now=NOW, check_timestamp=fail)


STRUCTURE = {
    "another media type": {"mediaType": "application/vnd.credstore.proof-bundle.v2+json"},
    "an unknown member": {"extra": 1},
    "an unknown member that looks optional": {"status?": []},
    "no time": {"madeAt": None},
    "a time that is none": {"madeAt": "today"},
    "an envelope as string": {"envelope": encode_envelope(issue()).decode()},
    "status that is an object": {"status": {}},
    "seventeen notices": {"status": [json.loads(encode_envelope(notice()))] * 17},
    "nine renewals": {"renewals": [{"covers": ["0" * 64], "response": "MA=="}] * 9},
    "a renewal of nothing": {"renewals": [{"covers": [], "response": "MA=="}]},
    "a renewal of something else": {"renewals": [{"covers": ["0"], "response": "MA=="}]},
    "a renewal with more": {"renewals": [{"covers": ["0" * 64], "response": "MA==", "v": 1}]},
    "a renewal without a token": {"renewals": [{"covers": ["0" * 64]}]},
    "nine timestamps": {"timestamps": [{"type": "rfc3161", "over": "signature", "response": ""}] * 9},
    "a timestamp of another type": {"timestamps": [{"type": "rfc9999", "over": "signature", "response": ""}]},
    "a timestamp over something else": {
        "timestamps": [{"type": "rfc3161", "over": "payload", "response": ""}]
    },
    "a timestamp with more": {
        "timestamps": [{"type": "rfc3161", "over": "signature", "response": "", "x": 1}]
    },
    "a timestamp that is no base64": {
        "timestamps": [{"type": "rfc3161", "over": "signature", "response": "?"}]
    },
    "a log without proof": {"log": {"entry": ""}},
    "a log entry that is no base64": {"log": {"entry": "!", "proof": ""}},
    "a log proof that is a number": {"log": {"entry": "", "proof": 1}},
    "a log with more": {"log": {"entry": "", "proof": "", "root": ""}},
}


@pytest.mark.parametrize("case", STRUCTURE)
def test_a_bundle_of_another_shape_is_refused(case):
    value = {**json.loads(bundle(issue())), **STRUCTURE[case]}
    value = {name: each for name, each in value.items() if each is not None}
    refuse(ProofFormatError, json.dumps(value).encode())


def test_limits_hold():
    data = bundle(issue())
    refuse(ProofFormatError, data + b" " * 4 * 1024 * 1024)
    deep = b'{"x":' * 40 + b"1" + b"}" * 40
    refuse(ProofFormatError, data.replace(b'"signatures":', b'"x":' + deep + b',"signatures":'))
    refuse(ProofFormatError, data.replace(b'"madeAt":', b'"madeAt":"2026-06-01T00:00:00.000Z","madeAt":'))
    for parts in ({"timestamps": (b"x" * 64 * 1024 + b"xxx",)}, {"status": (issue(),) * 17}):
        with pytest.raises(StorageInvalidRequestError, match="cannot be made"):
            bundle(issue(), **parts)
    with pytest.raises(StorageInvalidRequestError):
        encode_bundle(Bundle(issue(), datetime(2026, 1, 1)))  # noqa: DTZ001


def test_the_independent_verifier_stands_alone():
    text = SOURCE.read_text()
    assert len(text.splitlines()) < 200
    roots = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            roots |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(node.module.partition(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"cryptography"}


def test_the_independent_verifier_is_a_command(tmp_path):
    (tmp_path / "b.json").write_bytes(bundle(issue(expires_at=None)))
    (tmp_path / "keys.json").write_bytes(encode_trust_store(TRUST))
    (tmp_path / "asset").write_bytes(ASSET)
    (tmp_path / "other").write_bytes(b"hellp")

    def run(*names):
        command = [sys.executable, "-I", str(SOURCE), *(str(tmp_path / name) for name in names)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run("b.json", "keys.json", "asset")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proofId"] == ID
    done = run("b.json", "keys.json", "other")
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused: another asset" in done.stderr


def test_every_refusal_is_one_of_ours():
    for data in (b"", b"[]", b"{}", b"\xff", b"null", b'"x"', b"1"):
        with pytest.raises(ProofError):
            verify_bundle(data, TRUST, now=NOW)
