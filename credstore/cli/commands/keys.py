"""`credstore keys`: the files of wrapping keys. What is in them is never printed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import click

from credstore.cli.options import Command, Invocation
from credstore.cli.output import print_json, print_table, printable, say
from credstore.errors import StorageConfigurationError


class Keys(click.Group):
    """The group, which leads to the other commands about keys."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with where the rest is."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(
                f"there is no command {args[0]!r} here; credstore rotate-keys gives objects another key, and "
                "credstore proof keys is about the keys that sign proofs",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group("keys", cls=Keys, context_settings={"help_option_names": ["-h", "--help"]})
def keys_command() -> None:
    """Make the keys of encryption before anything is sent, and name them.

    Such a key wraps the key of each object (--wrapping-key, CREDSTORE_WRAPPING_KEY). Without it they
    cannot be read, so keep a copy in another place. The keys that sign proofs are others: see
    credstore proof keys.
    """


@contextlib.contextmanager
def _local_files() -> Generator[None, None, None]:
    """Make what is wrong with a file here not an error of the settings of a store, which may name one too."""
    try:
        yield
    except StorageConfigurationError as error:
        if isinstance(error.__cause__, OSError):
            raise OSError(error.__cause__.errno, error.message) from None
        raise


@keys_command.command("generate", cls=Command)
@click.argument("file")
@click.pass_obj
def generate_command(invocation: Invocation, file: str) -> None:
    """Make a new key in the new FILE, which only its owner may read (mode 0600).

    Its id is printed; it follows from the key and reveals nothing about it. A FILE that is there stays.
    """
    from credstore.keyring.local import LocalKey

    with _local_files():
        key = LocalKey.generate_file(file)
    if invocation.json:
        print_json({"file": file, "key_id": key.key_id})
    elif not invocation.quiet:
        say(f"{printable(file)} has the key {key.key_id}; keep a copy of it elsewhere")


@keys_command.command("show", cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.pass_obj
def show_command(invocation: Invocation, files: tuple[str, ...]) -> None:
    """Show the id of the key in each FILE, as rotate-keys and doctor name it; never the key.

    A FILE that others may read, or that holds no key, is an error.
    """
    from credstore.keyring.local import LocalKey

    with _local_files():
        found = [(file, LocalKey.from_file(file).key_id) for file in files]
    if invocation.json:
        print_json([{"file": file, "key_id": key_id} for file, key_id in found])
    else:
        print_table(("file", "key"), found, elastic=(0,))
