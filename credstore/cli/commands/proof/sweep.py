"""`credstore proof sweep`: remove what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.commands.proof.shown import end_with, with_proofs
from credstore.cli.errors import report
from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import print_fields, print_json
from credstore.cli.proof_files import TRUST

if TYPE_CHECKING:
    from credstore.proofs import ProofStore, SweepReport


@command("sweep")
@click.option(
    "--grace",
    metavar="DURATION",
    default="1d",
    show_default=True,
    callback=as_duration,
    help="How long proofs are kept after they have expired.",
)
@click.option("--limit", metavar="COUNT", type=click.IntRange(1), help="Remove no more than this many.")
@TRUST
@click.pass_obj
def sweep_command(invocation: Invocation, *, grace: float, limit: int | None, trust_file: str) -> None:
    """Remove expired proofs, and what unfinished issues and deletions left behind.

    Any number of sweeps may run at once, and any of them may be stopped.
    """

    async def action(store: ProofStore) -> SweepReport:
        return await store.sweep_expired(grace=grace, limit=limit)

    swept = with_proofs(invocation, trust_file, action)
    if invocation.json:
        print_json(swept)
    elif not invocation.quiet:
        counts = {
            "swept": swept.swept,
            "cleaned": swept.cleaned,
            "stray": swept.stray,
            "kept": swept.kept,
            "later": swept.later,
            "failed": len(swept.failed),
        }
        print_fields([(name, f"{count:,}") for name, count in counts.items()])
    for error in swept.failed.values():
        report(error, invocation)
    end_with(list(swept.failed.values()), swept.swept + swept.cleaned + swept.stray)
