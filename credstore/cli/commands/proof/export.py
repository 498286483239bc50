"""`credstore proof export`: a proof as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, reads_log
from credstore.cli.commands.proof.shown import policy_of, with_proofs
from credstore.cli.io import NewFile, StandardOutput
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, print_json, printable, say
from credstore.cli.proof_files import ROOTS, TRUST
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.proofs import ProofStore


@command("export")
@click.argument("proof_id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="Standard output for -.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE.")
@TRUST
@ROOTS
@reads_log
@click.pass_obj
def export_command(
    invocation: Invocation,
    *,
    proof_id: str,
    output: str,
    force: bool,
    trust_file: str,
    roots: tuple[str, ...],
    log: LogChoice,
) -> None:
    """Write a proof as one file that verifies without a store or network.

    A revoked or expired proof is also exported, and verifying refuses it. With a log policy, the proof that
    it is in the log goes with it, where there is one.
    """

    async def action(store: ProofStore) -> bytes:
        if log.required:
            await store.get(proof_id, policy=policy_of(allow_expired=True, allow_revoked=True, in_log=True))
        return await store.export(proof_id)

    bundle = with_proofs(invocation, trust_file, action, log=log, roots=roots)
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
