"""Bytes on their way in and out: batches worth a thread hop, copies inside the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from credstore.driver import PutRequest
from credstore.drivers.local.atomic import Temporary, read_all
from credstore.drivers.local.objects import OpenObject
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
)

CHUNK = 512 * 1024
"""Bytes read or written in one thread hop; the reader hashes as many on the event loop."""
SMALL = 1024 * 1024
"""Bytes up to which opening and reading are one hop."""
COPY_PIECE = 64 * 1024 * 1024
"""Bytes copied in one hop, between two looks at the deadline and at cancellation."""


def check_body(request: PutRequest, size: int, digest: str) -> None:
    """Refuse a body that is not the one that was announced, by length or by SHA-256."""
    if request.body.length is not None and size != request.body.length:
        text = f"the body gave {size} bytes, where {request.body.length} were announced"
        raise StorageInvalidRequestError(text, code=ErrorCode.BODY_LENGTH)
    if request.digest is not None and request.digest.hex() != digest:
        raise StorageIntegrityError(
            "the body is not the one its SHA-256 names", code=ErrorCode.DIGEST_MISMATCH
        )


def copy_piece(source: OpenObject, file: Temporary, offset: int) -> int:
    """Copy one piece; how many bytes. Falls back to reading where the kernel cannot copy."""
    wanted = min(COPY_PIECE, source.token.size - offset)
    with contextlib.suppress(OSError, AttributeError):
        copied = os.copy_file_range(source.fd, file.fd, wanted, offset, offset)
        if copied:
            os.lseek(file.fd, offset + copied, os.SEEK_SET)
            return copied
    piece = read_all(source.fd, offset, min(wanted, CHUNK))
    if not piece:
        raise StoragePreconditionFailedError("the source became shorter while it was copied")
    file.write(piece)
    return len(piece)


def closer(opened: OpenObject) -> Callable[[], Awaitable[None]]:
    """What a reader calls to let go of its file."""

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
