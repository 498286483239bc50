"""`credstore proof history`: a proof with those before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.files import TRUST
from credstore.cli.commands.proof.shown import proof_document, record_rows, status_rows, with_proofs
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_fields, print_json

if TYPE_CHECKING:
    from credstore.proofs import ProofHistory, ProofStore


@command("history")
@click.argument("proof_id", metavar="ID")
@TRUST
@click.pass_obj
def history_command(invocation: Invocation, *, proof_id: str, trust_file: str) -> None:
    """Show a proof, valid or not, and which one it replaces or was replaced by."""

    async def action(store: ProofStore) -> ProofHistory:
        return await store.history(proof_id)

    found = with_proofs(invocation, trust_file, action)
    if invocation.json:
        print_json({**proof_document(found.proof), "superseded_by": found.superseded_by})
        return
    rows = [*record_rows(found.proof.verified), *status_rows(found.proof.status)]
    if found.superseded_by is not None:
        rows.append(("superseded by", found.superseded_by))
    print_fields(rows)
