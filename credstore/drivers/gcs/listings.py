"""Pages of objects, as the service lists them: by the UTF-8 bytes of their names."""

from __future__ import annotations

from dataclasses import replace

from credstore.driver.values import ObjectInfo, Page
from credstore.drivers.gcs.bucket import Bucket, parsed
from credstore.drivers.gcs.requests import list_objects
from credstore.drivers.gcs.resources import Resource, listed_info, version_of
from credstore.drivers.gcs.responses import parse_list
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError


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
    """One page; see `Driver.list`. The service begins at `start_after` itself, which is left out here.

    Cost: 1 request.
    """
    request = list_objects(prefix, cursor, limit, delimiter=delimiter, start=start_after)
    reply = await bucket.call(request, deadline=deadline)
    page = await parsed(parse_list, reply.body)
    after = (start_after or "").encode()
    entries: list[ObjectInfo] = []
    refused: dict[str, StorageError] = {}
    for each in page.items:
        try:
            info = listed_info(each, served_by=bucket.label)
            name = info.key.encode()
        except (StorageIntegrityError, UnicodeEncodeError):
            refused[_shown(each)] = _unreadable(bucket, each)
            continue
        if not after or name > after:
            shown = replace(info, version_id=version_of(each)) if bucket.shows_versions else info
            entries.append(shown)
    prefixes = [each for each in page.prefixes if not after or each.encode() > after]
    entries.sort(key=lambda each: each.key.encode())
    prefixes.sort(key=str.encode)
    return Page(entries=entries, cursor=page.token, prefixes=prefixes, refused=refused)


def _shown(item: Resource) -> str:
    return str(item.get("name", "")).encode("utf-8", "backslashreplace").decode()


def _unreadable(bucket: Bucket, item: Resource) -> StorageError:
    return StorageIntegrityError(
        "the provider lists an object without a readable name or size, so nothing can be asked about it",
        code=ErrorCode.UNREADABLE_ENTRY,
        key=_shown(item),
        bucket=bucket.name,
    )


async def ping(bucket: Bucket, *, deadline: float | None) -> None:
    """List one name, also where the endpoint's circuit is open; see `Driver.ping`."""
    request = replace(list_objects("", None, 1), probe=True)
    reply = await bucket.call(request, deadline=deadline)
    await parsed(parse_list, reply.body)
