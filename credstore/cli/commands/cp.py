"""`credstore cp` and `credstore mv`, inside one store."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from credstore.cli.commands.put import describe
from credstore.cli.options import Invocation, command, lock_options, set_lock
from credstore.cli.output import print_json, say
from credstore.cli.runner import with_store
from credstore.errors import RetentionMode
from credstore.model import LockOptions, StorageResult

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider


@command("cp")
@click.argument("source")
@click.argument("destination")
@lock_options
@click.option("--if-absent", is_flag=True, help="Refuse to replace an object (exit code 5).")
@click.pass_obj
def cp_command(
    invocation: Invocation,
    *,
    source: str,
    destination: str,
    retain_until: datetime | None,
    retain_mode: RetentionMode | None,
    legal_hold: bool,
    if_absent: bool,
) -> None:
    """Copy the object SOURCE to the key DESTINATION, with its metadata, without downloading it.

    What keeps SOURCE is not copied.
    """
    lock: LockOptions = {}
    set_lock(lock, retain_until, retain_mode, legal_hold=legal_hold)

    async def action(provider: StorageProvider) -> StorageResult:
        return await provider.copy(source, destination, if_absent=if_absent, **lock)

    _show(invocation, with_store(invocation, action))


@command("mv")
@click.argument("source")
@click.argument("destination")
@lock_options
@click.option("--if-absent", is_flag=True, help="Refuse to replace an object (exit code 5).")
@click.pass_obj
def mv_command(
    invocation: Invocation,
    *,
    source: str,
    destination: str,
    retain_until: datetime | None,
    retain_mode: RetentionMode | None,
    legal_hold: bool,
    if_absent: bool,
) -> None:
    """Rename the object SOURCE to DESTINATION: copy, verify, delete; it is never lost in between.

    Exit code 4 means that a retention or legal hold keeps SOURCE.
    """
    lock: LockOptions = {}
    set_lock(lock, retain_until, retain_mode, legal_hold=legal_hold)

    async def action(provider: StorageProvider) -> StorageResult:
        return await provider.move(source, destination, if_absent=if_absent, **lock)

    _show(invocation, with_store(invocation, action))


def _show(invocation: Invocation, result: StorageResult) -> None:
    if invocation.json:
        print_json(result)
    elif not invocation.quiet:
        say(describe(result))
