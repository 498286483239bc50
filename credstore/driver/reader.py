"""`ObjectReader`, the one stream of an object's bytes.

Rules of this file: a reader never ends normally unless it has yielded exactly the promised number of bytes
and, where a digest is known, exactly the bytes it names (P21). It raises instead, whoever serves the bytes,
so every driver and every strategy gets the check without writing it. Always close a reader (`async with`); an
unread body otherwise holds its connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from credstore.arguments import typed_class, unchecked
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.hashing import LOOP_BUDGET, Hash, hash_into, joined
from credstore.model import Progress

if TYPE_CHECKING:
    from types import TracebackType

I = TypeVar("I")  # noqa: E741 - the info that a driver (ObjectInfo) or a provider (StorageItem) has


@typed_class
class ObjectReader(Generic[I]):
    """An async iterator of `bytes` that checks what it yields.

    Attributes:
        info: What is known about the object.
        length: Bytes this reader will yield, or None where that is only known at the end.
    """

    __slots__ = (
        "_chunks",
        "_close",
        "_closed",
        "_content",
        "_count",
        "_digest",
        "_done",
        "_expected",
        "_explain",
        "_failed",
        "_generator",
        "_held",
        "_progress",
        "info",
        "length",
    )

    def __init__(
        self,
        info: I,
        chunks: AsyncIterator[bytes] | bytes,
        *,
        length: int | None,
        digest: bytes | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        explain: Callable[[StorageError], object] | None = None,
    ) -> None:
        """Wrap the bytes of one response.

        Args:
            info: What is known about the object.
            chunks: The bytes, in order, closed with the reader if it is a generator; or all of them at once,
                where they are in memory already.
            length: Exact number of bytes to expect, or None.
            digest: SHA-256 of all of them (32 bytes), or None, as for a range.
            close: Releases what the chunks hold; called exactly once, also after an error.
            explain: Adds the facts to an error that only the maker of the reader knows.
        """
        self.info = info
        self.length = length
        self._content: bytes | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._generator: AsyncGenerator[bytes, None] | None = None
        if isinstance(chunks, bytes):
            self._content = chunks
        else:
            self._chunks = chunks
            if isinstance(chunks, AsyncGenerator):
                self._generator = cast("AsyncGenerator[bytes, None]", chunks)
        self._expected = digest
        self._digest: Hash | None = None
        self._close = close
        self._explain = explain
        self._done = 0
        self._held = 0
        self._closed = False
        self._failed = False
        self._progress: Progress | None = None
        self._count: Callable[[int], None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it: it was read to its end, or closed."""
        return self._closed and not self._failed

    def watch(self, progress: Progress | None) -> None:
        """Call `progress` with (bytes read, total bytes or None) after each chunk, once if there is none."""
        self._progress = progress

    def count(self, count: Callable[[int], None]) -> None:
        """Call `count` once with the number of bytes that were read, when the reader is closed."""
        self._count = count

    def _counted(self) -> None:
        count, self._count = self._count, None
        if count is not None:
            count(self._done)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            if self._failed:
                message = "this reader has failed; what it yielded before is incomplete"
                raise StorageIntegrityError(message, code=ErrorCode.TRUNCATED, retryable=True)
            raise StopAsyncIteration
        try:
            chunk = await self._next()
            if chunk is not None:
                self._done += len(chunk)
                self._check_length()
                if self._expected is not None:
                    if self._digest is None:
                        self._digest = hashlib.sha256()
                    await hash_into(self._digest, chunk)
                    self._held += len(chunk)
                    if self._held > LOOP_BUDGET:  # A source that never waits would block the loop.
                        self._held = 0
                        await asyncio.sleep(0)
                if self._progress is not None:
                    self._progress(self._done, self.length)
                return chunk
            self._check_end()
            if self._progress is not None and not self._done:
                self._progress(0, 0)
        except BaseException as error:
            self._fail(error)
            await self.aclose()
            raise
        await self.aclose()
        raise StopAsyncIteration

    async def _next(self) -> bytes | None:
        """The next chunk that is not empty, or None at the end."""
        chunk, self._content = self._content, None
        while not chunk:
            if self._chunks is None:
                return None
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return None
        return chunk

    def _check_length(self) -> None:
        if self.length is not None and self._done > self.length:
            self._refuse(f"more than the {self.length} bytes it should have", ErrorCode.TOO_LONG)

    def _check_end(self) -> None:
        if self.length is not None and self._done != self.length:
            self._refuse(f"{self._done} of {self.length} bytes", ErrorCode.TRUNCATED)
        if self._expected is None:
            return
        digest = hashlib.sha256() if self._digest is None else self._digest  # Of no bytes, where none came.
        if not hmac.compare_digest(digest.digest(), self._expected):
            self._refuse("bytes that do not match the recorded SHA-256", ErrorCode.DIGEST_MISMATCH)

    def _refuse(self, what: str, code: ErrorCode) -> None:
        message = f"the object came back as {what}; nothing of it should be used"
        raise StorageIntegrityError(message, code=code, retryable=code is ErrorCode.TRUNCATED)

    async def read(self, max_size: int | None = None) -> bytes:
        """All remaining bytes, checked; closes the reader.

        Args:
            max_size: Maximum number of bytes to accept, or None for any number.

        Raises:
            StorageIntegrityError: The length or the digest does not match.
            StorageInvalidRequestError: There are more than `max_size` bytes.
        """
        if max_size is not None and self.length is not None and self.length > max_size:
            await self.aclose()
            raise _too_large(self.length, max_size)
        content = self._content
        limit = LOOP_BUDGET if max_size is None else min(LOOP_BUDGET, max_size)
        if content and len(content) <= limit and not self._closed:
            try:
                return self._checked_at_once(content)
            finally:
                if self._close is not None:
                    await self.aclose()
                self._closed = True
                if self._count is not None:
                    self._counted()
        parts: list[bytes] = []
        size = 0
        async with self:
            async for chunk in self:
                parts.append(chunk)
                size += len(chunk)
                if max_size is not None and size > max_size:
                    raise _too_large(size, max_size)
        return await joined(parts)

    async def hold(self) -> None:
        """Read and check all bytes now, and keep them to be read; for what is small.

        Raises:
            StorageIntegrityError: As `read`.
        """
        if not self.hold_at_once():
            self._content = await self.read()
            self._chunks = self._generator = self._digest = self._expected = self._close = None
            self._done, self._closed = 0, False

    def hold_at_once(self) -> bool:
        """The same as `hold`, without waiting, where all bytes are here already.

        Returns:
            Whether they are; if not, nothing was done.

        Raises:
            StorageIntegrityError: As `read`.
        """
        content = self._content
        if not content or len(content) > LOOP_BUDGET or self._close is not None or self._closed:
            return False
        self._content = self._checked_at_once(content)
        if self._count is not None:
            self._counted()
        self._digest = self._expected = None
        self._done = 0
        return True

    def _checked_at_once(self, content: bytes) -> bytes:
        """What iterating would yield and check, in one step."""
        self._content = None
        self._done = done = len(content)
        try:
            if done != self.length:
                self._check_length()
            if self._expected is not None:
                self._digest = hashlib.sha256(content)
            if self._progress is not None:
                self._progress(done, self.length)
            if self._expected is not None or done != self.length:
                self._check_end()
        except BaseException as error:
            self._fail(error)
            raise
        return content

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        if self._explain is not None and isinstance(error, StorageError):
            self._explain(error)

    async def aclose(self) -> None:
        """Release the connection or file; safe to call again."""
        if self._closed:
            return
        self._closed = True
        if self._count is not None:
            self._counted()
        try:
            if self._generator is not None:
                await self._generator.aclose()
        finally:
            if self._close is not None:
                await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _too_large(size: int, max_size: int) -> StorageInvalidRequestError:
    message = (
        f"the object has at least {size} bytes, more than the {max_size} that may be read at once; "
        "stream it with open() or raise max_size"
    )
    return StorageInvalidRequestError(message, code=ErrorCode.TOO_LARGE)


known_reader = unchecked(ObjectReader)
"""The same without the check of types, for drivers of credstore."""
