"""`credstore explain`: which requests an operation makes, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, print_table, say_text
from credstore.cli.runner import settings, several_stores
from credstore.config.units import parse_size
from credstore.errors import StorageInvalidRequestError
from credstore.prices.plan import VERBS, Explanation, explained
from credstore.provider.measured import facts_of

if TYPE_CHECKING:
    from credstore.prices.plan import Verb


@command("explain")
@click.argument("verb", type=click.Choice(VERBS))
@click.argument("size")
@click.option("--storage-class", help="Of what is written; the default of the store unless given.")
@click.option(
    "--days", default=30.0, show_default=True, type=click.FloatRange(0), help="How long it is kept."
)
@click.pass_obj
def explain_command(
    invocation: Invocation, verb: Verb, size: str, storage_class: str | None, days: float
) -> None:
    """Show which requests an operation makes, and what they cost by list prices; nothing is sent.

    SIZE is that of the object, such as 5MB; for list, the number of objects.
    """
    if several_stores(invocation) is not None:
        raise click.UsageError("each of several stores has its own prices; name one of them with --store URL")
    config = settings(invocation)
    try:
        count = int(size) if size.isascii() and size.isdigit() else parse_size(size)
    except StorageInvalidRequestError as error:
        raise click.BadParameter(error.message) from None
    found = explained(facts_of(config, config.cloud), verb, count, storage_class=storage_class, days=days)
    if invocation.json:
        told = asdict(found)
        if found.price is not None:
            told["price"]["found"] = found.price.found.isoformat()
        print_json(told)
        return
    _show(found)


def _show(found: Explanation) -> None:
    rows: list[Sequence[str]] = [
        (step.what, f"{step.count:,}", step.kind, dollars(step.cost)) for step in found.steps
    ]
    if found.transfer or found.verb == "retrieve":
        rows.append(("egress and retrieval", "", "", dollars(found.transfer)))
    if found.storage or found.verb in {"store", "copy"}:
        rows.append((f"storage for {found.days:g} days", "", "", dollars(found.storage)))
    rows.append(("together", "", "", dollars(found.total)))
    print_table(("what", "requests", "billed as", "US dollars"), rows, elastic=(0, 2), right=(1, 3))
    if found.price is not None:
        say_text(f"{found.price.title}: prices of {found.price.found}, {found.price.source}")
    for note in found.notes:
        say_text(f"- {note}")


def dollars(cost: float | None) -> str:
    """An amount, however small; nothing is rounded to zero."""
    if cost is None:
        return "not known"
    return f"{cost:.2f}" if cost == 0 or cost >= 1 else f"{cost:.2g}" if cost >= 0.0001 else f"{cost:.1e}"  # noqa: PLR2004
