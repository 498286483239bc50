"""`credstore proof stats`: how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.shown import with_proofs
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, human_time, print_fields, print_json
from credstore.cli.proof_files import TRUST

if TYPE_CHECKING:
    from credstore.proofs import ProofStats, ProofStore


@command("stats")
@TRUST
@click.pass_obj
def stats_command(invocation: Invocation, *, trust_file: str) -> None:
    """Count proofs, revocations and bytes; exact, by listing."""

    async def action(store: ProofStore) -> ProofStats:
        return await store.stats()

    stats = with_proofs(invocation, trust_file, action)
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
