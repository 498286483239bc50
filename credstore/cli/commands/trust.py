"""`credstore trust`: public lists of whom to trust, fetched from their publishers."""

from __future__ import annotations

from pathlib import Path

import click

from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, say_text
from credstore.cli.runner import run_loop
from credstore.errors import StorageConnectionError


@click.group("trust", context_settings={"help_option_names": ["-h", "--help"]})
def trust_command() -> None:
    """Fetch and show the public lists that credstore verify uses."""


@command("update")
@click.option("--folder", metavar="FOLDER", help="Where to save them; by default the user's data folder.")
@click.option(
    "--from",
    "addresses",
    metavar="NAME=URL",
    multiple=True,
    help="Fetch a list from another address, such as a mirror; may be repeated.",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def update_command(
    invocation: Invocation, *, folder: str | None, addresses: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Fetch public trust lists from their publishers: all of them, or those named.

    Saved with each: its address, the date, and its SHA-256, which every verdict shows. A list that cannot be
    fetched leaves the saved one as it was; exit code 6 if there is any.
    """
    from dataclasses import replace

    from credstore.verification.fetching import Fetcher
    from credstore.verification.lists import PUBLIC_LISTS, ListUpdate, lists_folder, update_lists

    known = {each.name: each for each in PUBLIC_LISTS}
    for pair in addresses:
        name, equals, url = pair.partition("=")
        if not equals or name not in known:
            raise click.BadParameter(f"--from is NAME=URL; names are {', '.join(known)}")
        known[name] = replace(known[name], anchors=url, allowed=None, purposes=None)
    for name in names:
        if name not in known:
            raise click.BadParameter(f"there is no list {name!r}; there are {', '.join(known)}")
    chosen = [each for name, each in known.items() if not names or name in names]

    async def work() -> list[ListUpdate]:
        async with Fetcher() as fetcher:
            return await update_lists(
                fetcher.list, folder=None if folder is None else Path(folder), lists=chosen
            )

    done = run_loop(work())
    if invocation.json:
        print_json(done)
    else:
        for each in done:
            what = each.error or f"{each.certificates} certificates, sha256:{each.sha256}"
            say_text(f"{each.name}: {what}, from {each.source}")
    failed = [each.name for each in done if each.error is not None]
    if failed:
        place = folder or str(lists_folder())
        raise StorageConnectionError(f"not fetched: {', '.join(failed)}; what {place} had of them is kept")


@command("list")
@click.option("--folder", metavar="FOLDER", help="Where they are saved.")
@click.pass_obj
def list_command(invocation: Invocation, *, folder: str | None) -> None:
    """Show the saved lists, and which there are to fetch.

    An address counts as confirmed once a list has come from it.
    """
    from credstore.proofs.c2pa.trust import ListUse
    from credstore.verification.lists import PUBLIC_LISTS, saved_lists

    saved = saved_lists(None if folder is None else Path(folder)).uses()
    there = {use.name for use in saved}
    missing = [each for each in PUBLIC_LISTS if each.title not in there]
    if invocation.json:
        unused = [
            ListUse(each.purpose, each.title, "", None, each.anchors, 0, confirmed=False) for each in missing
        ]
        print_json([*saved, *unused])
        return
    for use in saved:
        say_text(f"{use.name}: for {use.purpose}, fetched {use.date}, {use.certificates} certificates")
    for each in missing:
        where = f"{each.anchors} (not confirmed)"
        say_text(f"{each.title}: not fetched; credstore trust update {each.name} asks {where}")


for each in (update_command, list_command):
    trust_command.add_command(each)
