"""Names with `*`, `?` or `[`: what has such a name is meant, and only where nothing has it, what matches it.

fsspec takes them for patterns wherever it takes more than one path. Without this, removing `report[1].pdf`
would remove `report1.pdf` and leave it, and moving it would move the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from glob import escape, has_magic
from pathlib import Path
from typing import Any, TypeAlias, cast

from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import stringify_path

from credstore.concurrency import in_thread
from credstore.errors import StorageInvalidRequestError

Paths: TypeAlias = "str | os.PathLike[str] | list[str]"


class LiteralNames(AsyncFileSystem):
    """A file system whose names are their own before they are patterns."""

    async def _expand_path(
        self,
        path: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        maxdepth: int | None = None,
        **rest: Any,
    ) -> list[str]:
        path = listed(path)
        given = path if isinstance(path, list) else [path]
        bare = [cast("str", self._strip_protocol(each)) for each in given]
        own = [each for each in bare if has_magic(each) and await self._exists(each)]
        if not own or rest.get("assume_literal"):
            return await super()._expand_path(path, recursive, maxdepth, **rest)
        found = set(own)
        if recursive:
            for each in own:
                found |= set(await self._find(each, maxdepth=maxdepth, withdirs=True))
        for each in (each for each in bare if each not in own):
            try:
                found |= set(await super()._expand_path(each, recursive, maxdepth, **rest))
            except FileNotFoundError:
                continue  # As fsspec: an error only where none is found.
        return sorted(found)

    async def _get(
        self,
        rpath: Paths,
        lpath: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        callback: Any = DEFAULT_CALLBACK,
        **options: Any,
    ) -> Any:
        rpath, lpath = listed(rpath), listed(lpath)
        source, destination = stringify_path(rpath), stringify_path(lpath)
        if (
            isinstance(source, str)
            and isinstance(destination, str)
            and has_magic(source)
            and await self._exists(source)
        ):
            folder = destination.endswith("/") or await in_thread(os.path.isdir, destination)
            goes = destination if not folder else _into(source, destination)
            if await self._isfile(source):
                rpath, lpath = [source], [goes]
            else:
                lpath = goes
        check_lengths(rpath, lpath, "get")
        return await super()._get(rpath, lpath, recursive, callback, **options)

    async def _put(self, lpath: Paths, rpath: Paths, *rest: Any, **options: Any) -> Any:
        lpath, rpath = listed(lpath), listed(rpath)
        source, destination = stringify_path(lpath), stringify_path(rpath)
        if isinstance(source, list):
            if not isinstance(destination, list):  # Else they are as they are.
                lpath = [await in_thread(_escaped, each) for each in source]
        elif isinstance(destination, str) and has_magic(source) and await in_thread(os.path.exists, source):
            folder = destination.endswith("/") or await self._isdir(destination)
            goes = destination if not folder else _into(source, destination)
            if await in_thread(os.path.isdir, source):
                lpath, rpath = escape(source.rstrip("/")), goes
            else:
                lpath, rpath = [source], [goes]
        check_lengths(lpath, rpath, "put")
        return await super()._put(lpath, rpath, *rest, **options)


def listed(path: Paths) -> Paths:
    """Several paths as a list, which is what fsspec takes for several."""
    several = isinstance(cast("object", path), tuple | set | frozenset | Mapping)
    return list(cast("Iterable[str]", path)) if several else path


def check_lengths(sources: Paths, targets: Paths, operation: str) -> None:
    """Refuse two lists of which one is longer; fsspec would leave its end out."""
    if isinstance(sources, list) and isinstance(targets, list) and len(sources) != len(targets):
        found = StorageInvalidRequestError(f"{len(sources)} sources have {len(targets)} destinations")
        raise found.at(provider="credstore", operation=operation, key=None)


def _into(source: str, folder: str) -> str:
    """What a source becomes in a folder; the folder itself for what is in a source that ends with a slash."""
    return folder if source.endswith("/") else f"{folder.rstrip('/')}/{source.rsplit('/', 1)[-1]}"


def _escaped(path: str) -> str:
    """The pattern of a local file or folder that is there; another path as it is."""
    path = cast("str", stringify_path(path))
    return escape(path) if has_magic(path) and Path(path).exists() else path
