"""Listings and totals as users see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter

from credstore.arguments import unchecked
from credstore.driver.values import ObjectInfo
from credstore.errors import StorageError, StorageUnavailableError
from credstore.model import CommonPrefix, Listing, StorageItem, StorageStats
from credstore.provider.ranges import Ranges
from credstore.provider.read import item_of
from credstore.provider.scanning import Scan, check_shown, pages
from credstore.provider.session import Session
from credstore.provider.validation import (
    check_count,
    check_delimiter,
    check_parallel,
    check_prefix,
    check_start_after,
)

_listing = unchecked(Listing)
"""Its items and prefixes are made here, and need no second look at each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What users ask a listing for; see `StorageProvider.list`."""

    prefix: str
    max_keys: int | None
    delimiter: str | None
    start_after: str | None
    parallel: int = 1


def _scan(session: Session, asked: Asked) -> Scan:
    """A listing as it was asked for.

    Raises:
        StorageInvalidKeyError: No user's key can start with this prefix.
        StorageInvalidRequestError: A wrong argument; nothing was sent.
    """
    longest = session.capabilities.max_key_size
    check_prefix(asked.prefix, longest)
    if asked.max_keys is not None:
        check_count("max_keys", asked.max_keys)
    if asked.delimiter is not None:
        check_delimiter(asked.delimiter)
    if asked.start_after is not None:
        check_start_after(asked.start_after, longest)
    check_parallel(asked.parallel, max_keys=asked.max_keys, delimiter=asked.delimiter)
    return Scan(
        session, asked.prefix, asked.max_keys, delimiter=asked.delimiter, start_after=asked.start_after
    )


async def names(session: Session, asked: Asked) -> AsyncGenerator[StorageItem | CommonPrefix, None]:
    """What a listing contains; see `StorageProvider.scan`.

    Raises:
        StorageInvalidRequestError: A wrong argument; nothing was sent. Or the session was closed in the
            meantime.
        StorageIntegrityError: As `Scan.page` and `check_shown`.
        StorageError: Anything else.
    """
    scan = _scan(session, asked)
    lifetime, label = session.lifetime, session.name
    async with aclosing(pages(scan)) as found:
        async for page in found:
            lifetime.check("list")
            for each in page:
                yield each if isinstance(each, CommonPrefix) else item_of(each, label)
                if lifetime.closed:
                    lifetime.check("list")
    check_shown(scan.refused)


async def list_names(session: Session, asked: Asked) -> Listing:
    """All of a listing at once; see `StorageProvider.list`.

    Raises:
        StorageError: See `names`.
    """
    scan = _scan(session, asked)
    if asked.parallel > 1 and session.capabilities.ordered:
        return await _list_in_ranges(session, asked)
    items: list[StorageItem] = []
    prefixes: list[str] = []
    degraded = False
    async with aclosing(pages(scan)) as found:
        async for page in found:
            session.lifetime.check("list")
            for each in page:
                degraded = degraded or each.degraded
                if isinstance(each, CommonPrefix):
                    prefixes.append(each.prefix)
                else:
                    items.append(item_of(each, session.name))
    if not session.capabilities.ordered:
        items.sort(key=attrgetter("key"))
        prefixes.sort()
    return _listing(items, prefixes=prefixes, degraded=degraded, refused=_explained(session, scan.refused))


async def _list_in_ranges(session: Session, asked: Asked) -> Listing:
    def taken(page: Sequence[ObjectInfo]) -> list[StorageItem]:
        return [item_of(each, session.name) for each in page]

    ranges = Ranges(session, asked.prefix, taken, start_after=asked.start_after)
    items = list(chain.from_iterable(await ranges.run(asked.parallel)))
    degraded = any(each.degraded for each in items)
    return _listing(items, degraded=degraded, refused=_explained(session, ranges.refused))


def _explained(session: Session, refused: Mapping[str, StorageError]) -> dict[str, Exception]:
    return {
        name: error.at(provider=session.name, operation="list", key=error.key)
        for name, error in refused.items()
    }


async def totals(session: Session, prefix: str, parallel: int) -> StorageStats:
    """Exact totals; see `StorageProvider.get_stats`.

    Raises:
        StorageUnavailableError: A member of a composite store cannot be listed.
        StorageIntegrityError: An object's size is not known (code "UNREADABLE_ENTRY").
        StorageError: As `scan_infos`.
    """
    check_prefix(prefix, session.capabilities.max_key_size)
    check_parallel(parallel)
    if parallel > 1 and session.capabilities.ordered:
        ranges = Ranges(session, prefix, _total)
        totals, refused = await ranges.run(parallel), ranges.refused
    else:
        scan = Scan(session, prefix)
        async with aclosing(pages(scan)) as found:
            totals = [_total([each for each in page if isinstance(each, ObjectInfo)]) async for page in found]
        refused = scan.refused
    check_shown(refused)
    return StorageStats(
        total_objects=sum(objects for objects, _ in totals),
        total_size=sum(size for _, size in totals),
        provider=session.name,
        region=session.region,
        last_updated=datetime.now(UTC),
    )


def _total(page: Sequence[ObjectInfo]) -> tuple[int, int]:
    """Number and bytes of the objects."""
    if any(each.degraded for each in page):
        raise StorageUnavailableError(
            "a member of the store cannot be listed now, so the totals would lack its objects",
            applied="no",
            retryable=True,
        )
    return len(page), sum(each.size for each in page)
