"""`credstore proof get`, `find`, `list`, `stats` and `export`: what is there, verified on every read."""

from __future__ import annotations

import re
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.files import TRUST, measure_file
from credstore.cli.commands.proof.shown import end_with, proof_document, record_rows, status_rows, with_proofs
from credstore.cli.errors import report
from credstore.cli.io import NewFile, StandardOutput
from credstore.cli.options import Invocation, command
from credstore.cli.output import (
    human_size,
    human_time,
    print_fields,
    print_json,
    printable,
    say,
)
from credstore.cli.runner import run_loop
from credstore.errors import StorageError

if TYPE_CHECKING:
    from credstore.proofs import Proof, ProofStats, ProofStore

_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")

EXPIRED = click.option("--allow-expired", is_flag=True, help="Expired proofs, too.")
REVOKED = click.option("--allow-revoked", is_flag=True, help="Revoked proofs, too.")


@command("get")
@click.argument("proof_id", metavar="ID")
@click.option("--asset", metavar="FILE", help="The proof must be about the bytes of this file.")
@EXPIRED
@REVOKED
@TRUST
@click.pass_obj
def get_command(
    invocation: Invocation,
    *,
    proof_id: str,
    asset: str | None,
    allow_expired: bool,
    allow_revoked: bool,
    ring_file: str,
) -> None:
    """Show the proof of an id, if it verifies."""
    measured = None if asset is None else measure_file(asset)

    async def action(store: ProofStore) -> Proof:
        return await store.get(
            proof_id, asset=measured, allow_expired=allow_expired, allow_revoked=allow_revoked
        )

    proof = with_proofs(invocation, ring_file, action)
    if invocation.json:
        print_json(proof_document(proof))
    else:
        print_fields([*record_rows(proof.verified), *status_rows(proof.status)])


@command("find")
@click.argument("asset", metavar="FILE|SHA256")
@EXPIRED
@REVOKED
@TRUST
@click.pass_obj
def find_command(
    invocation: Invocation, *, asset: str, allow_expired: bool, allow_revoked: bool, ring_file: str
) -> None:
    """Show the valid proofs about a file, or about the asset of a digest, newest first.

    Exit code 3 means that there is none.
    """
    from credstore.proofs import ProofNotFoundError

    digest: bytes | str = asset
    if Path(asset).exists() or not _DIGEST.fullmatch(asset):
        digest = measure_file(asset).sha256

    async def action(store: ProofStore) -> list[Proof]:
        return await store.find_by_hash(digest, allow_expired=allow_expired, allow_revoked=allow_revoked)

    proofs = with_proofs(invocation, ring_file, action)
    if invocation.json:
        print_json([proof_document(proof) for proof in proofs])
    for proof in proofs if not invocation.json else ():
        _tell(proof)
    if not proofs:
        raise ProofNotFoundError("there is no valid proof about this asset", key=asset)


def _tell(proof: Proof) -> None:
    record = proof.record
    issued, issuer = human_time(record.issued_at), printable(record.issuer)
    say(f"{record.proof_id}  {issued}  {proof.status.state:<7}  {issuer}")


@command("list")
@TRUST
@click.pass_obj
def list_command(invocation: Invocation, *, ring_file: str) -> None:
    """List all proofs, whatever their status; --json prints one document per line.

    Records that do not verify are told on stderr, with exit code 9 if there are others.
    """
    errors: list[StorageError] = []

    async def action(store: ProofStore) -> int:
        shown = 0
        async with aclosing(store.scan()) as outcomes:
            async for outcome in outcomes:
                if outcome.proof is None:
                    if outcome.error is not None:
                        outcome.error.key = outcome.error.key or outcome.proof_id
                        errors.append(outcome.error)
                        report(outcome.error, invocation)
                    continue
                shown += 1
                if invocation.json:
                    print_json(proof_document(outcome.proof))
                else:
                    _tell(outcome.proof)
        return shown

    end_with(errors, with_proofs(invocation, ring_file, action))


@command("stats")
@TRUST
@click.pass_obj
def stats_command(invocation: Invocation, *, ring_file: str) -> None:
    """Count proofs, revocations and bytes; exact, by listing."""

    async def action(store: ProofStore) -> ProofStats:
        return await store.stats()

    stats = with_proofs(invocation, ring_file, action)
    if invocation.json:
        print_json(stats)
        return
    counts = {
        "proofs": stats.proofs,
        "manifests": stats.manifests,
        "revoked": stats.revoked,
        "erased": stats.erased,
        "expiring": stats.expiring,
    }
    rows = [(name, f"{count:,}") for name, count in counts.items()]
    print_fields([*rows, ("size", human_size(stats.total_size)), ("as of", human_time(stats.last_updated))])


@command("export")
@click.argument("proof_id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Standard output for -.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE.")
@TRUST
@click.pass_obj
def export_command(
    invocation: Invocation, *, proof_id: str, output: str, force: bool, ring_file: str
) -> None:
    """Write a proof as one file that verifies with no store and no network.

    A revoked or expired proof is exported, too, and verifying refuses it.
    """

    async def action(store: ProofStore) -> bytes:
        return await store.export(proof_id)

    bundle = with_proofs(invocation, ring_file, action)
    run_loop(_write(bundle, output, force=force))
    if output != "-" and invocation.json:
        print_json({"proof_id": proof_id, "file": output, "size": len(bundle)})
    elif output != "-" and not invocation.quiet:
        say(f"{printable(output)}  {human_size(len(bundle))}")


async def _write(data: bytes, output: str, *, force: bool) -> None:
    if output == "-":
        await StandardOutput().write(data)
        return
    async with NewFile(Path(output), replace=force) as file:
        await file.write(data)
        await file.publish()
