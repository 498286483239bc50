"""Pages of objects: what a server lists, name by name, also where one entry cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from credstore.driver.values import ObjectInfo, Page, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.requests import S3Request, list_objects
from credstore.drivers.s3.xml import ListEntry, parse_list
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

    page = await asked(bucket, build, parse_list, deadline)
    after = (start_after or "").encode()
    refused: dict[str, StorageError] = {name: _unreadable(bucket, name) for name in page.unreadable}
    entries: list[ObjectInfo] = []
    for each in page.entries:
        if after and each.key.encode() <= after:
            continue
        size = each.size
        if size is None:
            try:
                size = (await head(bucket, each.key, ReadOptions(deadline=deadline))).size
            except StorageObjectNotFoundError:
                continue  # It is gone by now.
            except StorageError as error:
                error.key = each.key
                refused[each.key] = error
                continue
        entries.append(_shown(bucket, each, size))
    prefixes = [each for each in page.prefixes if not after or each.encode() > after]
    if not bucket.dialect.capabilities.ordered:
        entries.sort(key=lambda each: each.key.encode())
        prefixes.sort(key=str.encode)
    return Page(entries=entries, cursor=page.cursor, prefixes=prefixes, refused=refused)


def _shown(bucket: Bucket, entry: ListEntry, size: int) -> ObjectInfo:
    return ObjectInfo(
        key=entry.key,
        size=size,
        etag=entry.etag,
        last_modified=entry.last_modified,
        storage_class=entry.storage_class,
        served_by=bucket.label,
    )


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
