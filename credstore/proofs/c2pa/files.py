"""Assets as files that can seek, whatever they came as, and their digests.

Rules of this file: memory does not grow with the asset. A path is opened once: what is hashed and what is
verified are one open file, and if it was written to in the meantime there is no verdict. A stream that cannot
seek is copied to a temporary file without a name. Blocking calls run in threads.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import IO

from credstore.concurrency import in_thread, opened_in_thread
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.files import FileState
from credstore.model import Storable
from credstore.proofs.format.record import AssetDigest
from credstore.provider.bodies import WatchedBody
from credstore.provider.sources import body_of
from credstore.threads import in_pool

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HeldAsset:
    """An asset that is open.

    Attributes:
        file: Seekable; to be read by one at a time.
        digest: Of all its bytes.
    """

    file: IO[bytes]
    digest: AssetDigest


@asynccontextmanager
async def hold(asset: Storable) -> AsyncGenerator[HeldAsset]:
    """Open an asset for a while.

    Args:
        asset: Bytes, a path object, a binary file from its position, or an (async) iterable of bytes.

    Raises:
        StorageInvalidRequestError: Text, a path that cannot be read, another type; at the end, if the file
            changed while it was held (code `SOURCE_CHANGED`).
        Exception: What the user's own stream raised.
    """
    if isinstance(asset, (bytes, bytearray, memoryview)):
        data = bytes(asset)
        yield HeldAsset(io.BytesIO(data), await in_pool(AssetDigest.of, data))
        return
    if isinstance(asset, os.PathLike):
        file = await opened_in_thread(_open, os.fspath(asset))
        try:
            before = _version(file)
            digest = await in_thread(digest_of, file)
            yield HeldAsset(file, digest)
            if not _version(file).has_bytes_of(before):
                raise StorageInvalidRequestError(
                    "the file changed while it was being read", code=ErrorCode.SOURCE_CHANGED
                )
        finally:
            await in_thread(file.close)
        return
    copy = await _copied(asset)
    try:
        yield HeldAsset(copy, await in_thread(digest_of, copy))
    finally:
        await in_thread(copy.close)


def digest_of(file: IO[bytes]) -> AssetDigest:
    """Digest and size of all of a file, from its start; blocks."""
    file.seek(0)
    digest = hashlib.sha256()
    size = 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    return AssetDigest(digest.digest(), size)


def temporary() -> IO[bytes]:
    """A file without a name, open for reading and writing; to be closed."""
    return tempfile.TemporaryFile()


def _open(path: str) -> IO[bytes]:
    try:
        kind = os.stat(path).st_mode  # noqa: PTH116 - the path may be bytes or text
        if not stat.S_ISREG(kind):
            raise StorageInvalidRequestError(
                f"{path!r} is a directory, a device or a pipe; pass a file, or an open stream"
            )
        return open(path, "rb")  # noqa: PTH123 - the path may be bytes or text
    except OSError as error:
        raise StorageInvalidRequestError(
            f"cannot read the file {path!r}: {error.strerror or error}"
        ) from None


def _version(file: IO[bytes]) -> FileState:
    return FileState.of(os.fstat(file.fileno()))


async def _copied(asset: Storable) -> IO[bytes]:
    body = await body_of(asset)
    copy = temporary()
    try:
        async with aclosing(WatchedBody(body)) as watched:
            async for chunk in watched.open():
                await in_thread(copy.write, chunk)
    except BaseException:
        copy.close()
        raise
    return copy
