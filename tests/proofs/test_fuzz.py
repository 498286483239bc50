"""Mutated records and bundles: none is accepted as saying something else, and both verifiers agree.

5,000 in a normal run; `CREDSTORE_FUZZ=50000` makes it that many. The seed is fixed, so a failure repeats.
"""

import json
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageConfigurationError, StorageError
from credstore.proofs.format.bundle import parse_bundle, verify_bundle
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import parse_envelope
from credstore.proofs.format.errors import ProofAlgorithmError, ProofError, ProofFormatError
from credstore.proofs.format.policy import verify_proof
from credstore.proofs.format.record import parse_record
from credstore.proofs.format.status import parse_notice
from credstore.proofs.format.trust import TrustStore, encode_trust_store, parse_trust_store
from tests.proofs.material import (
    INDEPENDENT,
    KEY,
    NOW,
    OTHER_ID,
    P256,
    P256_KEY,
    SIGNER,
    TRUST,
    bundle,
    issue,
    seal,
    statement,
)
from tests.proofs.mutants import RICH, mutate, mutate_record

COUNT = int(os.environ.get("CREDSTORE_FUZZ", "5000"))
ONE_KEY = {signer: TrustStore(1, (key,)) for signer, key in ((SIGNER, KEY), (P256, P256_KEY))}


@pytest.mark.parametrize("signer", [SIGNER, P256])
def test_no_mutated_record_is_accepted(signer):
    """Every change to what is signed, or to the signature, is refused."""
    rng = random.Random(f"record {signer}")
    envelope = issue(signer, **RICH)
    trust = ONE_KEY[signer]
    for _ in range(COUNT // 4):
        with pytest.raises(ProofError):
            verify_proof(mutate_record(rng, envelope), trust, now=NOW)


@pytest.mark.parametrize("signer", [SIGNER, P256])
def test_no_mutated_bundle_says_something_else(signer):
    """Both verifiers agree; what they accept is the same statement, by the same key."""
    rng = random.Random(f"bundle {signer}")
    envelope = issue(signer, **RICH)
    data, trust = bundle(envelope), ONE_KEY[signer]
    trusted = encode_trust_store(trust)
    refused = 0
    for _ in range(COUNT // 4):
        mutant = mutate(rng, data)
        try:
            proof = verify_bundle(mutant, trust, now=NOW).proof
        except ProofError:
            refused += 1
            with pytest.raises(ValueError):
                INDEPENDENT.verify(mutant, trusted, NOW)
        else:
            assert proof.envelope.digest == envelope.digest
            assert proof.keyids == (signer.public_key.keyid,)
            assert INDEPENDENT.verify(mutant, trusted, NOW) == json.loads(envelope.payload)["predicate"]
    # What else is accepted changed a hint, the maker's time or white space.
    assert refused > COUNT // 4 * 0.9


def leaves(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))


ODD = [
    None, True, 0, -1, 5.0, 1.5, 2**53 - 1, "", "x", "https://issuer.example", "2026-01-02T03:04:05.678Z", [], {},
    [1], {"a": 1}, "0" * 64, OTHER_ID, "../..", "é" * 300, "a/b", ["proofId"], [{"alg": "a", "value": "b"}],
]  # fmt: skip


def change(rng, value, path):
    """Replace, remove, rename or add one member somewhere."""
    if not path:
        return rng.choice(ODD)
    target = value
    for step in path[:-1]:
        target = target[step]
    last, kind = path[-1], rng.randrange(4)
    if kind == 0:
        del target[last]
    elif kind == 1 and isinstance(target, dict):
        target[rng.choice(["extra", "expiresAt", "critical", "sha512", "uri", "x?", "*"])] = rng.choice(ODD)
    elif kind == 2 and isinstance(target, dict):
        target[last + rng.choice(["?", " ", "x"])] = target.pop(last)
    else:
        target[last] = rng.choice(ODD)
    return value


def test_both_read_what_a_trusted_key_signed_alike():
    """A trusted issuer with a broken program: the two readers see the same, or both refuse."""
    rng = random.Random("statements")
    trust = ONE_KEY[SIGNER]
    trusted = encode_trust_store(trust)
    accepted = 0
    start = statement(
        claims={"a": {"b": 1}}, supersedes=OTHER_ID, critical=["claims"],
        manifest={"mediaType": "a/b", "size": 1, "digest": {"sha256": "0" * 64}, "uri": "x:y"},
        asset={"size": 5, "mediaType": "a/b", "softBindings": [{"alg": "a", "value": "b"}]},
    )  # fmt: skip
    paths = list(leaves(start))
    for _ in range(COUNT // 5):
        broken = change(rng, json.loads(json.dumps(start)), rng.choice(paths))
        data = bundle(seal(encode_json(broken)))
        try:
            verify_bundle(data, trust, now=NOW)
        except ProofError:
            with pytest.raises(ValueError):
                INDEPENDENT.verify(data, trusted, NOW)
        else:
            accepted += 1
            assert INDEPENDENT.verify(data, trusted, NOW) == broken["predicate"]
    assert 0 < accepted < COUNT // 5


def test_both_read_trust_stores_alike():
    rng = random.Random("trust stores")
    data = bundle(issue())
    whole = encode_trust_store(
        TRUST.revoke(P256_KEY.keyid, at=NOW, invalid_since=NOW).retire(KEY.keyid, last_use=NOW)
    )
    start = json.loads(whole)
    paths = list(leaves(start))
    for place in range(COUNT // 10):
        mutant = mutate(rng, whole)
        if place % 2:
            mutant = encode_json(change(rng, json.loads(whole), rng.choice(paths)))
        try:
            verify_bundle(data, parse_trust_store(mutant), now=NOW)
        except (ProofError, StorageConfigurationError):
            with pytest.raises(ValueError):
                INDEPENDENT.verify(data, mutant, NOW)
        else:
            INDEPENDENT.verify(data, mutant, NOW)


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_parsers_raise_only_our_errors(data):
    for parse in (parse_record, parse_envelope, parse_bundle, parse_notice):
        with pytest.raises(ProofFormatError):
            parse(data)
    with pytest.raises(StorageError) as failure:
        parse_trust_store(data)
    assert isinstance(failure.value, StorageConfigurationError | ProofAlgorithmError)
