"""The names of a listing in the order of their UTF-8 bytes, walked lazily; a walk can pause between pages.

A directory is read once and its names are kept, sorted (`snapshots.py`). An object sorts as its segment, a
directory as its segment and "/", so the walk gives keys in order without knowing the whole tree, skips what
lies before the page or outside the prefix, and looks only at what is on the page: names that went away
meanwhile are not shown, names that came may be. A directory whose own name has the delimiter, as each has
with "/", stands for everything in it, and is not opened. A walk that pauses holds no directory open.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from credstore.drivers.local.atomic import ABSENT, Token, opened, release
from credstore.drivers.local.directories import open_below
from credstore.drivers.local.names import (
    CONTROL,
    MAX_KEY,
    RESERVED,
    Place,
    aside,
    directory,
    parse,
    primary,
    reserved,
)
from credstore.drivers.local.root import Root
from credstore.drivers.local.snapshots import Spool, ordered

_ESCAPED, _ASIDE = "\x01", "\x02"
"""What follows a segment that a name of credstore's own spells; no segment has them, and they sort first."""
_MORE = 16
"""Names that may be needed for a page besides those on it."""
_OPEN = 32
"""Directories held open at once; a key can have a thousand segments."""
_SHORT = MAX_KEY // 4
"""Characters of a key that is not too long whatever they are."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A key and the version of its file, or a common prefix and None."""

    key: str
    token: Token | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a listing is to show.

    Attributes:
        prefix: Leading part of the names.
        after: They come after this one; empty for all.
        delimiter: See `Driver.list`; empty for none.
        first: How many are wanted soon.
    """

    prefix: str = ""
    after: str = ""
    delimiter: str = ""
    first: int = 1000

    def common(self, key: str) -> str | None:
        """The prefix that stands for a key, or for everything in a directory, or None."""
        cut = key.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return key[: cut + len(self.delimiter)] if cut >= 0 else None

    def leads(self, base: str) -> bool:
        """Whether keys that begin with `base`, the name of a directory, can be wanted."""
        return (base > self.after or self.after.startswith(base)) and (
            len(base) <= _SHORT or len(base.encode()) <= MAX_KEY + 1
        )

    def below(self, base: str, names: list[str]) -> list[str]:
        """Those of the names in the directory of `base` that can be, or lead to, what is wanted."""
        if len(base) < len(self.prefix):
            rest = self.prefix[len(base) :]
            names = [name for name in names if name.startswith(rest)]
        if self.after.startswith(base) and len(self.after) > len(base):
            least = self.after[len(base) :].partition("/")[0]
            # "a/" comes after "a-b", though "a" does not; so does "/", the segment that is empty.
            starts = {least[:size] for size in range(len(least))}
            starts |= {start + _ESCAPED for start in starts} | {least}
            names = [name for name in names if name > least or name in starts]
        return names


class _Directory:
    """One that the walk is in.

    Attributes:
        path: From the root.
        base: What its keys begin with.
        fd: It, or -1 while it is not open.
        items: Names still to come, and directories with a slash, in the order of the keys.
        later: Directories in it whose names came, but whose keys come later.
    """

    __slots__ = ("base", "fd", "items", "later", "path")

    def __init__(self, path: tuple[str, ...], base: str, fd: int, names: Iterator[str]) -> None:
        self.path = path
        self.base = base
        self.fd = fd
        self.later: list[str] = []
        self.items = self._items(names)

    def _items(self, names: Iterator[str]) -> Generator[str, None, None]:
        later = self.later
        for name in names:
            while later and later[0] < name:
                yield heapq.heappop(later)
            yield name
        while later:
            yield heapq.heappop(later)

    def release(self) -> None:
        """Close it; it is opened again where that is needed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            release(fd)


class Walk:
    """A walk over the names of a store; pause it after each page, and close it.

    Attributes:
        found: The names, ascending.
    """

    def __init__(self, root: Root, asked: Asked) -> None:
        """Nothing is read before the first name is wanted."""
        self._root = root
        self._asked = asked
        self._within: list[_Directory] = []
        self._spool = Spool()
        self._last = self._common = ""
        self.found = self._walk()

    @property
    def held(self) -> int:
        """Bytes of names in memory."""
        return self._spool.held

    def pause(self) -> None:
        """Hold no directory open."""
        for each in self._within:
            each.release()

    def close(self) -> None:
        """End it; safe to call again."""
        self.found.close()
        self.pause()
        self._within.clear()
        self._spool.close()

    def _walk(self) -> Generator[Listed, None, None]:
        segments = self._asked.prefix.split("/")[:-1]
        self._enter(None, directory(segments, fold=self._root.fold), "".join(f"{each}/" for each in segments))
        while self._within:
            here = self._within[-1]
            for item in here.items:
                if here.fd < 0 and not self._open(here):
                    self._leave()
                    break
                branch = item.endswith("/")
                listed = self._branch(here, item) if branch else self._leaf(here, item)
                if listed is not None:
                    yield listed
                elif branch and self._within[-1] is not here:
                    break
            else:
                self._leave()

    def _leave(self) -> None:
        self._within.pop().release()

    def _enter(self, above: _Directory | None, way: tuple[str, ...], base: str) -> None:
        """Go into a directory, unless it is gone."""
        path = way if above is None else above.path + way
        try:
            fd = open_below(self._root.fd if above is None else above.fd, way)
        except OSError as error:
            if error.errno in ABSENT:
                return
            raise
        try:
            names = ordered(
                fd, lambda found: self._wanted(fd, base, found), self._spool, self._asked.first + _MORE
            )
        except BaseException:
            release(fd)
            raise
        if len(self._within) >= _OPEN:
            self._within[-_OPEN].release()
        self._within.append(_Directory(path, base, fd, names))

    def _open(self, here: _Directory) -> bool:
        try:
            here.fd = open_below(self._root.fd, here.path)
        except OSError as error:
            if error.errno in ABSENT:
                return False
            raise
        return True

    def _wanted(self, fd: int, base: str, names: list[str]) -> list[str]:
        if spelled := reserved(names):
            names.extend(self._spelled(fd, spelled, ""))
        return self._asked.below(base, names)

    def _spelled(self, fd: int, names: list[str], start: str) -> Iterator[str]:
        """The segments that names of credstore's own spell, marked."""
        for name in names:
            spelling = None if name == CONTROL else parse(name, start, fold=self._root.fold)
            if spelling is None:
                continue
            if not spelling.continued:
                yield spelling.text + (_ASIDE if spelling.aside else _ESCAPED)
                continue
            try:
                below = open_below(fd, (name,))
            except OSError as error:
                if error.errno in ABSENT:
                    continue
                raise
            with opened(below):
                yield from self._spelled(below, os.listdir(below), spelling.text)  # noqa: PTH208 - a descriptor

    def _branch(self, here: _Directory, item: str) -> Listed | None:
        """What stands for a directory; without a delimiter, it is entered."""
        common = self._asked.common(here.base + item)
        if common is None:
            self._enter(here, directory([item[:-1]], fold=self._root.fold), here.base + item)
            return None
        return self._once(common)

    def _once(self, common: str) -> Listed | None:
        if not self._is_new(common):
            return None
        self._common = common
        return Listed(common, None)

    def _leaf(self, here: _Directory, item: str) -> Listed | None:
        """What is there under a name now; a directory comes later."""
        fold, asked = self._root.fold, self._asked
        place: Place | None = None
        if item[-1] <= _ASIDE:
            item, mark = item[:-1], item[-1]
            place = aside(item, fold=fold) if mark == _ASIDE else primary(item, fold=fold)
            if mark == _ASIDE:
                return self._file(here.base + item, _status(here.fd, place))
        elif not _is_segment(item, fold=fold):
            return None
        key = here.base + item
        if key <= asked.after and not asked.leads(key + "/"):
            return None
        if asked.delimiter and (common := asked.common(key)) is not None and not self._is_new(common):
            return None
        status = _status(here.fd, Place((), item) if place is None else place)
        if status is None or not stat.S_ISREG(status.st_mode):
            if status is not None and stat.S_ISDIR(status.st_mode) and asked.leads(key + "/"):
                heapq.heappush(here.later, item + "/")
            # An object that was here when the directory was read may have made way for a directory since.
            status = _status(here.fd, aside(item, fold=fold))
        return self._file(key, status)

    def _file(self, key: str, status: os.stat_result | None) -> Listed | None:
        """An object, or what stands for it, unless it was shown before."""
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        if len(key) > _SHORT and len(key.encode()) > MAX_KEY:
            return None
        if self._asked.delimiter and (common := self._asked.common(key)) is not None:
            return self._once(common)
        if key <= self._asked.after or key == self._last:
            return None
        self._last = key
        return Listed(key, Token.of(status))

    def _is_new(self, common: str) -> bool:
        return common > self._common and common > self._asked.after


def _is_segment(name: str, *, fold: bool) -> bool:
    """Whether a directory entry is a segment as it is."""
    if not fold and name.isascii() and name.isprintable() and not name.startswith("."):
        return True
    return not name.startswith(RESERVED) and parse(name, fold=fold) is not None


def _status(fd: int, place: Place) -> os.stat_result | None:
    """The status of what is at a place below a directory, links not followed; None if nothing is."""
    try:
        if not place.directories:
            return os.stat(place.name, dir_fd=fd, follow_symlinks=False)
        with opened(open_below(fd, place.directories)) as where:
            return os.stat(place.name, dir_fd=where, follow_symlinks=False)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
