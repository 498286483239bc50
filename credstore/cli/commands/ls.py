"""`credstore ls`."""

from __future__ import annotations

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, human_time, print_json, printable, say, say_row
from credstore.cli.places import key_in, opened_stores, spot
from credstore.cli.runner import run_loop
from credstore.model import CommonPrefix, StorageItem


@command("ls")
@click.argument("prefix", metavar="[PREFIX|URL]", default="")
@click.option("-l", "--long", "long", is_flag=True, help="Show sizes, times and storage classes, too.")
@click.option(
    "-r/-n",
    "--recursive/--no-recursive",
    default=True,
    show_default=True,
    help="All objects, or only up to the next / after PREFIX.",
)
@click.option("-d", "--delimiter", metavar="TEXT", help="As -n, but up to the next TEXT after PREFIX.")
@click.option("--start-after", metavar="NAME", help="Only what comes after NAME in the order of keys.")
@click.option("--max-keys", type=click.IntRange(min=0), help="Print at most this many lines.")
@click.pass_obj
def ls_command(
    invocation: Invocation,
    prefix: str,
    *,
    long: bool,
    recursive: bool,
    delimiter: str | None,
    start_after: str | None,
    max_keys: int | None,
) -> None:
    """List the objects whose keys start with PREFIX, one per line, ordered by key.

    PREFIX may be the URL of another store, such as s3://bucket/proofs/.

    With --json, each line is the JSON of one object, or {"prefix": ...} with --no-recursive or --delimiter.
    What is beyond the delimiter is not read, however much it is.
    """
    if delimiter is None and not recursive:
        delimiter = "/"

    given = spot(invocation, prefix, "key")

    async def action() -> None:
        async with opened_stores(invocation, given, reading=1) as (place,):
            provider, below = key_in(place)
            if delimiter is None:
                async for item in provider.scan(below, max_keys, start_after=start_after):
                    _show(invocation, item, long=long)
                return
            names = provider.scan(below, max_keys, delimiter=delimiter, start_after=start_after)
            async for found in names:
                if isinstance(found, CommonPrefix):
                    _show_prefix(invocation, found.prefix, long=long)
                else:
                    _show(invocation, found, long=long)

    run_loop(action())


def _show(invocation: Invocation, item: StorageItem, *, long: bool) -> None:
    if invocation.json:
        print_json(item)
    elif long:
        size, time = f"{human_size(item.size):>8}", f"{human_time(item.last_modified):20}"
        say_row(size, time, item.key, *([item.storage_class] if item.storage_class else []), elastic=2)
    else:
        say(printable(item.key))


def _show_prefix(invocation: Invocation, prefix: str, *, long: bool) -> None:
    if invocation.json:
        print_json({"prefix": prefix})
    elif long:
        say_row(f"{'-':>8}", f"{'-':20}", prefix, elastic=2)
    else:
        say(printable(prefix))
