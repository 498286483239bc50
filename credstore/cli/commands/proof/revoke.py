"""`credstore proof revoke`: refuse a proof from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, writes_log
from credstore.cli.commands.proof.shown import REASON, Reason, status_document, with_proofs
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, say
from credstore.cli.proof_files import KEY, TRUST

if TYPE_CHECKING:
    from credstore.proofs import ProofStatus, ProofStore


@command("revoke")
@click.argument("proof_id", metavar="ID")
@REASON
@KEY
@TRUST
@writes_log
@click.pass_obj
def revoke_command(
    invocation: Invocation, *, proof_id: str, reason: Reason, key_file: str, trust_file: str, log: LogChoice
) -> None:
    """Revoke a proof for ever: every read refuses it from now on. Repeating it is harmless."""

    async def action(store: ProofStore) -> ProofStatus:
        return await store.revoke(proof_id, reason)

    status = with_proofs(invocation, trust_file, action, key_file=key_file, log=log)
    if invocation.json:
        print_json({"proof_id": proof_id, **status_document(status)})
    elif not invocation.quiet:
        say(f"revoked {proof_id}")
