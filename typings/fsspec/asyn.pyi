# What credstore uses of a package without types.

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from fsspec.spec import AbstractFileSystem

_P = ParamSpec("_P")
_T = TypeVar("_T")

def sync(
    loop: asyncio.AbstractEventLoop,
    func: Callable[_P, Coroutine[Any, Any, _T]],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T: ...

class AsyncFileSystem(AbstractFileSystem):
    batch_size: int | None
    def __init__(self, **storage_options: Any) -> None: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    async def _rm(
        self,
        path: str | list[str],
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any: ...
    async def _expand_path(
        self,
        path: str | os.PathLike[str] | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> list[str]: ...
    async def _find(self, path: str, maxdepth: int | None = None, withdirs: bool = False) -> list[str]: ...
    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]: ...
    async def _exists(self, path: str) -> bool: ...
    async def _isfile(self, path: str) -> bool: ...
    async def _isdir(self, path: str) -> bool: ...
    async def _copy(
        self,
        path1: str | os.PathLike[str] | list[str],
        path2: str | os.PathLike[str] | list[str],
        *args: Any,
        **kwargs: Any,
    ) -> None: ...
    async def _put(
        self,
        lpath: str | os.PathLike[str] | list[str],
        rpath: str | os.PathLike[str] | list[str],
        *args: Any,
        **kwargs: Any,
    ) -> Any: ...
    async def _get(
        self,
        rpath: str | os.PathLike[str] | list[str],
        lpath: str | os.PathLike[str] | list[str],
        recursive: bool = False,
        callback: Any = ...,
        **kwargs: Any,
    ) -> Any: ...
    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> Any: ...
    def read_block(self, fn: str, offset: int, length: int | None, delimiter: bytes | None = None) -> Any: ...
    def read_text(
        self,
        path: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **kwargs: Any,
    ) -> Any: ...
