"""`credstore rm`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from credstore.cli.errors import report
from credstore.cli.exits import Exit, exit_of
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, say_row
from credstore.cli.runner import with_store
from credstore.concurrency import map_all
from credstore.errors import StorageError
from credstore.model import BatchDeleteResult

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider


AT_ONCE = 16
"""Requests at the same time."""


@command("rm")
@click.argument("keys", metavar="KEY...", nargs=-1)
@click.option("--prefix", metavar="PREFIX", help="Delete all objects whose keys start with this.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --prefix deletes.")
@click.pass_obj
def rm_command(invocation: Invocation, keys: tuple[str, ...], prefix: str | None, yes: bool) -> None:
    """Delete the objects KEY..., or all under a prefix; deleting what is not there is not an error.

    Exit code 9 means that some were deleted and others were not; stderr says which.
    """
    if bool(keys) == (prefix is not None):
        raise click.UsageError("give either keys or --prefix")
    if prefix == "":
        raise click.UsageError("an empty prefix would delete the whole store; give a longer one, or keys")
    if prefix is not None:
        keys = _found(invocation, prefix)
        if keys and not yes:
            _ask(invocation, len(keys), prefix)

    absent: set[str] = set()

    async def action(provider: StorageProvider) -> BatchDeleteResult:
        if prefix is None and provider.capabilities.delete_tells_existence:
            return await _one_by_one(provider, keys, absent)
        return await provider.batch_delete(keys)

    result = with_store(invocation, action)
    if invocation.json:
        print_json(result)
    elif not invocation.quiet:
        for key in result.deleted:
            say_row("absent" if key in absent else "deleted", key, elastic=1, gap=" ")
    for error in result.failed.values():
        report(error, invocation)
    if result.failed:
        raise click.exceptions.Exit(exit_of_failures(result))


async def _one_by_one(
    provider: StorageProvider, keys: tuple[str, ...], absent: set[str]
) -> BatchDeleteResult:
    """Delete keys by a request each, of which the response says whether there was anything."""

    async def delete(key: str) -> StorageError | None:
        try:
            if await provider.delete(key) is False:
                absent.add(key)
        except StorageError as error:
            return error
        return None

    names = list(dict.fromkeys(keys))
    outcomes = dict(zip(names, await map_all(names, delete, at_once=AT_ONCE), strict=True))
    return BatchDeleteResult(
        deleted=tuple(key for key, error in outcomes.items() if error is None),
        failed={key: error for key, error in outcomes.items() if error is not None},
    )


def exit_of_failures(result: BatchDeleteResult) -> int:
    """The common code if everything failed in the same way, else the one for "only a part was done"."""
    codes = {exit_of(error) for error in result.failed.values()}
    return codes.pop() if len(codes) == 1 and not result.deleted else Exit.PARTIAL


def _found(invocation: Invocation, prefix: str) -> tuple[str, ...]:
    async def action(provider: StorageProvider) -> tuple[str, ...]:
        return tuple([item.key async for item in provider.scan(prefix)])

    return with_store(invocation, action)


def _ask(invocation: Invocation, count: int, prefix: str) -> None:
    if invocation.json or not sys.stdin.isatty():
        raise click.UsageError(f"deleting {_objects(count)} without asking needs --yes")
    if not click.confirm(f"Delete {_objects(count)} under {prefix!r}?", err=True):
        note("credstore: nothing was deleted")
        raise click.exceptions.Exit(Exit.FAILURE)


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count:,} objects"
