"""What users hand in, as bodies: bytes, paths, files, iterables; and the same, encoded.

Rules of this file: files are read in threads, from their current position, and never closed here
unless opened here; a body that gives other bytes the second time is found out by the digest below.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import IO, cast

from credstore.driver import Body, BytesBody
from credstore.errors import StorageInvalidRequestError
from credstore.model import Codec, Storable
from credstore.pipeline.codec import encoder
from credstore.reader import hash_into

CHUNK = 1024 * 1024
INLINE = 48 * 1024
"""Bytes that are encoded on the event loop: 0.1 ms of gzip, 0.8 ms where zlib has to make it."""


@dataclass(frozen=True, slots=True)
class PathBody:
    """A file by its path, opened anew for every pass; a pipe or device only once."""

    path: str
    length: int | None
    data: None = None
    replayable: bool = True

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The file's bytes from `offset` on."""
        try:
            file = await asyncio.to_thread(open, self.path, "rb")
        except OSError as error:
            raise _unreadable(self.path, error) from None
        try:
            if offset:
                await asyncio.to_thread(file.seek, offset)
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
        except OSError as error:
            raise _unreadable(self.path, error) from None
        finally:
            await asyncio.to_thread(file.close)


@dataclass(frozen=True, slots=True)
class FileBody:
    """An open binary file from its position at the time of the call; not closed."""

    file: IO[bytes]
    start: int | None
    length: int | None
    data: None = None

    @property
    def replayable(self) -> bool:
        """Whether the file can seek."""
        return self.start is not None

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The file's bytes from its starting position plus `offset` on."""
        if self.start is not None:
            await asyncio.to_thread(self.file.seek, self.start + offset)
        while chunk := await asyncio.to_thread(self.file.read, CHUNK):
            yield _as_bytes(chunk)


@dataclass(frozen=True, slots=True)
class IterableBody:
    """Chunks from an iterable or async iterable, which can be read once."""

    source: Iterable[bytes] | AsyncIterable[bytes]
    length: None = None
    data: None = None
    replayable: bool = False

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:  # noqa: ARG002 - never replayed
        """The chunks; a plain iterable is advanced in a thread, for it may read a file or a socket."""
        if isinstance(self.source, AsyncIterable):
            async for chunk in self.source:
                yield _as_bytes(chunk)
            return
        chunks = iter(self.source)

        def advance() -> bytes | None:
            return next(chunks, None)

        while (given := await asyncio.to_thread(advance)) is not None:
            yield _as_bytes(given)


@dataclass(slots=True)
class WatchedBody:
    """A user's stream that remembers why it failed, so that its own error reaches the user.

    Attributes:
        source: The user's stream as a body.
        failure: What reading it raised, or None.
        done: Bytes of the last pass so far.
    """

    source: Body
    failure: BaseException | None = None
    done: int = 0

    @property
    def length(self) -> int | None:
        """As the source's."""
        return self.source.length

    @property
    def data(self) -> bytes | None:
        """As the source's."""
        return self.source.data

    @property
    def replayable(self) -> bool:
        """As the source, and never after it failed."""
        return self.source.replayable and self.failure is None

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The source's bytes."""
        chunks = self.source.open(offset)
        self.done = offset
        try:
            async for chunk in chunks:
                self.done += len(chunk)
                yield chunk
        except Exception as error:
            self.failure = error
            raise
        finally:
            await close(chunks)


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """Another body, encoded on the way."""

    source: Body
    codec: Codec
    length: None = None
    data: None = None

    @property
    def replayable(self) -> bool:
        """As the source is: encoding the same bytes again gives the same bytes."""
        return self.source.replayable

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The encoded bytes from `offset` on; large chunks are encoded in a thread."""
        stream = encoder(self.codec)
        async for chunk in self.source.open():
            if len(chunk) > INLINE:
                encoded = await asyncio.to_thread(stream.feed, chunk)
            else:
                encoded = stream.feed(chunk)
            offset, encoded = _skip(offset, encoded)
            if encoded:
                yield encoded
        _, encoded = _skip(offset, stream.finish())
        if encoded:
            yield encoded


@dataclass(frozen=True, slots=True)
class PrefixedBody:
    """Bytes already read from a stream that can be read once, and the rest of it."""

    head: list[bytes]
    rest: AsyncIterator[bytes]
    length: int | None
    data: None = None
    replayable: bool = False

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:  # noqa: ARG002 - never replayed
        """The bytes, once."""
        while self.head:
            yield self.head.pop(0)
        async for chunk in self.rest:
            yield chunk


async def body_of(data: Storable) -> Body:
    """The body for what a user handed in.

    Args:
        data: Bytes-like, a path object, a binary file, an iterable or async iterable of bytes.

    Raises:
        StorageInvalidRequestError: Anything else (text is refused: path or content would be a
            guess), a path that cannot be read, or a file opened as text.
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
    if hasattr(data, "read"):
        return await asyncio.to_thread(_file_body, cast("IO[bytes]", data))
    if isinstance(data, AsyncIterable | Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        return IterableBody(cast("Iterable[bytes] | AsyncIterable[bytes]", data))
    raise StorageInvalidRequestError(
        "data is bytes, a path object, a binary file or an (async) iterable of bytes, not "
        f"{type(cast('object', data)).__name__}"
    )


async def settled(body: Body, limit: int) -> Body:
    """The same body, in memory if it has at most `limit` bytes.

    Small bodies gain a known length and digest and can be sent again; a larger stream goes on from
    the bytes that were read, so nothing is lost.
    """
    if body.data is not None or (body.length is not None and body.length > limit):
        return body
    chunks = body.open()
    head: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > limit:
            if body.replayable:
                await close(chunks)
                return body
            return PrefixedBody(head, chunks, body.length)
    return BytesBody(b"".join(head))


async def digest_of(body: Body) -> bytes:
    """SHA-256 of a replayable body, in one pass over it."""
    digest = hashlib.sha256()
    async for chunk in body.open():
        await hash_into(digest, chunk)
    return digest.digest()


async def close(chunks: AsyncIterator[bytes]) -> None:
    """Close a generator of chunks before its end."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


async def _path_body(path: str) -> Body:
    try:
        found = await asyncio.to_thread(os.stat, path)
        if stat.S_ISDIR(found.st_mode):
            raise StorageInvalidRequestError(f"{path!r} is a directory; give a file")
        if not stat.S_ISREG(found.st_mode):  # A pipe or device: its size says nothing.
            return PathBody(path, None, replayable=False)
        return PathBody(path, found.st_size)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(f"cannot read the file {path!r}: {error.strerror or error}")


def _file_body(file: IO[bytes]) -> Body:
    if isinstance(file.read(0), str):
        raise StorageInvalidRequestError("the file is opened as text; open it with mode 'rb'")
    try:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (OSError, AttributeError, ValueError):  # Pipes, sockets and responses cannot seek.
        return FileBody(file, None, None)
    return FileBody(file, start, end - start)


def _as_bytes(chunk: object) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray | memoryview):
        return bytes(cast("bytearray | memoryview[int]", chunk))
    raise StorageInvalidRequestError(f"the stream gave {type(chunk).__name__} where bytes are expected")


def _skip(offset: int, data: bytes) -> tuple[int, bytes]:
    if not offset:
        return 0, data
    return max(0, offset - len(data)), data[offset:]
