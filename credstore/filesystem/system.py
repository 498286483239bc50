"""`CredstoreFileSystem`: the methods of fsspec on the verbs of a provider."""

from __future__ import annotations

import asyncio
import io
import mimetypes
import os
import stat
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from inspect import isfunction
from pathlib import Path
from typing import Any, TypeAlias, cast

from credstore.concurrency import in_thread, map_all
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.extras import missing_extra
from credstore.factory import StorageFactory
from credstore.files import PendingFile
from credstore.model import CommonPrefix, StorageItem, StoreOptions
from credstore.provider.provider import StorageProvider

try:
    from fsspec.asyn import sync
    from fsspec.callbacks import DEFAULT_CALLBACK, Callback
    from fsspec.compression import compr
    from fsspec.core import get_compression

    from credstore.filesystem.file import CompressedFile, CredstoreFile
    from credstore.filesystem.moving import AT_ONCE, Moving
except ModuleNotFoundError:
    raise missing_extra("fsspec", "the file system needs") from None

Info: TypeAlias = dict[str, Any]


class CredstoreFileSystem(Moving):
    """A store as a file system.

    fsspec keeps instances: the same options give the same one, with the environment as it was when it was
    made; `skip_instance_cache=True` makes a new one.

    A path with `*`, `?` or `[` is that of the object that has it, and a pattern only where nothing has.

    The sizes that a listing shows are the stored ones, as the store lists them; `info` and an open file have
    the size of what is read, which differs where objects are compressed or encrypted.

    Errors are those of `StorageProvider`. What is absent is a `FileNotFoundError`, what must not be replaced
    a `FileExistsError`, what is not allowed a `PermissionError`; a store that cannot be reached raises
    another error, so that it never passes for an empty or missing folder.
    """

    protocol = "credstore"
    root_marker = "/"
    async_impl = True

    def __init__(
        self,
        store: str | Callable[[], StorageProvider] | None = None,
        *,
        default_block_size: int | None = None,
        default_cache_type: str = "readahead",
        **storage_options: Any,
    ) -> None:
        """Read the settings; nothing is opened yet.

        Args:
            store: A store URL; keys come from the environment, as for `StorageFactory.create`. Or a function
                that makes an open provider, for settings and encryption that no URL can have: it is called
                on the event loop that the provider is for. Unless given, the store of the environment.
            default_block_size: Bytes that a reader fetches ahead, and that a writer sends at a time; 5 MiB
                unless given.
            default_cache_type: fsspec's cache of a reader; "none" fetches exactly what is read.
            storage_options: Of fsspec: `asynchronous`, `loop`, `batch_size`, `skip_instance_cache`.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory.
        """
        super().__init__(**storage_options)
        self._block_size = default_block_size
        self._cache_type = default_cache_type
        self._make = _maker(store)
        self._providers: dict[asyncio.AbstractEventLoop, StorageProvider] = {}

    def _provider(self) -> StorageProvider:
        """The open provider of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._providers.get(loop)
        if found is None or found.closed:
            for ended in [each for each in self._providers if each.is_closed()]:
                del self._providers[ended]
            found = self._providers[loop] = self._make()
        return found

    async def aclose(self) -> None:
        """Close the provider of the running loop; the next call makes a new one."""
        found = self._providers.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.aclose()

    def close(self) -> None:
        """Close the provider of fsspec's loop; the next call makes a new one."""
        sync(self.loop, self.aclose)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path within the store: "" for its root, else a slash and the key."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in cast("list[object]", path)]
        bare = cast("str", super()._strip_protocol(path))
        if bare == cls.root_marker:
            return ""
        return bare if bare.startswith("/") else f"/{bare}"

    async def _info(self, path: str, **_: Any) -> Info:
        key = self._key(path)
        if not key:
            return _directory("")
        provider = self._provider()
        item = await provider.get_metadata(key)
        if item is not None:
            return await self._measured(item)
        below = await provider.list(f"{key}/", 1, delimiter="/")
        if below or below.prefixes or below.refused:
            return _directory(key)
        raise self._absent(key, "info")

    async def _measured(self, item: StorageItem) -> Info:
        """A file with the size of what is read, which is in the header of an encrypted object.

        Where a compressed object does not record it, as one that came as a stream, all of it is read.
        """
        info = _file(item)
        if item.plain_size is None and (item.client_side or item.compression):
            provider = self._provider()
            size: int | None = None
            if item.client_side:
                async with provider.open(item.key, start=0, end=1) as reader:
                    size = reader.info.plain_size
            if size is None:
                size = 0
                async with provider.open(item.key) as reader:
                    async for chunk in reader:
                        size += len(chunk)
            info["size"] = size
        return info

    def _absent(self, key: str, operation: str) -> StorageObjectNotFoundError:
        found = StorageObjectNotFoundError("there is no such file or folder")
        return found.at(provider=self._provider().get_provider_name(), operation=operation, key=key)

    async def _type(self, path: str) -> str | None:
        try:
            return cast("str", (await self._info(path))["type"])
        except FileNotFoundError:
            return None

    async def _isfile(self, path: str) -> bool:
        return await self._type(path) == "file"

    async def _isdir(self, path: str) -> bool:
        return await self._type(path) == "directory"

    async def _below(self, prefix: str) -> list[Info]:
        """What is in a folder; `prefix` ends with a slash, or has the start of names after one."""
        found: list[Info] = []
        async with aclosing(_generator(self._provider().scan(prefix, delimiter="/"))) as names:
            async for each in names:
                if isinstance(each, CommonPrefix):
                    found.append(_directory(each.prefix.removesuffix("/")))
                elif not each.key.endswith("/"):  # A console's mark of a folder.
                    found.append(_file(each))
        return found

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's own
        key = self._key(path)
        found = await self._below(f"{key}/" if key else "")
        if not found and key:
            info = await self._info(path)
            found = [info] if info["type"] == "file" else []
        found.sort(key=_name)
        return found if detail else [_name(each) for each in found]

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        *,
        prefix: str = "",
        detail: bool = False,
        **_: Any,
    ) -> Any:
        key = self._key(path)
        if maxdepth is not None and maxdepth < 1:
            raise StorageInvalidRequestError(f"maxdepth is 1 or more, not {maxdepth}")
        root = f"{key}/" if key else ""
        walk = self._all(root, prefix) if maxdepth is None else self._levels(root, prefix, maxdepth)
        found = {_name(each): each for each in await walk if withdirs or each["type"] == "file"}
        if withdirs and key and (found or await self._isdir(path)):
            found[f"/{key}"] = _directory(key)
        if not found and key and await self._isfile(path):
            found[f"/{key}"] = await self._info(path)
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    async def _all(self, root: str, prefix: str) -> list[Info]:
        folders: dict[str, Info] = {}
        files: list[Info] = []
        async with aclosing(_generator(self._provider().scan(root + prefix))) as items:
            async for item in items:
                key = cast("StorageItem", item).key
                if not key.endswith("/"):
                    files.append(_file(cast("StorageItem", item)))
                end = key.rfind("/")
                while end >= len(root) and key[:end] not in folders:
                    folders[key[:end]] = _directory(key[:end])
                    end = key.rfind("/", 0, end)
        folders.pop("", None)
        return [*folders.values(), *files]

    async def _levels(self, root: str, prefix: str, depth: int) -> list[Info]:
        found: list[Info] = []
        level = [root + prefix]
        for _ in range(depth):
            new = [info for each in level for info in await self._below(each)]
            found += new
            level = [f"{_name(info)[1:]}/" for info in new if info["type"] == "directory"]
        return found

    async def _du(self, path: str, total: bool = True, maxdepth: int | None = None, **_: Any) -> Any:  # noqa: FBT001, FBT002 - fsspec's own
        """Stored bytes, from a listing."""
        found = await self._find(path, maxdepth, detail=True)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        if start is not None and start < 0 and end is None:
            return (await self.read_range(path, {"suffix": -start}))[0]
        if (start is not None and start < 0) or (end is not None and end < 0):
            size = (await self._info(path))["size"]
            start, end, _step = slice(start, end).indices(size)
        return (await self.read_range(path, {"start": start or 0, "end": end}))[0]

    def head(self, path: str, size: int = 1024) -> bytes:
        """The first bytes of a file, in one request, since its size is not needed."""
        return cast("bytes", self.cat_file(path, 0, size if size >= 0 else None))

    def tail(self, path: str, size: int = 1024) -> bytes:
        """The last bytes of a file, in one request."""
        return cast("bytes", self.cat_file(path, -size)) if size > 0 else b""

    def read_block(self, fn: str, offset: int, length: int | None, delimiter: bytes | None = None) -> bytes:
        """Bytes from an offset on, in one request unless they are to start and end at a delimiter."""
        if delimiter or offset < 0:
            return cast("bytes", super().read_block(fn, offset, length, delimiter))
        return cast("bytes", self.cat_file(fn, offset, None if length is None else offset + length))

    def read_text(
        self,
        path: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **kwargs: Any,
    ) -> str:
        """All of a file as text, in one request; with options of `open`, as that reads it."""
        if kwargs:
            return cast("str", super().read_text(path, encoding, errors, newline, **kwargs))
        data = io.BytesIO(cast("bytes", self.cat_file(path)))
        return io.TextIOWrapper(data, encoding=encoding, errors=errors, newline=newline).read()

    async def read_range(self, path: str, wanted: Mapping[str, Any]) -> tuple[bytes, str | None]:
        """The bytes of a range, and the etag of their version, or nothing and None beyond the end.

        Args:
            path: Of the file.
            wanted: The range, as for `StorageProvider.open`.
        """
        end = wanted.get("end")
        if end is not None and end <= wanted["start"]:
            return b"", None
        try:
            async with self._provider().open(self._key(path), **wanted) as reader:
                return await reader.read(), reader.info.etag
        except StorageInvalidRequestError as error:
            if error.code != ErrorCode.INVALID_RANGE:
                raise
            return b"", None

    async def write(self, path: str, data: Any, mode: str, options: Mapping[str, Any]) -> None:
        """Write an object; unlike proofs, files may be written again, and are not to be cached for good.

        Args:
            path: Of the file.
            data: As for `StorageProvider.store`.
            mode: "create" never replaces a file; anything else does.
            options: Instead of the defaults.
        """
        whole = cast(
            "StoreOptions", {"content_type": _media_type(path), "cache_control": "no-cache", **options}
        )
        if mode == "create":
            whole["if_absent"] = True
        await self._provider().store(self._key(path), data, **whole)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        await self.write(path, value, mode, options)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        mode: str = "overwrite",
        callback: Callback = DEFAULT_CALLBACK,
        **options: Any,
    ) -> None:
        local = Path(lpath)
        found = await in_thread(local.stat)
        if stat.S_ISDIR(found.st_mode):
            return
        callback.set_size(found.st_size)

        def progress(done: int, _total: int | None) -> None:
            callback.absolute_update(done)

        await self.write(rpath, local, mode, {"progress": progress, **options})

    async def _get_file(
        self, rpath: str, lpath: str, callback: Callback = DEFAULT_CALLBACK, **options: Any
    ) -> None:
        """Fetch a file, which has its name once all of it is there and has been checked."""
        if await in_thread(os.path.isdir, lpath):
            if await self._isfile(rpath):
                raise StorageInvalidRequestError(
                    f"a file cannot be fetched as {lpath!r}, which is a folder"
                ).at(provider="credstore", operation="open", key=self._key(rpath))
            return
        try:
            async with self._provider().open(self._key(rpath), **options) as reader:
                callback.set_size(reader.length)
                await self._save(reader, lpath, callback)
        except StorageObjectNotFoundError:
            if not await self._isdir(rpath):
                raise
            await in_thread(os.makedirs, lpath, exist_ok=True)

    async def _save(self, reader: Any, lpath: str, callback: Callback) -> None:
        file = PendingFile(lpath, replace=True)
        try:
            await in_thread(file.open)  # Which is made even if this is cancelled meanwhile.
            async for chunk in reader:
                await in_thread(file.write, chunk)
                callback.relative_update(len(chunk))
            await in_thread(file.publish)
        finally:
            await in_thread(file.close)

    async def _rm_file(self, path: str, **options: Any) -> None:
        key = self._key(path)
        if await self._provider().delete(key, **options) is False:
            raise self._absent(key, "delete")

    async def _rm(
        self,
        path: str | list[str],
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **options: Any,
    ) -> None:
        if not recursive:
            # In the order of fsspec, which has another signature in each of its versions.
            names = await self._expand_path(path, maxdepth=maxdepth)
            size = batch_size or self.batch_size or AT_ONCE
            remove = partial(self._rm_file, **options)
            await map_all(names[::-1], remove, at_once=size if size > 0 else max(1, len(names)))
            return
        keys: list[str] = []
        if maxdepth is not None:  # Folders have no object, and are there as long as something deeper is.
            names = await self._expand_path(path, recursive=True, maxdepth=maxdepth)
            keys = [key for key in map(self._key, names) if key]
        for root in await self._expand_path(path) if maxdepth is None else ():
            key = self._key(root)
            if key:
                await self._info(root)  # Removing nothing is an error here.
                keys.append(key)
            async for item in self._provider().scan(f"{key}/" if key else ""):
                keys.append(item.key)
        result = await self._provider().batch_delete(keys)
        for error in result.failed.values():
            raise error

    async def _mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's own
        """Nothing: a folder is there once something is in it."""

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's own
        """Nothing: a folder is there once something is in it."""

    async def _sign(self, path: str, expiration: int) -> str:
        return await self._provider().get_signed_url(self._key(path), expiration)

    def sign(self, path: str, expiration: int = 100, **_: Any) -> str:
        """A temporary link to a file; see `StorageProvider.get_signed_url`.

        Args:
            path: Of the file.
            expiration: Seconds.
        """
        return sync(self.loop, self._sign, path, expiration)

    def modified(self, path: str) -> Any:
        """When a file was stored, UTC."""
        return self.info(path)["last_modified"]

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: Mapping[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A file; see `CredstoreFile` for when what is written is published.

        Args:
            path: Of the file.
            mode: "rb", "wb", or "xb", which never replaces a file; and the same without "b" for text.
            block_size: Bytes, instead of the file system's.
            cache_options: Of fsspec's cache.
            compression: fsspec's name of a compression, or "infer", to go by the path's end.
            kwargs: `encoding`, `errors` and `newline` of text; `cache_type` and `size` of a reader; the
                `StoreOptions` of a writer.
        """
        squeezed = compression is not None and "b" in mode and "r" not in mode
        file = super().open(
            path, mode, block_size, cache_options, None if squeezed else compression, **kwargs
        )
        name = get_compression(path, compression) if squeezed else None
        return file if name is None else CompressedFile(compr[name](file, mode="w"), file)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002 - fsspec's own
        cache_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> CredstoreFile:
        if mode not in {"rb", "wb", "xb"}:
            raise StorageUnsupportedError(
                f"an object is read or written as a whole, which rules out {mode!r}"
            )
        if mode == "xb" and self.exists(path):
            found = StorageAlreadyExistsError("there is such a file")
            raise found.at(provider="credstore", operation="open", key=self._key(path))
        kwargs.setdefault("cache_type", self._cache_type)
        size = block_size or self._block_size
        return CredstoreFile(
            self, path, mode, size, autocommit=autocommit, cache_options=cache_options, **kwargs
        )


def _maker(store: object) -> Callable[[], StorageProvider]:
    """What makes a provider.

    A function is one that `def` makes, since fsspec distinguishes instances by the text of their options, in
    which a config or a partial hides the keys in which it may differ from another.
    """
    if isfunction(store):
        return cast("Callable[[], StorageProvider]", store)
    if store is not None and not isinstance(store, str):
        raise StorageConfigurationError(
            f"store is a URL, or a function that makes a provider, not {type(store).__name__}"
        )
    factory = StorageFactory()
    config = factory.configure(store)
    return lambda: factory.create(config)


def _generator(items: Any) -> AsyncGenerator[StorageItem | CommonPrefix]:
    """What `scan` returns, as what it is."""
    return cast("AsyncGenerator[StorageItem | CommonPrefix]", items)


def _name(info: Info) -> str:
    return cast("str", info["name"])


def _directory(key: str) -> Info:
    return {"name": f"/{key}" if key else "", "size": 0, "type": "directory"}


def _file(item: StorageItem) -> Info:
    modified = item.last_modified
    return {
        "name": f"/{item.key}",
        "size": item.size if item.plain_size is None else item.plain_size,
        "type": "file",
        "stored_size": item.size,
        "etag": item.etag,
        "version_id": item.version_id,
        "mtime": None if modified is None else modified.timestamp(),
        "last_modified": modified,
        "storage_class": item.storage_class,
    }


def _media_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"
