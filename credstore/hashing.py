"""SHA-256 and joins of bytes that do not block the event loop."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from credstore.threads import in_pool

LOOP_BUDGET = 512 * 1024
"""Number of bytes that take under half a millisecond to hash or compress; more go to a thread."""


class Hash(Protocol):
    """What hashlib returns."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of all bytes so far."""
        ...


async def hash_into(digest: Hash, data: bytes | memoryview) -> None:
    """Feed `data` to `digest`, in a thread when it would block the event loop for too long."""
    if len(data) > LOOP_BUDGET:
        await in_pool(digest.update, data)
    else:
        digest.update(data)


async def joined(parts: Sequence[bytes | memoryview]) -> bytes:
    """`parts` as one, off the event loop when they are large."""
    if len(parts) == 1:
        return bytes(parts[0])
    if sum(map(len, parts)) > LOOP_BUDGET:
        return await in_pool(b"".join, parts)
    return b"".join(parts)


async def sha256(data: bytes) -> bytes:
    """SHA-256 of `data` (32 bytes), off the event loop when `data` is large."""
    if len(data) <= LOOP_BUDGET:
        return hashlib.sha256(data).digest()
    digest = hashlib.sha256()
    await hash_into(digest, data)
    return digest.digest()


async def sha256_of(chunks: AsyncIterator[bytes]) -> bytes:
    """SHA-256 of a stream (32 bytes), in bounded memory."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        await hash_into(digest, chunk)
    return digest.digest()
