"""`credstore versions`, `restore`, `retain`, `hold`, `release` and `retention`: what a store keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.options import MODES, Invocation, as_duration, as_instant, command
from credstore.cli.output import human_size, human_time, print_fields, print_json, print_table, printable, say
from credstore.cli.runner import with_store
from credstore.errors import RetentionMode
from credstore.model import Retention, StorageVersion

if TYPE_CHECKING:
    from credstore.model import StorageResult
    from credstore.provider.provider import StorageProvider


def _version_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--version-id", metavar="ID", help="A kept version, as `credstore versions` shows it."
    )(function)


@command("versions")
@click.argument("prefix", default="")
@click.option("--exact", is_flag=True, help="Only those of exactly the key PREFIX.")
@click.pass_obj
def versions_command(invocation: Invocation, prefix: str, exact: bool) -> None:
    """List the versions and delete markers of the objects under PREFIX, the newest of each key first."""

    async def action(provider: StorageProvider) -> list[StorageVersion]:
        return await provider.list_versions(prefix, exact=exact)

    found = with_store(invocation, action)
    if invocation.json:
        for each in found:
            print_json(each)
        return
    rows = [
        (
            each.key,
            each.version_id,
            "deleted" if each.is_delete_marker else human_size(each.size),
            human_time(each.last_modified),
            "current" if each.is_latest else "",
        )
        for each in found
    ]
    if rows:
        print_table(("key", "version", "size", "modified", "state"), rows, elastic=(0,))


@command("restore")
@click.argument("key")
@click.argument("version_id", metavar="VERSION")
@click.pass_obj
def restore_command(invocation: Invocation, key: str, version_id: str) -> None:
    """Make VERSION of the object KEY the current one, also where it was deleted; all versions stay."""

    async def action(provider: StorageProvider) -> StorageResult:
        return await provider.restore(key, version_id)

    result = with_store(invocation, action)
    if invocation.json:
        print_json(result)
    elif not invocation.quiet:
        say(f"restored {printable(key)} from version {printable(version_id)}")


@command("retain")
@click.argument("key")
@click.option(
    "--until", metavar="TIME", callback=as_instant, help="With its time zone, such as 2030-01-31T12:00:00Z."
)
@click.option("--for", "duration", metavar="DURATION", callback=as_duration, help="From now, such as 365d.")
@click.option("--remove", is_flag=True, help="End a retention in the mode governance now.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="governance",
    show_default=True,
    help="Who may end it early: those with a permission for it, or no one.",
)
@click.option("--bypass-governance", is_flag=True, help="Use that permission, to shorten or remove it.")
@_version_option
@click.pass_obj
def retain_command(
    invocation: Invocation,
    *,
    key: str,
    until: datetime | None,
    duration: float | None,
    remove: bool,
    mode: RetentionMode,
    bypass_governance: bool,
    version_id: str | None,
) -> None:
    """Forbid everybody to remove or replace the object KEY before a date.

    A retention that is set can be lengthened. Exit code 4 means that it would be shortened.
    """
    end = _end(until, duration, remove=remove, bypass_governance=bypass_governance)

    async def action(provider: StorageProvider) -> Retention:
        return await provider.retain(
            key, until=end, mode=mode, version_id=version_id, bypass_governance=bypass_governance
        )

    _show(invocation, with_store(invocation, action))


def _end(
    until: datetime | None, duration: float | None, *, remove: bool, bypass_governance: bool
) -> datetime | None:
    if (until is not None) + (duration is not None) + remove != 1:
        raise click.UsageError("give one of --until, --for and --remove")
    if remove:
        if not bypass_governance:
            raise click.UsageError("--remove ends a retention early, which takes --bypass-governance")
        return None
    if duration is not None:
        try:
            return datetime.now(UTC) + timedelta(seconds=duration)
        except OverflowError:
            raise click.UsageError("--for ends after the year 9999") from None
    return until


def _show(invocation: Invocation, retention: Retention) -> None:
    if invocation.json:
        print_json(retention)
    elif not invocation.quiet:
        kept = (
            "-" if retention.mode is None else f"{retention.mode} until {human_time(retention.retain_until)}"
        )
        print_fields([("retention", kept), ("legal hold", "on" if retention.legal_hold else "off")])


@command("retention")
@click.argument("key")
@_version_option
@click.pass_obj
def retention_command(invocation: Invocation, key: str, version_id: str | None) -> None:
    """Show what keeps the object KEY from being removed."""

    async def action(provider: StorageProvider) -> Retention:
        return await provider.get_retention(key, version_id=version_id)

    _show(invocation, with_store(invocation, action))


@command("hold")
@click.argument("key")
@_version_option
@click.pass_obj
def hold_command(invocation: Invocation, key: str, version_id: str | None) -> None:
    """Keep the object KEY until it is released: until then it cannot be removed or replaced."""
    _set_hold(invocation, key, version_id, held=True)


@command("release")
@click.argument("key")
@_version_option
@click.pass_obj
def release_command(invocation: Invocation, key: str, version_id: str | None) -> None:
    """Lift the legal hold of the object KEY; a retention stays."""
    _set_hold(invocation, key, version_id, held=False)


def _set_hold(invocation: Invocation, key: str, version_id: str | None, *, held: bool) -> None:
    async def action(provider: StorageProvider) -> None:
        await (provider.hold if held else provider.release)(key, version_id=version_id)

    with_store(invocation, action)
    if invocation.json:
        print_json({"key": key, "version_id": version_id, "legal_hold": held})
    elif not invocation.quiet:
        say(f"{'held' if held else 'released'} {printable(key)}")
