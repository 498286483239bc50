"""From what users name to the two ends of a transfer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from credstore.errors import StorageInvalidRequestError
from credstore.provider.homes import Site, all_apart, folder_site, sites_of
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of
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

    All stores that are one count, and the directories of caches. Where a folder's links are followed, those
    that lead into the other end are refused one by one.

    Raises:
        StorageInvalidRequestError: They are not apart.
    """
    # At the destination, the one object of the source has the name that it is to be called.
    mine, theirs = _sites(source), _sites(destination)
    if not all_apart(mine, theirs, source.only):
        raise StorageInvalidRequestError(
            f"{source.label} and {destination.label} are the same place, or one is inside the other"
        )
    if isinstance(source, Folder):
        source.foreign = tuple(site.root for site in theirs if isinstance(site.root, Path))


def _sites(side: Side) -> list[Site]:
    if isinstance(side, Store):
        return [site.below(side.prefix) for site in sites_of(session_of(side.provider).homes)]
    return [folder_site(side.path)] if isinstance(side, Folder) else []


def path_of(side: Side) -> Path | None:
    """Where an end is on a disk of this machine; None for one that is elsewhere."""
    if isinstance(side, Folder):
        return side.path
    place = side.provider.config.place if isinstance(side, Store) else None
    return Path(os.path.realpath(place)) if isinstance(place, Path) else None
