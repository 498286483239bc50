"""SHA-256 and joins of bytes that do not hold the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

LOOP_BUDGET = 512 * 1024
"""Bytes of hashing or compressing that cost under half a millisecond; more goes to a thread."""


class Hash(Protocol):
    """What hashlib gives."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of all bytes so far."""
        ...


async def hash_into(digest: Hash, data: bytes) -> None:
    """Feed `data` to `digest`, in a thread when it would hold the event loop too long."""
    if len(data) > LOOP_BUDGET:
        await asyncio.to_thread(digest.update, data)
    else:
        digest.update(data)


async def joined(parts: Sequence[bytes | memoryview]) -> bytes:
    """`parts` as one, off the event loop when they are large."""
    if len(parts) == 1:
        return bytes(parts[0])
    if sum(map(len, parts)) > LOOP_BUDGET:
        return await asyncio.to_thread(b"".join, parts)
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
