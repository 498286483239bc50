"""`credstore proof find`: the proofs about a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.logs import LogChoice, hint_at_bundled, reads_log
from credstore.cli.commands.proof.shown import (
    EXPIRED,
    REVOKED,
    policy_of,
    proof_document,
    say_proof,
    with_proofs,
)
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json
from credstore.cli.proof_files import ROOTS, TRUST, measure_file

if TYPE_CHECKING:
    from credstore.proofs import Proof, ProofStore

_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@command("find")
@click.argument("asset", metavar="FILE|SHA256")
@EXPIRED
@REVOKED
@TRUST
@ROOTS
@reads_log
@click.pass_obj
def find_command(
    invocation: Invocation,
    *,
    asset: str,
    allow_expired: bool,
    allow_revoked: bool,
    trust_file: str,
    roots: tuple[str, ...],
    log: LogChoice,
) -> None:
    """Show the valid proofs about a file, or about the asset with a digest, newest first.

    Exit code 3 means that there is none.
    """
    from credstore.proofs import ProofNotFoundError

    digest: bytes | str = asset
    if Path(asset).exists() or not _DIGEST.fullmatch(asset):
        digest = measure_file(asset).sha256

    async def action(store: ProofStore) -> list[Proof]:
        policy = policy_of(allow_expired=allow_expired, allow_revoked=allow_revoked, in_log=log.required)
        found = await store.find_by_hash(digest, policy=policy)
        await hint_at_bundled(invocation, store.provider, log)
        return found

    proofs = with_proofs(invocation, trust_file, action, log=log, roots=roots)
    if invocation.json:
        print_json([proof_document(proof) for proof in proofs])
    for proof in proofs if not invocation.json else ():
        say_proof(proof)
    if not proofs:
        raise ProofNotFoundError("there is no valid proof about this asset", key=asset)
