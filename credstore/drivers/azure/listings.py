"""Pages of objects: what the service lists, name by name, also where one entry cannot be read."""

from __future__ import annotations

from dataclasses import replace

from credstore.driver.values import ObjectInfo, Page, ReadOptions
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import list_blobs
from credstore.drivers.azure.xml import ListEntry, parse_list
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)


async def list_page(
    container: Container,
    prefix: str,
    cursor: str | None,
    *,
    delimiter: str | None,
    start_after: str | None,
    limit: int,
    deadline: float | None,
) -> Page:
    """One page; see `Driver.list`. What `start_after` excludes is listed by the service and left out here.

    Cost: 1 request; 1 more for each object whose size the listing does not show.
    """
    request = list_blobs(prefix, cursor, limit, delimiter=delimiter)
    reply = await container.call(request, deadline=deadline)
    page = await parsed(parse_list, reply.body)
    after = (start_after or "").encode()
    refused: dict[str, StorageError] = {name: _unreadable(container, name) for name in page.unreadable}
    entries: list[ObjectInfo] = []
    for each in page.entries:
        if after and each.name.encode() <= after:
            continue
        size = each.size
        if size is None:
            try:
                size = (await head(container, each.name, ReadOptions(deadline=deadline))).size
            except StorageObjectNotFoundError:
                continue  # It is gone by now.
            except StorageError as error:
                error.key = each.name
                refused[each.name] = error
                continue
        entries.append(shown(container, each, size))
    prefixes = [each for each in page.prefixes if not after or each.encode() > after]
    entries.sort(key=lambda each: each.key.encode())
    prefixes.sort(key=str.encode)
    return Page(entries=entries, cursor=page.marker, prefixes=prefixes, refused=refused)


def shown(container: Container, entry: ListEntry, size: int) -> ObjectInfo:
    """What a listing says about one object."""
    return ObjectInfo(
        key=entry.name,
        size=size,
        etag=entry.etag,
        last_modified=entry.last_modified,
        storage_class=entry.tier,
        version_id=entry.version_id,
        served_by=container.label,
    )


def _unreadable(container: Container, name: str) -> StorageError:
    return StorageIntegrityError(
        "the provider lists an object whose key is missing or not UTF-8, so nothing can be asked about it",
        code=ErrorCode.UNREADABLE_ENTRY,
        key=name,
        bucket=container.name,
    )


async def ping(container: Container, *, deadline: float | None) -> None:
    """List one name, also where the endpoint's circuit is open; see `Driver.ping`."""
    request = replace(list_blobs("", None, 1), probe=True)
    reply = await container.call(request, deadline=deadline)
    await parsed(parse_list, reply.body)
