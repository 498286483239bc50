"""`credstore cp` and `credstore mv`: inside one store, between stores, from and to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from credstore.cli.commands.put import describe
from credstore.cli.options import Invocation, command, lock_options, set_lock
from credstore.cli.output import print_json, say
from credstore.cli.places import Spot, check_apart, destination_of, opened_stores, source_of, spots
from credstore.cli.runner import run_loop
from credstore.cli.transfers import Telling, found_any, moving
from credstore.errors import StorageAlreadyExistsError
from credstore.model import LockOptions, StorageResult

if TYPE_CHECKING:
    from credstore.model import StoreOptions
    from credstore.transfer import TransferReport

_SEVERAL = "several sources need a destination that is a folder; give it a slash at its end"


@command("cp")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("destination")
@lock_options
@click.option(
    "--if-absent",
    is_flag=True,
    help="Refuse to replace an object (exit code 5); in a folder, keep what is there.",
)
@click.option("-r", "--recursive", is_flag=True, help="Folders with all that is in them.")
@moving
@click.pass_obj
def cp_command(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    destination: str,
    if_absent: bool,
    recursive: bool,
    **given: Any,
) -> None:
    """Copy SOURCE to DESTINATION: keys of the store, store URLs, or files and folders.

    `cp a b` copies inside the store, without downloading. Where either is a URL (s3://bucket/key), or begins
    with ./, ../, / or ~, the other is a path; store:KEY is a key of the store. A DESTINATION that ends with a
    slash is a folder, and what is copied goes in there. What is in a SOURCE that ends with a slash, is a glob
    ('logs/*.json') or comes with --recursive goes right below DESTINATION. Metadata, tags and types go along;
    what keeps SOURCE from being removed does not.
    """
    _each(invocation, sources, destination, given, move=False, if_absent=if_absent, recursive=recursive)


@command("mv")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("destination")
@lock_options
@click.option(
    "--if-absent",
    is_flag=True,
    help="Refuse to replace an object (exit code 5); in a folder, keep what is there.",
)
@click.option("-r", "--recursive", is_flag=True, help="Folders with all that is in them.")
@moving
@click.pass_obj
def mv_command(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    destination: str,
    if_absent: bool,
    recursive: bool,
    **given: Any,
) -> None:
    """Move SOURCE to DESTINATION: copy, verify, delete; it is never lost in between.

    Places are written as for cp.
    """
    _each(invocation, sources, destination, given, move=True, if_absent=if_absent, recursive=recursive)


def _each(
    invocation: Invocation,
    sources: tuple[str, ...],
    destination: str,
    given: dict[str, Any],
    *,
    move: bool,
    if_absent: bool,
    recursive: bool,
) -> None:
    *origins, target = spots(invocation, *sources, destination)
    if len(origins) > 1 and not target.is_folder:
        raise click.UsageError(_SEVERAL)
    if move and len(origins) > 1 and (recursive or any(each.glob or each.is_folder for each in origins)):
        raise click.UsageError(
            "move folders one by one; of what has the same name in two of them, only one would be left"
        )
    check_apart(
        each.key
        for each in origins
        if each.glob is None and not each.is_folder and not (recursive and each.config is not None)
    )
    lock: LockOptions = {}
    set_lock(lock, given)
    if lock and target.config is None:
        raise click.UsageError(
            f"{target.text} is a path of this machine, where nothing can be kept; use a store"
        )
    worst: click.exceptions.Exit | None = None
    for origin in origins:
        try:
            _one(invocation, origin, target, given, lock, move=move, if_absent=if_absent, recursive=recursive)
        except click.exceptions.Exit as end:
            worst = end
    if worst is not None:
        raise worst


def _one(
    invocation: Invocation,
    origin: Spot,
    target: Spot,
    given: dict[str, Any],
    lock: LockOptions,
    *,
    move: bool,
    if_absent: bool,
    recursive: bool,
) -> None:
    telling = Telling(invocation, given)

    async def work() -> StorageResult | TransferReport:
        from credstore import transfer

        async with opened_stores(invocation, origin, target, reading=0 if move else 1) as (one, two):
            single = origin.glob is None and not origin.is_folder and not recursive and telling.is_plain
            if (
                single
                and isinstance(one, transfer.Under)
                and isinstance(two, transfer.Under)
                and one.provider is two.provider
            ):
                key = two.prefix
                if target.is_folder:
                    key = f"{key and key.removesuffix('/') + '/'}{one.prefix.rpartition('/')[2]}"
                verb = one.provider.move if move else one.provider.copy
                return await verb(one.prefix, key, if_absent=if_absent, **lock)
            source, globs = await source_of(origin, one, tree=False, recursive=recursive)
            source, place = destination_of(target, two, source, into=False)
            options = telling.options()
            options["within"] = globs
            if if_absent:
                options["overwrite"] = "never"
            if lock:
                options["store_options"] = cast("StoreOptions", lock)
            if not isinstance(source, transfer.Alone):
                options["journal"] = telling.journal(source, place)
            if move:
                report = await transfer.migrate(source, place, delete_source=True, **options)
            else:
                report = await transfer.copy_tree(source, place, **options)
            if if_absent and isinstance(source, transfer.Alone) and report.counts.get("kept"):
                raise StorageAlreadyExistsError("there is something of that name already", key=target.text)
            return found_any(report, origin)

    try:
        done = run_loop(work())
    finally:
        telling.bar.stop()
    if not isinstance(done, StorageResult):
        telling.end(done)
    elif invocation.json:
        print_json(done)
    elif not invocation.quiet:
        say(describe(done))
