"""The page's verifier in Node: published vectors, and Python's verdict on whatever was changed.

Node's WebCrypto and the vectors are not ours; where the two verifiers are compared, Python is the judge, whose
verdicts `docs/verify_proof.py` and the tests of proofs judge in turn.
"""

import base64
import hashlib
import json
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credstore.errors import StorageError
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.canonical import encode_json, parse_json
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.errors import ProofError, ProofFormatError
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.signing import PublicKey
from credstore.proofs.format.status import encode_notice, make_notice
from credstore.proofs.format.trust import TrustStore, encode_trust_store, parse_trust_store, trust_key
from credstore.proofs.format.trust_publication import encode_trust_statement
from credstore.proofs.format.verify import verify_signed
from credstore.proofs.log.log_check import LogCheck
from credstore.proofs.log.merkle import hash_leaf, root
from credstore.proofs.log.note import COSIGNATURE, ED25519
from credstore.proofs.log.policy import parse_log_policy
from credstore.web.proof_pages import ANY_STATE
from credstore.web.report import page_words, report_of
from tests.proofs.material import (
    ASSET,
    ISSUER,
    KEY,
    MINUTE,
    NOW,
    P256,
    ROOT,
    SIGNER,
    START,
    STRANGER,
    TRUST,
    bundle,
    issue,
    seal,
    sealed_statement,
    statement,
)
from tests.proofs.mutants import RICH, mutate, mutate_record
from tests.web.logged import ALONE, LOG, MLDSA, POLICY, TIME, WITH_MLDSA, WITNESSES, logged, proof_of
from tests.web.node import b64, page_in_node

pytestmark = pytest.mark.system
STORED = encode_trust_store(TRUST)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def page():
    with page_in_node() as opened:
        yield opened


def by_python(data, *, asset=ASSET, policy=None, trust=TRUST, now=NOW):
    """ "ok", or the code of the error."""
    check = None if policy is None else LogCheck(parse_log_policy(policy.encode()))
    digest = None if asset is None else AssetDigest.of(asset)
    try:
        return "ok", verify_bundle(data, trust, now=now, asset=digest, check_log=check)
    except StorageError as error:
        return str(error.code), error.message


def by_page(page, data, *, asset=ASSET, policy=None, trust=STORED, now=NOW):
    """The same for the page: a revoked or expired proof is a result there, and no error."""
    code, result = page.bundle(data, trust=trust, now=now, asset=asset, policy=policy)
    if code == "ok" and result["state"] != "valid":
        return f"PROOF_{result['state'].upper()}", result
    return code, result


def same(page, data, **options):
    expected, found = by_python(data, **options), by_page(page, data, **options)
    assert found[0] == expected[0], (expected, found, data[:2000])
    return expected[0]


# Published vectors.


def test_ed25519_is_that_of_rfc_8032(page):
    """Section 7.1, tests 1 to 3."""
    for public, message, sig in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ):
        spki = bytes.fromhex("302a300506032b6570032100" + public)
        asked = {"scheme": "ed25519", "spki": b64(spki), "message": b64(bytes.fromhex(message))}
        right = bytes.fromhex(sig)
        assert page("signature", sig=b64(right), **asked) == ("ok", True)
        for wrong in (right[:-1], right + b"\0", right[:-1] + bytes([right[-1] ^ 1]), b""):
            assert page("signature", sig=b64(wrong), **asked) == ("ok", False)


def test_the_envelope_is_that_of_dsse(page):
    """Its test vector, whose signature is raw r and s, and the same as DER."""
    body, kind = b"hello world", "http://example.com/HelloWorld"
    pae = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert page("pae", type=kind, body=b64(body)) == ("ok", b64(pae))
    key = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    ).public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    r, s = (int.from_bytes(raw[at : at + 32], "big") for at in (0, 32))
    for scheme, sig, fits in (
        ("ecdsa-p256-sha256-p1363", raw, True),
        ("ecdsa-p256-sha256", utils.encode_dss_signature(r, s), True),
        ("ecdsa-p256-sha256", raw, False),
        ("ecdsa-p256-sha256-p1363", utils.encode_dss_signature(r, s), False),
    ):
        asked = {"scheme": scheme, "spki": b64(spki), "message": b64(pae)}
        assert page("signature", sig=b64(sig), **asked) == ("ok", fits)
        assert PublicKey(scheme, spki).is_signature(sig, pae) is fits


def test_der_is_read_as_openssl_reads_it(page):
    """Signatures with small, large and negative numbers, and other encodings of the same."""
    import asyncio

    message = b"what was signed"
    key = P256.public_key
    rng = random.Random(3)
    for _ in range(150):
        sig = asyncio.run(P256.sign(message))
        for each in (sig, mutate(rng, sig), b"\x30\x81" + sig[1:], sig + b"\0"):
            asked = {"scheme": key.scheme, "spki": b64(key.spki), "message": b64(message)}
            assert page("signature", sig=b64(each), **asked) == ("ok", key.is_signature(each, message)), (
                each.hex()
            )


def test_json_is_canonical_as_rfc_8785_says(page):
    """Section 3.2.2's example, whose digest is published, and what has no one meaning."""
    example = (
        b'{"numbers":[333333333.33333329,1E30,4.50,2e-3,1e-27],'
        b'"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}'
    )
    code, text = page("json", data=b64(example))
    assert (code, hashlib.sha256(text.encode()).hexdigest()) == (
        "ok",
        "2d5e01a318d0f0879ab568c4be289c8b1f64ef8921a53c6277d5e069978baacb",
    )
    order = '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}'
    names = list(json.loads(page("json", data=b64(order.encode()))[1]))
    assert names == ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


@MANY
@given(
    st.integers(),
    st.sampled_from([b'{"a":[1,2.5,-0,"x"],"b":{"c":null}}', b'["\\u00e9\\ud83d\\ude00",1e3,true]', b"{}"]),
)
def test_json_has_the_same_meaning_or_none(page, seed, data):
    for each in (data, mutate(random.Random(seed), data)):
        try:
            expected = ("ok", encode_json(parse_json(each, limit=1 << 20)).decode())
        except ProofFormatError:
            expected = "PROOF_FORMAT"
        found = page("json", data=b64(each))
        assert found == expected or found[0] == expected, each


def test_trees_are_those_of_rfc_6962(page):
    """The leaves and roots of section 2.1's reference implementation, and every inclusion in them."""
    entries = [
        bytes.fromhex(each)
        for each in (
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        )
    ]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    leaves = [hash_leaf(each) for each in entries]
    for size, expected in roots.items():
        top = bytes.fromhex(expected)
        assert root(leaves[:size]) == top
        for index in range(size):
            hashes = [b64(each) for each in proof_of(leaves[:size], index)]
            tree = {"index": index, "size": size, "root": b64(top)}
            assert page("included", hashes=hashes, leaf=b64(leaves[index]), **tree) == ("ok", True)
            other = b64(leaves[(index + 1) % 8])
            assert page("included", hashes=hashes, leaf=other, **tree) == ("ok", False)
            assert page("included", hashes=[*hashes, b64(top)], leaf=b64(leaves[index]), **tree) == (
                "ok",
                False,
            )
            assert page("included", hashes=hashes, leaf=b64(leaves[index]), **{**tree, "index": size}) == (
                "ok",
                False,
            )
            if hashes:
                assert page("included", hashes=hashes[:-1], leaf=b64(leaves[index]), **tree) == ("ok", False)


def test_notes_are_those_of_the_specification(page):
    """The example of c2sp.org/signed-note."""
    vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    note = (
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    ).encode()
    asked = {"vkeys": [vkey], "kinds": [ED25519]}
    code, found = page("note", data=b64(note), **asked)
    assert (code, found["names"]) == ("ok", ["example.com/foo"])
    assert page("note", data=b64(note.replace(b"example m", b"example M")), **asked)[0] == "NoteError"
    assert (
        page("note", data=b64(note), vkeys=[vkey.replace("530d903a", "530d903b")], kinds=[ED25519])[0]
        == "NoteError"
    )
    assert page("note", data=b64(note), vkeys=[vkey], kinds=[COSIGNATURE])[0] == "NoteError"


# What Python says of it.

RICHEST = issue(P256, SIGNER, **RICH)
STATEMENTS = [issue(), RICHEST, issue(P256)]


@MANY
@given(st.integers(), st.sampled_from(STATEMENTS))
def test_changed_bytes_get_the_same_verdict(page, seed, envelope):
    rng = random.Random(seed)
    whole = bundle(envelope)
    assert same(page, whole) == "ok"
    same(page, mutate(rng, whole))
    same(
        page, json.dumps({**json.loads(whole), "envelope": json.loads(mutate_record(rng, envelope))}).encode()
    )


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from([
        "", "0", "2026-02-30T00:00:00.000Z", "2026-01-02T24:00:00.000Z", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z",
        "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z", "https://issuer.example", "https://other.example", "https://ü.example",
        "https://issuer.example/%zz", "text/plain", "text/plain; charset=x", "text", "a" * 300, "01920000-0000-7000-8000-0000000000FF",
        "01920000-0000-7000-8000-0000000000ff", "ab" * 32, "AB" * 32, "ab" * 64, "\U0001f600" * 255, "\U0001f600" * 256, "\x7f", "__proto__",
    ]),
    st.lists(st.sampled_from(["claims", "asset", "nothing", 1]), max_size=3),
    st.dictionaries(st.sampled_from(["sha256", "size", "alg", "__proto__", "constructor"]), st.text(max_size=3), max_size=2),
)  # fmt: skip
PLACES = [
    (), ("_type",), ("subject",), ("subject", 0), ("subject", 0, "name"), ("subject", 0, "digest"), ("subject", 0, "digest", "sha256"),
    ("subject", 0, "digest", "sha512"), ("predicateType",), ("predicate",), ("predicate", "proofId"), ("predicate", "issuer"),
    ("predicate", "issuedAt"), ("predicate", "expiresAt"), ("predicate", "asset"), ("predicate", "asset", "size"),
    ("predicate", "asset", "mediaType"), ("predicate", "asset", "softBindings"), ("predicate", "manifest"),
    ("predicate", "manifest", "digest"), ("predicate", "manifest", "size"), ("predicate", "manifest", "uri"), ("predicate", "claims"),
    ("predicate", "uri"), ("predicate", "supersedes"), ("predicate", "critical"), ("predicate", "unknown"), ("extra",),
]  # fmt: skip


def changed(value, place, new):
    """A copy with one member replaced, added or, for an Ellipsis, left out."""
    if not place:
        return new if new is not ... else {}
    copy = list(value) if isinstance(value, list) else dict(value)
    name, *rest = place
    if not rest and new is ...:
        copy.pop(name, None) if isinstance(copy, dict) else copy.pop()
    else:
        inner = copy[name] if isinstance(copy, list) else copy.get(name, {})
        copy[name] = changed(inner, rest, new) if rest else new
    return copy


@MANY
@given(st.sampled_from(PLACES), st.one_of(VALUES, st.just(...)))
def test_what_a_trusted_key_signed_is_read_the_same(page, place, value):
    """Each field of a statement, changed before the signature: that fits, so the field decides."""
    rich = json.loads(RICHEST.payload)
    for whole in (statement(), rich):
        try:
            envelope = sealed_statement(changed(whole, place, value))
        except ProofFormatError:
            continue
        data = json.dumps({**json.loads(bundle(issue())), "envelope": json.loads(envelope)}).encode()
        same(page, data)
        same(page, data, asset=None)


def test_keys_windows_uses_and_thieves(page):
    later = NOW + timedelta(days=300)
    revoked = TrustStore(1, (KEY,)).revoke(KEY.keyid, at=NOW, invalid_since=NOW - MINUTE)
    stores = [
        TRUST,
        TrustStore(1, (trust_key(STRANGER.public_key, issuers=[ISSUER], valid_from=START),)),
        TrustStore(1, (trust_key(SIGNER.public_key, issuers=["https://other.example"], valid_from=START),)),
        TrustStore(1, (trust_key(SIGNER.public_key, issuers=[ISSUER], usages=["revoke"], valid_from=START),)),
        TrustStore(1, (trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=NOW),)),
        TrustStore(
            1, (trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=START, valid_until=START + MINUTE),)
        ),
        revoked,
        TrustStore(1, ()),
    ]
    found = set()
    for trust in stores:
        for data in (
            bundle(issue()),
            bundle(issue(P256)),
            bundle(issue(P256, SIGNER)),
            bundle(issue(STRANGER)),
        ):
            for now in (NOW, later, START - timedelta(days=9)):
                expected = by_python(data, trust=trust, now=now)[0]
                assert by_page(page, data, trust=encode_trust_store(trust), now=now)[0] == expected
                found.add(expected)
    assert {
        "ok",
        "PROOF_UNTRUSTED_KEY",
        "PROOF_KEY_EXPIRED",
        "PROOF_KEY_REVOKED",
        "PROOF_EXPIRED",
        "PROOF_NOT_YET_VALID",
    } <= found
    stamped = bundle(issue(), timestamps=(b"a token that only Python reads",))
    # A timestamp could show that the key was not stolen yet: that is no verdict either way.
    assert by_page(page, stamped, trust=encode_trust_store(revoked))[0] == "UNABLE"
    assert by_page(page, stamped)[0] == "ok"


@pytest.mark.parametrize("rule", ["constructor", "__proto__", "0", "4", "-1", "1.5", "", "any all"])
def test_no_group_has_another_rule_than_a_policy_knows(page, rule):
    policy = POLICY.replace("group some 2", f"group some {rule}")
    assert by_page(page, logged(issue()), policy=policy)[0] == "CONFIGURATION"


def test_keys_without_an_id_are_tried(page):
    whole = json.loads(bundle(issue(P256, SIGNER)))
    for keyids in (["", ""], [None, None], ["mine", "yours"], [SIGNER.public_key.keyid, ""]):
        for signature, keyid in zip(whole["envelope"]["signatures"], keyids, strict=True):
            signature.pop("keyid", None)
            if keyid is not None:
                signature["keyid"] = keyid
        same(page, json.dumps(whole).encode())


def test_notices_end_a_proof_if_their_key_may(page):
    proof = verify_signed(issue(), TRUST, now=NOW)
    found = []
    for kind in ("revocation", "erasure"):
        for signer in (SIGNER, ROOT, STRANGER, P256):
            notice = make_notice(kind, proof, at=NOW - MINUTE, reason="withdrawn")
            changes = (
                notice,
                replace(notice, at=NOW + timedelta(days=1)),
                replace(notice, digest=bytes(32)),
                replace(notice, issuer="https://other.example"),
            )
            sealed = [seal(encode_notice(each), signer) for each in changes]
            found += [same(page, bundle(issue(), status=(each,))) for each in sealed]
    assert {
        "PROOF_REVOKED",
        "PROOF_ERASED",
        "PROOF_UNTRUSTED_KEY",
        "PROOF_ID_MISMATCH",
        "PROOF_NOT_YET_VALID",
    } <= set(found)
    two = tuple(
        seal(encode_notice(make_notice("revocation", proof, at=at)), SIGNER) for at in (NOW, NOW - MINUTE)
    )
    assert same(page, bundle(issue(), status=two)) == "PROOF_REVOKED"


@MANY
@given(st.integers())
def test_a_changed_notice_gets_the_same_verdict(page, seed):
    rng = random.Random(seed)
    proof = verify_signed(issue(), TRUST, now=NOW)
    payload = mutate(rng, encode_notice(make_notice("revocation", proof, at=NOW - MINUTE, reason="legal")))
    same(page, bundle(issue(), status=(seal(payload, SIGNER),)))


# Logs.


@pytest.mark.parametrize("policy", [ALONE, POLICY])
@pytest.mark.parametrize(("index", "size"), [(0, 1), (3, 7), (0, 8), (6, 7), (255, 257)])
def test_what_a_log_shows_is_the_same(page, policy, index, size):
    envelope = issue()
    for entry in (None, encode_envelope(envelope)):
        data = logged(envelope, entry=entry, index=index, size=size)
        code, report = by_python(data, policy=policy)
        _, found = by_page(page, data, policy=policy)
        assert code == "ok"
        assert found["size"] == report.logged.size == size
        assert found["witnesses"] == sorted(report.logged.witnesses)
        assert found["time"] == int(report.proof.time.timestamp() * 1000)
        assert found["timeSource"] == report.proof.time_source == ("issuer" if policy == ALONE else "witness")
        assert found["unchecked"] == ["consistency"]
    assert found["time"] == (TIME * 1000 if policy == POLICY else found["time"])


def test_too_few_witnesses_and_others_logs(page):
    envelope = issue()
    assert same(page, logged(envelope, signers=(LOG, WITNESSES[0])), policy=POLICY) == "WITNESS_QUORUM"
    assert same(page, logged(envelope, signers=(LOG, *WITNESSES[1:])), policy=POLICY) == "ok"
    assert same(page, logged(envelope, signers=(WITNESSES[0],)), policy=POLICY) == "CHECKPOINT"
    vkey = replace(LOG.key, name="log.example/other").encode()
    assert (
        same(page, logged(envelope), policy=f"log {vkey}\nquorum none\n") == "ok"
    )  # And says nothing of it.
    assert by_page(page, logged(envelope), policy=f"log {vkey}\nquorum none\n")[1]["unchecked"] == ["log"]
    other = issue(media_type="image/png")
    assert same(page, logged(envelope, entry=encode_envelope(other)), policy=ALONE) == "LOG_INCLUSION"


def test_what_webcrypto_lacks_is_no_yes(page):
    """ML-DSA: Python checks it and says yes, the page says that it cannot."""
    data = logged(issue(), signers=(LOG, MLDSA))
    assert by_python(data, policy=WITH_MLDSA)[0] == "ok"
    assert by_page(page, data, policy=WITH_MLDSA)[0] == "UNABLE"
    missing = logged(issue(), signers=(LOG,))
    assert same(page, missing, policy=WITH_MLDSA) == "WITNESS_QUORUM"


@MANY
@given(st.integers(), st.booleans(), st.sampled_from([ALONE, POLICY]))
def test_a_changed_log_part_gets_the_same_verdict(page, seed, of_entry, policy):
    rng = random.Random(seed)
    whole = json.loads(logged(issue()))
    entry, proof = base64.b64decode(whole["log"]["entry"]), whole["log"]["proof"].encode()
    if of_entry:
        whole["log"]["entry"] = b64(mutate(rng, entry))
    else:
        whole["log"]["proof"] = mutate(rng, proof).decode(errors="replace")
    same(page, json.dumps(whole).encode(), policy=policy)


@MANY
@given(
    st.sampled_from(["keyid", "kind", "pae", "sig", "v", "proofId", "subject", "extra"]),
    st.one_of(VALUES, st.just(...)),
)
def test_an_entry_that_the_log_has_is_read_the_same(page, name, value):
    """Each field of an entry, changed before it was logged: the tree fits, so the field decides."""
    from credstore.proofs.log.entry import entry_of

    members = changed(json.loads(entry_of(issue()).data), (name,), value)
    try:
        entry = encode_json(members)
    except ProofFormatError:
        return
    same(page, logged(issue(), entry=entry), policy=ALONE)


def test_one_other_byte_or_another_size_is_another_asset(page):
    data = bundle(issue())
    assert same(page, data) == "ok"
    for other in (ASSET[:-1] + bytes([ASSET[-1] ^ 1]), ASSET + b"\0", ASSET[:-1], b""):
        assert same(page, data, asset=other) == "PROOF_ASSET_MISMATCH"


# What people read.


def test_both_say_the_same_of_a_proof(page):
    proof = verify_signed(RICHEST, TRUST, now=NOW)
    notice = seal(encode_notice(make_notice("revocation", proof, at=NOW - MINUTE, reason="legal")), SIGNER)
    for data, policy, now in (
        (bundle(issue()), None, NOW),
        (bundle(RICHEST), None, NOW),
        (bundle(RICHEST, timestamps=(b"token",)), None, NOW),
        (bundle(RICHEST, status=(notice,)), None, NOW),
        (bundle(issue()), None, NOW + timedelta(days=900)),
        (bundle(issue(uri="https://x.example/<b>{issuer}", expires_at=None)), None, NOW),
        (logged(issue()), None, NOW),
        (logged(issue()), ALONE, NOW),
        (logged(issue()), POLICY, NOW),
    ):
        for asset in (ASSET, None):
            check = None if policy is None else LogCheck(parse_log_policy(policy.encode()))
            verified = verify_bundle(
                data,
                TRUST,
                now=now,
                asset=None if asset is None else AssetDigest.of(asset),
                check_log=check,
                policy=ANY_STATE,
            )
            expected = report_of(verified, asset=asset is not None)
            asked = {
                "data": b64(data),
                "trust": b64(STORED),
                "now": int(now.timestamp() * 1000),
                "policy": policy,
            }
            asked |= {"words": page_words(), "asset": None if asset is None else b64(asset)}
            code, found = page("report", **asked)
            assert code == "ok"
            assert found == {
                "state": expected.state,
                "title": expected.title,
                "summary": expected.summary,
                "facts": [list(each) for each in expected.facts],
                "checks": [list(each) for each in expected.checks],
                "claims": expected.claims,
            }


# Trust stores.


@MANY
@given(st.integers(), st.booleans())
def test_a_changed_trust_store_is_read_the_same(page, seed, published):
    rng = random.Random(seed)
    data = mutate(rng, STORED)
    try:
        expected = parse_trust_store(data)
    except StorageError:
        expected = None
    code, found = page("trust", data=b64(data))
    assert (code == "ok") is (expected is not None), (code, found, data)
    if expected is not None:
        assert found == {"version": expected.version, "keyids": [key.keyid for key in expected.keys]}
    if published:
        signed = seal(mutate(rng, encode_trust_statement(TRUST)), ROOT)
        assert page("published", data=b64(encode_envelope(signed)))[0] != "ok" or _opens(signed)


def _opens(envelope):
    from credstore.proofs.format.trust_publication import open_trust_store

    try:
        return open_trust_store(envelope, TRUST, now=NOW)
    except ProofError:
        return None


def test_a_published_trust_store_is_read(page):
    signed = encode_envelope(seal(encode_trust_statement(TRUST), ROOT))
    assert page("published", data=b64(signed)) == ("ok", {"version": 1})


def test_keys_that_must_not_be_used_are_refused(page):
    """Points of small order (RFC 7748 section 7) and not on the curve, a compressed point, another kind of key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    head = bytes.fromhex("302a300506032b6570032100")
    point = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    off = bytearray(P256.public_key.spki)
    off[-1] ^= 1
    raw = P256._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    compressed = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + raw
    for scheme, spki in (
        ("ed25519", head + point),
        ("ed25519", head + bytes(32)),
        ("ed25519", head + bytes([1]) + bytes(31)),
        ("ed25519", head + b"\xff" * 32),
        ("ed25519", P256.public_key.spki),
        ("ecdsa-p256-sha256", SIGNER.public_key.spki),
        ("ecdsa-p256-sha256", bytes(off)),
        ("ecdsa-p256-sha256", compressed),
        ("rsa", SIGNER.public_key.spki),
    ):
        with pytest.raises(ProofError):
            PublicKey(scheme, spki)
        assert page("signature", scheme=scheme, spki=b64(spki), sig="", message="")[0] == "PROOF_ALGORITHM"
