"""`credstore rebalance`."""

from __future__ import annotations

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json
from credstore.cli.runner import with_store


@command("rebalance")
@click.argument("prefix", default="", metavar="[PREFIX]")
@click.option(
    "--exclusive", is_flag=True, help="No one writes meanwhile: move between stores without conditions too."
)
@click.pass_obj
def rebalance_command(invocation: Invocation, prefix: str, *, exclusive: bool) -> None:
    """Move objects under PREFIX to the stores where they belong, after a store was added.

    The store is one that spreads its objects: --store 'multi://load_balanced?store=URL&store=URL'. It can be
    used meanwhile. Interrupted, the same command continues.
    """
    from credstore.balance import rebalance

    moved = with_store(invocation, lambda provider: rebalance(provider, prefix, exclusive=exclusive))
    if invocation.json:
        print_json({"moved": moved})
    elif not invocation.quiet:
        note(f"{moved:,} objects moved")
