"""Which stores and directories a provider reads and writes, and whether two of them could meet.

Rules of this file: whoever asks whether two places are apart asks here, so that all members of a strategy,
the prefix of each, and the directories of caches count wherever it is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from credstore.config.reports import place_of
from credstore.config.settings import CommonConfig
from credstore.errors import StorageInvalidRequestError

Kind: TypeAlias = Literal["folder", "store", "cache"]
_CLOSED: tuple[Kind, ...] = ("folder", "store", "cache")
"""Of two different ones, the later has files that are not to be touched one by one."""


@dataclass(frozen=True, slots=True)
class Home:
    """One store that a provider is made of.

    Attributes:
        config: Its settings.
        owner: The driver whose alone it is, where it is in memory.
    """

    config: CommonConfig
    owner: object = None


@dataclass(frozen=True, slots=True)
class Site:
    """A store or directory, as far as the names in it begin in one way.

    Attributes:
        root: The same for the same store, however it is written; a resolved path for one of this machine.
        begins: What all names have at their beginning; "" for everything there.
        kind: What it is.
    """

    root: object
    begins: str = ""
    kind: Kind = "store"

    def below(self, prefix: str) -> Site:
        """The part of it with this prefix; the directory of a cache stays whole."""
        return self if self.kind == "cache" else Site(self.root, self.begins + prefix, self.kind)


def folder_site(path: str | os.PathLike[str]) -> Site:
    """A folder of plain files."""
    return Site(Path(os.path.realpath(path)), kind="folder")


def sites_of(homes: Iterable[Home], *, ask: bool = True) -> list[Site]:
    """All that is read and written of these stores: each once, and the directories of their caches.

    Args:
        homes: The stores.
        ask: Where a profile of the AWS configuration decides, ask where it leads; else it is its name that
            counts, and nothing is read.

    Raises:
        StorageConfigurationError: The profile leads nowhere.
    """
    return list(dict.fromkeys(site for home in homes for site in _sites(home, ask=ask)))


def _sites(home: Home, *, ask: bool) -> Iterator[Site]:
    config = home.config
    yield Site(_root(config, home.owner, ask=ask), config.prefix)
    if config.cache is not None:
        yield Site(Path(os.path.realpath(config.cache)), kind="cache")


def _root(config: CommonConfig, owner: object, *, ask: bool) -> object:
    place = config.place
    if isinstance(place, Path):
        return Path(os.path.realpath(place))
    if config.provider == "memory":  # Two of one name share nothing.
        return id(owner), place
    return place_of(config)[1] if ask and not isinstance(place, CommonConfig) else place


def all_apart(one: Iterable[Site], two: Iterable[Site], names: tuple[str, str] | None = None) -> bool:
    """Whether nothing at any of these sites is also at one of those.

    Args:
        one: Where something is.
        two: Where something else is.
        names: Of the only object that counts at either end; None where all do.
    """
    others = list(two)
    return not any(meet(mine, theirs, names) for mine in one for theirs in others)


def meet(one: Site, two: Site, names: tuple[str, str] | None = None) -> bool:
    """Whether a name at one site could stand for what a name at the other does.

    Against plain files a store counts whole, whatever its prefix: its root has more than its objects. Caches
    may share a directory, and be in a folder, such as the home of their user: what is lost there is fetched
    again.

    Args:
        one: A site.
        two: Another.
        names: As for `all_apart`.

    >>> meet(Site("bucket", "a/"), Site("bucket", "a/b/")), meet(Site("bucket", "a/"), Site("bucket", "b/"))
    (True, False)
    >>> meet(Site("bucket", "a/"), Site("bucket", "a/"), ("x", "y"))
    False
    """
    if one.kind == two.kind == "cache":
        return False
    if {one.kind, two.kind} == {"cache", "folder"}:
        cache, folder = (one, two) if one.kind == "cache" else (two, one)
        return _is_in(folder.root, cache.root)
    below = _common(one.root, two.root)
    if below is None:
        return False
    ranks = _CLOSED.index(one.kind), _CLOSED.index(two.kind)
    mine = below[0] + ("" if ranks[0] > ranks[1] else one.begins)
    theirs = below[1] + ("" if ranks[1] > ranks[0] else two.begins)
    if names is None:
        return mine.startswith(theirs) or theirs.startswith(mine)
    if ranks[0] == ranks[1]:
        return mine + names[0] == theirs + names[1]
    open_end, closed = (mine + names[0], theirs) if ranks[0] < ranks[1] else (theirs + names[1], mine)
    return open_end.startswith(closed)


def check_outside(homes: Iterable[Home], paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse files and folders of a user's in which a store or cache of these is, or that are in one.

    Raises:
        StorageInvalidRequestError: One of them is not outside.
    """
    # Also around a cache: it would change while it is saved.
    sites = [replace(site, kind="store") for site in sites_of(homes, ask=False)]
    for path in paths:
        if not all_apart([folder_site(path)], sites):
            raise StorageInvalidRequestError(
                f"{os.fspath(path)!r} is in the directory of the store or of its cache, or has it inside; "
                "the store's own files are not to be saved, replaced or removed as others are"
            )


def _common(one: object, two: object) -> tuple[str, str] | None:
    """What each root is called from the upper one of the two; None where none is the other, or above it."""
    if isinstance(one, Path) and isinstance(two, Path):
        below = _called(one, two)
        if below is not None:
            return below, ""
        below = _called(two, one)
        return None if below is None else ("", below)
    return ("", "") if one == two else None


def _is_in(path: object, above: object) -> bool:
    return isinstance(path, Path) and isinstance(above, Path) and _called(path, above) is not None


def _called(path: Path, above: Path) -> str | None:
    """What a path is called from a directory that it is or is in, by whatever mount or case of its name."""
    held = _identity(above)
    for each in (path, *path.parents):
        if each == above or (held is not None and _identity(each) == held):
            rest = path.relative_to(each).as_posix()
            return "" if rest == "." else f"{rest}/"
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
