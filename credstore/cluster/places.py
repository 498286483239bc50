"""Places as they are named to workers, and from a name to an open place.

Rules of this file: what names a place has no credentials, since it travels; whoever opens it finds those in
the environment of its own process. A store that exists in one process alone is refused.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from credstore.arguments import given, typed_request
from credstore.config.settings import CommonConfig
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.factory import StorageFactory
from credstore.transfer.folder import Folder
from credstore.transfer.places import path_of
from credstore.transfer.sides import Side
from credstore.transfer.store import Store
from credstore.transfer.values import Links

OURS = "store:"
"""What a key of the store begins with that the environment names."""


@typed_request
@dataclass(frozen=True, slots=True)
class StoreAt:
    """A store, as every process finds it by itself; it has no credentials.

    Attributes:
        url: Store URL without keys; "" for the store that the environment of each process names.
        prefix: The beginning of the keys, left out of the names; "" for all. A folder ends with a slash.
        root: Prefix of the store itself, instead of the one of the URL or the environment.
        timeout: Seconds of one operation, instead of the store's setting.
    """

    url: str = ""
    prefix: str = ""
    root: str | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class FolderAt:
    """A folder that every worker reaches by the same path.

    Attributes:
        path: Absolute.
        links: What becomes of symbolic links.
        empty_folders: Whether folders with nothing in them count.
    """

    path: str
    links: Links = "skip"
    empty_folders: bool = False


ClusterPlace: TypeAlias = str | StoreAt | os.PathLike[str]
"""A store URL, `store:PREFIX` in the store that the environment names, or the path of a shared folder."""
Named: TypeAlias = StoreAt | FolderAt


def named(place: ClusterPlace, *, links: Links = "skip", empty_folders: bool = False) -> Named:
    """What can be said to workers about a place.

    Raises:
        StorageInvalidRequestError: It is an open store, whose credentials would have to travel.
    """
    if isinstance(place, StoreAt):
        return place
    if isinstance(place, str):
        return StoreAt(prefix=place.removeprefix(OURS)) if place.startswith(OURS) else StoreAt(place)
    if isinstance(place, os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        return FolderAt(os.path.realpath(place), links, empty_folders)
    raise StorageInvalidRequestError(
        "a place that workers share is a store URL, StoreAt(...) or a path object, not "
        f"{given(cast('object', place))}: an open store has credentials, and those do not travel"
    )


def config_of(store: StoreAt, factory: StorageFactory) -> CommonConfig:
    """The settings of a store in this process.

    Raises:
        StorageConfigurationError: One is missing, as the message says; the URL has a key in it; or the store
            exists in this process alone.
    """
    config = factory.configure(store.url or None)
    if config.provider == "memory":
        raise StorageConfigurationError("a store in memory belongs to one process; workers cannot reach it")
    if store.root is not None:
        config = replace(config, prefix=store.root)
    return config if store.timeout is None else replace(config, timeout=store.timeout)


@asynccontextmanager
async def opened(places: Sequence[Named], *, reading: int) -> AsyncGenerator[list[Folder | Store]]:
    """The places, open; the same store once, so that it can copy within itself.

    Args:
        places: In this order.
        reading: How many of the first ones are only read, so that nothing is made where they are missing.

    Raises:
        StorageConfigurationError: As `config_of`.
    """
    async with StorageFactory() as factory:
        found: list[Folder | Store] = []
        for number, each in enumerate(places):
            if isinstance(each, FolderAt):
                found.append(Folder(Path(each.path), links=each.links, empty_folders=each.empty_folders))
                continue
            config = config_of(each, factory)
            if number < reading and getattr(config, "create", False):  # Of a store that makes its root.
                config = replace(cast("Any", config), create=False)
            found.append(Store(factory.create(config), each.prefix))
        yield found


def anchor_of(side: Side) -> str | None:
    """The nearest directory that is there already, of a place on a disk; None for a place that is on none."""
    path = path_of(side)
    if path is None:
        return None
    return str(next((each for each in (path, *path.parents) if each.exists()), path))


def disk_of(path: str) -> str:
    """Names one directory of one machine, whoever looks at it by whatever mount; "" where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        machine = f"{uuid.getnode()} {platform.node()}"
    return hashlib.sha256(f"{machine} {found.st_dev} {found.st_ino}".encode()).hexdigest()


def identity_of(side: Side) -> str:
    """The same for the same place in any process; nothing of where it is can be read from it."""
    return hashlib.sha256(side.identity.encode(errors="surrogateescape")).hexdigest()
