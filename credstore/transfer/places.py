"""From what users name to the two ends of a transfer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from credstore.errors import StorageInvalidRequestError
from credstore.provider.provider import StorageProvider
from credstore.transfer.folder import Folder
from credstore.transfer.sides import Side
from credstore.transfer.store import Store
from credstore.transfer.values import Alone, Links, Place, Under


def side_of(place: Place, *, links: Links = "skip", empty_folders: bool = False) -> Folder | Store:
    """One end; `links` and `empty_folders` are options of the transfer.

    Raises:
        StorageInvalidRequestError: It is text, which could be a path or a store, or something else.
    """
    if isinstance(place, Alone):
        side = side_of(place.place, links=links, empty_folders=empty_folders)
        side.only = (place.name, place.called or place.name.rpartition("/")[2])
        return side
    if isinstance(place, Under):
        return Store(place.provider, place.prefix)
    if isinstance(place, StorageProvider):
        return Store(place)
    if isinstance(place, os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        return Folder(Path(place), links=links, empty_folders=empty_folders)
    raise StorageInvalidRequestError(
        "a place is a StorageProvider, Under(provider, prefix) or a path object, not "
        f"{type(cast('object', place)).__name__}"
    )


def check_apart(source: Side, destination: Side) -> None:
    """Refuse two places of which one is inside the other: it would copy into itself.

    Raises:
        StorageInvalidRequestError: They are not apart.
    """
    if isinstance(source, Store) and isinstance(destination, Store):
        one, two = source.provider, destination.provider
        if one is two or (one.config.place == two.config.place and not _is_private(one)):
            if source.only is not None:
                if destination.whole_prefix + source.only[1] == source.whole_prefix + source.only[0]:
                    raise _inside(source, destination)
                return
            mine, theirs = source.whole_prefix, destination.whole_prefix
            if mine.startswith(theirs) or theirs.startswith(mine):
                raise _inside(source, destination)
        return
    paths = path_of(source), path_of(destination)
    if isinstance(source, Folder) and source.only is not None:
        if paths[1] is not None and source.path / source.only[0] == paths[1] / source.only[1]:
            raise _inside(source, destination)
        return
    if (
        paths[0] is not None
        and paths[1] is not None
        and (paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0]))
    ):
        raise _inside(source, destination)


def _is_private(provider: StorageProvider) -> bool:
    """Whether a store belongs to its provider alone, as one in memory does."""
    return provider.get_provider_name() == "memory"


def path_of(side: Side) -> Path | None:
    """Where an end is on a disk of this machine; None for one that is elsewhere."""
    if isinstance(side, Folder):
        return side.path
    place = side.provider.config.place if isinstance(side, Store) else None
    return Path(os.path.realpath(place)) if isinstance(place, Path) else None


def _inside(source: Side, destination: Side) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        f"{source.label} and {destination.label} are the same place, or one is inside the other"
    )
