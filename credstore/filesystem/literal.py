"""Names with `*`, `?` or `[`: what has such a name is meant, and only where nothing has it, what matches it.

fsspec takes them for patterns wherever it takes more than one path. Without this, removing `report[1].pdf`
would remove `report1.pdf` and leave it, and moving it would move the other.
"""

from __future__ import annotations

import os
from glob import has_magic
from pathlib import Path
from typing import Any, TypeAlias, cast

from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import stringify_path

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

    async def _copy(self, path1: Paths, path2: Paths, *rest: Any, **options: Any) -> None:
        source, destination = stringify_path(path1), stringify_path(path2)
        if isinstance(source, str) and isinstance(destination, str) and await self._is_own(source):
            path1, path2 = [source], [await self._goes_to(source, destination)]
        await super()._copy(path1, path2, *rest, **options)

    async def _get(
        self,
        rpath: Paths,
        lpath: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        callback: Any = DEFAULT_CALLBACK,
        **options: Any,
    ) -> Any:
        source, destination = stringify_path(rpath), stringify_path(lpath)
        if isinstance(source, str) and isinstance(destination, str) and await self._is_own(source):
            rpath, lpath = [source], [_inside(source, destination) or destination]
        return await super()._get(rpath, lpath, recursive, callback, **options)

    async def _is_own(self, path: str) -> bool:
        """Whether a path that looks like a pattern is that of an object."""
        return has_magic(path) and await self._isfile(path)

    async def _goes_to(self, source: str, destination: str) -> str:
        if not destination.endswith("/") and not await self._isdir(destination):
            return destination
        return f"{destination.rstrip('/')}/{source.rsplit('/', 1)[-1]}"


def _inside(source: str, destination: str) -> str | None:
    """Where it goes if the destination is a local folder."""
    folder = destination.endswith("/") or Path(destination).is_dir()
    return str(Path(destination, source.rsplit("/", 1)[-1])) if folder else None
