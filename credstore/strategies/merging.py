"""Listings of several members as one, each name once. The merging is pure; reading the pages is at the end.

Names are listed only as far as every member has listed them: beyond the last name of a page that is not its
member's last, a smaller one could still follow. A key and a common prefix never have the same name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from credstore.driver.contract import Driver
from credstore.driver.repeats import PAGES, Recent
from credstore.driver.values import ObjectInfo, Page
from credstore.errors import ErrorCode, StorageIntegrityError, StorageInvalidRequestError

Choice = Callable[[ObjectInfo, ObjectInfo], ObjectInfo]
"""Which of two members' entries for one key is listed; the first argument is of the earlier member."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one member's listing continues.

    Attributes:
        cursor: Of the page to read next; None for its first.
        began: Name after which its listing started, or None for all names.
        ended: Whether it has been used up.
    """

    cursor: str | None = None
    began: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Where a merged listing continues.

    Attributes:
        after: Last name listed, or None at the start.
        places: One for each member.
    """

    after: str | None
    places: tuple[Place, ...]

    def text(self) -> str:
        """As an opaque cursor."""
        places = [(each.cursor, each.began, each.ended) for each in self.places]
        return json.dumps([self.after, places], separators=(",", ":"))


def position_of(cursor: str | None, members: int, start_after: str | None = None) -> Position:
    """The inverse of `Position.text`.

    Args:
        cursor: Of the page before, or None for the start.
        members: How many there are.
        start_after: Where a listing starts.

    Raises:
        StorageInvalidRequestError: It is not a cursor of this strategy, or of one with other members.
    """
    if cursor is None:
        return Position(None, (Place(began=start_after),) * members)
    try:
        after, places = json.loads(cursor)
        position = Position(after, tuple(Place(*each) for each in places))
    except (ValueError, TypeError, RecursionError):
        position = None
    if position is None or len(position.places) != members:
        raise StorageInvalidRequestError("this is not a cursor of this store, or its members have changed")
    return position


def merge(position: Position, pages: Sequence[Page | None], limit: int, choose: Choice) -> Page:
    """One page of the union.

    Args:
        position: Where the pages were read.
        pages: Of the members; None for one that has ended or could not be read.
        limit: Maximum number of names to return.
        choose: Which of two entries is listed.
    """
    after = None if position.after is None else position.after.encode()
    told: dict[bytes, ObjectInfo] = {}
    common: set[bytes] = set()
    horizon: bytes | None = None
    for page in pages:
        if page is None:
            continue
        for entry in page.entries:
            name = entry.key.encode()
            if after is None or name > after:
                told[name] = choose(told[name], entry) if name in told else entry
        common.update(name for name in map(str.encode, page.prefixes) if after is None or name > after)
        if page.cursor is not None:
            last = _last_of(page) or after or b""
            horizon = last if horizon is None else min(horizon, last)
    refused = {name: error for page in pages if page is not None for name, error in page.refused.items()}
    names = sorted(name for name in told.keys() | common if horizon is None or name <= horizon)[:limit]
    return Page(
        entries=[told[name] for name in names if name in told],
        prefixes=[name.decode() for name in names if name in common],
        cursor=_next(position, pages, names[-1] if names else after),
        refused=refused,
    )


def _last_of(page: Page) -> bytes:
    """The last name of a page, or nothing."""
    last_key = page.entries[-1].key.encode() if page.entries else b""
    return max(last_key, page.prefixes[-1].encode() if page.prefixes else b"")


def _next(position: Position, pages: Sequence[Page | None], last: bytes | None) -> str | None:
    name = None if last is None else last.decode()
    places = list(position.places)
    for member, page in enumerate(pages):
        if page is None:
            if not places[member].ended and name is not None:
                places[member] = Place(began=name)  # It can take part again from here on.
        elif _last_of(page) <= (last or b""):
            places[member] = replace(places[member], cursor=page.cursor, ended=page.cursor is None)
    if all(place.ended or page is None for place, page in zip(places, pages, strict=True)):
        return None
    return Position(name, tuple(places)).text()


async def read_page(
    driver: Driver,
    place: Place,
    prefix: str,
    *,
    delimiter: str | None,
    limit: int,
    deadline: float | None,
) -> Page:
    """The page of one member that comes next; all of its pages where it lists in an order of its own.

    Raises:
        StorageIntegrityError: The listing has no end.
        StorageError: As `Driver.list`.
    """
    page = await driver.list(
        prefix, place.cursor, delimiter=delimiter, start_after=place.began, limit=limit, deadline=deadline
    )
    if driver.capabilities.ordered:
        return page
    entries, prefixes, refused = list(page.entries), list(page.prefixes), dict(page.refused)
    seen = Recent(PAGES)
    while page.cursor is not None:
        if seen.again(page.cursor.encode()):
            raise StorageIntegrityError(
                f"the listing of {driver.name} goes round in circles", code=ErrorCode.LISTING
            )
        page = await driver.list(
            prefix, page.cursor, delimiter=delimiter, start_after=place.began, deadline=deadline
        )
        entries += page.entries
        prefixes += page.prefixes
        refused.update(page.refused)
    entries.sort(key=lambda each: each.key.encode())
    return Page(entries=entries, cursor=None, prefixes=sorted(prefixes, key=str.encode), refused=refused)
