"""Keys of logs and witnesses in PEM: Ed25519, and ML-DSA-44 where `cryptography` has it.

Rules of this file: no message and no frame has anything of a private key.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credstore.arguments import typed
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.proofs.log.checkpoint import seed_signer
from credstore.proofs.log.note import (
    COSIGNATURE,
    ED25519,
    MLDSA_COSIGNATURE,
    NoteKindError,
    NoteSigner,
    make_mldsa,
)

NoteScheme = Literal["ed25519", "ml-dsa-44"]


@typed
def generate_note_key(scheme: str = "ed25519", password: Secret | None = None) -> bytes:
    """A new private key, PKCS #8 in PEM.

    Args:
        scheme: "ed25519", or "ml-dsa-44" for cosignatures (RFC 9881, as its seed).
        password: Encrypts it, or None.

    Raises:
        StorageConfigurationError: Another scheme, or the installed `cryptography` has no ML-DSA.
    """
    if scheme not in get_args(NoteScheme):
        raise StorageConfigurationError(
            f"keys of logs and witnesses are {' or '.join(get_args(NoteScheme))}, not {scheme[:64]!r}"
        )
    try:
        key: Any = Ed25519PrivateKey.generate() if scheme == "ed25519" else make_mldsa()
    except NoteKindError as error:
        raise StorageConfigurationError(str(error)) from None
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        sealed = serialization.BestAvailableEncryption(password.reveal().encode())
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    return pem


@typed
def pem_signer(name: str, pem: bytes, password: Secret | None = None, *, cosigns: bool = False) -> NoteSigner:
    """A signer of notes from a private key in PEM.

    Args:
        name: The origin of a log, or the name of a witness.
        pem: PKCS #8, as `generate_note_key` and OpenSSL write it.
        password: Of an encrypted key.
        cosigns: Whether it cosigns, as a witness does; an ML-DSA-44 key always does.

    Raises:
        StorageConfigurationError: Not such a key, not a name, a missing or wrong password, or the installed
            `cryptography` has no ML-DSA.
    """
    key: Any = None
    # Their message may quote what was in the file, and so may their traceback.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(pem, password.reveal().encode() if password else None)
    del pem
    if isinstance(key, Ed25519PrivateKey):
        return seed_signer(name, key.private_bytes_raw(), COSIGNATURE if cosigns else ED25519)
    if type(key).__name__ == "MLDSA44PrivateKey":
        return seed_signer(name, key.private_bytes_raw(), MLDSA_COSIGNATURE)
    del key
    raise StorageConfigurationError(
        "the file does not hold an Ed25519 or ML-DSA-44 private key in PEM, or its passphrase is wrong"
    )
