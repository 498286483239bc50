"""`CredstoreFile`: one object as a file, read by ranges and written as a stream."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import IO, Any, Protocol, cast

from fsspec.asyn import sync
from fsspec.spec import AbstractBufferedFile

from credstore.errors import StoragePreconditionFailedError

_log = logging.getLogger("credstore.filesystem")


class Stores(Protocol):
    """What a file needs of its file system; `CredstoreFileSystem` says what these are."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where the store is used."""
        ...

    async def read_range(self, path: str, wanted: Mapping[str, Any]) -> tuple[bytes, str | None]:
        """The bytes of a range, and the etag of their version."""
        ...

    async def write(self, path: str, data: Any, mode: str, options: Mapping[str, Any]) -> None:
        """Write an object."""
        ...


class _DiscardedError(Exception):
    """Ends the stream of a file that is not to be published."""


class _Upload:
    """A file on its way to the store, in chunks as they are written. Lives on the file system's loop."""

    def __init__(self, store: Callable[[AsyncGenerator[bytes]], Any]) -> None:
        self._chunks: asyncio.Queue[bytes | _DiscardedError | None] = asyncio.Queue(1)
        self._storing = asyncio.ensure_future(store(self._stream()))

    async def _stream(self) -> AsyncGenerator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, _DiscardedError):
                raise chunk
            yield chunk

    async def send(self, chunk: bytes | _DiscardedError | None) -> None:
        """Hand over a chunk once there is room, or raise what ended the upload."""
        room = asyncio.ensure_future(self._chunks.put(chunk))
        await asyncio.wait({room, self._storing}, return_when=asyncio.FIRST_COMPLETED)
        if self._storing.done():
            room.cancel()
            await self._storing

    async def finish(self) -> None:
        """Publish what was sent."""
        await self.send(None)
        await self._storing

    async def discard(self) -> None:
        """Publish nothing, and wait until that is certain."""
        with suppress(Exception):  # Whoever writes has learnt of another error, or no longer wants to.
            await self.send(_DiscardedError("the file was discarded"))
            await self._storing

    def abandon(self) -> None:
        """Publish nothing, without waiting; for a file that is garbage."""
        self._storing.cancel()


class CredstoreFile(AbstractBufferedFile):
    """One object as a file: read by ranges, written as a stream.

    **Writing.** Up to one block is stored at once when the file is closed; more is sent while it is written,
    in bounded memory. Nothing is visible before `close`, and then all of it. It is not published where the
    writer raised: where `close` runs because of an exception that was raised after the file was opened, as at
    the end of a `with` or in a `finally`, under whatever wrapper. So close a file outside the
    `except` that recovers from an error, if it is to be published. Nor is a file published that was never
    closed. In a transaction of the file system, files are published at its end.

    **Reading.** All bytes are of one version: if the object is replaced meanwhile, reading raises
    `StoragePreconditionFailedError`.
    """

    fs: Stores

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `CredstoreFileSystem.open`."""
        self._upload: _Upload | None = None
        self._held: bytes | None = None
        self._handled = sys.exception()
        super().__init__(*args, **kwargs)
        self._etag = cast("str | None", self._details["etag"] if self._details else None)

    def _fetch_range(self, start: int, end: int) -> bytes:
        data, etag = sync(self.fs.loop, self.fs.read_range, self.path, {"start": start, "end": end})
        if etag is not None:
            if self._etag not in {None, etag}:
                error = StoragePreconditionFailedError("the object was replaced while it was read")
                raise error.at(provider="credstore", operation="open", key=self.path[1:])
            self._etag = etag
        return data

    async def _begin(self) -> _Upload:
        return _Upload(self._storing())

    def _storing(self) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """What stores data as this file, and does not refer to it, so that an upload is not what keeps it."""
        mode = "create" if self.mode == "xb" else "overwrite"
        return partial(self.fs.write, self.path, mode=mode, options=self.kwargs)

    def _upload_chunk(self, final: bool = False) -> bool:  # noqa: FBT001, FBT002 - fsspec's own
        data = self.buffer.getvalue()
        if final:
            self._held = data
            if self.autocommit:
                self.commit()
        else:
            if self._upload is None:
                self._upload = sync(self.fs.loop, self._begin)
            sync(self.fs.loop, self._upload.send, data)
        return True

    def commit(self) -> None:
        """Publish a file that is closed, at the end of a transaction; nothing if it was discarded."""
        data, self._held = self._held, None
        if data is None:
            return
        if self._upload is None:
            sync(self.fs.loop, self._storing(), data)
            return
        if data:
            sync(self.fs.loop, self._upload.send, data)
        sync(self.fs.loop, self._upload.finish)

    def discard(self) -> None:
        """Publish nothing, and close the file."""
        self._held, self.closed = None, True
        upload, self._upload = self._upload, None
        if upload is not None:
            sync(self.fs.loop, upload.discard)

    def close(self) -> None:
        """Publish what was written, unless the writer raised; see the class."""
        if self.closed or self.mode == "rb":
            super().close()
            return
        raised, handled = sys.exception(), self._handled
        self._handled = None
        if raised is not None and raised is not handled:
            _log.warning("%s was not published, since its writer raised %s", self.path, type(raised).__name__)
            self.discard()
            return
        try:
            super().close()
        except BaseException:
            self.discard()
            raise

    def abandon(self) -> None:
        """Publish nothing, without waiting: the file was never closed, and is garbage."""
        upload, self._upload, self._held = self._upload, None, None
        self.closed = True
        if upload is not None and not self.fs.loop.is_closed():
            self.fs.loop.call_soon_threadsafe(upload.abandon)

    def _dealloc_warn(self, _source: object) -> None:
        """What Python's own wrappers call before they close what is below because they are garbage."""
        self.abandon()

    def __del__(self) -> None:
        if not self.closed:  # False only once `__init__` has got that far.
            self.abandon()


class CompressedFile(io.BufferedIOBase):
    """What compresses into a file, and the file, which are closed together."""

    def __init__(self, compressor: IO[bytes], file: CredstoreFile) -> None:
        self._compressor = compressor
        self._file = file

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Compress bytes into the file."""
        return self._compressor.write(data)

    def _dealloc_warn(self, _source: object) -> None:
        self._file.abandon()

    def __del__(self) -> None:
        self._file.abandon()

    def close(self) -> None:
        """Close both; see `CredstoreFile`."""
        if not self.closed:
            super().close()
            try:
                if not self._file.closed:
                    self._compressor.close()
            finally:
                self._file.close()
