"""`credstore put`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from credstore.cli.io import read_standard_input
from credstore.cli.options import Invocation, as_encryption, as_pairs, command, lock_options, set_lock
from credstore.cli.output import human_size, note, print_json, printable, say
from credstore.cli.places import Spot, check_apart, key_in, opened_stores, spot
from credstore.cli.progress import TransferBar
from credstore.cli.runner import run_loop
from credstore.cli.transfers import EVERYTHING, Telling
from credstore.encryption import ServerEncryption
from credstore.model import StorageResult, StoreOptions
from credstore.transfer.types import guess_type

if TYPE_CHECKING:
    from credstore.transfer import TransferReport


@command("put")
@click.argument(
    "sources",
    metavar="FILE...|-",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, readable=True, allow_dash=True),
)
@click.argument("key")
@click.option("-r", "--recursive", is_flag=True, help="Folders with all that is in them.")
@click.option("--compress", type=click.Choice(["gzip", "zstd", "none"]), help="Codec; default: the store's.")
@click.option("--dictionary", metavar="NAME", help="Of a zstd dictionary in the store; implies zstd.")
@click.option("--content-type", metavar="TYPE", help="MIME type; default: guessed from the name.")
@click.option("--cache-control", metavar="VALUE", help="For those who fetch it through a link.")
@click.option("-m", "--metadata", metavar="NAME=VALUE", multiple=True, callback=as_pairs, help="Repeatable.")
@click.option("-t", "--tag", metavar="NAME=VALUE", multiple=True, callback=as_pairs, help="Repeatable.")
@click.option("--storage-class", metavar="NAME", help="One of the cloud's own.")
@click.option(
    "--encryption",
    metavar="none|aes256|kms[:KEY-ID]",
    callback=as_encryption,
    help="At rest, by the provider; default: the store's.",
)
@lock_options
@click.option("--if-absent", is_flag=True, help="Refuse to replace an object (exit code 5).")
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Keep what an upload in parts needs to continue here; run the same command again to do so.",
)
@click.pass_obj
def put_command(
    invocation: Invocation,
    /,
    *,
    sources: tuple[str, ...],
    key: str,
    recursive: bool,
    compress: str | None,
    dictionary: str | None,
    content_type: str | None,
    cache_control: str | None,
    metadata: dict[str, str],
    tag: dict[str, str],
    storage_class: str | None,
    encryption: bool | ServerEncryption | None,
    if_absent: bool,
    resume: str | None,
    **lock: Any,
) -> None:
    """Store FILE, or standard input for -, under KEY, which may be the URL of another store's object.

    Once it returns, every reader gets the new bytes; until then the old ones, if there were any. A KEY that
    ends with a slash is a folder, and the files go in there, by their names; several need one. With
    --recursive, what is in a folder goes right below KEY.
    """
    options: StoreOptions = {} if content_type is None else {"content_type": content_type}
    set_lock(options, lock)
    if compress is not None:
        options["compress"] = False if compress == "none" else "gzip" if compress == "gzip" else "zstd"
    if dictionary is not None:
        options["dictionary"] = dictionary
    if cache_control is not None:
        options["cache_control"] = cache_control
    if metadata:
        options["metadata"] = metadata
    if tag:
        options["tags"] = tag
    if storage_class is not None:
        options["storage_class"] = storage_class
    if encryption is not None:
        options["encryption"] = encryption
    if if_absent:
        options["if_absent"] = True
    if resume is not None:
        options["resume"] = resume
    target = spot(invocation, key, "key")
    if target.config is None:
        raise click.UsageError(f"{key} is a path of this machine, not a key or the URL of a store")
    files = [each for each in sources if each == "-" or not Path(each).is_dir()]
    if len(sources) > 1 and files and not target.is_folder:
        raise click.UsageError("several files need a KEY that is a folder; give it a slash at its end")
    check_apart(files)
    if target.is_folder and "-" in sources:
        raise click.UsageError("standard input has no name; give a KEY without a slash at its end")
    for source in sources:
        if source != "-" and Path(source).is_dir():
            if not recursive:
                raise click.UsageError(f"{source} is a directory; --recursive stores what is in it")
            if resume is not None:
                raise click.UsageError("--resume is for one file; a folder is continued by the same command")
            _put_folder(invocation, source, target, options)
            continue
        result = _put(invocation, source, target, options)
        if invocation.json:
            print_json(result)
        elif not invocation.quiet:
            say(describe(result))
            if result.key.startswith("/"):
                note(
                    "credstore: the slash at the beginning is part of the key; without it, it is another one"
                )


def _put(invocation: Invocation, source: str, target: Spot, options: StoreOptions) -> StorageResult:
    async def action() -> StorageResult:
        data = read_standard_input() if source == "-" else Path(source)
        async with opened_stores(invocation, target, reading=0) as (place,):
            provider, key = key_in(place)
            if target.is_folder:
                key += Path(source).name
            chosen: StoreOptions = {"content_type": guess_type(source, key), **options}
            with TransferBar(invocation, printable(key)) as bar:
                chosen["progress"] = bar
                return await provider.store(key, data, **chosen)

    return run_loop(action())


def _put_folder(invocation: Invocation, source: str, target: Spot, options: StoreOptions) -> None:
    telling = Telling(invocation, EVERYTHING)

    async def work() -> TransferReport:
        from credstore import transfer

        async with opened_stores(invocation, target.as_folder, reading=0) as (place,):
            under, asked = transfer.Under(*key_in(place)), options.copy()
            chosen = telling.options()
            chosen["overwrite"] = "never" if asked.pop("if_absent", False) else "different"
            chosen["store_options"] = asked
            chosen["journal"] = telling.journal(Path(source), under)
            return await transfer.copy_tree(Path(source), under, **chosen)

    try:
        report = run_loop(work())
    finally:
        telling.bar.stop()
    telling.end(report)


def describe(result: StorageResult) -> str:
    """One line about an object that was just written."""
    size = human_size(result.size)
    if result.compression is not None and result.plain_size:
        percent = 100 * result.size / result.plain_size
        size = f"{human_size(result.plain_size)} as {size} of {result.compression} ({percent:.0f}%)"
    where = f"{result.served_by}, degraded" if result.degraded else result.served_by or result.provider
    return f"{printable(result.key)}  {size}  at {where}"
