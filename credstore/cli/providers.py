"""`credstore providers`: the kinds of store, how to name them, and what each can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from credstore.cli.invocation import Invocation, command
from credstore.cli.output import note, print_json, print_table
from credstore.config.kinds import FLAVORS, Kind, Kinds
from credstore.config.names import variables_of
from credstore.driver import Capabilities

_URLS = {"local": "file:///path", "memory": "memory://name"}
_NEEDED: Mapping[str, Mapping[str, object]] = {
    "local": {"path": "example"},
    "r2": {"account_id": "0" * 32},
    "spaces": {"region": "ams3"},
    "b2": {"region": "eu-central-003"},
    "custom": {"endpoint": "https://s3.example.com"},
}
"""What a config cannot do without, so that its driver can be asked; nothing is sent anywhere."""
_KEYS = ("access_key_id", "secret_access_key")


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
    kinds = Kinds()
    stores = [_store(word, kinds) for word in (*kinds.names(), *FLAVORS)]
    if invocation.json:
        print_json(stores)
        return
    print_table(
        ("name", "aliases", "if_absent", "links", "tags", "SSE", "KMS", "SSE-C"),
        [_row(each) for each in stores],
    )
    note("URLs, variables and all capabilities: credstore providers --json")


def _store(word: str, kinds: Kinds) -> _Store:
    kind = kinds.find(word, where="the name")
    bucket = "host/bucket" if kind.name == "custom" else "bucket"
    return _Store(
        name=word,
        aliases=[
            each for each in kinds.words() if each != word and kinds.find(each, where="the name") == kind
        ],
        url=_URLS.get(kind.name, f"{word}://{bucket}"),
        variables=[variables_of(kind.owner({}), field)[0] for field in _fields(kind)],
        capabilities=_capabilities(word, kind),
    )


def _fields(kind: Kind) -> Sequence[str]:
    """What one has to set for it."""
    if kind.name == "memory":
        return ()
    needed = tuple(_NEEDED.get(kind.name, ()))
    return needed if kind.name == "local" else (*needed, "bucket", *_KEYS)


def _capabilities(word: str, kind: Kind) -> Capabilities:
    # Here, since they load every driver and the wire, which `--help` does without.
    from credstore.config.mapping import from_mapping
    from credstore.provider.presets import build_driver

    example = dict.fromkeys(_fields(kind), "example") | dict(_NEEDED.get(kind.name, {}))
    return build_driver(from_mapping({"provider": word, **example}, {})).capabilities


def _row(store: _Store) -> Sequence[str]:
    can = store.capabilities
    links = "read, write" if "PUT" in can.presign else ("read" if can.presign else "-")
    facts = (can.conditional_create, can.tags, can.sse_s3, can.sse_kms, can.sse_c)
    if_absent, *rest = ("yes" if fact else "-" for fact in facts)
    return (store.name, " ".join(store.aliases), if_absent, links, *rest)
