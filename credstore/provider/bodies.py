"""What a body becomes on its way: watched, in memory, encoded; over any body.

Rules of this file: nothing is read before it is asked for, and what is abandoned early is closed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from credstore.driver.values import Body, BytesBody, PartDigests
from credstore.hashing import hash_into, joined
from credstore.pipeline.codec import Encoder
from credstore.provider.call import Call, chain_of
from credstore.threads import in_pool

INLINE = 48 * 1024
"""Number of bytes encoded on the event loop: 0.1 ms of gzip, 0.8 ms where zlib has to do it."""


@dataclass(slots=True)
class WatchedBody:
    """A user's stream that shows its call why it failed, so that its own error reaches the user.

    Attributes:
        source: The user's stream as a body.
        call: That it is read for, or None where that knows by itself what is the user's.
        failed: Whether reading it has raised anything.
        done: Bytes of the last pass so far.
    """

    source: Body
    call: Call | None = None
    failed: bool = False
    done: int = 0
    _passes: list[AsyncIterator[bytes]] = field(default_factory=list[AsyncIterator[bytes]])

    @property
    def length(self) -> int | None:
        """The same as the source's."""
        return self.source.length

    @property
    def data(self) -> bytes | None:
        """The same as the source's."""
        return self.source.data

    @property
    def replayable(self) -> bool:
        """As the source, and never after it failed."""
        return self.source.replayable and not self.failed

    def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The source's bytes."""
        chunks = self._read(offset)
        self._passes.append(chunks)
        return chunks

    async def aclose(self) -> None:
        """Close what a driver left half read; safe to call again."""
        while self._passes:
            await close(self._passes.pop())

    async def _read(self, offset: int) -> AsyncIterator[bytes]:
        chunks = self.source.open(offset)
        self.done = offset
        try:
            async for chunk in chunks:
                self.done += len(chunk)
                yield chunk
        except (asyncio.CancelledError, GeneratorExit):
            raise  # Of whoever reads it.
        except BaseException as error:
            self.failed = True
            if self.call is not None:
                self.call.blame(error, chain_of(error))
            raise
        finally:
            await close(chunks)


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """Another body, encoded or encrypted as it is read."""

    source: Body
    make: Callable[[], Encoder]
    """Starts again; the same input yields the same output."""
    length: int | None = None
    data: None = None

    @property
    def replayable(self) -> bool:
        """As the source is."""
        return self.source.replayable

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The encoded bytes from `offset` onwards; large chunks are encoded in a thread."""
        stream = self.make()
        async for chunk in self.source.open():
            if len(chunk) > INLINE:
                encoded = await in_pool(stream.feed, chunk)
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


async def settled(body: Body, limit: int) -> Body:
    """The same body, in memory if it has at most `limit` bytes.

    Small bodies gain a known length and digest and can be sent again; a larger stream continues after the
    bytes that were read, so nothing is lost.
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
    return BytesBody(await joined(head))


async def digest_of(body: Body) -> bytes:
    """SHA-256 of a replayable body, in one pass over it."""
    digest = hashlib.sha256()
    async for chunk in body.open():
        await hash_into(digest, chunk)
    return digest.digest()


async def digests_of(body: Body, size: int) -> tuple[bytes, PartDigests]:
    """As `digest_of`, and in the same pass that of each part of `size` bytes."""
    whole, part, left = hashlib.sha256(), hashlib.sha256(), size
    found: list[bytes] = []

    def take(chunk: bytes) -> None:
        nonlocal part, left
        rest = memoryview(chunk)
        while rest:
            taken = rest[:left]
            whole.update(taken)
            part.update(taken)
            rest, left = rest[len(taken) :], left - len(taken)
            if not left:
                found.append(part.digest())
                part, left = hashlib.sha256(), size

    async for chunk in body.open():
        await in_pool(take, chunk)
    if left < size:
        found.append(part.digest())
    return whole.digest(), PartDigests(size, found)


async def close(chunks: object) -> None:
    """Close a generator of chunks before its end."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


def _skip(offset: int, data: bytes) -> tuple[int, bytes]:
    if not offset:
        return 0, data
    return max(0, offset - len(data)), data[offset:]
