"""Listings between their pages: each has read its directories, and continues where its last page ended.

Rules of this file: a cursor is only the last name, so it works anywhere and at any time; where its walk is no
longer kept, the next page starts another one, at that name. Few walks are kept, for a short time, and none by
a call that did not return its page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from credstore.driver.values import Page
from credstore.drivers.local.descriptions import listed_info
from credstore.drivers.local.listing import Asked, Listed, Walk
from credstore.drivers.local.lookup import Lookup
from credstore.drivers.local.root import Root

MOST = 16
"""Walks kept at once."""
MOST_HELD = 64 * 1024 * 1024
"""Bytes of names that they keep in memory together."""
IDLE = 60.0
"""Seconds that one is kept for."""


class Scan:
    """A walk from its first page to its last; close it."""

    def __init__(self, root: Root, lookup: Lookup, asked: Asked) -> None:
        self.asked = asked
        self._root = root
        self._lookup = lookup
        self._walk = Walk(root, asked)
        self._ahead: Listed | None = None

    @property
    def held(self) -> int:
        """Bytes of names in memory."""
        return self._walk.held

    def turn(self, limit: int) -> Turned:
        """The next page; blocks. After an error or the last page, the walk has ended."""
        try:
            found, more = self._page(limit)
            objects = [(each.key, each.token) for each in found if each.token is not None]
            etags = self._lookup.etags(objects)
            entries = [
                listed_info(key, token, etag) for (key, token), etag in zip(objects, etags, strict=True)
            ]
        except BaseException:
            self.close()
            raise
        if not more:
            self.close()
        prefixes = [each.key for each in found if each.token is None]
        cursor = found[-1].key if more else None
        return Turned(self, Page(entries=entries, cursor=cursor, prefixes=prefixes))

    def _page(self, limit: int) -> tuple[list[Listed], bool]:
        found: list[Listed] = []
        ahead, self._ahead = self._ahead, None
        try:
            if ahead is not None and ahead.token is not None:
                current = self._lookup.current(ahead.key)  # It was seen when the last page ended.
                ahead = None if current is None else Listed(ahead.key, current[1])
            if ahead is not None:
                found.append(ahead)
            found += islice(self._walk.found, limit - len(found))
            self._root.check_there()
            if len(found) == limit:
                self._ahead = next(self._walk.found, None)
        finally:
            self._walk.pause()
        return found, self._ahead is not None

    def close(self) -> None:
        """End it; safe to call again."""
        self._walk.close()


@dataclass(frozen=True, slots=True)
class Turned:
    """A page with the walk that it is from."""

    scan: Scan
    page: Page

    def close(self) -> None:
        """End the walk, where no caller gets the page."""
        self.scan.close()


@dataclass(slots=True)
class _Kept:
    scan: Scan
    since: float


class Scans:
    """The walks of one store that wait for their next page; used on its event loop alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.get_running_loop
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, asked: Asked) -> Scan | None:
        """The walk that continues after `asked.after`, or None; it is the caller's now."""
        kept = self._kept.pop((asked.prefix, asked.delimiter, asked.after), None)
        return None if kept is None else kept.scan

    def keep(self, scan: Scan, cursor: str) -> None:
        """Keep a walk for the page after `cursor`, instead of the oldest ones if need be."""
        name = (scan.asked.prefix, scan.asked.delimiter, cursor)
        before = self._kept.pop(name, None)
        if before is not None:
            before.scan.close()
        self._kept[name] = _Kept(scan, self._clock())
        while len(self._kept) > MOST or sum(kept.scan.held for kept in self._kept.values()) > MOST_HELD:
            self._end(next(iter(self._kept)))
        if self._timer is None and self._kept:
            self._timer = self._loop().call_later(IDLE, self._tick)

    def _tick(self) -> None:
        """End those whose next page was not wanted."""
        self._timer = None
        now = self._clock()
        for name in [name for name, kept in self._kept.items() if now - kept.since >= IDLE]:
            self._end(name)
        if self._kept:
            oldest = next(iter(self._kept.values())).since
            self._timer = self._loop().call_later(max(0.0, oldest + IDLE - now), self._tick)

    def _end(self, name: tuple[str, str, str]) -> None:
        self._kept.pop(name).scan.close()

    def close(self) -> None:
        """End all of them."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        while self._kept:
            self._end(next(iter(self._kept)))
