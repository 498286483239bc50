"""`credstore proof get`: one proof, verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, hint_at_bundled, reads_log
from credstore.cli.commands.proof.shown import (
    EXPIRED,
    REVOKED,
    log_rows,
    policy_of,
    proof_document,
    record_rows,
    status_rows,
    with_proofs,
)
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_fields, print_json
from credstore.cli.proof_files import ROOTS, TRUST, measure_file

if TYPE_CHECKING:
    from credstore.proofs import Proof, ProofStore


@command("get")
@click.argument("proof_id", metavar="ID")
@click.option("--asset", metavar="FILE", help="The proof must be about the bytes of this file.")
@EXPIRED
@REVOKED
@TRUST
@ROOTS
@reads_log
@click.pass_obj
def get_command(
    invocation: Invocation,
    *,
    proof_id: str,
    asset: str | None,
    allow_expired: bool,
    allow_revoked: bool,
    trust_file: str,
    roots: tuple[str, ...],
    log: LogChoice,
) -> None:
    """Show the proof with an id, if it verifies."""
    from credstore.proofs import ProofNotFoundError

    measured = None if asset is None else measure_file(asset)

    async def action(store: ProofStore) -> Proof:
        policy = policy_of(allow_expired=allow_expired, allow_revoked=allow_revoked, in_log=log.required)
        try:
            return await store.get(proof_id, asset=measured, policy=policy)
        except ProofNotFoundError:
            await hint_at_bundled(invocation, store.provider, log)
            raise

    proof = with_proofs(invocation, trust_file, action, log=log, roots=roots)
    if invocation.json:
        print_json(proof_document(proof))
    else:
        print_fields([*record_rows(proof.verified), *status_rows(proof.status), *log_rows(proof.logged)])
