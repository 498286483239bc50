"""One big listing by several ranges of keys at once; together they give exactly what a single listing does.

A range is what lies after one text and up to another. There is one at first. Whoever has nothing to do splits
the widest: at a text in the middle, found from the characters that the keys have had so far, and lists what
lies behind it. That listing's pages are needed anyway, so looking for the ranges lists nothing twice, except
for a page that was on its way across a new border. Where nothing lies behind a border, one request was in
vain, and the range before is known to be that much narrower; a bound limits how many such requests there are.
No guess can lose a key or give one twice: a border belongs to the range before it, whatever is there.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

from credstore.concurrency import map_all
from credstore.driver.values import ObjectInfo
from credstore.errors import StorageError
from credstore.provider.scanning import Found, Scan
from credstore.provider.session import Session

R = TypeVar("R")
_DEPTH = 24
"""Characters by which the widths of ranges are compared, after those that all have in common."""
_LEAST = 3
"""Pages that a range has at least, as far as can be seen, when it is split."""
_LAST = "\U0010ffff"


@dataclass(slots=True, eq=False)
class _Range(Generic[R]):
    """Names after `start` and up to `end`; None has no limit.

    Attributes:
        start: Where it begins; does not belong to it.
        end: Where it ends; belongs to it.
        last: The last name that was received, or None before the first.
        first: The first name of the same page.
        results: Of its pages, in their order.
    """

    start: str | None
    end: str | None = None
    last: str | None = None
    first: str = ""
    results: list[R] = field(default_factory=list[R])


class Ranges(Generic[R]):
    """All objects under a prefix, listed by several workers."""

    def __init__(
        self,
        session: Session,
        prefix: str,
        take: Callable[[Sequence[ObjectInfo]], R],
        *,
        start_after: str | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            session: Of a store that lists in the order of names.
            prefix: What the keys start with, possibly empty.
            take: Makes a result of the objects of each page, as they come.
            start_after: See `Driver.list`.
        """
        self.refused: dict[str, StorageError] = {}
        self._session = session
        self._prefix = prefix
        self._take = take
        self._first = _Range[R](start_after)
        self._all = [self._first]
        self._open = [self._first]
        self._characters: set[str] = set()
        self._changed = asyncio.Event()
        self._pages = self._in_vain = 0

    async def run(self, workers: int) -> list[R]:
        """The results of all pages, in the order of the names.

        Args:
            workers: Requests at once; the widest range is split for each that would have none.

        Raises:
            StorageError: As `Scan.page`.
        """

        async def work(number: int) -> None:
            mine = self._first if number == 0 else await self._another(workers)
            while mine is not None:
                await self._list(mine)
                mine = await self._another(workers)

        await map_all(range(workers), work, at_once=workers)
        self._all.sort(key=lambda each: each.start or "")
        return [result for each in self._all for result in each.results]

    async def _list(self, mine: _Range[R]) -> None:
        """List a range, which others may make shorter meanwhile."""
        scan = Scan(self._session, self._prefix, start_after=mine.start, refused=self.refused)
        more = True
        try:
            while more:
                found, more = await scan.page()
                self._session.lifetime.check("list")
                self._pages += 1
                end = mine.end
                if end is not None and scan.last is not None and scan.last > end:
                    found, more = _up_to(found, end), False
                mine.results.append(self._take([each for each in found if isinstance(each, ObjectInfo)]))
                if found:
                    mine.first, mine.last = _name(found[0]), scan.last
                    for each in (found[0], found[len(found) // 2], found[-1]):
                        self._characters.update(_name(each)[len(self._prefix) :])
                self._changed.set()
        finally:
            self._open.remove(mine)
            self._changed.set()
        if mine.last is None:
            self._in_vain += 1

    async def _another(self, workers: int) -> _Range[R] | None:
        """A range for a worker that has none, once there is one; None at the end of the listing."""
        while self._open:
            if self._in_vain < 2 * workers + self._pages // 2 and (split := self._split()) is not None:
                return split
            self._changed.clear()
            await self._changed.wait()
        return None

    def _split(self) -> _Range[R] | None:
        """The second half of the widest range that can be split; None if there is none."""
        characters = sorted(self._characters)
        place = self._places(characters)
        widest: list[tuple[int, _Range[R], str]] = []
        for each in self._open:
            if each.last is None:
                continue
            at = place(each.last)
            width = place(each.end) - at
            # A range of less than some pages is listed sooner than it is split.
            if width >= _LEAST * (at - place(each.first)):
                widest.append((width, each, each.last))
        for _, each, last in sorted(widest, key=itemgetter(0), reverse=True):
            border = middle(last, each.end, len(self._prefix), characters)
            if border is not None:
                second = _Range[R](border, each.end)
                each.end = border
                self._all.append(second)
                self._open.append(second)
                return second
        return None

    def _places(self, characters: Sequence[str]) -> Callable[[str | None], int]:
        """Where a name is, as a number, as if all characters were equally frequent; None is the end."""
        low = min((each.first for each in self._open if each.last is not None), default="")
        high = max((each.last for each in self._open if each.last is not None), default="")
        begin, stop = len(self._prefix), common(low, high) + _DEPTH
        base = len(characters) + 2

        def place(text: str | None) -> int:
            found = 0 if text is not None else 1
            for at in range(begin, stop):
                digit = bisect_left(characters, text[at]) + 1 if text is not None and at < len(text) else 0
                found = found * base + digit
            return found

        return place


def middle(last: str, end: str | None, at: int, characters: Sequence[str]) -> str | None:
    """A text between two, with about as many names before as behind it; None if there seems to be none.

    At the first place where names may differ it takes the middle one of the characters that are known. Where
    none of them is possible, it takes what comes after everything with the same character; where that is
    `end` already, since nothing was behind it, it goes to the next place.

    Args:
        last: What it comes after.
        end: What it comes before, or None for no limit.
        at: The first place where names may differ, since they share a prefix.
        characters: Those known, ascending.
    """
    if end is not None:
        at = max(at, common(last, end))
    for place in range(at, len(last) + 1):
        head = last[:place]
        low = last[place : place + 1]
        tries = [head + each for each in characters if each > low]
        tries = [each for each in tries if end is None or each < end]
        if tries:
            return tries[(len(tries) - 1) // 2]
        if low and low != _LAST:
            following = head + (chr(ord(low) + 1) if low != "\ud7ff" else "\ue000")
            if end is None or following < end:
                return following
    return None


def common(one: str, other: str) -> int:
    """Number of characters that two texts have in common at their start."""
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))


def _name(found: Found) -> str:
    return found.key if isinstance(found, ObjectInfo) else found.prefix


def _up_to(found: list[Found], end: str) -> list[Found]:
    return [each for each in found if _name(each) <= end]
