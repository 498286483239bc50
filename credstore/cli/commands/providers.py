"""`credstore providers`: the kinds of store, how to name them, and what each can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, print_table
from credstore.config.registry import Cloud, Registry
from credstore.config.variables import variables_of
from credstore.driver.values import Capabilities


@dataclass(frozen=True, slots=True)
class _Store:
    """What is shown of one kind of store; the field names are those of the JSON."""

    name: str
    aliases: Sequence[str]
    url: str
    variables: Sequence[str]
    capabilities: Capabilities


@command("providers")
@click.pass_obj
def providers_command(invocation: Invocation) -> None:
    """Show the kinds of store: names, URL, the variables to set, and capabilities."""
    stores = [_store(row) for row in Registry().rows()]
    if invocation.json:
        print_json(stores)
        return
    print_table(
        ("name", "aliases", "if_absent", "links", "tags", "SSE", "KMS", "SSE-C"),
        [_row(each) for each in stores],
        elastic=(1,),
    )
    note("URLs, variables and all capabilities: credstore providers --json")


def _store(row: Cloud) -> _Store:
    # Here, since it loads every driver and the wire, which `--help` does without.
    from credstore.config.mapping import from_mapping
    from credstore.provider.presets import build_driver

    return _Store(
        name=row.name,
        aliases=row.aliases,
        url=row.url,
        variables=[variables_of(row.name, field)[0] for field in row.needed],
        # Of an example, so that nothing is sent anywhere.
        capabilities=build_driver(from_mapping({"provider": row.name, **row.needed}, {})).capabilities,
    )


def _row(store: _Store) -> Sequence[str]:
    can = store.capabilities
    links = "read, write" if "PUT" in can.presign else ("read" if can.presign else "-")
    facts = (can.conditional_create, can.tags, can.sse_s3, can.sse_kms, can.sse_c)
    if_absent, *rest = ("yes" if fact else "-" for fact in facts)
    return (store.name, " ".join(store.aliases), if_absent, links, *rest)
