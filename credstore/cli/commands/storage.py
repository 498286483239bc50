"""`credstore storage`: the words of the original design for what other commands do."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click

from credstore.cli.options import Command

_NAMES = {
    "list": ("ls", "ls", "List objects; as credstore ls."),
    "upload": ("put", "put", "Store files and folders; as credstore put."),
    "download": ("get", "get", "Fetch objects into files; as credstore get."),
    "sync": ("sync", "sync", "Make a folder or store what another one is; as credstore sync."),
    "info": ("info", "stats", "Count objects and bytes; as credstore stats."),
}
"""Name to (module, command, summary)."""


class Names(click.Group):
    """The group; each of its commands is another one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        del ctx
        return list(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command that does it."""
        del ctx
        if cmd_name not in _NAMES:
            return None
        module, name, _ = _NAMES[cmd_name]
        found = import_module(f"credstore.cli.commands.{module}")
        return cast("Command", getattr(found, f"{name}_command"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without loading the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _NAMES.items()])


storage_command = Names("storage", help="The same commands by the names of the original design.")
