"""`credstore put`."""

from __future__ import annotations

import mimetypes
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.io import read_standard_input
from credstore.cli.options import Invocation, as_encryption, as_pairs, command, lock_options, set_lock
from credstore.cli.output import human_size, print_json, printable, say
from credstore.cli.progress import TransferBar
from credstore.cli.runner import with_store
from credstore.encryption import ServerEncryption
from credstore.errors import RetentionMode
from credstore.model import StorageResult, StoreOptions

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

UNKNOWN_TYPE = "application/octet-stream"
_TYPES = mimetypes.MimeTypes()
for _ending, _type in {
    ".c2pa": "application/c2pa",
    ".cbor": "application/cbor",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
}.items():
    _TYPES.add_type(_type, _ending)


@command("put")
@click.argument(
    "source", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
)
@click.argument("key")
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
    *,
    source: str,
    key: str,
    compress: str | None,
    dictionary: str | None,
    content_type: str | None,
    cache_control: str | None,
    metadata: dict[str, str],
    tag: dict[str, str],
    storage_class: str | None,
    encryption: bool | ServerEncryption | None,
    retain_until: datetime | None,
    retain_mode: RetentionMode | None,
    legal_hold: bool,
    if_absent: bool,
    resume: str | None,
) -> None:
    """Store FILE, or standard input for -, under KEY.

    Once it returns, every reader gets the new bytes; until then the old ones, if there were any.
    """
    options: StoreOptions = {"content_type": content_type or guess_type(source, key)}
    set_lock(options, retain_until, retain_mode, legal_hold=legal_hold)
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
    result = _put(invocation, source, key, options)
    if invocation.json:
        print_json(result)
    elif not invocation.quiet:
        say(describe(result))


def _put(invocation: Invocation, source: str, key: str, options: StoreOptions) -> StorageResult:
    async def action(provider: StorageProvider) -> StorageResult:
        data = read_standard_input() if source == "-" else Path(source)
        with TransferBar(invocation, printable(key)) as bar:
            options["progress"] = bar
            return await provider.store(key, data, **options)

    return with_store(invocation, action)


def guess_type(source: str, key: str) -> str:
    """MIME type by the name of the file, else of the key, else that of arbitrary bytes.

    >>> guess_type("-", "proofs/1.json"), guess_type("picture.jpg", "1"), guess_type("a.json.gz", "1")
    ('application/json', 'image/jpeg', 'application/gzip')
    """
    for name in (source, key):
        kind, encoding = _TYPES.guess_type(Path(name).name)
        if encoding is not None:
            return "application/gzip" if encoding == "gzip" else UNKNOWN_TYPE
        if kind is not None:
            return kind
    return UNKNOWN_TYPE


def describe(result: StorageResult) -> str:
    """One line about an object that was just written."""
    size = human_size(result.size)
    if result.compression is not None and result.plain_size:
        percent = 100 * result.size / result.plain_size
        size = f"{human_size(result.plain_size)} as {size} of {result.compression} ({percent:.0f}%)"
    where = f"{result.served_by}, degraded" if result.degraded else result.served_by or result.provider
    return f"{printable(result.key)}  {size}  at {where}"
