"""The `credstore` program: its commands, and the one place where failures become exit codes."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, cast

import click

from credstore.cli.errors import report, report_end
from credstore.cli.exits import MEANINGS, Exit, Terminated
from credstore.cli.options import COMPLETE, Invocation, global_options
from credstore.cli.output import note
from credstore.cli.streams import discard_output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: dict[str, tuple[str, str]] = {
    "put": ("commands.put", "Store a file or standard input."),
    "get": ("commands.get", "Fetch an object into a file, whole or not at all."),
    "cat": ("commands.get", "Write an object's bytes to standard output."),
    "ls": ("commands.ls", "List objects."),
    "rm": ("commands.rm", "Delete objects."),
    "cp": ("commands.cp", "Copy objects: inside the store, to another store, from and to files."),
    "mv": ("commands.cp", "Move objects: copy, verify, delete."),
    "sync": ("commands.sync", "Make a folder or store what another one is."),
    "migrate": ("commands.sync", "Copy everything, verified, and name what changed meanwhile."),
    "compare": ("commands.sync", "Find what two folders or stores do not have in common."),
    "verify-transfer": ("commands.verify_transfer", "Check the evidence of a migration."),
    "du": ("commands.du", "Count objects and bytes, folder by folder."),
    "stat": ("commands.info", "Show what is known of an object."),
    "link": ("commands.link", "Make a temporary link to an object."),
    "form": ("commands.form", "Make an HTML form that uploads one file straight to the bucket."),
    "versions": ("commands.keep", "List versions and delete markers."),
    "restore": ("commands.keep", "Make a kept version the current one."),
    "retain": ("commands.keep", "Keep an object until a date."),
    "hold": ("commands.keep", "Keep an object until it is released."),
    "release": ("commands.keep", "Lift a legal hold."),
    "retention": ("commands.keep", "Show what keeps an object."),
    "stats": ("commands.info", "Count objects and bytes."),
    "health": ("commands.info", "Check that the store responds."),
    "scrub": ("commands.scrub", "Compare the replicas of a store, and make them equal."),
    "rebalance": ("commands.rebalance", "Move objects to the stores where they belong, after one was added."),
    "keys": ("commands.keys", "Make the keys of encryption before anything is sent, and name them."),
    "rotate-keys": ("commands.rotate_keys", "Give encrypted objects the current wrapping key."),
    "dictionary": ("commands.dictionary", "Train zstd dictionaries, apply and list them."),
    "verify": ("commands.verify", "Say who vouches for a file or folder, in one verdict."),
    "trust": ("commands.trust", "Fetch and show the public lists of whom to trust."),
    "proof": ("commands.proof.command", "Issue, find, verify and revoke signed proofs; keep their keys."),
    "log": ("commands.log.command", "Keep and check a transparency log of proofs; cosign others' logs."),
    "dataset": ("commands.artifacts.dataset", "Save, load, compare and tag versions of datasets."),
    "model": ("commands.artifacts.model", "Register, fetch, stage and verify signed models."),
    "checkpoint": ("commands.artifacts.model", "Save and load checkpoints of training runs."),
    "backup": ("commands.artifacts.backup", "Back up folders and bring them back as of a time."),
    "archive-logs": ("commands.artifacts.backup", "Move old logs to the store."),
    "doctor": ("commands.doctor", "Find out why a store does not work, and what to do about it."),
    "stores": ("commands.stores", "Give stores names, to be used in place of their URLs."),
    "providers": ("commands.providers", "Show the kinds of store and what each can do."),
    "storage": ("commands.storage", "The same by other names: list, upload, download, sync, info."),
    "check-provider": (
        "commands.check_provider",
        "Try what a store really does, and how fast it is.",
    ),
    "serve": ("commands.serve", "Serve the temporary links of a local store."),
    "collect": ("commands.collect", "Remove shared bodies that nothing refers to any more."),
    "explain": ("commands.explain", "Show what an operation takes, and what it costs."),
    "top": ("commands.top", "Show live what a running service does."),
    "completion": ("commands.completion", "Print what a shell needs to complete, or the manual page."),
    "demo": ("demo.command", "Show the whole life of a few provenance records."),
}
"""Name to (module, summary): only the module of the command that runs is loaded."""


WORDS = {
    "copy": "cp",
    "delete": "rm",
    "del": "rm",
    "dir": "ls",
    "download": "get",
    "head": "stat",
    "help": "--help",
    "info": "stat",
    "list": "ls",
    "move": "mv",
    "presign": "link",
    "rename": "mv",
    "share": "link",
    "size": "du",
    "upload": "put",
    "check": "compare",
    "diff": "compare",
}
"""What other tools call a command, and what it is here."""


class Commands(click.Group):
    """The group, loading a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"credstore.cli.{COMMANDS[cmd_name][0]}")
        found = cast("click.Command", getattr(module, f"{cmd_name.replace('-', '_')}_command"))
        if COMPLETE not in os.environ:
            return found
        from credstore.cli.completing import completable

        return completable(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion from all names."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            known = WORDS.get(args[0])
            near = [known] if known else difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see credstore --help"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and options, without loading the commands."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without loading the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of exit codes."""
        del ctx
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value:
        from importlib.metadata import version

        click.echo(f"credstore {version('credstore')}")
        context.exit()


def application() -> click.Group:
    """The program as a click group."""
    shown = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    )
    return Commands(
        "credstore",
        params=[*global_options(hidden=False), shown],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        subcommand_metavar="COMMAND ...",
        help="Keep content-provenance proofs on any object store, and hand out temporary links.",
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: Without the program's name; by default those of the process.

    Returns:
        The exit code; see `exits.py`. Nothing is raised and no traceback printed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    invocation = Invocation(json="--json" in arguments, verbose="--verbose" in arguments)
    if COMPLETE in os.environ:
        from credstore.cli.completing import completable, respond

        if respond(completable(application())):
            return Exit.OK
    try:
        return _flushed(arguments, invocation)
    finally:
        # A command that failed may have printed something before.
        try:
            sys.stdout.flush()
        except OSError:
            discard_output()


def _flushed(arguments: Sequence[str], invocation: Invocation) -> int:
    """The exit code of a command whose output is where it should be, or of why it is not."""
    try:
        _print_anything()
        code = _invoke(arguments, invocation)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return Exit.BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        return report_end("interrupted", Exit.INTERRUPTED, invocation)
    except Terminated:
        return report_end("terminated", Exit.TERMINATED, invocation)
    except Exception as error:  # noqa: BLE001 - the boundary: a person gets one line, never a traceback
        return report(error, invocation)


def _invoke(arguments: Sequence[str], invocation: Invocation) -> int:
    try:
        # Not `main()`, which would turn interrupts and broken pipes into exit codes of its own.
        with application().make_context("credstore", list(arguments), obj=invocation) as context:
            context.command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as nothing:
        note(nothing.format_message())
        return Exit.USAGE
    return Exit.OK


def _print_anything() -> None:
    """Escape what the terminal's encoding does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
