"""Keys of proofs in files: the private key that signs, and the trust store.

Rules of this file: a private key is read only from a file that no one else may read, and no message or frame
has anything of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, parse_trust_store
from credstore.proofs.variables import KEY, PASSPHRASE, TRUST

if TYPE_CHECKING:
    from credstore.proofs.log.note import NoteSigner

LARGEST_KEY = 64 * 1024
LARGEST_TRUST_STORE = 1024 * 1024
_LOOSE = stat.S_IRWXG | stat.S_IRWXO if os.name == "posix" else 0


def read_key_file(file: IO[bytes], path: str) -> bytes:
    """The PEM in an open file that only its owner may read.

    Raises:
        StorageConfigurationError: Others may read it.
    """
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if mode & _LOOSE:
        raise StorageConfigurationError(
            f"the key file {path!r} may be read or changed by others (mode {mode:04o}); "
            "run `chmod 600` on it, and replace the key if others use this machine"
        )
    return file.read(LARGEST_KEY)


def load_signer(file: IO[bytes], path: str, passphrase: Callable[[], Secret]) -> LocalSigner:
    """The private key in an open PEM file that only its owner may read.

    Args:
        file: At its start.
        path: Its name, for messages.
        passphrase: Asked for where the key is encrypted.

    Raises:
        StorageConfigurationError: Others may read it, it does not hold a key that credstore signs with, or
            its passphrase is missing or wrong.
    """
    pem = read_key_file(file, path)
    try:
        return LocalSigner.from_pem(pem, passphrase() if b"ENCRYPTED" in pem else None)
    except StorageConfigurationError as error:
        error.key = error.key or path
        raise


def load_note_signer(
    file: IO[bytes], path: str, passphrase: Callable[[], Secret], name: str, *, cosigns: bool
) -> NoteSigner:
    """The private key of a log or witness in an open PEM file that only its owner may read.

    Args:
        file: At its start.
        path: Its name, for messages.
        passphrase: Asked for where the key is encrypted.
        name: The origin of a log, or the name of a witness.
        cosigns: Whether it cosigns, as a witness does.

    Raises:
        StorageConfigurationError: Others may read it, or as `pem_signer`.
    """
    from credstore.proofs.log.note_keys import pem_signer

    pem = read_key_file(file, path)
    try:
        return pem_signer(name, pem, passphrase() if b"ENCRYPTED" in pem else None, cosigns=cosigns)
    except StorageConfigurationError as error:
        error.key = error.key or path
        raise


def signer_from(environ: Mapping[str, str]) -> LocalSigner:
    """The private key in the file that `CREDSTORE_PROOF_KEY` names.

    Raises:
        StorageConfigurationError: The variable is not set, the file cannot be read, or as `load_signer`.
    """
    path = _named(environ, KEY, "the file of the private key that signs")

    def passphrase() -> Secret:
        if not environ.get(PASSPHRASE):
            raise StorageConfigurationError(f"the key is encrypted; set {PASSPHRASE}")
        return Secret(environ[PASSPHRASE])

    try:
        with Path(path).open("rb") as file:
            return load_signer(file, path, passphrase)
    except OSError as error:
        raise _unreadable(KEY, path, error) from None


def trust_from(environ: Mapping[str, str]) -> TrustStore:
    """The trust store in the file that `CREDSTORE_PROOF_TRUST` names.

    Raises:
        StorageConfigurationError: The variable is not set, the file cannot be read, or is not a trust store.
    """
    path = _named(environ, TRUST, "the file of the trust store")
    try:
        with Path(path).open("rb") as file:
            return parse_trust_store(file.read(LARGEST_TRUST_STORE + 1))
    except OSError as error:
        raise _unreadable(TRUST, path, error) from None


def _named(environ: Mapping[str, str], variable: str, what: str) -> str:
    if not environ.get(variable):
        raise StorageConfigurationError(f"{variable} is not set; it names {what}")
    return environ[variable]


def _unreadable(variable: str, path: str, error: OSError) -> StorageConfigurationError:
    return StorageConfigurationError(
        f"the file {path!r} that {variable} names cannot be read: {error.strerror or 'it cannot be opened'}"
    )
