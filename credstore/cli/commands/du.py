"""`credstore du`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, print_json, say_row
from credstore.cli.places import opened_stores, spot
from credstore.cli.runner import run_loop

if TYPE_CHECKING:
    from credstore.transfer import Under


@command("du")
@click.argument("places", metavar="[PREFIX|URL]...", nargs=-1)
@click.option(
    "-d",
    "--depth",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Folders that deep get a line of their own.",
)
@click.option("-s", "--summarize", is_flag=True, help="Only the total; as --depth 0.")
@click.option("-b", "--bytes", "exact", is_flag=True, help="Sizes in bytes.")
@click.pass_obj
def du_command(
    invocation: Invocation, places: tuple[str, ...], depth: int, summarize: bool, exact: bool
) -> None:
    """Count the objects and their stored bytes, folder by folder.

    With --json, each line is {"prefix": ..., "objects": ..., "size": ...}; the last one is the total.
    """
    for place in places or ("",):
        for name, (objects, size) in _totals(invocation, place, 0 if summarize else depth).items():
            if invocation.json:
                print_json({"prefix": name, "objects": objects, "size": size})
            else:
                shown = f"{size:,}" if exact else human_size(size)
                say_row(f"{shown:>12}", f"{objects:>9,}", name or ".", elastic=2)


def _totals(invocation: Invocation, place: str, depth: int) -> dict[str, tuple[int, int]]:
    """Objects and bytes of each folder, the whole last."""
    given = spot(invocation, place, "key")
    if given.config is None:
        raise click.UsageError(f"{place} is a path; du counts objects of a store")

    async def work() -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        async with opened_stores(invocation, given, reading=1) as (under,):
            await _count(under, depth, found)
        return found

    return run_loop(work())


async def _count(under: Under | object, depth: int, found: dict[str, tuple[int, int]]) -> None:
    from credstore.transfer import Under

    if not isinstance(under, Under):
        return
    objects = size = 0
    async for item in under.provider.scan(under.prefix):
        objects, size = objects + 1, size + item.size
        rest, at = item.key[len(under.prefix) :], 0
        for _ in range(depth):
            at = rest.find("/", at) + 1
            if not at:
                break
            name = under.prefix + rest[:at]
            one, two = found.get(name, (0, 0))
            found[name] = one + 1, two + item.size
    found[under.prefix] = objects, size
