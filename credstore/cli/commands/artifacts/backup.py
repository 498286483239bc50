"""`credstore backup` and `credstore archive-logs`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.commands.artifacts.shared import (
    NEW,
    SETTINGS,
    SOURCE,
    VERSION,
    list_command,
    managed,
    prune_command,
    reading,
    show_saved,
    verify_command,
    writing,
)
from credstore.cli.options import Invocation, as_instant
from credstore.cli.output import note, print_json, printable, say

if TYPE_CHECKING:
    from credstore.artifacts import ArchiveReport, ArtifactVersion, StorageManager
    from credstore.model import Progress


@click.group("backup", context_settings=SETTINGS)
def backup_command() -> None:
    """Back up folders, thin backups out, and bring a folder back as it was at a time."""


@writing("save")
@click.argument("folder", type=SOURCE)
@click.option("--name", help="Of the backup; by default the folder's own name.")
@click.option("--keep", metavar="RULE", help='What stays afterwards, such as "7d,4w,12m"; all by default.')
def save(invocation: Invocation, folder: str, name: str | None, keep: str | None, **options: Any) -> None:
    """Save FOLDER as the next version of its backup."""

    async def work(manager: StorageManager, progress: Progress) -> ArtifactVersion:
        return await manager.backup(folder, name=name, keep=keep, progress=progress)

    show_saved(invocation, managed(invocation, options, work, title="backing up"))


@reading("restore")
@click.argument("name")
@NEW
@VERSION
@click.option(
    "--at", metavar="TIME", callback=as_instant, help="As it was then, such as 2030-01-31T12:00:00Z."
)
@click.option("--archive", is_flag=True, help="NAME is one of archived logs.")
@click.option("--no-permissions", is_flag=True, help="Leave out the permission bits that files had.")
def restore(
    invocation: Invocation,
    *,
    name: str,
    into: str,
    version: int | str | None,
    at: datetime | None,
    archive: bool,
    no_permissions: bool,
    **options: Any,
) -> None:
    """Bring a version of the backup NAME back as the new folder FOLDER."""

    async def work(manager: StorageManager, progress: Progress) -> ArtifactVersion:
        return await manager.restore(
            name,
            into,
            at=at,
            version=version,
            kind="archive" if archive else "backup",
            permissions=not no_permissions,
            progress=progress,
        )

    show_saved(invocation, managed(invocation, options, work, title="restoring"), "restored")


for each in (save, restore, list_command("backup"), verify_command("backup"), prune_command("backup")):
    backup_command.add_command(each)


@writing("archive-logs")
@click.argument("folder", type=SOURCE)
@click.option("--older-than", required=True, metavar="AGE", help="Since a file was changed: 7d, 12h or 2w.")
@click.option("--name", help="Of the archive; by default the folder's own name.")
def archive_logs_command(
    invocation: Invocation, folder: str, older_than: str, name: str | None, **options: Any
) -> None:
    """Move old files of FOLDER to the store; each is removed here once it was read back and verified."""

    async def work(manager: StorageManager, progress: Progress) -> ArchiveReport:
        return await manager.archive_logs(folder, older_than=older_than, name=name, progress=progress)

    report = managed(invocation, options, work, title="archiving")
    if invocation.json:
        print_json(report)
    elif report.version is None:
        say(f"no file in {printable(folder)} is that old")
    else:
        show_saved(invocation, report.version, f"removed {len(report.removed)} files here and saved")
        for each in report.changed:
            note(f"credstore: {printable(each)} changed meanwhile and stays")
