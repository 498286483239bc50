"""Listings and totals as users see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from credstore.errors import StorageError, StorageUnavailableError
from credstore.model import CommonPrefix, Listing, StorageItem, StorageStats
from credstore.provider.bulk import scan_infos, scan_names
from credstore.provider.read import item_of
from credstore.provider.session import Session
from credstore.provider.validation import check_count, check_delimiter, check_prefix, check_start_after


async def names(
    session: Session,
    prefix: str,
    max_keys: int | None,
    *,
    delimiter: str | None,
    start_after: str | None,
    refused: dict[str, StorageError] | None = None,
) -> AsyncGenerator[StorageItem | CommonPrefix, None]:
    """What a listing contains; see `StorageProvider.scan`.

    Raises:
        StorageInvalidRequestError: A wrong argument; nothing was sent.
        StorageIntegrityError: As `scan_names`; or the session was closed in the meantime.
        StorageError: Anything else.
    """
    check_prefix(prefix, session.capabilities.max_key_size)
    if max_keys is not None:
        check_count("max_keys", max_keys)
    if delimiter is not None:
        check_delimiter(delimiter)
    if start_after is not None:
        check_start_after(start_after, session.capabilities.max_key_size)
    async for found in scan_names(
        session, prefix, max_keys, delimiter=delimiter, start_after=start_after, refused=refused
    ):
        yield found if isinstance(found, CommonPrefix) else item_of(found, session.name)
        session.lifetime.check("list")


async def list_names(
    session: Session,
    prefix: str,
    max_keys: int | None,
    *,
    delimiter: str | None,
    start_after: str | None,
) -> Listing:
    """All of a listing at once; see `StorageProvider.list`.

    Raises:
        StorageError: See `names`.
    """
    items: list[StorageItem] = []
    prefixes: list[str] = []
    degraded = False
    refused: dict[str, StorageError] = {}
    async for found in names(
        session, prefix, max_keys, delimiter=delimiter, start_after=start_after, refused=refused
    ):
        degraded = degraded or found.degraded
        if isinstance(found, CommonPrefix):
            prefixes.append(found.prefix)
        else:
            items.append(found)
    if not session.capabilities.ordered:
        items.sort(key=lambda item: item.key.encode())
        prefixes.sort(key=str.encode)
    for name, error in refused.items():
        refused[name] = error.at(provider=session.name, operation="list", key=error.key)
    return Listing(items, prefixes=prefixes, degraded=degraded, refused=refused)


async def totals(session: Session, prefix: str) -> StorageStats:
    """Exact totals; see `StorageProvider.get_stats`.

    Raises:
        StorageUnavailableError: A member of a composite store cannot be listed.
        StorageIntegrityError: An object's size is not known (code "UNREADABLE_ENTRY").
        StorageError: As `scan_names`.
    """
    check_prefix(prefix, session.capabilities.max_key_size)
    objects = size = 0
    async for info in scan_infos(session, prefix):
        if info.degraded:
            raise StorageUnavailableError(
                "a member of the store cannot be listed now, so the totals would lack its objects",
                applied="no",
                retryable=True,
            )
        objects += 1
        size += info.size
    return StorageStats(
        total_objects=objects,
        total_size=size,
        provider=session.name,
        region=session.region,
        last_updated=datetime.now(UTC),
    )
