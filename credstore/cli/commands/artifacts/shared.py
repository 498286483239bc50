"""What the commands about artifacts share: their options, the manager, and how a version is shown."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from credstore.cli.options import Command, Invocation
from credstore.cli.output import human_size, human_time, print_json, print_table, printable, say
from credstore.cli.progress import TransferBar
from credstore.cli.proof_files import KEY, TRUST, read_signer, read_trust
from credstore.cli.runner import with_store

if TYPE_CHECKING:
    from credstore.artifacts import ArtifactVersion, Kind, PruneReport, StorageManager
    from credstore.model import Progress
    from credstore.provider.provider import StorageProvider

T = TypeVar("T")
Work = Callable[["StorageManager", "Progress"], Awaitable[T]]
SETTINGS = {"help_option_names": ["-h", "--help"]}
PREFIX = click.option(
    "--prefix",
    default="artifacts/",
    show_default=True,
    metavar="PREFIX",
    help="What the keys of all artifacts start with, ending with a slash.",
)


def as_version(text: str | None) -> int | str | None:
    """A number or a tag."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _given(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | str | None:
    return as_version(text)


VERSION = click.option(
    "--version", "version", metavar="N|TAG", callback=_given, help="The latest unless given."
)
SOURCE = click.Path(exists=True)
"""A folder or file that is saved."""
INTO = click.argument("into", metavar="FOLDER", type=click.Path())


def refused_if_there(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """A new or empty folder, before anything is fetched.

    Raises:
        FileExistsError: Something else is there.
    """
    if text is not None and os.path.lexists(text):
        path = Path(text)
        if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
            raise FileExistsError(errno.EEXIST, "already exists; give a new or empty folder", text)
    return text


NEW = click.argument("into", metavar="FOLDER", type=click.Path(), callback=refused_if_there)


def reading(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a command that reads artifacts; it gets `prefix` and `trust_file`."""
    return lambda function: click.command(name, cls=Command)(click.pass_obj(TRUST(PREFIX(function))))


def writing(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Decorate a command that saves artifacts; it gets `key_file` too."""
    return lambda function: click.command(name, cls=Command)(click.pass_obj(KEY(TRUST(PREFIX(function)))))


def managed(
    invocation: Invocation,
    options: dict[str, Any],
    work: Work[T],
    *,
    title: str = "",
    model_key: str | None = None,
) -> T:
    """Do something with the manager of the store that is set, with a progress bar.

    Args:
        invocation: The global options.
        options: `prefix`, `trust_file`, and for whoever saves `key_file`.
        work: Gets the manager and the progress callable.
        title: Before the bar.
        model_key: File of the key that signs models.

    Raises:
        StorageError: As `work`, or the files of the keys are not in order.
    """
    from credstore.artifacts import StorageManager

    trust = read_trust(options["trust_file"])
    key_file = options.get("key_file")
    signer = () if key_file is None else read_signer(key_file)
    model_signer = None if model_key is None else read_signer(model_key)

    async def action(provider: StorageProvider) -> T:
        manager = StorageManager(
            provider, trust=trust, signer=signer, model_signer=model_signer, prefix=options["prefix"]
        )
        with TransferBar(invocation, title) as bar:
            return await work(manager, bar)

    return with_store(invocation, action, reading=key_file is None)


def show_saved(invocation: Invocation, version: ArtifactVersion, did: str = "saved") -> None:
    """One line about a version."""
    if invocation.json:
        print_json(version)
    elif not invocation.quiet:
        say(
            f"{did} version {version.version} of the {version.kind} {printable(version.name)}: "
            f"{version.files} files, {human_size(version.size)}, {human_size(version.stored)} of it new"
        )


def show_versions(
    invocation: Invocation, versions: Sequence[ArtifactVersion], tags: dict[str, int] | None = None
) -> None:
    """A table of versions, or a JSON document for each."""
    if invocation.json:
        for each in versions:
            print_json(each)
        return
    rows = [
        (
            str(each.version),
            human_time(each.created),
            str(each.files),
            human_size(each.size),
            human_size(each.stored),
            ", ".join(sorted(tag for tag, number in (tags or {}).items() if number == each.version)),
        )
        for each in versions
    ]
    if rows:
        print_table(("version", "saved", "files", "size", "new", "tags"), rows, elastic=(5,))


def show_names(invocation: Invocation, options: dict[str, Any], kind: Kind) -> None:
    """The names of all artifacts of a kind."""

    async def work(manager: StorageManager, _: Progress) -> list[str]:
        return await manager.names(kind=kind)

    for name in managed(invocation, options, work):
        if invocation.json:
            print_json({"name": name})
        else:
            say(printable(name))


def show_pruned(invocation: Invocation, report: PruneReport) -> None:
    """One line about what a prune did."""
    if invocation.json:
        print_json(report)
    elif not invocation.quiet:
        later = "; the space of what a running or ended save uses is freed later" if report.deferred else ""
        say(
            f"removed {len(report.removed)} versions, kept {len(report.kept)}, "
            f"freed {human_size(report.freed)}{later}"
        )


def prune_command(kind: Kind) -> Command:
    """`prune` of a kind."""

    @writing("prune")
    @click.argument("name")
    @click.option(
        "--keep",
        required=True,
        metavar="RULE",
        help='How many of the last versions, or a rule such as "7d,4w,12m".',
    )
    def prune(invocation: Invocation, name: str, keep: str, **options: Any) -> None:
        """Remove versions of NAME that neither --keep nor a tag or stage keeps, and what only they needed."""

        async def work(manager: StorageManager, _: Progress) -> PruneReport:
            return await manager.prune(name, keep, kind=kind)

        show_pruned(invocation, managed(invocation, options, work))

    return prune


def verify_command(kind: Kind) -> Command:
    """`verify` of a kind."""

    @reading("verify")
    @click.argument("name")
    @VERSION
    def verify(invocation: Invocation, name: str, version: int | str | None, **options: Any) -> None:
        """Read every chunk of a version of NAME from the store and verify it; nothing is written."""

        async def work(manager: StorageManager, progress: Progress) -> ArtifactVersion:
            return await manager.verify(name, version, kind=kind, progress=progress)

        show_saved(invocation, managed(invocation, options, work, title="verifying"), "verified")

    return verify


def list_command(kind: Kind) -> Command:
    """`list` of a kind."""

    @reading("list")
    @click.argument("name", required=False)
    def list_(invocation: Invocation, name: str | None, **options: Any) -> None:
        """List the versions of NAME; without it, all names."""
        if name is None:
            show_names(invocation, options, kind)
            return

        async def work(manager: StorageManager, _: Progress) -> tuple[list[ArtifactVersion], dict[str, int]]:
            return await manager.versions(name, kind=kind), await manager.tags(name, kind=kind)

        versions, tags = managed(invocation, options, work)
        show_versions(invocation, versions, tags)

    return list_
