"""`credstore proof list`: every proof, whatever its status."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, hint_at_bundled, lists_log
from credstore.cli.commands.proof.shown import end_with, proof_document, say_proof, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json
from credstore.cli.proof_files import TRUST
from credstore.errors import StorageError

if TYPE_CHECKING:
    from credstore.proofs import ProofStore


@command("list")
@TRUST
@lists_log
@click.pass_obj
def list_command(invocation: Invocation, *, trust_file: str, log: LogChoice) -> None:
    """List all proofs, whatever their status; --json prints one document per line.

    Records that do not verify are reported on stderr, with exit code 9 if there are others.
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
                    say_proof(outcome.proof)
        await hint_at_bundled(invocation, store.provider, log)
        return shown

    end_with(errors, with_proofs(invocation, trust_file, action, log=log))
