"""Folders of this machine, signed and verified as models; nothing here needs a store."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from credstore.arguments import typed
from credstore.artifacts.disk import DiskErrors
from credstore.artifacts.names import stays_inside
from credstore.artifacts.signing.bundle import (
    GIT_PATHS,
    LARGEST_BUNDLE,
    SIGNATURE,
    SignedModel,
    encode_bundle,
    encode_model,
    is_ignored,
    parse_bundle,
    read_model,
)
from credstore.artifacts.signing.keys import ModelKey, ModelSigner, signed_by
from credstore.artifacts.sources import Location, name_of, walk
from credstore.concurrency import in_thread
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.proofs.format.dsse import PAYLOAD_TYPE, encode_pae
from credstore.proofs.format.errors import ProofSignatureError, ProofUntrustedKeyError
from credstore.proofs.format.signing import Signer

_BLOCK = 1024 * 1024
_SHOWN = 5


@typed
async def sign_model(model: Location, signer: Signer | ModelSigner) -> bytes:
    """Sign a model on this machine as `model-signing sign key` does.

    Args:
        model: A folder, or a single file. In a folder, `model.sig` and git's own files are not signed.
        signer: A `ModelSigner`, or a proof key of the scheme "ecdsa-p256-sha256".

    Returns:
        The signature, to be kept as `model.sig` in the folder or anywhere else.

    Raises:
        StorageNotFoundError: The model does not exist.
        StorageInvalidRequestError: A file cannot be signed: a link, a special file, or a name that is not the
            same on every system.
        ProofAlgorithmError: The key is not for models.
        ProofSignatureError: What the signer returned does not verify.
        StorageError: A file cannot be read (code "IO_ERROR").
    """
    with DiskErrors():
        digests = await in_thread(_digests, Path(model), {SIGNATURE, *GIT_PATHS})
        name = await in_thread(name_of, model)
    payload = encode_model(name, digests)
    sig, hint = await signed_by(signer, encode_pae(PAYLOAD_TYPE, payload))
    return encode_bundle(payload, sig, hint)


@typed
async def verify_model(model: Location, key: ModelKey, signature: Location | None = None) -> SignedModel:
    """Verify a model on this machine against a signature of OpenSSF Model Signing that a key has made.

    Each file must be what was signed, and nothing else may be there, but for what the signer has left out.

    Args:
        model: The folder or file.
        key: Of whoever is to have signed it.
        signature: The file with the signature; by default `model.sig` in the folder.

    Returns:
        What was signed.

    Raises:
        ProofFormatError: The signature is not one, or not one by a key.
        ProofUntrustedKeyError: Another key has made it.
        ProofSignatureError: It does not fit.
        StorageIntegrityError: Files were changed, added, removed or renamed; the message names some.
        StorageNotFoundError: The model or its signature does not exist.
        StorageError: A file cannot be read (code "IO_ERROR").
    """
    folder = Path(model)
    place = folder / SIGNATURE if signature is None else Path(signature)
    with DiskErrors():
        data = await in_thread(_read, place)
        said = await in_thread(open_signature, data, key)
        await in_thread(_check, folder, place, said)
    return said


def open_signature(data: bytes, key: ModelKey) -> SignedModel:
    """What a signature says, if this key has made it.

    Raises:
        ProofError: It is not in order.
    """
    bundle = parse_bundle(data)
    if bundle.hint not in {"", key.hint}:
        raise ProofUntrustedKeyError("another key has signed this model")
    if not key.is_signature(bundle.sig, bundle.pae):
        raise ProofSignatureError("the model's signature does not fit: it was changed, or another key signed")
    return read_model(bundle.payload)


def compare(said: SignedModel, found: Mapping[str, bytes]) -> None:
    """Compare the digests of a model's resources with those that were signed.

    Raises:
        StorageIntegrityError: They differ.
    """
    changed = sorted(
        name for name in said.resources.keys() & found.keys() if said.resources[name] != found[name]
    )
    for what, names in (
        ("files of the model are not what was signed", changed),
        ("files were added to the model after it was signed", sorted(found.keys() - said.resources.keys())),
        ("files of the model are missing that were signed", sorted(said.resources.keys() - found.keys())),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise StorageIntegrityError(
                f"{what}: {', '.join(map(repr, names[:_SHOWN]))}{more}", code=ErrorCode.DIGEST_MISMATCH
            )


def _read(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            return file.read(LARGEST_BUNDLE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise StorageNotFoundError(f"there is no signature {str(place)!r}") from None


def _check(folder: Path, place: Path, said: SignedModel) -> None:
    ignored = set(said.ignored)
    if place.resolve().is_relative_to(folder.resolve()):
        ignored.add(place.resolve().relative_to(folder.resolve()).as_posix())
    if said.method == "files" and said.hash_type == "sha256":
        compare(said, _digests(folder, ignored))
        return
    found: dict[str, bytes] = {}
    for name, path in _files(folder, ignored):
        found |= _parts(name, path, said)
    compare(said, found)


def _files(model: Path, ignored: set[str]) -> Iterator[tuple[str, Path]]:
    try:
        state = model.stat()
    except FileNotFoundError:
        raise StorageNotFoundError(f"there is no model {str(model)!r}") from None
    for name, path in walk(model) if stat.S_ISDIR(state.st_mode) else [(".", model)]:
        if is_ignored(name, ignored):
            continue
        if name != "." and not stat.S_ISREG(path.lstat().st_mode):
            raise StorageInvalidRequestError(
                f"{str(path)!r} is a symbolic link or a special file, which no signature covers"
            )
        if name != "." and not stays_inside(name):
            raise StorageInvalidRequestError(f"the name of {str(path)!r} is not one on every system")
        yield name, path


def _digests(model: Path, ignored: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, path in _files(model, ignored):
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").digest()
    return found


def _parts(name: str, path: Path, said: SignedModel) -> dict[str, bytes]:
    """The digests of one file's parts, or of the file."""
    found: dict[str, bytes] = {}
    with path.open("rb") as file:
        if said.shard_size is None:
            return {name: hashlib.file_digest(file, said.hash_type).digest()}
        start = 0
        while True:
            digest, end = hashlib.new(said.hash_type), start
            while block := file.read(min(_BLOCK, start + said.shard_size - end)):
                digest.update(block)
                end += len(block)
            if end == start:
                return found
            found[f"{name}:{start}:{end}"] = digest.digest()
            start = end
