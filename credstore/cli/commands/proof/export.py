"""`credstore proof export`: a proof as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.files import ROOTS, TRUST
from credstore.cli.commands.proof.shown import with_proofs
from credstore.cli.io import NewFile, StandardOutput
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, print_json, printable, say
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.proofs import ProofStore


@command("export")
@click.argument("proof_id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Standard output for -.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE.")
@TRUST
@ROOTS
@click.pass_obj
def export_command(
    invocation: Invocation,
    *,
    proof_id: str,
    output: str,
    force: bool,
    trust_file: str,
    roots: tuple[str, ...],
) -> None:
    """Write a proof as one file that verifies without a store or network.

    A revoked or expired proof is exported, too, and verifying refuses it.
    """

    async def action(store: ProofStore) -> bytes:
        return await store.export(proof_id)

    bundle = with_proofs(invocation, trust_file, action, roots=roots)
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
