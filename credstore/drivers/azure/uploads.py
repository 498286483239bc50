"""Uploads in blocks that were given up: found, and their blocks dropped.

Rules of this file: Azure drops uncommitted blocks only with the next write to their key, so an empty blob is
made there for a moment, and removed while it is still ours. That shows, so no verb does it by itself; a live
check does, below its own prefix.

Source: "Put Block" (remarks on garbage collection) and "List Blobs" (`include=uncommittedblobs`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from credstore.driver.header_text import read_etag
from credstore.driver.repeats import PAGES, Recent
from credstore.driver.values import ReadOptions
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import delete_blob, drop_blocks, list_blobs
from credstore.drivers.azure.xml import parse_list
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """A key with nothing but blocks that are not committed; Azure has no name for an upload itself."""

    key: str
    upload_id: str = ""


async def list_uploads(container: Container, prefix: str) -> AsyncGenerator[BegunUpload, None]:
    """Those of keys below a prefix.

    Cost: 1 request for each 1,000 keys, and 1 for each empty object.
    """
    marker: str | None = None
    seen = Recent(PAGES)
    while True:
        request = list_blobs(prefix, marker, _PAGE, include="uncommittedblobs")
        page = await parsed(parse_list, (await container.call(request, deadline=None)).body)
        for each in page.entries:
            if not each.size and not await _is_there(container, each.name):
                yield BegunUpload(each.name)
        if page.marker is None:
            return
        if seen.again(page.marker.encode()):
            raise StorageIntegrityError(
                "the provider's listing of uploads goes round in circles", code=ErrorCode.LISTING
            )
        marker = page.marker


async def _is_there(container: Container, key: str) -> bool:
    try:
        await head(container, key, ReadOptions())
    except StorageObjectNotFoundError:
        return False
    return True


async def abort_upload(container: Container, key: str) -> None:
    """Drop all blocks of a key that are not committed, unless there is an object by now.

    Cost: 2 requests.
    """
    etag: str | None = None
    try:
        made = await container.call(drop_blocks(key), deadline=None)
        etag = read_etag(made.headers.get("etag"))
    except StorageAlreadyExistsError:
        if await _is_there(container, key):
            return
        # Azurite: blocks stand in the way of a new blob, and go with a deletion, though it shows none.
    try:
        request = delete_blob(key, container.able, if_match=etag, version_id=None)
        await container.call(request, deadline=None)
    except StorageObjectNotFoundError:
        return
