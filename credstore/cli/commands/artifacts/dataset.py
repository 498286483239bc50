"""`credstore dataset`: versions of folders, and a folder that is brought to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.artifacts.shared import (
    INTO,
    NEW,
    SETTINGS,
    SOURCE,
    VERSION,
    as_version,
    list_command,
    managed,
    prune_command,
    reading,
    show_saved,
    verify_command,
    writing,
)
from credstore.cli.options import Invocation
from credstore.cli.output import print_json, printable, say, say_row

if TYPE_CHECKING:
    from credstore.artifacts import ArtifactVersion, Changes, StorageManager, SyncReport
    from credstore.model import Progress


@click.group("dataset", context_settings=SETTINGS)
def dataset_command() -> None:
    """Keep versions of datasets: signed, deduplicated, verified when loaded."""


@writing("save")
@click.argument("name")
@click.argument("folder", type=SOURCE)
def save(invocation: Invocation, name: str, folder: str, **options: Any) -> None:
    """Save FOLDER as the next version of the dataset NAME."""

    async def work(manager: StorageManager, progress: Progress) -> ArtifactVersion:
        return await manager.save_dataset(name, folder, progress=progress)

    show_saved(invocation, managed(invocation, options, work, title="saving"))


@reading("load")
@click.argument("name")
@NEW
@VERSION
def load(invocation: Invocation, name: str, into: str, version: int | str | None, **options: Any) -> None:
    """Bring a version of the dataset NAME back as the new folder FOLDER."""

    async def work(manager: StorageManager, progress: Progress) -> ArtifactVersion:
        return await manager.load_dataset(name, version, into=into, progress=progress)

    show_saved(invocation, managed(invocation, options, work, title="loading"), "loaded")


@reading("sync")
@click.argument("name")
@INTO
@VERSION
@click.option("--discard", is_flag=True, help="Overwrite and remove what was changed or added there.")
def sync(
    invocation: Invocation, name: str, into: str, version: int | str | None, discard: bool, **options: Any
) -> None:
    """Make FOLDER exactly a version of the dataset NAME, fetching only what differs."""

    async def work(manager: StorageManager, progress: Progress) -> SyncReport:
        return await manager.sync_dataset(name, version, folder=into, discard=discard, progress=progress)

    report = managed(invocation, options, work, title="fetching")
    if invocation.json:
        print_json(report)
    elif not invocation.quiet:
        say(
            f"{printable(into)} is version {report.version.version} of {printable(name)}: "
            f"{len(report.fetched)} files fetched, {len(report.removed)} removed"
        )


@reading("diff")
@click.argument("name")
@click.argument("older", metavar="OLDER")
@click.argument("newer", metavar="NEWER", required=False)
def diff(invocation: Invocation, name: str, older: str, newer: str | None, **options: Any) -> None:
    """Which files differ between two versions (numbers or tags) of NAME; NEWER is the latest by default."""

    async def work(manager: StorageManager, _: Progress) -> Changes:
        first = as_version(older)
        return await manager.diff(name, first if first is not None else older, as_version(newer))

    found = managed(invocation, options, work)
    if invocation.json:
        print_json(found)
        return
    for sign, names in (("+", found.added), ("-", found.removed), ("~", found.changed)):
        for each in names:
            say_row(sign, each, elastic=1, gap=" ")


@writing("tag")
@click.argument("name")
@click.argument("tag")
@VERSION
@click.option("--remove", is_flag=True, help="Remove the tag; the version stays until it is pruned.")
def tag(
    invocation: Invocation, name: str, tag: str, version: int | str | None, remove: bool, **options: Any
) -> None:
    """Give a version of the dataset NAME the name TAG, which keeps it from being pruned."""
    if isinstance(version, str):
        raise click.UsageError("--version is a number here")

    async def work(manager: StorageManager, _: Progress) -> ArtifactVersion | None:
        if remove:
            await manager.untag(name, tag)
            return None
        return await manager.tag(name, tag, version)

    found = managed(invocation, options, work)
    if found is not None:
        show_saved(invocation, found, f"{printable(tag)} is now")
    elif invocation.json:
        print_json({"name": name, "removed": tag})
    elif not invocation.quiet:
        say(f"removed the tag {printable(tag)} of {printable(name)}")


for each in (
    save,
    load,
    sync,
    list_command("dataset"),
    diff,
    tag,
    verify_command("dataset"),
    prune_command("dataset"),
):
    dataset_command.add_command(each)
