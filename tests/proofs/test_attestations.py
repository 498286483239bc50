"""Other people's attestations: in byte for byte, verified, out by subject and type; judged by the tools they are for."""

import asyncio
import hashlib
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.bundle import v1 as bundles
from sigstore_models.trustroot import v1 as roots

from credstore import MemoryStorageProvider
from credstore.errors import ErrorCode, StorageConfigurationError, StorageInvalidRequestError
from credstore.hashing import LOOP_BUDGET, sha256
from credstore.proofs import (
    ProofAlgorithmError,
    ProofConflictError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofNotFoundError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.attestations import (
    AnyVerifier,
    AttestationStore,
    FulcioIdentities,
    FulcioIdentity,
    TrustedKeys,
    encode_sigstore_bundle,
    parse_attestation,
)
from credstore.proofs.format.dsse import PAYLOAD_TYPE, encode_envelope, encode_pae
from tests.proofs.material import P256, SIGNER, STRANGER, issue
from tests.proofs.sigstore_material import IDENTITY, OIDC, Instance, b64

SUBJECT = hashlib.sha256(b"an artifact")
PROVENANCE, SBOM = "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"


def pem(signer):
    key = serialization.load_der_public_key(signer.public_key.spki)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def statement(kind=PROVENANCE, *digests, version="v1", **predicate):
    subjects = [{"name": "a", "digest": {"sha256": each}} for each in digests or (SUBJECT.hexdigest(),)]
    value = {"_type": f"https://in-toto.io/Statement/{version}", "subject": subjects, "predicateType": kind}
    return json.dumps({**value, "predicate": {"ratio": 1.50, **predicate}}, indent=1).encode()


def immediately(signing):
    """What a local key signs, which waits for nothing, also inside a running loop."""
    with pytest.raises(StopIteration) as done:
        signing.send(None)
    return done.value.value


def enveloped(payload, *signers, keyid="", kind=PAYLOAD_TYPE):
    message = encode_pae(kind, payload)
    signatures = [
        {"keyid": keyid, "sig": b64(immediately(each.sign(message)))} for each in signers or (SIGNER,)
    ]
    members = {"signatures": signatures, "extra": [1], "payloadType": kind, "payload": b64(payload)}
    return json.dumps(members, indent=2).encode()


OURS = TrustedKeys([pem(SIGNER), pem(P256)])


def run(test, verifier=OURS):
    async def body():
        async with AttestationStore(MemoryStorageProvider(), verifier=verifier) as store:
            await test(store)

    asyncio.run(body())


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    return Instance(tmp_path_factory.mktemp("instance"))


def test_out_comes_what_went_in_by_subject_and_type():
    first, second = enveloped(statement(), keyid="somebody's"), enveloped(statement(SBOM), P256)
    old = enveloped(statement(version="v0.1"))
    both = enveloped(statement(PROVENANCE, SUBJECT.hexdigest(), "1" * 64))

    async def test(store):
        added = [await store.add(each) for each in (first, second, old, both)]
        assert [each.data for each in added] == [first, second, old, both]
        assert added[0].signers == (SIGNER.public_key.keyid,)
        assert added[1].signers == (P256.public_key.keyid,)
        assert {each.data for each in await store.find(SUBJECT.digest())} == {first, second, old, both}
        assert [each.data for each in await store.find(SUBJECT.hexdigest(), SBOM)] == [second]
        assert [each.data for each in await store.find("sha256:" + "1" * 64, PROVENANCE)] == [both]
        assert await store.find("2" * 64) == []
        read = await store.get(added[0].digest)
        assert (read.data, read.predicate_type) == (first, PROVENANCE)
        assert read.bundle.statement["predicate"] == {"ratio": 1.5}
        assert (await store.add(first)).digest == added[0].digest
        assert await store.remove(added[3].digest.hex())
        assert not await store.remove(added[3].digest)
        assert await store.find("1" * 64) == []
        keys = [item.key async for item in store._objects.provider.scan("")]
        assert len(keys) == 2 * 3
        with pytest.raises(ProofNotFoundError):
            await store.get(added[3].digest)

    run(test)


def test_a_verifier_may_wait_for_the_library():
    class Waiting:
        """As one that asks a store for the keys that count."""

        def __init__(self):
            self.loop = None

        def verify(self, bundle, /):
            asked = asyncio.run_coroutine_threadsafe(sha256(bytes(LOOP_BUDGET + 1)), self.loop)
            assert len(asked.result(60)) == 32
            return OURS.verify(bundle)

    verifier = Waiting()

    async def test(store):
        verifier.loop = asyncio.get_running_loop()
        added = await asyncio.gather(*(store.add(enveloped(statement(number=each))) for each in range(40)))
        assert len({each.digest for each in added}) == 40

    run(test, verifier)


def test_a_payload_that_is_no_statement_is_found_by_its_digest():
    data = enveloped(b"\x00 not JSON", kind="application/octet-stream")

    async def test(store):
        added = await store.add(data)
        assert (await store.get(added.digest)).data == data
        assert (added.predicate_type, added.subjects, added.bundle.statement) == (None, (), {})

    run(test)


def test_what_does_not_count_is_not_stored():
    changed = json.loads(enveloped(statement()))
    changed["payload"] = b64(statement(SBOM))
    cases = {
        enveloped(statement(), STRANGER): ProofSignatureError,
        json.dumps(changed).encode(): ProofSignatureError,
        enveloped(statement(version="v9")): ProofFormatError,
        enveloped(b'{"_type":1,"_type":1}'): ProofFormatError,
        enveloped(statement(PROVENANCE, "1" * 63)): ProofFormatError,
        b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}': ProofFormatError,
        b'{"mediaType":"text/plain","dsseEnvelope":{}}': ProofFormatError,
        b"{}": ProofFormatError,
        b"[" * 100: ProofFormatError,
        b"\xff": ProofFormatError,
        enveloped(statement(PROVENANCE, *[f"{number:064x}" for number in range(1001)])): ProofFormatError,
    }

    async def test(store):
        for data, expected in cases.items():
            with pytest.raises(expected):
                await store.add(data)
        assert [item async for item in store._objects.provider.scan("")] == []

    run(test)


def test_keys_and_thresholds():
    twice = enveloped(statement(), SIGNER, SIGNER)
    two = enveloped(statement(), SIGNER, P256)
    both = TrustedKeys([pem(SIGNER), pem(P256)], threshold=2)
    assert len(both.verify(parse_attestation(two))) == 2
    with pytest.raises(ProofSignatureError):
        both.verify(parse_attestation(twice))
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    sig = key.sign(encode_pae(PAYLOAD_TYPE, statement()), ec.ECDSA(hashes.SHA384()))
    members = {"payload": b64(statement()), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": b64(sig)}]}
    bundle = parse_attestation(json.dumps(members).encode())
    (keyid,) = TrustedKeys([pem(STRANGER), public]).verify(bundle)
    assert keyid.startswith("sha256:")
    for wrong in ([], [pem(SIGNER)] * 2):
        with pytest.raises(StorageConfigurationError):
            TrustedKeys(wrong, threshold=2)
    with pytest.raises(ProofAlgorithmError):
        TrustedKeys([b"key"])
    with pytest.raises(StorageConfigurationError):
        AnyVerifier([])


def test_names_and_objects_that_others_plant_lead_nowhere():
    async def test(store):
        provider = store._objects.provider
        good, other = (
            await store.add(enveloped(statement())),
            await store.add(enveloped(statement(SBOM, "3" * 64))),
        )
        stranger = enveloped(statement(by="a stranger"), STRANGER)
        strange = parse_attestation(stranger)
        await provider.store(store._place(strange.digest), stranger, compress=False)
        planted = [
            *store._names(strange),
            store._subject(SUBJECT.digest()) + "0" * 64 + "/" + good.digest.hex(),
            store._subject(SUBJECT.digest()) + "0" * 64 + "/" + other.digest.hex(),
            store._subject(SUBJECT.digest()) + "nothing",
            store._subject(SUBJECT.digest()) + "0" * 64 + "/" + "4" * 64,
        ]
        for key in planted:
            await provider.store(key, b"{}", compress=False)
        assert [each.data for each in await store.find(SUBJECT.digest())] == [good.data]
        moved = bytes(32)
        await provider.store(store._place(moved), good.data, compress=False)
        with pytest.raises(ProofIdMismatchError):
            await store.get(moved)
        with pytest.raises(StorageInvalidRequestError):
            await store.find("nothing")
        for wrong in (None, 7, "text"):
            with pytest.raises(StorageInvalidRequestError):
                await store.add(wrong)
            with pytest.raises(StorageInvalidRequestError):
                await store.get(wrong)
        with pytest.raises(StorageInvalidRequestError):
            await store.find(SUBJECT.digest(), b"bytes")

    run(test)


def test_too_many_are_said(monkeypatch):
    async def test(store):
        for number in range(3):
            await store.add(enveloped(statement(PROVENANCE, number=number)))
        for limit in ("MOST_NAMES", "MOST_FOUND"):
            with monkeypatch.context() as patched:
                patched.setattr(f"credstore.proofs.attestations.store.{limit}", 2)
                with pytest.raises(StorageInvalidRequestError) as refused:
                    await store.find(SUBJECT.digest())
                assert refused.value.code == ErrorCode.TOO_MANY_PROOFS

    run(test, TrustedKeys([pem(SIGNER)]))


def test_a_bundle_of_a_fulcio_identity_verifies_and_stays_what_it_is(instance, tmp_path):
    """`sigstore` itself verifies what came out, from the file, without a network."""
    data = instance.bundle(statement())
    right = FulcioIdentity(IDENTITY, OIDC)
    root = instance.trusted_root()

    async def test(store):
        added = await store.add(data)
        assert added.signers == (IDENTITY,)
        (found,) = await store.find(SUBJECT.digest(), PROVENANCE)
        assert found.data == data
        (tmp_path / "bundle").write_bytes(found.data)
        with pytest.raises(ProofSignatureError):
            await store.add(data.replace(b"MIIC", b"MIID", 1))
        with pytest.raises(ProofUntrustedKeyError):
            await store.add(enveloped(statement()))
        # The same statement, certified again, is other bytes under one name.
        with pytest.raises(ProofConflictError):
            await store.add(instance.bundle(statement()))

    run(test, FulcioIdentities([FulcioIdentity("mailto:x", OIDC), right], trusted_root=root))
    bundle = Bundle.from_json((tmp_path / "bundle").read_bytes())
    verifier = Verifier(trusted_root=TrustedRoot(roots.TrustedRoot.from_json(root)))
    kind, payload = verifier.verify_dsse(bundle, Identity(identity=IDENTITY, issuer=OIDC))
    assert (kind, payload) == (PAYLOAD_TYPE, statement())


def test_whose_bundle_it_is_decides(instance):
    bundle = parse_attestation(instance.bundle(statement()))
    root = instance.trusted_root()
    for identity in (
        FulcioIdentity("https://ci.example/other", OIDC),
        FulcioIdentity(IDENTITY, "https://x.example"),
    ):
        with pytest.raises(ProofSignatureError):
            FulcioIdentities([identity], trusted_root=root).verify(bundle)
    # The public instance has not certified it.
    with pytest.raises(ProofSignatureError):
        FulcioIdentities([FulcioIdentity(IDENTITY, OIDC)]).verify(bundle)
    both = AnyVerifier([OURS, FulcioIdentities([FulcioIdentity(IDENTITY, OIDC)], trusted_root=root)])
    assert both.verify(bundle) == (IDENTITY,)
    for wrong in (b"{}", b"", b"[]"):
        with pytest.raises(StorageConfigurationError):
            FulcioIdentities([FulcioIdentity(IDENTITY, OIDC)], trusted_root=wrong)
    with pytest.raises(StorageConfigurationError):
        FulcioIdentities([], trusted_root=root)


def test_our_bundle_has_the_form_of_the_schema():
    """As the models of Sigstore's own protobuf definitions read it."""
    envelope = issue(SIGNER, P256)
    for signer in (SIGNER, P256):
        data = encode_sigstore_bundle(envelope, signer.public_key)
        read = bundles.Bundle.from_json(data)
        assert read.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
        assert read.dsse_envelope.payload == envelope.payload
        assert read.verification_material.public_key.hint == signer.public_key.keyid
        parsed = parse_attestation(data)
        assert OURS.verify(parsed) == (signer.public_key.keyid,)
        assert parsed.digest == envelope.digest
    with pytest.raises(ProofFormatError):
        encode_sigstore_bundle(issue(SIGNER), P256.public_key)


def test_a_proof_of_ours_is_an_attestation_too():
    envelope = issue(SIGNER)

    async def test(store):
        await store.add(encode_envelope(envelope))
        (found,) = await store.find(hashlib.sha256(b"hello").digest(), "https://credstore.dev/proof/v1")
        assert found.digest == envelope.digest

    run(test)


def test_model_signings_own_tool_judges_what_came_out(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"weights")
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(public)
    tool = [sys.executable, "-W", "ignore", "-m", "model_signing"]
    signing = [*tool, "sign", "key", str(model), "--private_key", "key.pem", "--signature", "model.sig"]
    subprocess.run(signing, cwd=tmp_path, check=True, capture_output=True)
    data = (tmp_path / "model.sig").read_bytes()

    async def test(store):
        added = await store.add(data)
        assert added.predicate_type == "https://model_signing/signature/v1.0"
        (found,) = await store.find(added.subjects[0].sha256)
        (tmp_path / "out.sig").write_bytes(found.data)

    run(test, TrustedKeys([public]))
    verifying = [*tool, "verify", "key", str(model), "--public_key", "public.pem", "--signature", "out.sig"]
    subprocess.run(verifying, cwd=tmp_path, check=True, capture_output=True)
