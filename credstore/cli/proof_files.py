"""Local files of the proof commands: private keys, trust stores, claims; errors name the file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageError
from credstore.files import PRIVATE, write_file
from credstore.proofs import variables
from credstore.proofs.variables import PASSPHRASE

if TYPE_CHECKING:
    from credstore.proofs import AssetDigest, LocalSigner, TimestampAuthorities, TrustStore
    from credstore.proofs.log.note import NoteSigner

LARGEST_TRUST_STORE = 1024 * 1024
CHUNK = 1024 * 1024

KEY = click.option(
    "--key",
    "key_file",
    metavar="FILE",
    envvar=variables.KEY,
    required=True,
    help="Private key in PEM, as credstore proof keys generate makes it; or CREDSTORE_PROOF_KEY.",
)
TRUST = click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar=variables.TRUST,
    required=True,
    help="The trust store: whose proofs count; or CREDSTORE_PROOF_TRUST.",
)
"""The trust store is the only trust anchor, so none is guessed."""
ROOTS = click.option(
    "--timestamp-roots",
    "roots",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    envvar=variables.TIMESTAMP_ROOTS,
    help="Root certificates (PEM) of an RFC 3161 authority whose timestamps count; again for each "
    "authority, or CREDSTORE_PROOF_TIMESTAMP_ROOTS. Needs the extra timestamp.",
)


def read_trust(path: str) -> TrustStore:
    """The trust store in a file.

    Raises:
        click.UsageError: It cannot be read.
        StorageConfigurationError: It is not a valid trust store.
    """
    from credstore.proofs import parse_trust_store

    with naming(path):
        return parse_trust_store(read_whole(path, LARGEST_TRUST_STORE))


def read_authorities(paths: Sequence[str]) -> TimestampAuthorities | None:
    """The timestamping authorities with the roots in these files, one authority a file; None for no file.

    Raises:
        click.UsageError: A file cannot be read.
        StorageConfigurationError: One has no certificate, or the extra is missing.
    """
    if not paths:
        return None
    from credstore.proofs import TimestampAuthorities, TimestampAuthority

    authorities: list[TimestampAuthority] = []
    for path in paths:
        with naming(path):
            authorities.append(TimestampAuthority(read_whole(path, LARGEST_TRUST_STORE)))
            TimestampAuthorities(authorities[-1:])
    return TimestampAuthorities(authorities)


def read_signer(path: str) -> LocalSigner:
    """The private key in a PEM file that only its owner may read.

    Raises:
        click.UsageError: It cannot be read.
        StorageConfigurationError: Others may read it, it does not hold a key that credstore signs with, or
            its passphrase is missing or wrong.
    """
    from credstore.proofs.key_files import load_signer

    with _opened(path) as file:
        return load_signer(file, path, lambda: known_passphrase(path))


def read_note_signer(path: str, name: str, *, cosigns: bool) -> NoteSigner:
    """The private key of a log or witness in a PEM file that only its owner may read.

    Raises:
        click.UsageError: It cannot be read.
        StorageConfigurationError: Others may read it, it does not hold such a key, or its passphrase is
            missing or wrong.
    """
    from credstore.proofs.key_files import load_note_signer

    with _opened(path) as file:
        return load_note_signer(file, path, lambda: known_passphrase(path), name, cosigns=cosigns)


def known_passphrase(path: str) -> Secret:
    """The passphrase from the environment, else asked for at the terminal.

    Raises:
        StorageConfigurationError: There is neither a variable nor a terminal.
    """
    if word := os.environ.get(PASSPHRASE):
        return Secret(word)
    if not sys.stdin.isatty():
        raise StorageConfigurationError(f"the key is encrypted; set {PASSPHRASE}")
    return Secret(str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True)))


def new_passphrase() -> Secret:
    """The passphrase from the environment, else asked for twice.

    Raises:
        click.UsageError: There is neither a variable nor a terminal.
    """
    if word := os.environ.get(PASSPHRASE):
        return Secret(word)
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal to ask at; set {PASSPHRASE}")
    return Secret(str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)))


def read_claims(text: str | None) -> dict[str, Any] | None:
    """A JSON object, or `@FILE` with one.

    Raises:
        click.UsageError: It is not a JSON object.
    """
    if text is None:
        return None
    data = (
        read_whole(text[1:], LARGEST_TRUST_STORE) if text.startswith("@") else text.encode(errors="replace")
    )
    try:
        claims: object = json.loads(data)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise click.UsageError(
            f"--claims: {text[1:] if text.startswith('@') else 'the text'} is not a JSON object"
        )
    return cast("dict[str, Any]", claims)


def read_whole(path: str, most: int) -> bytes:
    """A small file.

    Raises:
        click.UsageError: It cannot be read, or has more than `most` bytes.
    """
    with _opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise click.UsageError(f"{path}: has more than {most:,} bytes")
    return data


def check_readable(path: str) -> None:
    """Look whether a file that somebody else reads can be read.

    Raises:
        click.UsageError: It cannot.
    """
    with _opened(path):
        pass


def measure_file(path: str) -> AssetDigest:
    """Digest and size of a file of any length.

    Raises:
        click.UsageError: It cannot be read.
    """
    from credstore.proofs import AssetDigest

    digest, size = hashlib.sha256(), 0
    with _opened(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return AssetDigest(digest.digest(), size)


def create_private(path: str, data: bytes) -> None:
    """Make a new file that only its owner may read (0600), safely on disk.

    Raises:
        FileExistsError: It already exists; it is never replaced.
        OSError: It cannot be made.
    """
    try:
        write_file(path, data, replace=False, mode=PRIVATE)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "already exists; a key is never replaced", path) from None


def replace_file(path: str, data: bytes) -> None:
    """Give a file new bytes: readers see the old ones or the new ones, never a mix.

    A symbolic link stays, and the file it leads to is written.

    Raises:
        OSError: It cannot be written; the old bytes are still there.
    """
    try:
        write_file(os.path.realpath(path), data, replace=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


@contextlib.contextmanager
def naming(path: str) -> Generator[None, None, None]:
    """Make errors inside name the file."""
    try:
        yield
    except StorageError as error:
        error.key = error.key or path
        raise


@contextlib.contextmanager
def _opened(path: str) -> Generator[IO[bytes], None, None]:
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror or 'cannot be read'}") from None
