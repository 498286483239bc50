"""`credstore ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.invocation import Invocation, command
from credstore.cli.output import human_size, human_time, print_json, printable, say
from credstore.cli.running import with_store
from credstore.model import StorageItem

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider


@command("ls")
@click.argument("prefix", default="")
@click.option("-l", "--long", "long", is_flag=True, help="Sizes, times and storage classes too.")
@click.option(
    "-r/-n",
    "--recursive/--no-recursive",
    default=True,
    show_default=True,
    help="All objects, or only up to the next / after PREFIX.",
)
@click.option("--max-keys", type=click.IntRange(min=0), help="Stop after so many objects.")
@click.pass_obj
def ls_command(
    invocation: Invocation, prefix: str, long: bool, recursive: bool, max_keys: int | None
) -> None:
    """List the objects whose keys begin with PREFIX, one per line, ordered by key.

    With --json, each line is the JSON of one object, or {"prefix": ...} with --no-recursive.
    """

    async def action(provider: StorageProvider) -> None:
        previous = ""
        async for item in provider.scan(prefix, max_keys):
            folder = "" if recursive else next_level(prefix, item.key)
            if not folder:
                _show(invocation, item, long=long)
            elif folder != previous:
                _show_folder(invocation, folder, long=long)
            previous = folder

    with_store(invocation, action)


def next_level(prefix: str, key: str) -> str:
    """The part of the key up to the first / after the prefix, that included; "" if there is none.

    >>> next_level("a/", "a/b/c"), next_level("a/", "a/b")
    ('a/b/', '')
    """
    head, slash, _ = key[len(prefix) :].partition("/")
    return prefix + head + slash if slash else ""


def _show(invocation: Invocation, item: StorageItem, *, long: bool) -> None:
    if invocation.json:
        print_json(item)
    elif long:
        kind = f"  {item.storage_class}" if item.storage_class else ""
        say(f"{human_size(item.size):>8}  {human_time(item.last_modified):20}  {printable(item.key)}{kind}")
    else:
        say(printable(item.key))


def _show_folder(invocation: Invocation, folder: str, *, long: bool) -> None:
    if invocation.json:
        print_json({"prefix": folder})
    else:
        say(f"{'-':>8}  {'-':20}  {printable(folder)}" if long else printable(folder))
