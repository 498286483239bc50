"""Listings, page by page; exact at any size, or an error.

A listing is never trusted (P11, L05): names must be under the prefix and, where the store promises it,
strictly ascending, so nothing is listed twice (elsewhere `repeats.py` looks for that), a delimiter must have
been honoured, and a page that brings nothing new ends in an error instead of an endless loop. What cannot be
shown ends nothing: it is reported at the end. credstore's own objects are skipped and not counted.

While a page is consumed the next one is on its way, never more than one. Names are compared as text: its
order is that of the UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from heapq import merge
from operator import itemgetter
from typing import TypeAlias

from credstore.concurrency import one_ahead
from credstore.driver.internal import behind_internal, internal_key, is_internal
from credstore.driver.repeats import Repeats
from credstore.driver.values import ObjectInfo, Page
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError
from credstore.model import CommonPrefix
from credstore.provider.session import Session

PAGE = 1000
EMPTY_PAGES = 10_000
"""Number of empty pages in a row after which a listing counts as broken; B2 and Ceph do send some."""

Found: TypeAlias = ObjectInfo | CommonPrefix


class Scan:
    """One listing, from its first page to its last.

    Attributes:
        refused: What cannot be shown, so far.
        last: The last name that was received, also of what is skipped; where it begins before the first.
    """

    def __init__(
        self,
        session: Session,
        prefix: str,
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        hidden: Callable[[str], bool] = is_internal,
        refused: dict[str, StorageError] | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            session: Of the store.
            prefix: What the names start with, possibly empty.
            max_keys: Stop after this many, or None for all.
            delimiter: See `Driver.list`.
            start_after: See `Driver.list`.
            hidden: Which names to skip.
            refused: Where to put what cannot be shown.
        """
        self.refused: dict[str, StorageError] = {} if refused is None else refused
        self._session = session
        self._prefix = prefix
        self._delimiter = delimiter
        self._hidden = hidden
        self._left = max_keys
        self._ordered = session.capabilities.ordered
        self._repeats = Repeats()
        self._cursor: str | None = None
        self._start_after = start_after
        self._begin = start_after
        self.last = start_after
        self._passed = False
        self._jumped, self._may_jump = False, self._ordered
        self._seen: set[str] = set()

    async def page(self) -> tuple[list[Found], bool]:
        """The names of the next page, and whether more pages follow.

        Raises:
            StorageIntegrityError: The listing repeats itself, is out of order, leaves the prefix, contains
                what was not asked for, or does not end.
            StorageError: As `Driver.list`.
        """
        if self._left == 0:
            return [], False
        # Small pages could be full of what is skipped.
        limit = PAGE if self._left is None or self._passed else min(PAGE, self._left)
        page = await self._session.driver.list(
            self._prefix,
            self._cursor,
            delimiter=self._delimiter,
            start_after=self._start_after,
            limit=limit,
            deadline=self._session.deadline(),
        )
        self.refused.update(page.refused)
        found, behind = self._accepted(page)
        if self._left is not None:
            self._left -= len(found)
        return found, self._left != 0 and self._continues(page, behind)

    def _accepted(self, page: Page) -> tuple[list[Found], str | None]:
        """What to show of a page, and where to resume if it ends in a folder of what is skipped."""
        prefix, hidden, last, ordered = self._prefix, self._hidden, self.last, self._ordered
        folded = self._delimiter is not None or bool(page.prefixes)
        if not ordered and (names := [name for name, _ in _in_order(page)]):
            self._check_new(names)
        found: list[Found] = []
        behind: str | None = None
        for name, each in _in_order(page):
            if not name.startswith(prefix):
                raise _broken(f"has {name!r}, which is not under the prefix {prefix!r}")
            if ordered and last is not None and name <= last:
                raise _broken(f"lists {name!r} again, out of order, or before its start")
            if folded:
                _check_folded(each, prefix, self._delimiter)
            last = name
            if hidden(name):
                self._passed = True
                behind = behind_internal(name) if self._may_jump else None
                continue
            behind = None
            found.append(each)
            if len(found) == self._left:
                break
        self.last = last
        return found, behind

    def _check_new(self, names: list[str]) -> None:
        """Refuse what comes again, in a listing without an order."""
        if self._repeats.page_again(name.encode() for name in names):
            raise _broken("goes round in circles without an end")
        for name in names:
            if (self._begin is not None and name <= self._begin) or self._repeats.name_again(name.encode()):
                raise _broken(f"lists {name!r} again, or before its start")

    def _continues(self, page: Page, behind: str | None) -> bool:
        """Whether a page follows; prepares for it."""
        if page.cursor is None:
            return False
        if page.entries or page.prefixes:
            self._seen.clear()
        elif self._jumped:
            self._may_jump = (
                False  # A server that ignores `start_after` starts at the first object each time.
            )
        self._jumped = behind is not None
        if behind is not None:
            self._cursor, self._start_after = None, behind
            return True
        if page.cursor in self._seen or page.cursor == self._cursor or len(self._seen) >= EMPTY_PAGES:
            raise _broken("goes round in circles without an end")
        self._seen.add(page.cursor)
        self._cursor = page.cursor
        return True


def pages(scan: Scan) -> AsyncGenerator[list[Found], None]:
    """The pages of a listing, the next one on its way while one is consumed; to be closed by `aclosing`.

    Raises:
        StorageError: As `Scan.page`.
    """
    return one_ahead(scan.page)


async def scan_infos(
    session: Session, prefix: str, *, hidden: Callable[[str], bool] = is_internal
) -> AsyncGenerator[ObjectInfo, None]:
    """Every object under a prefix, once, ascending by UTF-8 bytes where the store promises that.

    Raises:
        StorageIntegrityError: As `Scan.page`; or, after everything else was listed, there were objects that
            cannot be shown (code "UNREADABLE_ENTRY").
        StorageError: As `Driver.list`.
    """
    scan = Scan(session, prefix, hidden=hidden)
    async with aclosing(pages(scan)) as found:
        async for page in found:
            for each in page:
                if isinstance(each, ObjectInfo):
                    yield each
    check_shown(scan.refused)


def scan_own(session: Session, folder: str) -> AsyncGenerator[ObjectInfo, None]:
    """Like `scan_infos`, for what credstore keeps for itself in one folder of `driver.internal`."""
    return scan_infos(session, internal_key(folder), hidden=lambda _: False)


def check_shown(refused: Mapping[str, StorageError]) -> None:
    """Raise where something could not be shown, after everything else.

    Raises:
        StorageIntegrityError: There is such an object (code "UNREADABLE_ENTRY").
    """
    if not refused:
        return
    name, first = next(iter(refused.items()))
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    raise StorageIntegrityError(
        f"everything was listed but {name!r}{more}, which cannot be shown: {first.message}",
        code=ErrorCode.UNREADABLE_ENTRY,
        key=name,
    )


def _in_order(page: Page) -> Iterable[tuple[str, Found]]:
    """What is on a page, with the names; ascending if the page is in order."""
    entries: Iterable[tuple[str, Found]] = [(each.key, each) for each in page.entries]
    if not page.prefixes:
        return entries
    prefixes = ((each, CommonPrefix(each, degraded=page.degraded)) for each in page.prefixes)
    return merge(entries, prefixes, key=itemgetter(0))


def _check_folded(found: Found, prefix: str, delimiter: str | None) -> None:
    """Refuse a key that continues beyond the delimiter, and an invalid common prefix."""
    if isinstance(found, ObjectInfo):
        if delimiter is not None and delimiter in found.key[len(prefix) :]:
            raise _broken(f"has {found.key!r}, as if it had not been asked to stop at {delimiter!r}")
        return
    below = found.prefix[len(prefix) :]
    if delimiter is None or below.find(delimiter) != len(below) - len(delimiter) or not below:
        raise _broken(f"has the common prefix {found.prefix!r}, which does not end at a delimiter asked for")


def _broken(how: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's listing {how}; totals or copies made from it would be wrong", code=ErrorCode.LISTING
    )
