"""Pages of objects: what a server lists, name by name, also where one entry cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from credstore.driver.values import ObjectInfo, Page, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.requests import S3Request, list_objects
from credstore.drivers.s3.xml import parse_list
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)

T = TypeVar("T")


async def list_page(
    bucket: Bucket,
    prefix: str,
    cursor: str | None,
    *,
    delimiter: str | None,
    start_after: str | None,
    limit: int,
    deadline: float | None,
) -> Page:
    """One page; see `Driver.list`.

    What comes is compared with `start_after` here too: some servers ignore it, and they differ in
    whether a prefix that it leads into comes again. One that lists in an order of its own is not sent it.

    Cost: 1 request; 1 more for each object whose size the listing does not show.
    """
    bucket.check_key(prefix)
    begin = start_after if bucket.dialect.capabilities.ordered else None

    def build(dialect: S3Dialect) -> S3Request:
        return list_objects(prefix, cursor, limit, dialect, delimiter=delimiter, start_after=begin)

    page = await asked(bucket, build, partial(parse_list, label=bucket.label), deadline)
    refused: dict[str, StorageError] = {name: _unreadable(bucket, name) for name in page.unreadable}
    entries: Sequence[ObjectInfo] = page.entries
    prefixes = page.prefixes
    if start_after:
        # Characters compare as their UTF-8 bytes do.
        entries = [each for each in entries if each.key > start_after]
        prefixes = [each for each in prefixes if each > start_after]
    if page.unsized:
        unsized = {page.entries[at].key for at in page.unsized}
        entries = await _measured(bucket, entries, unsized, refused, deadline)
    if not bucket.dialect.capabilities.ordered:
        entries = sorted(entries, key=lambda each: each.key)
        prefixes = sorted(prefixes)
    return Page(entries=entries, cursor=page.cursor, prefixes=prefixes, refused=refused)


async def _measured(
    bucket: Bucket,
    entries: Sequence[ObjectInfo],
    unsized: Collection[str],
    refused: dict[str, StorageError],
    deadline: float | None,
) -> list[ObjectInfo]:
    """The entries with the sizes that the listing does not show; what has none goes to `refused`."""
    found: list[ObjectInfo] = []
    for each in entries:
        if each.key not in unsized:
            found.append(each)
            continue
        try:
            size = (await head(bucket, each.key, ReadOptions(deadline=deadline))).size
        except StorageObjectNotFoundError:
            continue  # It is gone by now.
        except StorageError as error:
            error.key = each.key
            refused[each.key] = error
        else:
            found.append(replace(each, size=size))
    return found


def _unreadable(bucket: Bucket, name: str) -> StorageError:
    return StorageIntegrityError(
        "the provider lists an object whose key is missing or not UTF-8, so nothing can be asked about it",
        code=ErrorCode.UNREADABLE_ENTRY,
        key=name,
        bucket=bucket.name,
    )


async def asked(
    bucket: Bucket,
    build: Callable[[S3Dialect], S3Request],
    parse: Callable[[bytes], T],
    deadline: float | None,
) -> T:
    """The parsed answer of a listing.

    Keys may have characters that XML has not. Where a server is not asked for encoded keys in the first
    place, it is asked again, for encoded ones, if its response cannot be read.

    Args:
        bucket: Where.
        build: The request for a dialect.
        parse: Reads its response.
        deadline: Instant of `time.monotonic()`, or None.

    Raises:
        StorageError: As `Bucket.call` and `parse`.
    """
    dialect = bucket.dialect
    reply = await bucket.call(build(dialect), deadline=deadline)
    try:
        return await parsed(parse, reply.body)
    except StorageIntegrityError:
        if dialect.url_encoded_list:
            raise
    reply = await bucket.call(build(replace(dialect, url_encoded_list=True)), deadline=deadline)
    return await parsed(parse, reply.body)
