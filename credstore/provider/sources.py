"""What users pass in, as bodies: bytes, paths, files, iterables.

Rules of this file: files are read in threads, from their current position, and never closed here unless
opened here. A file that changes while it is being stored is refused before its last chunk is yielded, so its
digest, size and bytes belong to one version. A user's generator is closed if it is abandoned early, in a
thread. Code of users, and whatever else may wait for another thread, such as a pipe, never runs in the pool
of the library: it may read from a store, which needs that.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedRandom, BufferedReader, BytesIO, FileIO
from threading import Lock
from typing import IO, Protocol, TypeVar, cast

from credstore.concurrency import joined, until_done
from credstore.driver.parts import source_changed
from credstore.driver.reader import ObjectReader
from credstore.driver.values import Body, BytesBody
from credstore.errors import StorageInvalidRequestError
from credstore.files import FileState
from credstore.model import Storable
from credstore.provider.bodies import close
from credstore.threads import OneByOne, in_daemon, in_pool

CHUNK = 1024 * 1024

T = TypeVar("T")
_PLAIN = (BytesIO, FileIO, BufferedReader, BufferedRandom)
"""What the system itself reads, unless it is a pipe."""
_AT_HAND = (list, tuple)
"""Iterables whose chunks are there already."""


class ChunkSource(ABC):
    """A reader whose chunks are iterated over, since its `read` is not that of a file."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether nothing more comes from it."""

    @abstractmethod
    def __iter__(self) -> Iterator[bytes]:
        """The chunks."""


class _Calls(Protocol):
    """Calls functions in a thread."""

    def __call__(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        """The outcome of one."""
        ...


def version_of(found: os.stat_result) -> FileState | None:
    """The state of a file; None for a pipe or device, and for kernel files, which claim 0 bytes."""
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return None
    return FileState.of(found)


@dataclass(frozen=True, slots=True)
class PathBody:
    """A regular file by its path, opened again for every pass."""

    path: str
    version: FileState
    data: None = None
    replayable: bool = True

    @property
    def length(self) -> int:
        """The file's length."""
        return self.version.size

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The file's bytes from `offset` onwards."""
        opening = _Opening(self.path)
        try:
            file = await in_pool(opening.run)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        except asyncio.CancelledError:
            opening.leave()
            raise
        try:
            if offset:
                await in_pool(file.seek, offset)
            async for chunk in _chunks(in_pool, file, self.length - offset, self.version):
                yield chunk
        except OSError as error:
            raise _unreadable(self.path, error) from None
        finally:
            await joined(in_pool(file.close))


class _Opening:
    """A file that is opened in a thread, which closes it if no one waits for it by then."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = Lock()
        self._file: IO[bytes] | None = None
        self._left = False

    def run(self) -> IO[bytes]:
        """Open it, in a thread."""
        file = open(self._path, "rb")  # noqa: SIM115, PTH123 - closed by whoever waits; the path is text
        with self._lock:
            self._file = file
            if self._left:
                file.close()
        return file

    def leave(self) -> None:
        """Wait for it no more."""
        with self._lock:
            self._left = True
            if self._file is not None:
                self._file.close()


@dataclass(frozen=True, slots=True)
class PipeBody:
    """A pipe, a device or a file of the kernel by its path, which can be read once; or an empty file."""

    path: str
    length: None = None
    data: None = None
    replayable: bool = False

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:  # noqa: ARG002 - never replayed
        """Its bytes; closed once the read in its thread has ended, if ever."""
        file: IO[bytes] | None = None

        def opened() -> IO[bytes]:
            nonlocal file
            file = open(self.path, "rb")  # noqa: SIM115, PTH123 - closed by its thread; the path is text
            return file

        def closed() -> None:
            if file is not None:
                file.close()

        own = OneByOne()
        try:
            async for chunk in _chunks(own.call, await own.call(opened), None, None):
                yield chunk
        except OSError as error:
            raise _unreadable(self.path, error) from None
        finally:
            await _end(own, closed)


@dataclass(frozen=True, slots=True)
class FileBody:
    """An open binary file, from its position at the time of the call; not closed."""

    file: IO[bytes]
    start: int | None
    length: int | None
    version: FileState | None
    plain: bool
    """Whether reading it runs no code of users and waits for no one."""
    data: None = None

    @property
    def replayable(self) -> bool:
        """Whether the file can seek."""
        return self.start is not None

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The file's bytes from its starting position plus `offset` onwards."""
        own = OneByOne()
        calls: _Calls = in_pool if self.plain else own.call
        try:
            if self.start is not None:
                await calls(partial(self.file.seek, self.start + offset))
            left = None if self.length is None else self.length - offset
            async for chunk in _chunks(calls, self.file, left, self.version):
                yield chunk
        finally:
            own.end(_nothing)


@dataclass(frozen=True, slots=True)
class IterableBody:
    """Chunks from an iterable or async iterable, which can be read once."""

    source: Iterable[bytes] | AsyncIterable[bytes]
    length: int | None = None
    data: None = None
    replayable: bool = False

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:  # noqa: ARG002 - never replayed
        """The chunks; a plain iterable is advanced in a thread, since it may read a file or a socket."""
        if isinstance(self.source, AsyncIterable):
            try:
                async for chunk in self.source:
                    yield _as_bytes(chunk)
            finally:
                if inspect.isasyncgen(self.source):
                    await close(self.source)
            return
        source, chunks = self.source, cast("Iterator[bytes] | None", None)
        if type(source) in _AT_HAND:
            for chunk in source:
                yield _as_bytes(chunk)
            return
        end = object()

        def advance() -> object:
            nonlocal chunks
            if chunks is None:
                chunks = iter(source)
            return next(chunks, end)

        def closed() -> None:
            if isinstance(chunks, Generator):
                with suppress(ValueError):  # Another body runs it.
                    chunks.close()

        own = OneByOne()
        try:
            while (given := await own.call(advance)) is not end:
                yield _as_bytes(given)
        except BaseException:
            await _end(own, closed)
            raise
        own.end(closed)


async def body_of(data: Storable) -> Body:
    """The body for what a user passed in.

    Args:
        data: Bytes-like, a path object, a binary file, an iterable or async iterable of bytes.

    Raises:
        StorageInvalidRequestError: Anything else (text is refused, since it could be a path or content), a
            path that cannot be read, or a file opened as text.
    """
    if isinstance(data, bytes):
        return BytesBody(data)
    if isinstance(data, (bytearray, memoryview)):
        return BytesBody(bytes(data))
    if isinstance(data, os.PathLike):
        return await _path_body(os.fspath(data))
    if isinstance(data, str):
        raise StorageInvalidRequestError(
            "data is text; pass text.encode() for its bytes or pathlib.Path(text) for a file"
        )
    if isinstance(data, Mapping):
        raise StorageInvalidRequestError("data is a mapping; pass its bytes, as json.dumps(data).encode()")
    if isinstance(data, (ObjectReader, ChunkSource)) and data.ended:
        raise StorageInvalidRequestError(
            "the reader is at its end or closed, so nothing would be stored; open the object again"
        )
    # Before files, since a reader or a response may have a `read` of its own.
    if isinstance(data, (AsyncIterable, ChunkSource)):
        return IterableBody(cast("AsyncIterable[bytes] | Iterable[bytes]", data))
    if hasattr(data, "read"):
        file = cast("IO[bytes]", data)
        body = await in_pool(_plain_body, file) if type(file) in _PLAIN else None
        return await in_daemon(partial(_file_body, file, plain=False)) if body is None else body
    if isinstance(data, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        return IterableBody(data)
    raise StorageInvalidRequestError(
        "data is bytes, a path object, a binary file or an (async) iterable of bytes, not "
        f"{type(cast('object', data)).__name__}"
    )


async def _path_body(path: str) -> Body:
    try:
        found = await in_pool(os.stat, path)
        if stat.S_ISDIR(found.st_mode):
            raise StorageInvalidRequestError(f"{path!r} is a directory; pass a file")
        version = version_of(found)
        return PipeBody(path) if version is None else PathBody(path, version)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(f"cannot read the file {path!r}: {error.strerror or error}")


def _plain_body(file: IO[bytes]) -> Body | None:
    """The body for a file in memory or a regular one of the system; None for a pipe, a device or another."""
    try:
        raw: object = getattr(file, "raw", file)
        plain = type(raw) is BytesIO or (type(raw) is FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode))
    except (OSError, ValueError):  # It is closed, or detached.
        plain = False
    return _file_body(file, plain=True) if plain else None


def _file_body(file: IO[bytes], *, plain: bool) -> Body:
    if inspect.iscoroutinefunction(file.read):
        raise StorageInvalidRequestError(
            "the file's read() is async; pass an async iterable of its chunks instead"
        )
    try:
        empty: object = file.read(0)
    except (OSError, ValueError, TypeError) as error:
        raise StorageInvalidRequestError(f"the file cannot be read: {error}") from None
    if isinstance(empty, str):
        raise StorageInvalidRequestError("the file is opened as text; open it with mode 'rb'")
    try:
        start = file.tell()
        file.seek(0, os.SEEK_END)
        end = file.tell()
        file.seek(start)
    except (OSError, AttributeError, ValueError):  # Pipes, sockets and responses cannot seek.
        return FileBody(file, None, None, None, plain)
    if start >= end > 0:  # As it is left by whoever has just written it.
        raise StorageInvalidRequestError(
            f"the file is at its end, so none of its {end} bytes would be stored; rewind it: file.seek(0)"
        )
    if end <= start:  # Empty, as kernel files claim to be.
        return FileBody(file, None, None, None, plain)
    return FileBody(file, start, end - start, _version(file), plain)


def _version(file: IO[bytes]) -> FileState | None:
    try:
        return version_of(os.fstat(file.fileno()))
    except (OSError, AttributeError, ValueError):  # It is in memory, or decoded from another file.
        return None


def _is_still(file: IO[bytes], version: FileState) -> bool:
    found = _version(file)
    return found is not None and found.has_bytes_of(version)


async def _chunks(
    calls: _Calls, file: IO[bytes], left: int | None, version: FileState | None
) -> AsyncIterator[bytes]:
    """A file's bytes from its position, checked to be `left` bytes of that version where these are known."""

    def advance() -> bytes:
        chunk = _as_bytes(file.read(CHUNK))
        if (left is not None and done + len(chunk) > left) or (
            not chunk and ((left is not None and done < left) or (version and not _is_still(file, version)))
        ):
            raise source_changed()
        return chunk

    done = 0
    held = b""  # One chunk behind, so that the whole body is never yielded before its end has been checked.
    while chunk := await calls(advance):
        done += len(chunk)
        if held:
            yield held
        held = chunk
    if held:
        yield held


async def _end(own: OneByOne, last: Callable[[], object]) -> None:
    """Make one more call, whose end is waited for unless another is still under way."""
    ending = own.end(last)
    if ending is not None:
        cancelled = await until_done([ending])
        ending.result()
        if cancelled is not None:
            raise cancelled


def _nothing() -> None:
    """Do nothing."""


def _as_bytes(chunk: object) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray | memoryview):
        return bytes(cast("bytearray | memoryview[int]", chunk))
    raise StorageInvalidRequestError(f"the stream yielded {type(chunk).__name__} where bytes are expected")
