"""Versions of models and their signatures: made when one is saved, checked before one is loaded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.index import FileEntry
from credstore.artifacts.loading import read_file
from credstore.artifacts.signing.bundle import (
    LARGEST_BUNDLE,
    SIGNATURE,
    encode_bundle,
    encode_model,
    is_ignored,
    parse_bundle,
)
from credstore.artifacts.signing.folders import compare, open_signature
from credstore.artifacts.signing.keys import ModelKey, signed_by
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread
from credstore.errors import StorageIntegrityError
from credstore.proofs.format.dsse import PAYLOAD_TYPE, Signed, encode_pae
from credstore.proofs.format.errors import ProofUntrustedKeyError
from credstore.proofs.format.signing import Signer
from credstore.proofs.format.trust import TrustedKey, TrustStore
from credstore.proofs.format.verify import accept_signatures


def signature_by(signer: Signer, name: str) -> Callable[[Sequence[FileEntry]], Awaitable[tuple[str, bytes]]]:
    """What signs the files of a model: the name and bytes of its signature."""

    async def sign(files: Sequence[FileEntry]) -> tuple[str, bytes]:
        payload = encode_model(name, {file.name: file.digest for file in files})
        sig, hint = await signed_by(signer, encode_pae(PAYLOAD_TYPE, payload))
        return SIGNATURE, encode_bundle(payload, sig, hint)

    return sign


async def check_signature(catalog: Catalog, version: ArtifactVersion) -> None:
    """Whether a version that is one of a model has the signature of a trusted key over all its files.

    Raises:
        ProofError: The signature or its key is not in order.
        StorageIntegrityError: There is none, or it is about other files.
        StorageError: Anything else.
    """
    if version.kind != "model":
        return
    files = await catalog.files(version)
    signature = next((file for file in files if file.name == SIGNATURE), None)
    if signature is None or signature.size > LARGEST_BUNDLE:
        raise StorageIntegrityError(
            f"version {version.version} of the model {version.name!r} has no signature of its files"
        )
    await in_thread(
        check_bundle, await read_file(catalog, signature), files, version, trust=catalog.seals.trust
    )


def check_bundle(
    data: bytes, files: Sequence[FileEntry], version: ArtifactVersion, *, trust: TrustStore
) -> None:
    """Whether a signature is of a trusted key, and over all files of a version.

    Raises:
        ProofError: The signature or its key is not in order.
        StorageIntegrityError: It is about other files.
    """
    bundle = parse_bundle(data)
    trusted, key = _key(bundle.hint, trust)
    said = open_signature(data, key)
    accept_signatures(
        [Signed(trusted, bundle.sig)],
        usage="proof",
        issuer=version.issuer,
        claimed=version.created,
        times=(),
        threshold=1,
    )
    compare(said, {file.name: file.digest for file in files if not is_ignored(file.name, said.ignored)})


def _key(hint: str, trust: TrustStore) -> tuple[TrustedKey, ModelKey]:
    for each in trust.keys:
        if each.public_key.scheme == "ecdsa-p256-sha256":
            key = ModelKey.of(each.public_key)
            if key.hint == hint:
                return each, key
    raise ProofUntrustedKeyError("the trust store has no key that signed this model")
