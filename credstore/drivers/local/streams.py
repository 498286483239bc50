"""Bytes on their way in and out: batches worth a thread hop, copies within the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from credstore.driver.values import PutRequest
from credstore.drivers.local.atomic import Temporary, read_all
from credstore.drivers.local.lookup import OpenObject
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
)
from credstore.hashing import Hash

CHUNK = 512 * 1024
"""Bytes read or written in one thread hop; the reader hashes as many on the event loop."""
SMALL = 1024 * 1024
"""Size in bytes up to which opening and reading are one hop."""
COPY_PIECE = 64 * 1024 * 1024
"""Bytes copied in one hop, between two looks at the deadline and at cancellation."""


def check_body(request: PutRequest, size: int, digest: str) -> None:
    """Refuse a body that is not the one that was announced, by length or by SHA-256."""
    if request.body.length is not None and size != request.body.length:
        text = f"the body gave {size} bytes, but {request.body.length} were announced"
        raise StorageInvalidRequestError(text, code=ErrorCode.BODY_LENGTH)
    if request.digest is not None and request.digest.hex() != digest:
        raise StorageIntegrityError("the body does not match its SHA-256", code=ErrorCode.DIGEST_MISMATCH)


def copy_piece(source: OpenObject, file: Temporary, offset: int, digest: Hash) -> int:
    """Copy one piece, and return how many bytes. Falls back to reading where the kernel cannot copy.

    Args:
        source: What is copied.
        file: What it is copied to.
        offset: Bytes that were copied already.
        digest: Takes in what the copy has: what was never read is not known to be what was stored.
    """
    wanted = min(COPY_PIECE, source.token.size - offset)
    copied = 0
    with contextlib.suppress(OSError, AttributeError):
        copied = os.copy_file_range(source.fd, file.fd, wanted, offset, offset)
    if copied:
        os.lseek(file.fd, offset + copied, os.SEEK_SET)
        for start in range(offset, offset + copied, CHUNK):
            digest.update(read_all(file.fd, start, min(CHUNK, offset + copied - start)))
        return copied
    piece = read_all(source.fd, offset, min(wanted, CHUNK))
    if not piece:
        raise StoragePreconditionFailedError("the source became shorter while it was copied")
    digest.update(piece)
    file.write(piece)
    return len(piece)


def check_copy(source: OpenObject, digest: str) -> None:
    """Refuse a copy that is not what was stored as its source.

    Raises:
        StorageIntegrityError: The source was damaged on the disk (code "DIGEST_MISMATCH"); it stays.
        StoragePreconditionFailedError: Another program wrote to it while it was copied.
    """
    recorded = source.attributes.digest
    if recorded is None:
        if source.changed():
            raise StoragePreconditionFailedError("another program wrote to the source while it was copied")
    elif recorded != digest:
        text = (
            "the source's bytes do not match the SHA-256 recorded when it was stored; nothing was copied, "
            "and the source is kept as it is"
        )
        raise StorageIntegrityError(text, code=ErrorCode.DIGEST_MISMATCH, applied="no")


def read_piece(opened: OpenObject, start: int, length: int, *, proved: bool) -> bytes:
    """Up to `length` bytes from `start` on, of the version that was opened.

    Args:
        opened: The object.
        start: First byte.
        length: Maximum number of bytes to read.
        proved: Whether a digest of everything that is read is compared at the end.

    Raises:
        StorageIntegrityError: Another program wrote to the file since, and no digest would show it (code
            "CHANGED_OUTSIDE").
    """
    piece = read_all(opened.fd, start, length)
    if not proved and opened.changed():
        text = "another program wrote to the file while it was read; read it again"
        raise StorageIntegrityError(text, code=ErrorCode.CHANGED_OUTSIDE, retryable=True)
    return piece


def closer(opened: OpenObject) -> Callable[[], Awaitable[None]]:
    """What a reader calls to close its file."""

    async def close() -> None:
        opened.close()

    return close


async def batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Chunks gathered until they are worth a thread hop; closes `chunks`."""
    batch: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
    finally:
        aclose = getattr(chunks, "aclose", None)
        if aclose is not None:
            await aclose()
