"""`credstore proof delete`: erase a proof in every version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, writes_log
from credstore.cli.commands.proof.shown import REASON, Reason, remaining_document, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_time, print_json, say, say_text
from credstore.cli.proof_files import KEY, TRUST
from credstore.errors import StorageVersionsRemainError

if TYPE_CHECKING:
    from credstore.proofs import ProofStore


@command("delete")
@click.argument("proof_id", metavar="ID")
@REASON
@KEY
@TRUST
@writes_log
@click.pass_obj
def delete_command(
    invocation: Invocation, *, proof_id: str, reason: Reason, key_file: str, trust_file: str, log: LogChoice
) -> None:
    """Erase a proof and its manifest in every version; a signed tombstone is left.

    Deleting again continues where an earlier call stopped. Exit code 9 means that readers no longer find the
    proof, but that versions of it stay: those under a retention are shown with its end.
    """

    async def action(store: ProofStore) -> bool:
        return await store.delete(proof_id, reason)

    try:
        deleted = with_proofs(invocation, trust_file, action, key_file=key_file, log=log)
    except StorageVersionsRemainError as error:
        _show_remaining(invocation, proof_id, error)
        raise click.exceptions.Exit(report(error, invocation)) from None
    if invocation.json:
        print_json({"proof_id": proof_id, "deleted": deleted, "remaining": []})
    elif not invocation.quiet:
        say(f"deleted {proof_id}" if deleted else f"{proof_id} was not there")


def _show_remaining(invocation: Invocation, proof_id: str, error: StorageVersionsRemainError) -> None:
    if invocation.json:
        print_json({"proof_id": proof_id, "deleted": False, "remaining": remaining_document(error)})
        return
    for each in error.remaining:
        keeper = "a legal hold" if each.legal_hold else each.error.message
        if each.retain_until is not None:
            keeper = f"{each.mode or 'a retention'} until {human_time(each.retain_until)}"
            keeper += ", and a legal hold" if each.legal_hold else ""
        say_text(f"stays {each.key} version {each.version_id or '-'}: {keeper}")
