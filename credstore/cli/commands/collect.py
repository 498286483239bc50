"""`credstore collect`: remove the shared bodies that nothing refers to any more."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json
from credstore.cli.runner import with_store
from credstore.config.units import parse_duration
from credstore.errors import StorageInvalidRequestError
from credstore.provider.layering import collect


@command("collect")
@click.option("--grace", default="1d", show_default=True, help="How long a body stays after it was marked.")
@click.pass_obj
def collect_command(invocation: Invocation, grace: str) -> None:
    """Remove what a store with dedup=true keeps and nothing refers to, a grace after it was marked.

    Run it from time to time, also while others write.
    """
    try:
        kept = timedelta(seconds=parse_duration(grace))
    except StorageInvalidRequestError as error:
        raise click.BadParameter(error.message) from None
    found = with_store(invocation, lambda provider: collect(provider, grace=kept))
    if invocation.json:
        print_json(asdict(found))
    elif not invocation.quiet:
        note(
            f"{found.references:,} references to {found.bodies:,} bodies; marked {found.marked:,}, removed"
            f" {found.removed:,} with {found.removed_bytes:,} bytes"
        )
