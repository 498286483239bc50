"""One verdict: manifests, proofs, attestations, signatures and models, each alone and together."""

import asyncio
import base64
import io
import json
import random
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

import credstore
from credstore.artifacts.signing.folders import sign_model
from credstore.artifacts.signing.keys import ModelKey, ModelSigner
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs import ProofStore, bundle_name
from credstore.proofs.bindings import BindingIndex
from credstore.proofs.c2pa import C2paTrust, TrustList, sign_manifest
from credstore.proofs.format import errors
from credstore.proofs.format.dsse import encode_pae
from credstore.provider.presets import MemoryStorageProvider
from credstore.verification import VerificationPolicy
from credstore.verification.page import html_page, rows, svg_badge
from credstore.verification.policy import NamedKey, SigstoreIdentity
from tests.proofs.c2pa_material import AUTHORITY, CREDENTIALS, DEFINITION, Authority
from tests.proofs.c2pa_media import MEDIA
from tests.proofs.material import ISSUER, SIGNER, TRUST
from tests.proofs.pictures import encoded, picture, stripped

PNG = MEDIA["image/png"]
KEY = ec.generate_private_key(ec.SECP256R1())
RELEASE = NamedKey(
    "Release",
    ModelKey(
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ),
)
LISTS = C2paTrust(signers=(TrustList.from_pem(AUTHORITY.root, name="test list", date="2026-11-29"),))
POLICY = VerificationPolicy(c2pa=LISTS, proofs=TRUST, keys=(RELEASE,))
STATEMENT = "application/vnd.in-toto+json"


def sign(asset=PNG, media_type="image/png", **options):
    chosen = {"definition": DEFINITION, "credential": CREDENTIALS["ES256"], **options}
    return asyncio.run(sign_manifest(asset, media_type, **chosen))


def verify(asset, policy=POLICY, **options):
    return asyncio.run(credstore.verify(asset, policy=policy, **options))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def statement(*digests: str) -> bytes:
    subject = [{"name": "x", "digest": {"sha256": digest}} for digest in digests]
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {},
        }
    ).encode()


def envelope(payload: bytes, key=KEY) -> dict:
    sig = key.sign(encode_pae(STATEMENT, payload), ec.ECDSA(hashes.SHA256()))
    return {
        "payload": b64(payload),
        "payloadType": STATEMENT,
        "signatures": [{"keyid": "anything", "sig": b64(sig)}],
    }


def sigstore(**content) -> dict:
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}},
        **content,
    }


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(sign(embed=True).asset)
    return path


def test_a_manifest_in_the_file(photo):
    verdict = verify(photo)
    assert verdict.state == "verified"
    (evidence,) = verdict.evidence
    assert (evidence.kind, evidence.place, evidence.who) == ("c2pa", "in the file", "Test organization")
    assert "digitalCreation" in evidence.what
    assert [(each.name, each.date) for each in verdict.lists] == [("test list", "2026-11-29")]
    assert verdict.require() is verdict
    assert verdict.digest.sha256.hex() == sha256(photo.read_bytes())
    assert {each.settled_by for each in verdict.unchecked} >= {"naming a store"}


def test_a_manifest_next_to_the_file(tmp_path):
    signed = sign()
    for name in ("a.png.c2pa", "b.c2pa"):
        path = tmp_path / name.replace(".png", "").replace(".c2pa", ".png")
        path.write_bytes(PNG)
        (tmp_path / name).write_bytes(signed.manifest)
        verdict = verify(path)
        assert [(each.state, each.place) for each in verdict.evidence] == [("trusted", name)]
        (tmp_path / name).write_bytes(signed.manifest[:-100])
        assert verify(path).state == "failed"


def test_a_manifest_elsewhere_is_named_and_not_fetched(tmp_path):
    signed = sign(remote_url="https://proofs.example/m/x.c2pa")
    path = tmp_path / "photo.png"
    path.write_bytes(signed.asset)
    verdict = verify(path)
    assert (verdict.state, verdict.evidence[0].state) == ("untrusted", "unchecked")
    assert any("proofs.example" in str(each.settled_by) for each in verdict.unchecked)
    with pytest.raises(errors.ProofError):
        verdict.require()

    async def fetch(url: str) -> bytes | None:
        return signed.manifest

    assert verify(path, fetch=fetch).state == "verified"


def test_untrusted_and_changed_files_say_why(photo, tmp_path):
    verdict = verify(photo, VerificationPolicy())
    assert verdict.state == "untrusted"
    with pytest.raises(errors.ProofUntrustedKeyError, match="trust anchor"):
        verdict.require()
    assert any("no list of signers" in each.what for each in verdict.unchecked)
    data = bytearray(photo.read_bytes())
    data[data.rindex(b"IDAT") + 8] ^= 1
    photo.write_bytes(data)
    verdict = verify(photo)
    assert verdict.state == "failed"
    with pytest.raises(errors.ProofAssetMismatchError):
        verdict.require()


def test_the_snapshot_is_a_second_list_and_only_that(photo, monkeypatch):
    """No signer of ours is on it; what it would say is put in its place."""
    from credstore.verification import manifests

    assert verify(photo, VerificationPolicy(snapshot=True)).state == "untrusted"
    asked = []
    monkeypatch.setattr(
        manifests, "_ask", lambda *given: asked.append(given) or {"validation_state": "Trusted"}
    )
    verdict = verify(photo, VerificationPolicy(snapshot=True))
    assert verdict.state == "verified"
    assert verdict.lists[-1].name.startswith("lists in encypher-c2pa ")
    assert verdict.lists[-1].date
    assert len(asked) == 1
    assert verify(photo, VerificationPolicy()).state == "untrusted"
    data = bytearray(photo.read_bytes())
    data[data.rindex(b"IDAT") + 8] ^= 1
    photo.write_bytes(data)
    assert verify(photo, VerificationPolicy(snapshot=True)).state == "failed"
    assert len(asked) == 1


def test_a_stripped_picture_leads_to_the_proof_of_the_one_it_looks_like(tmp_path, monkeypatch):
    async def scene():
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER, prefix="p/") as store:
            proof = await BindingIndex(store).issue(encoded(picture(1)), media_type="image/png")
            copy, other = tmp_path / "copy.jpg", tmp_path / "other.jpg"
            copy.write_bytes(stripped(picture(1)))
            other.write_bytes(stripped(picture(2)))
            blank = encoded(Image.new("RGB", (64, 64)))
            stream = await credstore.verify(io.BytesIO(copy.read_bytes()), policy=POLICY, store=store)
            assert [each.details["proof_id"] for each in stream.evidence] == [proof.proof_id]
            found = [
                await credstore.verify(each, policy=POLICY, store=store) for each in (copy, other, blank)
            ]
            monkeypatch.setattr("credstore.extras._is_there", lambda module: module != "iscc_lib")
            found.append(await credstore.verify(copy, policy=POLICY, store=store))
            return proof, found

    proof, (found, other, blank, without) = asyncio.run(scene())
    (evidence,) = found.evidence
    assert (evidence.kind, evidence.state, evidence.who) == ("proof", "untrusted", ISSUER)
    assert evidence.details["proof_id"] == proof.proof_id
    assert 84 < evidence.details["score"] <= 100
    assert found.state == "untrusted"  # It is about other bytes.
    with pytest.raises(errors.ProofAssetMismatchError, match=f"proof {proof.proof_id} is about another file"):
        found.require()
    assert other.state == blank.state == without.state == "nothing"
    (unchecked,) = [each for each in without.unchecked if "look like" in each.what]
    assert "perceptual" in unchecked.settled_by
    assert not [each for each in other.unchecked if "look like" in each.what]
    assert [each.what for each in blank.unchecked if "look like it: the picture is blank" in each.what]


def test_proofs_are_found_by_the_files_hash(photo):
    async def scene():
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER) as store:
            proof = await store.issue(photo, media_type="image/png")
            both = await credstore.verify(photo, policy=POLICY, store=store)
            exported = await store.export(proof.proof_id)
            photo.with_name(f"photo.png.{bundle_name(proof.proof_id)}").write_bytes(exported)
            nothing = await credstore.verify(b"another", policy=POLICY, store=store)
            return proof, both, nothing

    proof, both, nothing = asyncio.run(scene())
    assert [(each.kind, each.state) for each in both.evidence] == [("c2pa", "trusted"), ("proof", "trusted")]
    assert both.evidence[1].who == ISSUER
    assert both.evidence[1].clock == "its issuer"
    assert nothing.state == "nothing"
    with pytest.raises(errors.ProofNotFoundError):
        nothing.require()
    # The bundle next to the file needs no store.
    found = [each for each in verify(photo).evidence if each.kind == "proof"]
    assert [(each.state, each.who, each.details["proof_id"]) for each in found] == [
        ("trusted", ISSUER, proof.proof_id)
    ]
    assert verify(photo, VerificationPolicy(c2pa=LISTS)).evidence[1].state == "unchecked"
    photo.write_bytes(PNG)
    assert verify(photo).state == "failed"


def test_a_false_media_type_in_a_proof_is_reported(tmp_path):
    pdf = tmp_path / "photo.jpg"
    pdf.write_bytes(MEDIA["application/pdf"])

    async def scene():
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER) as store:
            # Issued for a digest alone, since for the bytes it would be refused.
            await store.issue(credstore.proofs.AssetDigest.of(pdf.read_bytes()), media_type="image/jpeg")
            return await credstore.verify(pdf, policy=POLICY, store=store)

    verdict = asyncio.run(scene())
    assert verdict.media_type == "application/pdf"
    assert [each.partition(":")[0] for each in verdict.warnings] == [
        "the name says otherwise",
        f"a proof of {ISSUER.partition(':')[0]}",
    ]


@pytest.mark.parametrize(
    "name", ["photo.png.intoto.json", "photo.png.sigstore.json", "photo.png.intoto.jsonl"]
)
def test_attestations_next_to_the_file(tmp_path, name):
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    good = envelope(statement("0" * 64, sha256(PNG)))
    document = sigstore(dsseEnvelope=good) if "sigstore" in name else good
    place = tmp_path / name
    place.write_text(json.dumps(document) + "\n")
    (evidence,) = verify(photo).evidence
    assert (evidence.kind, evidence.state, evidence.who) == ("attestation", "trusted", "Release")
    assert evidence.what == ("https://slsa.dev/provenance/v1",)
    assert verify(photo, VerificationPolicy()).state == "untrusted"
    other = envelope(statement(sha256(PNG)), ec.generate_private_key(ec.SECP256R1()))
    for wrong, state in (
        (envelope(statement(sha256(b"another"))), "failed"),
        (other, "untrusted"),
        ({**good, "payload": b64(statement(sha256(PNG)))}, "untrusted"),
        ({"payload": 7}, "failed"),
    ):
        place.write_text(json.dumps(sigstore(dsseEnvelope=wrong) if "sigstore" in name else wrong))
        assert verify(photo).state == state, wrong
    for junk in (b"", b"junk", b"\xff\xfe", b"[]", b"{}", b"[" * 10_000):
        place.write_bytes(junk)
        if junk or not name.endswith("l"):
            assert verify(photo).state == "failed"


def test_signatures_next_to_the_file(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    place = tmp_path / "photo.png.sigstore"

    def message(data: bytes, sig: bytes) -> str:
        digest = {"algorithm": "SHA2_256", "digest": b64(bytes.fromhex(sha256(data)))}
        return json.dumps(sigstore(messageSignature={"messageDigest": digest, "signature": b64(sig)}))

    sig = KEY.sign(PNG, ec.ECDSA(hashes.SHA256()))
    place.write_text(message(PNG, sig))
    (evidence,) = verify(photo).evidence
    assert (evidence.kind, evidence.state, evidence.who) == ("signature", "trusted", "Release")
    place.write_text(message(b"another", KEY.sign(b"another", ec.ECDSA(hashes.SHA256()))))
    assert verify(photo).state == "failed"
    place.write_text(message(PNG, b"junk"))
    assert verify(photo).state == "untrusted"


def test_a_bundle_with_a_certificate_counts_by_the_policys_identities_only(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    document = sigstore(dsseEnvelope=envelope(statement(sha256(PNG))))
    document["verificationMaterial"] = {"certificate": {"rawBytes": b64(b"x")}, "tlogEntries": []}
    (tmp_path / "photo.png.sigstore.json").write_text(json.dumps(document))
    assert verify(photo).state == "untrusted"
    identities = (SigstoreIdentity("release@example.org", "https://accounts.example"),)
    assert verify(photo, VerificationPolicy(identities=identities)).state == "failed"


def test_a_signed_model_in_a_folder(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    assert verify(model).state == "nothing"
    signer = ModelSigner(KEY)
    (model / "model.sig").write_bytes(asyncio.run(sign_model(model, signer)))
    (evidence,) = verify(model).evidence
    assert (evidence.kind, evidence.state, evidence.who) == ("model", "trusted", "Release")
    assert verify(model, VerificationPolicy()).state == "untrusted"
    (model / "weights.bin").write_bytes(b"changed")
    assert verify(model).state == "failed"


def test_one_failure_fails_the_whole(photo, tmp_path):
    photo.with_name("photo.png.intoto.json").write_text(json.dumps(envelope(statement("0" * 64))))
    verdict = verify(photo)
    assert [each.state for each in verdict.evidence] == ["trusted", "failed"]
    assert verdict.state == "failed"
    with pytest.raises(errors.ProofAssetMismatchError):
        verdict.require()


def test_bytes_and_streams_have_nothing_next_to_them(photo):
    data = photo.read_bytes()
    for asset in (data, iter([data[:100], data[100:]])):
        verdict = verify(asset)
        assert (verdict.state, verdict.name) == ("verified", "asset")
    with photo.open("rb") as file:
        assert verify(file).state == "verified"
    with pytest.raises(StorageInvalidRequestError, match="time zone"):
        verify(data, now=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the case
    assert verify(data, now=datetime(2019, 1, 1, tzinfo=UTC)).state == "failed"


def test_pages_and_badges_show_what_the_file_says_as_text(tmp_path):
    signed = sign(definition={**DEFINITION, "title": "<script>alert(1)</script>"}, embed=True)
    path = tmp_path / "a&b<c>.png"
    path.write_bytes(signed.asset)
    verdict = verify(path)
    page, badge = html_page(verdict), svg_badge(verdict)
    assert "<script" not in page + badge
    assert "&lt;script&gt;" in page
    assert "a&amp;b&lt;c&gt;.png" in page
    assert "verified: Test organization" in badge
    for name, value in rows(verdict):
        assert name.strip() in page
        assert value
    assert ("  who", "Test organization") in rows(verdict)
    json.dumps(verdict.as_json())


def test_a_policy_is_one_file(tmp_path, photo):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "news.pem").write_bytes(b"comment\n" + AUTHORITY.root)
    (tmp_path / "key.pem").write_bytes(RELEASE.key.to_pem())
    file = tmp_path / "policy.toml"
    file.write_text(
        '[c2pa]\ningredients = "trusted"\n'
        '[[c2pa.signers]]\nname = "News"\nfile = "lists/news.pem"\ndate = 2026-11-01\n'
        '[[keys]]\nname = "Release"\nfile = "key.pem"\n'
        '[[sigstore]]\nidentity = "a@example.org"\nissuer = "https://accounts.example"\n'
    )
    policy = VerificationPolicy.from_toml(file)
    assert policy.ingredients == "trusted"
    assert [each.name for each in policy.keys] == ["Release"]
    verdict = verify(photo, policy)
    assert verdict.state == "verified"
    assert (verdict.lists[0].name, verdict.lists[0].date) == ("News", "2026-11-01")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[c2pa", "not TOML"),
        (f"c2pa = {'[' * 5000}", "nested too deeply"),
        (f"c2pa = {'9' * 5000}", "not TOML"),
        ("[c2ap]", "did you mean 'c2pa'"),
        ("[c2pa]\ningredient = 'any'", "did you mean 'ingredients'"),
        ("[c2pa]\ningredients = 'all'", "any"),
        ("c2pa = 3", "table"),
        ("[c2pa]\nsigners = 3", "array of tables"),
        ("[[c2pa.signers]]\nname = 'x'", "needs file"),
        ("[[c2pa.signers]]\nfile = 'nothing.pem'", "cannot read"),
        ("[[c2pa.signers]]\nfile = 'policy.toml'", "no certificates"),
        ("[[keys]]\nfile = 3", "is text"),
        ("[proofs]\nthreshold = 0", "from 1 to 8"),
        ("[c2pa]\nsnapshot = 'yes'", "true or false"),
    ],
)
def test_a_policy_with_a_slip_is_refused(tmp_path, text, words):
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(StorageConfigurationError, match=words):
        VerificationPolicy.from_toml(file)
    with pytest.raises(StorageConfigurationError, match="cannot read"):
        VerificationPolicy.from_toml(tmp_path / "none.toml")


def test_no_odd_file_next_to_an_asset_crashes(tmp_path):
    rng = random.Random("bundles")
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    good = json.dumps(sigstore(dsseEnvelope=envelope(statement(sha256(PNG))))).encode()
    place = tmp_path / "photo.png.sigstore.json"
    for _ in range(60):
        broken = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(broken))
            broken[start : start + rng.randint(0, 6)] = rng.randbytes(rng.randint(0, 6))
        place.write_bytes(broken)
        assert verify(photo).state in {"verified", "failed", "untrusted"}


def test_without_the_extra_the_rest_is_still_checked(photo, monkeypatch):
    monkeypatch.setattr("credstore.verification.manifests.is_installed", lambda extra: False)
    photo.with_name("photo.png.intoto.json").write_text(
        json.dumps(envelope(statement(sha256(photo.read_bytes()))))
    )
    verdict = verify(photo)
    assert [each.kind for each in verdict.evidence] == ["attestation"]
    assert any("credstore[c2pa]" in str(each.settled_by) for each in verdict.unchecked)


def test_other_authorities_do_not_count(photo):
    other = C2paTrust(signers=(TrustList.from_pem(Authority().root),))
    assert verify(photo, VerificationPolicy(c2pa=other)).state == "untrusted"
