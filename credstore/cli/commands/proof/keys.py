"""`credstore proof keys`: the private keys that sign proofs, and the trust store that verifiers need."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import click

from credstore.cli.options import Command, Invocation, as_duration
from credstore.cli.output import human_time, note, print_json, print_table, say
from credstore.cli.proof_files import (
    create_private,
    naming,
    new_passphrase,
    read_trust,
    replace_file,
)
from credstore.errors import StorageConfigurationError
from credstore.proofs import LocalSigner, PublicKey, TrustedKey, TrustStore, encode_trust_store, trust_key

Usage = Literal["proof", "revoke", "log", "root"]
LEAST_DIGITS = 8
"""Minimum number of hex digits of a key's id that must be given."""

TRUST = click.option(
    "--trust",
    "trust_file",
    metavar="FILE",
    envvar="CREDSTORE_PROOF_TRUST",
    default="keys.json",
    show_default=True,
    help="The trust store; or CREDSTORE_PROOF_TRUST.",
)
SCHEME = click.option(
    "--scheme",
    type=click.Choice(["ed25519", "ecdsa-p256-sha256"]),
    default="ed25519",
    show_default=True,
    help="How the key signs.",
)
PASSPHRASE = click.option(
    "--passphrase",
    is_flag=True,
    help="Encrypt the key: with CREDSTORE_PROOF_PASSPHRASE, else with a passphrase that is asked for.",
)


@click.group("keys", context_settings={"help_option_names": ["-h", "--help"]})
def keys_command() -> None:
    """Make keys that sign proofs, and keep the trust store: the public keys whose proofs count."""


@keys_command.command("generate", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--issuer", "issuers", metavar="URI", multiple=True, required=True, help="Who signs with it. Repeatable."
)
@click.option(
    "--usage",
    "usages",
    type=click.Choice(["proof", "revoke", "log", "root"]),
    multiple=True,
    default=("proof", "revoke"),
    show_default=True,
    help="What it may sign. Repeatable.",
)
@SCHEME
@PASSPHRASE
@TRUST
@click.pass_obj
def generate_command(
    invocation: Invocation,
    *,
    file: str,
    issuers: tuple[str, ...],
    usages: tuple[Usage, ...],
    scheme: str,
    passphrase: bool,
    trust_file: str,
) -> None:
    """Make a private key in the new FILE (PEM, mode 0600), and add its public part to the trust store.

    The trust store is made if it is not there. Give it to verifiers. Keep FILE secret; it is never replaced.
    """
    trust = _trust_now(trust_file)
    signer = LocalSigner.generate(scheme)
    try:
        key = trust_key(signer.public_key, issuers=issuers, usages=usages, valid_from=_now())
    except StorageConfigurationError:
        named = ", ".join(map(repr, issuers))
        raise click.UsageError(
            f"--issuer {named} is not an absolute URI such as https://news.example"
        ) from None
    _write(file, signer, passphrase, trust_file, trust.add(key), before=trust)
    _show(invocation, file, trust_file, key)


@keys_command.command("list", cls=Command)
@TRUST
@click.pass_obj
def list_command(invocation: Invocation, *, trust_file: str) -> None:
    """Show the keys of the trust store, and for whom and when each counts."""
    trust = read_trust(trust_file)
    if invocation.json:
        print_json({"version": trust.version, "keys": [_facts(key) for key in trust.keys]})
        return
    print_table(
        ["key", "scheme", "issuers", "usages", "from", "until"],
        [
            [
                key.keyid.removeprefix("sha256:")[:16],
                key.public_key.scheme,
                " ".join(sorted(key.issuers)),
                " ".join(sorted(key.usages)),
                human_time(key.valid_from),
                "REVOKED" if key.revoked is not None else human_time(key.valid_until),
            ]
            for key in trust.keys
        ],
        elastic=(2, 3),
    )
    if not invocation.quiet:
        note(f"version {trust.version} of {trust_file}")


@keys_command.command("rotate", cls=Command)
@click.argument("keyid")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--in",
    "delay",
    metavar="DURATION",
    default="0s",
    show_default=True,
    callback=as_duration,
    help="When the new key takes over; time for the trust store to reach everyone.",
)
@SCHEME
@PASSPHRASE
@TRUST
@click.pass_obj
def rotate_command(
    invocation: Invocation,
    *,
    keyid: str,
    file: str,
    delay: float,
    scheme: str,
    passphrase: bool,
    trust_file: str,
) -> None:
    """Let a new key in the new FILE take over from KEYID: an id, or at least its first 8 digits.

    The new key gets the issuers and usages of the old one, whose window ends 5 minutes after the change.
    What the old key signed stays valid. Give the trust store to verifiers, then destroy the old private key.
    """
    trust = read_trust(trust_file)
    with naming(trust_file):
        old = _find(trust, keyid)
    try:
        at = _now() + timedelta(seconds=delay)
    except OverflowError:
        raise click.UsageError("--in is beyond the last date there is") from None
    if old.revoked is not None or not old.is_within(at):
        raise StorageConfigurationError(
            f"{old.keyid} is not valid at that time, so nothing can take over from it"
        )
    signer = LocalSigner.generate(scheme)
    rotated = trust.rotate(old.keyid, signer.public_key, at=at)
    _write(file, signer, passphrase, trust_file, rotated, before=trust)
    _show(invocation, file, trust_file, _at(rotated, signer.public_key), _find(rotated, old.keyid))


def _find(trust: TrustStore, keyid: str) -> TrustedKey:
    digits = keyid.removeprefix("sha256:").lower()
    found = [key for key in trust.keys if key.keyid.removeprefix("sha256:").startswith(digits)]
    if len(digits) < LEAST_DIGITS or len(found) != 1:
        raise StorageConfigurationError(
            f"the trust store has {len(found)} keys whose ids start with {digits[:80]!r}; "
            f"give at least {LEAST_DIGITS} digits of one, as credstore proof keys list shows them"
        )
    return found[0]


def _at(trust: TrustStore, public_key: PublicKey) -> TrustedKey:
    return next(key for key in trust.keys if key.public_key == public_key)


def _trust_now(trust_file: str) -> TrustStore:
    return read_trust(trust_file) if Path(trust_file).exists() else TrustStore(0, ())


def _write(
    file: str,
    signer: LocalSigner,
    passphrase: bool,
    trust_file: str,
    trust: TrustStore,
    *,
    before: TrustStore,
) -> None:
    """Write both files; if the trust store cannot be written, the untrusted key is removed."""
    data = encode_trust_store(trust)
    if os.path.realpath(file) == os.path.realpath(trust_file):
        raise click.UsageError(f"{file}: this is the trust store; the private key needs a file of its own")
    if Path(file).exists() or Path(file).is_symlink():
        # Before anyone is asked for a passphrase.
        create_private(file, b"")
    create_private(file, signer.to_pem(new_passphrase() if passphrase else None))
    try:
        # Typing a passphrase may take minutes; a revocation written meanwhile must not be undone.
        if _trust_now(trust_file) != before:
            raise StorageConfigurationError(
                f"{trust_file} was changed in the meantime; run the command again"
            )
        replace_file(trust_file, data)
    except BaseException:
        with suppress(OSError):
            Path(file).unlink()
        raise


def _show(
    invocation: Invocation, file: str, trust_file: str, key: TrustedKey, old: TrustedKey | None = None
) -> None:
    if invocation.json:
        facts = _facts(key)
        print_json(
            {
                **facts,
                "file": file,
                "trust": trust_file,
                **({"replaces": _facts(old)} if old is not None else {}),
            }
        )
        return
    say(key.keyid)
    if invocation.quiet:
        return
    note(f"credstore: the private key is in {file}; keep it secret, and keep a copy elsewhere")
    note(f"credstore: {trust_file} trusts it for {', '.join(sorted(key.issuers))}; verifiers need this file")
    if old is not None:
        note(
            f"credstore: it takes over at {human_time(key.valid_from)}; {old.keyid} counts for what is "
            f"signed until {human_time(old.valid_until)}"
        )


def _facts(key: TrustedKey) -> dict[str, Any]:
    return {
        "keyid": key.keyid,
        "scheme": key.public_key.scheme,
        "issuers": sorted(key.issuers),
        "usages": sorted(key.usages),
        "valid_from": key.valid_from,
        "valid_until": key.valid_until,
        "revoked": key.revoked,
    }


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
