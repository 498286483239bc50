"""`credstore get` and `credstore cat`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.io import NewFile, Sink, StandardOutput
from credstore.cli.options import Invocation, as_size, command
from credstore.cli.output import human_size, print_json, printable, say, to_json
from credstore.cli.progress import TransferBar
from credstore.cli.runner import with_store
from credstore.driver.reader import ObjectReader
from credstore.model import StorageItem

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider


@command("get")
@click.argument("key")
@click.argument("target", metavar="[FILE|-]", required=False, type=click.Path(allow_dash=True))
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
@click.option("--suffix", metavar="SIZE", callback=as_size, help="Only the last bytes: 64KiB.")
@click.pass_obj
def get_command(
    invocation: Invocation, key: str, target: str | None, force: bool, suffix: int | None
) -> None:
    """Fetch the object KEY into FILE, or into a directory, or to standard output for -.

    The bytes are decompressed and verified; the file appears complete or not at all. Without FILE it
    gets the last part of KEY as its name, in the current directory.
    """
    if target == "-":
        _cat(invocation, key, 0, None, suffix)
        return
    path = _place(key, target)

    async def action(provider: StorageProvider) -> tuple[StorageItem, int]:
        async with NewFile(path, replace=force) as file, provider.open(key, suffix=suffix) as reader:
            with TransferBar(invocation, printable(key)) as bar:
                done = await _pour(reader, file, bar)
            await file.publish()
            return reader.info, done

    item, done = with_store(invocation, action)
    if invocation.json:
        document = {field.name: to_json(getattr(item, field.name)) for field in fields(item)}
        sizes = {"plain_size": done} if suffix is None else {}
        print_json({**document, **sizes, "file": str(path)})
    elif not invocation.quiet:
        say(f"{printable(str(path))}  {human_size(done)}")


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
    async def action(provider: StorageProvider) -> None:
        async with provider.open(key, start=start, end=end, suffix=suffix) as reader:
            await _pour(reader, StandardOutput(), None)

    with_store(invocation, action)


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
    if target is not None and not Path(target).is_dir():
        return Path(target)
    name = key.rpartition("/")[2]
    if name in {"", ".", ".."} or Path(name).name != name:
        raise click.UsageError(f"the last part of {key!r} cannot be the name of a file; give FILE")
    return Path(target or "") / name
