"""`credstore proof keys publish` and `fetch`: trust stores that travel over the web, signed by a root key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from credstore.cli.commands.proof.keys import TRUST
from credstore.cli.options import Command, Invocation
from credstore.cli.output import note, print_json
from credstore.cli.proof_files import naming, read_signer, read_trust, read_whole, replace_file
from credstore.cli.runner import run_loop
from credstore.errors import StorageConfigurationError
from credstore.proofs import PublicKey, TrustStore, encode_trust_store

LARGEST_KEY = 64 * 1024


@click.command("publish", cls=Command)
@click.argument("output", type=click.Path(dir_okay=False))
@click.option("--key", "key_file", metavar="FILE", required=True, help="The private root key in PEM.")
@TRUST
@click.pass_obj
def publish_command(invocation: Invocation, *, output: str, key_file: str, trust_file: str) -> None:
    """Sign the trust store with a root key, and write it to OUTPUT, to be served by any web server.

    The address is best https://<your domain>/.well-known/credstore-trust.json. Each change of the trust store
    has a higher version; publish it again then.
    """
    from credstore.proofs.format.dsse import encode_envelope, seal_payload
    from credstore.proofs.format.trust_publication import encode_trust_statement, open_trust_store

    trust, signer = read_trust(trust_file), read_signer(key_file)
    envelope = run_loop(seal_payload(encode_trust_statement(trust), [signer]))
    with naming(trust_file):
        # What readers with this trust store would refuse is not written.
        open_trust_store(envelope, trust, now=datetime.now(UTC))
    replace_file(output, encode_envelope(envelope))
    if invocation.json:
        print_json({"file": output, "version": trust.version, "keyid": signer.public_key.keyid})
    elif not invocation.quiet:
        note(f"version {trust.version} of {trust_file}, signed by {signer.public_key.keyid}, is in {output}")


@click.command("fetch", cls=Command)
@click.argument("url")
@click.option(
    "--root",
    "root_file",
    metavar="FILE",
    help="The public root key in PEM, known from elsewhere; needed where there is no trust store yet.",
)
@TRUST
@click.pass_obj
def fetch_command(invocation: Invocation, *, url: str, root_file: str | None, trust_file: str) -> None:
    """Bring the trust store up to date from URL, if a root key that it pins has signed what is there.

    Nothing is trusted at first sight: the trust store that is here has the root key, or --root names it. An
    older version is refused.
    """
    from credstore.proofs.trust_sources import fetch_trust_store, pinned_root

    pinned: TrustStore
    if Path(trust_file).exists():
        if root_file is not None:
            raise click.UsageError(f"{trust_file} is there and has its root key; leave --root out")
        pinned = read_trust(trust_file)
    elif root_file is not None:
        with naming(root_file):
            pinned = pinned_root(_public(read_whole(root_file, LARGEST_KEY)))
    else:
        raise click.UsageError(f"there is no {trust_file}; give --root FILE with the public root key")
    trust = run_loop(fetch_trust_store(url, pinned))
    if trust is not pinned:
        replace_file(trust_file, encode_trust_store(trust))
    if invocation.json:
        print_json({"file": trust_file, "version": trust.version, "changed": trust is not pinned})
    elif not invocation.quiet:
        note(f"{trust_file} is version {trust.version}" + ("" if trust is not pinned else ", as before"))


def _public(pem: bytes) -> PublicKey:
    """The public key in PEM.

    Raises:
        StorageConfigurationError: It is not one.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise StorageConfigurationError("this is not a public key in PEM") from None
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    kind = type(key).__name__
    return PublicKey("ed25519" if "Ed25519" in kind else "ecdsa-p256-sha256", spki)
