"""Sigstore bundles with a certificate next to a file, which `sigstore` itself verifies, without a network."""

import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from credstore.errors import StorageConfigurationError
from credstore.verification import VerificationPolicy
from credstore.verification.policy import SigstoreIdentity
from tests.proofs.sigstore_material import IDENTITY, OIDC, Instance
from tests.verification.test_verify import PNG, envelope, sha256, statement, verify

OTHER = "https://ci.example/other@main"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    return Instance(tmp_path_factory.mktemp("instance"))


@pytest.fixture
def photo(tmp_path, monkeypatch):
    def refuse(*given):
        raise AssertionError("a request")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    return path


def policy(instance, *identities):
    root = instance.trusted_root()
    return VerificationPolicy(
        identities=tuple(SigstoreIdentity(identity, issuer, root) for identity, issuer in identities)
    )


def judged(photo, data, asked, name="photo.png.sigstore.json"):
    photo.with_name(name).write_bytes(data)
    verdict = verify(photo, asked)
    (evidence,) = verdict.evidence
    photo.with_name(name).unlink()
    return verdict.state, evidence


@pytest.mark.parametrize("name", ["photo.png.sigstore.json", "photo.png.sigstore", "photo.png.intoto.jsonl"])
def test_a_statement_of_an_identity_of_the_policy_counts(instance, photo, name):
    data = json.dumps(json.loads(instance.bundle(statement("0" * 64, sha256(PNG))))).encode()
    # Who really signed is named, not whoever might have.
    asked = policy(instance, (OTHER, OIDC), (IDENTITY, OIDC))
    state, evidence = judged(photo, data, asked, name)
    assert (state, evidence.state, evidence.kind) == ("verified", "trusted", "attestation")
    assert (evidence.who, evidence.what) == (IDENTITY, ("https://slsa.dev/provenance/v1",))
    assert evidence.clock == "sigstore's certificate authority"
    assert timedelta() < datetime.now(UTC) - evidence.when < timedelta(hours=1)


def test_a_signature_of_an_identity_of_the_policy_counts(instance, photo):
    asked = policy(instance, (IDENTITY, OIDC))
    state, evidence = judged(photo, instance.signed(PNG), asked)
    assert (state, evidence.state, evidence.kind) == ("verified", "trusted", "signature")
    assert (evidence.who, evidence.what) == (IDENTITY, ("the file",))
    state, evidence = judged(photo, instance.signed(b"another"), asked)
    assert (state, evidence.state) == ("failed", "failed")


def test_others_do_not_count(instance, photo):
    good = instance.bundle(statement(sha256(PNG)))
    for identities in (
        [(OTHER, OIDC)],
        [(IDENTITY, "https://other.example")],
        [(OTHER, OIDC), (OTHER, OIDC)],
    ):
        state, evidence = judged(photo, good, policy(instance, *identities))
        assert (state, evidence.who) == ("failed", None)
    # By the root of another instance, or of the public one, nothing of this one counts.
    asked = VerificationPolicy(identities=(SigstoreIdentity(IDENTITY, OIDC),))
    assert judged(photo, good, asked)[0] == "failed"
    assert judged(photo, good, VerificationPolicy())[0] == "untrusted"


def test_what_was_signed_decides(instance, photo):
    asked = policy(instance, (OTHER, OIDC), (IDENTITY, OIDC))
    state, evidence = judged(photo, instance.bundle(statement(sha256(b"another"))), asked)
    assert (state, evidence.reasons) == ("failed", ("the statement is about other files",))
    # Only the type of in-toto makes a statement of what reads like one.
    other = instance.bundle(statement(sha256(PNG)), kind="application/json")
    assert judged(photo, other, asked)[0] == "failed"
    good = instance.bundle(statement(sha256(PNG)))
    document = json.loads(good)
    document["dsseEnvelope"] = envelope(statement(sha256(PNG)))
    assert judged(photo, json.dumps(document).encode(), asked)[0] == "failed"
    for place in ("certificate", "tlogEntries", "timestampVerificationData"):
        document = json.loads(good)
        del document["verificationMaterial"][place]
        assert judged(photo, json.dumps(document).encode(), asked)[0] == "failed", place


JUNK = [None, 7, "x", [], {}, [7], {"a": 7}, "AA==", -1, "9" * 400]


def test_no_planted_bundle_ends_it_with_an_error(instance, photo):
    """Whatever a member of a bundle is replaced with, the bundle fails, and nothing else."""
    asked = policy(instance, (IDENTITY, OIDC))
    good = json.loads(instance.bundle(statement(sha256(PNG))))

    def members(value, path=()):
        for name in list(value) if isinstance(value, dict) else range(len(value)):
            yield (*path, name)
            if isinstance(value[name], dict | list):
                yield from members(value[name], (*path, name))

    paths = list(members(good))
    assert len(paths) > 20
    for number, path in enumerate(paths):
        document = json.loads(json.dumps(good))
        place = document
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = JUNK[number % len(JUNK)]
        state, _ = judged(photo, json.dumps(document).encode(), asked)
        assert state in {"failed", "untrusted"} or path[-1] == "mediaType", path


def test_where_sigstore_has_no_roots_that_is_said(photo, instance, monkeypatch):
    def refuse(*given, **options):
        raise OSError("read-only file system")

    monkeypatch.setattr("credstore.verification.attestations.sigstore_verifier", refuse)
    asked = VerificationPolicy(identities=(SigstoreIdentity(IDENTITY, OIDC),))
    state, evidence = judged(photo, instance.signed(PNG), asked)
    assert (state, evidence.state) == ("untrusted", "unchecked")
    assert "read-only file system" in evidence.reasons[0]


def test_without_the_extra_it_is_not_checked(photo, instance, monkeypatch):
    monkeypatch.setattr("credstore.verification.attestations.is_installed", lambda extra: False)
    asked = VerificationPolicy(identities=(SigstoreIdentity(IDENTITY, OIDC),))
    _, evidence = judged(photo, instance.signed(PNG), asked)
    assert evidence.state == "unchecked"
    assert "credstore[sigstore]" in evidence.reasons[0]


def test_a_policy_names_a_root(tmp_path, photo, instance):
    (tmp_path / "root.json").write_bytes(instance.trusted_root())
    text = f'[[sigstore]]\nidentity = "{IDENTITY}"\nissuer = "{OIDC}"\ntrusted_root = "root.json"\n'
    (tmp_path / "policy.toml").write_text(text)
    asked = VerificationPolicy.from_toml(tmp_path / "policy.toml")
    assert judged(photo, instance.bundle(statement(sha256(PNG))), asked)[0] == "verified"
    assert "rawBytes" not in repr(asked)
    for wrong in (b"", b"{}", b"[]", b"\xff"):
        (tmp_path / "root.json").write_bytes(wrong)
        with pytest.raises(StorageConfigurationError, match="trusted root"):
            VerificationPolicy.from_toml(tmp_path / "policy.toml")
