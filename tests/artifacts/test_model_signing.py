"""Our signatures of models and those of `model-signing`: each must accept, and refuse, what the other does."""

import json
import subprocess
import sys
import warnings

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credstore import StorageError, StorageIntegrityError, StorageInvalidRequestError, StorageNotFoundError
from credstore.artifacts import ModelKey, ModelSigner, sign_model, verify_model
from credstore.artifacts.signing import bundle
from credstore.proofs import (
    LocalSigner,
    ProofAlgorithmError,
    ProofFormatError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from tests.artifacts.stores import noise, run, write
from tests.proofs.material import P256, SIGNER

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of the packages that it is made of.
    import model_signing

FILES = {
    "config.json": b"{}",
    "weights/0.bin": b"w" * 3000,
    "weights/1.bin": noise(3000),
    "weights-2/a": b"",
    "ü/β.txt": b"1",
    ".gitattributes": b"*.bin filter=lfs",
    ".git/HEAD": b"ref",
}
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


def key_files(folder, curve="P-256"):
    """A private key and the paths of its two PEMs, as the tool takes them."""
    private = ec.generate_private_key(CURVES[curve]())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signer = ModelSigner.from_pem(pem)
    (folder / "key.pem").write_bytes(pem)
    (folder / "key.pub").write_bytes(signer.public_key.to_pem())
    return signer, folder / "key.pem", folder / "key.pub"


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "resnet", FILES)


def theirs(model, signature, public_key):
    """Whether the tool accepts a signature."""
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config.verify(model, signature)
        except Exception as error:
            return str(error) or type(error).__name__
    return None


def ours(model, signature, public_key):
    try:
        run(verify_model(model, ModelKey(public_key.read_bytes()), signature))
    except StorageError as error:
        return error.message
    return None


@pytest.mark.parametrize("curve", CURVES)
def test_the_tool_accepts_what_we_sign_and_we_what_it_signs(model, tmp_path, curve):
    signer, private, public = key_files(tmp_path, curve)
    signature = model / "model.sig"
    signature.write_bytes(run(sign_model(model, signer)))
    assert theirs(model, signature, public) is None
    assert ours(model, signature, public) is None
    moved = tmp_path / "elsewhere.sig"
    moved.write_bytes(signature.read_bytes())
    signature.unlink()
    assert theirs(model, moved, public) is None
    assert ours(model, moved, public) is None

    other = tmp_path / "theirs.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    config.sign(model, other)
    assert ours(model, other, public) is None
    said = run(verify_model(model, signer.public_key, other))
    assert said.name == "resnet"
    assert set(said.resources) == {name for name in FILES if not name.startswith(".git")}


def test_the_command_line_of_the_tool_accepts_what_a_proof_key_signs(model, tmp_path):
    signature, public = tmp_path / "model.sig", tmp_path / "key.pub"
    signature.write_bytes(run(sign_model(model, P256)))
    public.write_bytes(ModelKey.of(P256.public_key).to_pem())
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", "verify", "key", str(model)]
    command += ["--signature", str(signature), "--public_key", str(public)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (model / "config.json").write_bytes(b"{ }")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "config.json" in done.stderr


def rename(model):
    (model / "config.json").rename(model / "settings.json")


def swap(model):
    first, second = model / "weights/0.bin", model / "weights/1.bin"
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])


CHANGES = {
    "changed": lambda model: (model / "weights/1.bin").write_bytes(b"x"),
    "added": lambda model: (model / "more").write_bytes(b""),
    "removed": lambda model: (model / "weights-2/a").unlink(),
    "renamed": rename,
    "swapped": swap,
    "moved": lambda model: (model / "ü/β.txt").rename(model / "β.txt"),
    "linked": lambda model: (model / "link").symlink_to("config.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_refused_by_both(model, tmp_path, change):
    signer, private, public = key_files(tmp_path)
    for number, signature in enumerate((tmp_path / "ours.sig", tmp_path / "theirs.sig")):
        if number:
            model_signing.signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
        else:
            signature.write_bytes(run(sign_model(model, signer)))
    CHANGES[change](model)
    for signature in (tmp_path / "ours.sig", tmp_path / "theirs.sig"):
        assert theirs(model, signature, public)
        assert ours(model, signature, public)


def test_files_that_are_not_signed_may_change(model, tmp_path):
    signer, _, public = key_files(tmp_path)
    signature = tmp_path / "model.sig"
    signature.write_bytes(run(sign_model(model, signer)))
    (model / ".gitattributes").write_bytes(b"")
    (model / ".git/new").write_bytes(b"")
    assert theirs(model, signature, public) is None
    assert ours(model, signature, public) is None


@pytest.mark.parametrize("how", ["shards", "blake2", "ignoring"])
def test_we_verify_the_other_ways_in_which_the_tool_signs(model, tmp_path, how):
    _, private, public = key_files(tmp_path)
    hashing = model_signing.hashing.Config()
    if how == "shards":
        hashing.use_shard_serialization(shard_size=1000)
    elif how == "blake2":
        hashing.use_file_serialization(hashing_algorithm="blake2")
    else:
        hashing.set_ignored_paths(paths=["weights"])
    signature = tmp_path / "model.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    config.set_hashing_config(hashing).sign(model, signature)
    assert ours(model, signature, public) is None
    (model / "weights/1.bin").write_bytes(noise(3001))
    assert (ours(model, signature, public) is None) == (how == "ignoring")
    (model / "config.json").write_bytes(b"[]")
    assert "config.json" in ours(model, signature, public)


def test_a_model_that_is_one_file(tmp_path):
    signer, private, public = key_files(tmp_path)
    model, signature = tmp_path / "model.onnx", tmp_path / "model.sig"
    model.write_bytes(noise(1000))
    signature.write_bytes(run(sign_model(model, signer)))
    assert theirs(model, signature, public) is None
    model_signing.signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
    assert ours(model, signature, public) is None
    model.write_bytes(b"")
    assert ours(model, signature, public)


def test_another_key_is_refused_by_both(model, tmp_path):
    signer, _, _ = key_files(tmp_path)
    signature = tmp_path / "model.sig"
    signature.write_bytes(run(sign_model(model, signer)))
    (tmp_path / "b").mkdir()
    _, _, other = key_files(tmp_path / "b")
    assert theirs(model, signature, other)
    with pytest.raises(ProofUntrustedKeyError):
        run(verify_model(model, ModelKey(other.read_bytes()), signature))


def test_a_signature_that_was_changed_is_refused_by_both(model, tmp_path):
    signer, _, public = key_files(tmp_path)
    signature = tmp_path / "model.sig"
    written = run(sign_model(model, signer))
    document = json.loads(written)
    payload = bundle.parse_bundle(written).payload.replace(b'"name":"resnet"', b'"name":"resnot"')
    document["dsseEnvelope"]["payload"] = bundle.format_base64(payload)
    signature.write_text(json.dumps(document))
    assert theirs(model, signature, public)
    with pytest.raises(ProofSignatureError):
        run(verify_model(model, signer.public_key, signature))


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: bundle.pop("dsseEnvelope"),
        lambda bundle: bundle.update(mediaType="application/json"),
        lambda bundle: bundle["verificationMaterial"].pop("publicKey"),
        lambda bundle: bundle["dsseEnvelope"].update(payloadType="text/plain"),
        lambda bundle: bundle["dsseEnvelope"].update(signatures=[]),
        lambda bundle: bundle["dsseEnvelope"].update(payload="?"),
    ],
)
def test_what_is_not_a_bundle_is_refused(model, tmp_path, change):
    signer, _, _ = key_files(tmp_path)
    document = json.loads(run(sign_model(model, signer)))
    change(document)
    signature = tmp_path / "model.sig"
    signature.write_text(json.dumps(document))
    with pytest.raises(ProofFormatError):
        run(verify_model(model, signer.public_key, signature))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda said: said.update(predicateType="https://model_signing/Digests/v0.1"), "predicate"),
        (lambda said: said["subject"].append({}), "subject"),
        (lambda said: said["predicate"]["serialization"].update(method="tensors"), "serialization"),
        (lambda said: said["predicate"]["serialization"].update(hash_type="blake3"), "BLAKE2b"),
        (lambda said: said["predicate"]["resources"].pop(), "resources"),
        (lambda said: said["predicate"]["resources"][0].update(name="../a"), "elsewhere"),
        (lambda said: said["predicate"]["resources"][0].update(name="/etc/passwd"), "elsewhere"),
        (lambda said: said["predicate"]["resources"][0].update(digest="00"), "length"),
        (lambda said: said["predicate"]["resources"][0].update(digest="x"), "length"),
        (lambda said: said["predicate"]["resources"][0].update(algorithm="blake2b"), "algorithm"),
        (lambda said: said["predicate"]["resources"][1].update(name="config.json"), "twice"),
    ],
)
def test_what_is_signed_but_says_nothing_of_a_model_is_refused(model, change, match):
    payload = bundle.parse_bundle(run(sign_model(model, P256))).payload
    assert bundle.read_model(payload)
    said = json.loads(payload)
    change(said)
    with pytest.raises(ProofFormatError, match=match):
        bundle.read_model(json.dumps(said).encode())


def test_resources_are_sorted_as_the_tool_sorts_them(model, tmp_path):
    _, private, _ = key_files(tmp_path)
    signature = tmp_path / "model.sig"
    model_signing.signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
    mine = bundle.read_model(bundle.parse_bundle(run(sign_model(model, P256))).payload)
    other = bundle.read_model(bundle.parse_bundle(signature.read_bytes()).payload)
    assert (list(mine.resources), mine.digest) == (list(other.resources), other.digest)


def test_what_is_not_there_or_cannot_be_signed(model, tmp_path):
    key = ModelKey.of(P256.public_key)
    with pytest.raises(StorageNotFoundError, match="signature"):
        run(verify_model(model, key))
    with pytest.raises(StorageNotFoundError, match="model"):
        run(sign_model(tmp_path / "nothing", P256))
    (model / "model.sig").write_bytes(run(sign_model(model, P256)))
    with pytest.raises(StorageNotFoundError, match="model"):
        run(verify_model(tmp_path / "nothing", key, model / "model.sig"))
    (model / "link").symlink_to("config.json")
    with pytest.raises(StorageInvalidRequestError, match="link"):
        run(sign_model(model, P256))


def test_keys_are_checked_and_never_shown():
    with pytest.raises(ProofAlgorithmError, match="ed25519"):
        ModelKey.of(SIGNER.public_key)
    with pytest.raises(ProofAlgorithmError):
        ModelKey(b"no key")
    with pytest.raises(ProofAlgorithmError, match="P-384"):
        ModelSigner.from_pem(LocalSigner.generate().to_pem())
    with pytest.raises(ProofAlgorithmError):
        ModelSigner(ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(StorageError, match="private key"):
        ModelSigner.from_pem(b"no key")
    signer = ModelSigner.generate("P-384")
    assert repr(signer) == f"ModelSigner(ModelKey('secp384r1', hint={signer.public_key.hint!r}))"
    with pytest.raises(TypeError):
        signer.__reduce__()


def test_a_signer_whose_signature_does_not_fit_is_found_out(model):
    class Broken:
        public_key = P256.public_key

        async def sign(self, pae):
            return await P256.sign(pae + b"!")

    with pytest.raises(ProofSignatureError):
        run(sign_model(model, Broken()))


def test_a_changed_file_is_named_with_how_many_others(model):
    (model / "model.sig").write_bytes(run(sign_model(model, P256)))
    for number in range(7):
        (model / f"new{number}").write_bytes(b"")
    with pytest.raises(StorageIntegrityError, match=r"'new4' and 2 more"):
        run(verify_model(model, ModelKey.of(P256.public_key)))
