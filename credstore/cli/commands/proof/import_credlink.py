"""`credstore proof import-credlink`: the records of a CredLink that may still be running."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_fields, print_json, printable
from credstore.cli.places import opened_stores, spot
from credstore.cli.progress import TransferBar
from credstore.cli.proof_files import TRUST, read_trust, read_whole
from credstore.cli.runner import open_store, run_loop
from credstore.encryption import Secret

if TYPE_CHECKING:
    from credstore.proofs import LegacyImport

LARGEST_PASSPHRASE = 4096
_KEY = re.compile(r"[0-9a-fA-F]{64}")


@command("import-credlink")
@click.argument("place", metavar="DIR|URL")
@click.option(
    "--passphrase-file",
    metavar="FILE",
    help="What CredLink has as ENCRYPTION_KEY: a passphrase, or 64 hex digits; for encrypted records.",
)
@click.option(
    "--prefix", default="proofs/", show_default=True, help="Of its records by day, below DIR or URL."
)
@click.option("--files", default="", help="Of its records by id alone, below DIR or URL; by default none.")
@click.option("-n", "--dry-run", is_flag=True, help="Write nothing; report what would be brought.")
@TRUST
@click.pass_obj
def import_credlink_command(
    invocation: Invocation,
    *,
    place: str,
    passphrase_file: str | None,
    prefix: str,
    files: str,
    dry_run: bool,
    trust_file: str,
) -> None:
    """Bring CredLink's records from a folder or the URL of a store into the proof store.

    All four of its homes are searched: files by id, encrypted files, records by day, and the oldest ones in
    gzip. They are copied as they are, and found by id and hash as unsigned records; adopt signs those whose
    assets are available. CredLink may be running: nothing of it is changed, and a repeat brings what is new.

    Exit code 9: some records did not open, or contradict an earlier record with their id.
    """
    from credstore import LocalConfig, LocalStorageProvider
    from credstore.proofs import LegacyHomes, ProofStore

    (secret, passphrase), trust = _secret(passphrase_file), read_trust(trust_file)
    where = spot(invocation, place, "path").as_folder
    if where.config is None and not Path(where.key).is_dir():
        raise click.UsageError(f"there is no folder {place}")

    async def work() -> LegacyImport:
        async with opened_stores(invocation, where, reading=1) as (found,):
            source = (
                LocalStorageProvider(LocalConfig(path=str(found), read_only=True))
                if isinstance(found, Path)
                else found.provider
            )
            below = "" if isinstance(found, Path) else found.prefix
            homes = LegacyHomes(prefix=below + prefix, files=below + files, key=secret, passphrase=passphrase)
            try:
                with TransferBar(invocation, "objects", steps=True) as bar:
                    async with ProofStore(open_store(invocation), trust=trust, legacy=homes) as store:
                        return await store.import_legacy_from(source, dry_run=dry_run, progress=bar)
            finally:
                if isinstance(found, Path):
                    await source.aclose()

    done = run_loop(work())
    if invocation.json:
        print_json({**_document(done), "dry_run": dry_run})
    elif not invocation.quiet:
        brought = "would be brought" if dry_run else "brought"
        print_fields(
            [
                (brought, f"{done.read - done.known:,}"),
                ("known", f"{done.known:,}"),
                ("something else", f"{done.skipped:,}"),
                ("did not open", f"{done.unopened:,}"),
                ("contradict an earlier one", f"{len(done.differing_keys):,}"),
            ]
        )
    for key in done.unopened_keys:
        note(f"did not open: {printable(key)}")
    for key in done.differing_keys:
        note(f"contradicts an earlier record with its id: {printable(key)}")
    if done.unopened or done.differing_keys:
        raise click.exceptions.Exit(Exit.PARTIAL)


def _secret(passphrase_file: str | None) -> tuple[Secret | None, Secret | None]:
    """What is in the file: a key, or a passphrase that one is made from."""
    if passphrase_file is None:
        return None, None
    # Without the line's end, which editors add.
    word = read_whole(passphrase_file, LARGEST_PASSPHRASE).decode(errors="replace").rstrip("\r\n")
    if not word:
        raise click.UsageError(f"{passphrase_file}: is empty")
    return (Secret(word), None) if _KEY.fullmatch(word) else (None, Secret(word))


def _document(done: LegacyImport) -> dict[str, object]:
    return {
        "read": done.read,
        "known": done.known,
        "skipped": done.skipped,
        "unopened": done.unopened,
        "unopened_keys": done.unopened_keys,
        "differing_keys": done.differing_keys,
    }
