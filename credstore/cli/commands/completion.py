"""`credstore completion`: what a shell loads, and the manual page."""

from __future__ import annotations

import click

from credstore.cli.completing import SHELLS, script
from credstore.cli.exits import MEANINGS
from credstore.cli.options import command
from credstore.cli.output import say


@command("completion")
@click.argument("shell", metavar="bash|zsh|fish|man", type=click.Choice([*SHELLS, "man"]))
def completion_command(*, shell: str) -> None:
    """Print what a shell loads so that Tab completes commands, options, names of stores and keys.

    For bash: eval "$(credstore completion bash)" in ~/.bashrc; the same with zsh in ~/.zshrc; for fish, into
    ~/.config/fish/completions/credstore.fish. With man, print the manual page: credstore completion man >
    credstore.1.
    """
    if shell == "man":
        from credstore.cli.main import application
        from credstore.cli.manual import page

        say(page(application(), {int(code): meaning for code, meaning in MEANINGS.items()}).rstrip("\n"))
        return
    say(script(shell).strip("\n"))
