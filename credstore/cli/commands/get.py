"""`credstore get` and `credstore cat`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.io import NewFile, Sink, StandardOutput
from credstore.cli.options import Invocation, as_size, command
from credstore.cli.output import human_size, print_json, printable, say, to_json
from credstore.cli.places import Spot, key_in, opened_stores, source_of, spot
from credstore.cli.progress import TransferBar
from credstore.cli.runner import run_loop
from credstore.cli.transfers import EVERYTHING, Telling, found_any
from credstore.driver.reader import ObjectReader
from credstore.model import StorageItem

if TYPE_CHECKING:
    from credstore.transfer import TransferReport


@command("get")
@click.argument("key")
@click.argument("target", metavar="[FILE|FOLDER/|-]", required=False, type=click.Path(allow_dash=True))
@click.option("-f", "--force", is_flag=True, help="Replace existing files.")
@click.option("-r", "--recursive", is_flag=True, help="All objects below KEY.")
@click.option("-p", "--parents", is_flag=True, help="Make the folders that FILE is in.")
@click.option("--suffix", metavar="SIZE", callback=as_size, help="Only the last bytes: 64KiB.")
@click.pass_obj
def get_command(
    invocation: Invocation,
    key: str,
    *,
    target: str | None,
    force: bool,
    recursive: bool,
    parents: bool,
    suffix: int | None,
) -> None:
    """Fetch the object KEY into FILE, or into a folder, or to standard output for -.

    The bytes are decompressed and verified; the file appears complete or not at all. Without FILE it
    gets the last part of KEY as its name, in the current directory; a FILE that ends with a slash is a
    folder, which is made. A KEY that ends with a slash, is a glob ('logs/*.json') or comes with --recursive
    stands for all objects below it. KEY may be the URL of another store's object.
    """
    given = spot(invocation, key, "key")
    if given.config is None:
        raise click.UsageError(f"{key} is a path of this machine, not a key or the URL of a store")
    if recursive or given.is_folder or given.glob is not None:
        if target == "-" or suffix is not None:
            raise click.UsageError("many objects need a folder to go to, and come whole")
        _get_folder(invocation, given if given.glob else given.as_folder, target or ".", force=force)
        return
    if target == "-":
        _cat(invocation, key, 0, None, suffix)
        return
    path = _place(given.key, target)
    if parents or (target or "").endswith("/"):
        path.parent.mkdir(parents=True, exist_ok=True)

    async def action() -> tuple[StorageItem, int]:
        async with opened_stores(invocation, given, reading=1) as (place,):
            provider, name = key_in(place)
            async with NewFile(path, replace=force) as file, provider.open(name, suffix=suffix) as reader:
                with TransferBar(invocation, printable(name)) as bar:
                    done = await _pour(reader, file, bar)
                await file.publish()
                return reader.info, done

    item, done = run_loop(action())
    if invocation.json:
        document = {field.name: to_json(getattr(item, field.name)) for field in fields(item)}
        sizes = {"plain_size": done} if suffix is None else {}
        print_json({**document, **sizes, "file": str(path)})
    elif not invocation.quiet:
        say(f"{printable(str(path))}  {human_size(done)}")


def _get_folder(invocation: Invocation, given: Spot, target: str, *, force: bool) -> None:
    telling = Telling(invocation, EVERYTHING)

    async def work() -> TransferReport:
        from credstore import transfer

        async with opened_stores(invocation, given, reading=1) as (place,):
            source, globs = await source_of(given, place, tree=True, recursive=True)
            options = telling.options()
            options["within"] = globs
            options["overwrite"] = "different" if force else "never"
            options["journal"] = telling.journal(source, Path(target))
            return found_any(await transfer.copy_tree(source, Path(target), **options), given)

    try:
        report = run_loop(work())
    finally:
        telling.bar.stop()
    telling.end(report)


@command("cat")
@click.argument("key")
@click.option("--start", metavar="SIZE", callback=as_size, help="First byte, from 0.")
@click.option("--end", metavar="SIZE", callback=as_size, help="One past the last byte: 5MB.")
@click.option("--suffix", metavar="SIZE", callback=as_size, help="Only the last bytes: 64KiB.")
@click.pass_obj
def cat_command(
    invocation: Invocation, key: str, start: int | None, end: int | None, suffix: int | None
) -> None:
    """Write the object KEY to standard output, decompressed.

    A non-zero exit code means that what was written is incomplete or wrong.
    """
    _cat(invocation, key, start or 0, end, suffix)


def _cat(invocation: Invocation, key: str, start: int, end: int | None, suffix: int | None) -> None:
    given = spot(invocation, key, "key")

    async def action() -> None:
        async with opened_stores(invocation, given, reading=1) as (place,):
            provider, name = key_in(place)
            async with provider.open(name, start=start, end=end, suffix=suffix) as reader:
                await _pour(reader, StandardOutput(), None)

    run_loop(action())


async def _pour(reader: ObjectReader[StorageItem], sink: Sink, bar: TransferBar | None) -> int:
    """Copy all bytes from the reader to the sink, and return how many."""
    done = 0
    async for chunk in reader:
        await sink.write(chunk)
        done += len(chunk)
        if bar is not None:
            bar(done, reader.length)
    return done


def _place(key: str, target: str | None) -> Path:
    """The file to write, from what was given.

    Raises:
        click.UsageError: The key's last part cannot be the name of a file.
    """
    if target is not None and not Path(target).is_dir() and not target.endswith("/"):
        return Path(target)
    name = key.rpartition("/")[2]
    if name in {"", ".", ".."} or Path(name).name != name:
        raise click.UsageError(f"the last part of {key!r} cannot be the name of a file; give FILE")
    return Path(target or "") / name
