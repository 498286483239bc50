"""Bodies that are sent in parts: counted, and cut without copying.

Rules of this file: a body that is not as long as announced ends in an error (K13); a part holds views of
the chunks that arrived.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.hashing import LOOP_BUDGET, Hash
from credstore.threads import in_pool

FEW = 64 * 1024
"""Bytes of a chunk that are joined with others rather than sent separately."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes to send, as views of the chunks they arrived in, without copying.

    Attributes:
        size: Of all views.
        views: In order.
    """

    size: int
    views: Sequence[memoryview]

    async def open(self) -> AsyncGenerator[memoryview, None]:
        """The views."""
        for view in self.views:
            yield view

    async def hashed(self, digest: Hash) -> bytes:
        """The digest of the bytes, computed off the loop if there are many."""
        if self.size > LOOP_BUDGET:
            await in_pool(self._hash_into, digest)
        else:
            self._hash_into(digest)
        return digest.digest()

    def _hash_into(self, digest: Hash) -> None:
        for view in self.views:
            digest.update(view)


async def cut(chunks: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[Part, None]:
    """The same bytes in parts of exactly `size`, the last one shorter; none if there are no bytes."""
    held: list[bytearray | memoryview] = []
    have = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                taken = rest[: size - have]
                rest = rest[len(taken) :]
                if len(taken) >= FEW:
                    held.append(taken)
                elif held and isinstance(last := held[-1], bytearray) and len(last) < FEW:
                    last += (
                        taken  # A view of every line of a text would take more memory than the text itself.
                    )
                else:
                    held.append(bytearray(taken))
                have += len(taken)
                if have == size:
                    yield Part(size, [memoryview(views) for views in held])
                    held, have = [], 0
        if have:
            yield Part(have, [memoryview(views) for views in held])


async def counted(chunks: AsyncIterator[bytes], length: int | None) -> AsyncGenerator[bytes, None]:
    """The chunks of a body, refused if they are not as many bytes as announced.

    Raises:
        StorageInvalidRequestError: Code "BODY_LENGTH".
    """
    done = 0
    try:
        async for chunk in chunks:
            done += len(chunk)
            if length is not None and done > length:
                raise _wrong_length(f"more than the {length}", length)
            yield chunk
        if length is not None and done != length:
            raise _wrong_length(str(done), length)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def source_changed() -> StorageInvalidRequestError:
    """The error of a body that was not the same in two passes over it."""
    return StorageInvalidRequestError(
        "the file changed while it was being stored; nothing was kept, store it when it is complete",
        code=ErrorCode.SOURCE_CHANGED,
    )


def _wrong_length(given: str, length: int) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        f"the body has {given} bytes where {length} were announced; nothing was stored",
        code=ErrorCode.BODY_LENGTH,
    )
