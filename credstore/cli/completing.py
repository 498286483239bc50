"""What a shell offers after a Tab: commands, options, names of stores, and keys, a bounded number of them.

Rules of this file: it reads and never makes anything, prints nothing but suggestions, and gives up after a
short time, since a person waits for each key stroke.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from credstore.cli.options import COMPLETE, Invocation

if TYPE_CHECKING:
    from credstore.model import Listing

SHELLS = ("bash", "zsh", "fish")
MOST = 100
"""Keys that are offered."""
_KEYS = frozenset({"key", "keys", "prefix", "source", "destination"})
"""Arguments that are keys."""
_PATIENCE = 2.0
_SHELLS_OWN = frozenset(" \"'`$&|;<>()*?[]{}!#~\\^")
"""A key with one of these is not offered: a shell puts what is offered on the line as it is, and whoever
writes to the store could have it run a command."""


def script(shell: str) -> str:
    """The function that a shell loads, for the program `credstore`.

    Args:
        shell: One of `SHELLS`.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}; for {', '.join(SHELLS)} there is")
    made = kind(click.Group("credstore"), {}, "credstore", COMPLETE)
    return made.source_template % made.source_vars()


def respond(program: click.Command) -> bool:
    """Print suggestions where a shell has asked for them.

    Args:
        program: The commands.

    Returns:
        Whether one has.
    """
    shell, _, what = os.environ.get(COMPLETE, "").partition("_")
    kind = get_completion_class(shell) if what == "complete" else None
    if kind is None:
        return False
    with contextlib.suppress(Exception):  # A person who presses Tab wants no report of what is wrong.
        print(kind(program, {"obj": Invocation(quiet=True)}, "credstore", COMPLETE).complete())
    return True


def offer_stores(incomplete: str) -> list[CompletionItem]:
    """Names of stores."""
    from credstore.config.named import read_stores, stores_file

    names = read_stores(stores_file(os.environ))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def offer_keys(invocation: Invocation, incomplete: str) -> list[CompletionItem]:
    """Keys of the store that is set, up to the next slash."""
    from credstore.cli.runner import open_store

    async def listed() -> Listing:
        async with asyncio.timeout(_PATIENCE), open_store(invocation, reading=True) as provider:
            return await provider.list(incomplete, MOST, delimiter="/")

    found = asyncio.run(listed())
    names = [*found.prefixes, *(item.key for item in found)]
    return [CompletionItem(name) for name in names if name.isprintable() and not _SHELLS_OWN & set(name)]


class _Key(click.types.StringParamType):
    """A key, which a shell can complete."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Keys of the store that is set."""
        del param
        return offer_keys(ctx.ensure_object(Invocation), incomplete)


class _StoreName(click.types.StringParamType):
    """A store, whose name a shell can complete."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of stores."""
        del ctx, param
        return offer_stores(incomplete)


def completable(command: click.Command) -> click.Command:
    """The same command, whose keys and store a shell can complete."""
    for each in command.params:
        if each.name in _KEYS and each.type is click.STRING:
            each.type = _Key()
        elif each.name == "store":
            each.type = _StoreName()
    return command
