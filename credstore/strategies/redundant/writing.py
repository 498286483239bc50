"""One change at all members: it counts when W have made it, and the others finish in the background.

Rules of this file: every member gets the same bytes, write-id and stamp; a member that fails, or is down, is
noted in the journal of those that succeeded, so that it can catch up; a call that fails waits for no one, and
says what is known.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar

from credstore.concurrency import in_thread, until_done
from credstore.driver.values import Body, BytesBody
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError
from credstore.strategies.health import Member, is_wrong_request
from credstore.strategies.redundant.background import Background
from credstore.strategies.redundant.plan import not_met

T = TypeVar("T")
IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a stream that are kept in memory; more go to a temporary file."""
LARGEST = 5 * 1024**3
"""Bytes of a stream that can be sent only once."""
_CHUNK = 1024 * 1024


@dataclass(slots=True)
class Change(Generic[T]):
    """A change under way.

    Attributes:
        done: Members that made it, with their results.
        failed: Those that did not, with the reason.
        running: Those that have not ended.
    """

    done: dict[Member, T] = field(default_factory=dict[Member, T])
    failed: dict[Member, StorageError] = field(default_factory=dict[Member, StorageError])
    running: dict[asyncio.Future[T], Member] = field(default_factory=dict[asyncio.Future[T], Member])
    _waiter: asyncio.Future[None] | None = None

    def start(self, work: Coroutine[Any, Any, T], member: Member) -> None:
        """Let a member make it."""
        task = asyncio.get_running_loop().create_task(work)
        self.running[task] = member
        task.add_done_callback(self._wake)

    def _wake(self, _: asyncio.Future[T]) -> None:
        # `asyncio.wait` does the same with two more callbacks for each task and call.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _ended(self) -> list[asyncio.Future[T]]:
        """Those that have ended and were not recorded yet, one or more."""
        while not (ended := [task for task in self.running if task.done()]):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return ended

    async def wait(self) -> None:
        """Until one more member has ended.

        Raises:
            Exception: What is not a `StorageError`: of the body's source.
        """
        for task in await self._ended():
            self._take(task)

    def _take(self, task: asyncio.Future[T]) -> None:
        member = self.running.pop(task)
        try:
            self.done[member] = task.result()
        except StorageError as error:
            self.failed[member] = error

    async def rest(self) -> None:
        """Until all members have ended, whatever they raise."""
        while self.running:
            for task in await self._ended():
                self.end(task)

    def end(self, task: asyncio.Future[T]) -> None:
        """Record how a member ended."""
        try:
            self._take(task)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - what counts was raised to the caller
            return

    async def cancel(self) -> None:
        """Cancel what is under way, and wait for it."""
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        cancelled = await until_done(tasks)
        for task in tasks:
            self.end(task)
        if cancelled is not None:
            raise cancelled


class Writes:
    """Makes changes at all members."""

    def __init__(
        self,
        members: Sequence[Member],
        needed: int,
        background: Background,
        missed: Callable[[str, Sequence[Member]], Awaitable[None]],
        crossed: Callable[[str], None],
        *,
        prompt: bool,
    ) -> None:
        """Change nothing yet.

        Args:
            members: All of them.
            needed: W.
            background: Where what is left finishes.
            missed: Notes at these members that others have missed a change of a key.
            crossed: Called when changes of one key that were under way at the same time have ended: a member
                may have made them in another order than the others.
            prompt: Whether a call returns with the W-th member, not with the last.
        """
        self._members = members
        self.needed = needed
        self._background = background
        self._missed = missed
        self._crossed = crossed
        self._crossing: set[str] = set()
        self._prompt = prompt
        self.busy: Counter[str] = Counter()

    async def make(
        self,
        key: str,
        change: Callable[[Member], Awaitable[T]],
        what: str,
        release: Callable[[], None] | None = None,
    ) -> Change[T]:
        """Make a change, and return when W members have made it.

        Args:
            key: What is changed.
            change: Makes it at one member.
            what: Continues "n of m members ...".
            release: Called when no member needs what is sent any more.

        Raises:
            StorageQuorumError: Fewer than W can have made it.
            StorageError: All members refuse it in the same way.
            Exception: What the body's source raised, where no member has the object.
        """
        under_way = Change[T]()
        for member in self._members:
            if member.admits():
                under_way.start(member.ask(change, member), member)
            else:
                under_way.failed[member] = member.left_alone()
        if self.busy[key]:
            self._crossing.add(key)
        self.busy[key] += 1
        finishing = self._finish(key, under_way, release)
        try:
            try:
                await self._until_enough(under_way)
            except asyncio.CancelledError:
                await under_way.cancel()
                raise
            except Exception:
                await under_way.cancel()
                if not under_way.done:
                    raise
            if len(under_way.done) < self.needed:
                raise not_met(
                    what, self.needed, self._members, under_way.done, under_way.failed, mutation=True
                )
            if not self._prompt:
                await under_way.rest()
            return under_way
        finally:
            if under_way.running or (under_way.failed and under_way.done and self._prompt):
                self._background.leave(finishing)
            else:
                await finishing

    async def _until_enough(self, under_way: Change[T]) -> None:
        """Until W members have made it, or too few can."""
        while under_way.running:
            having = len(under_way.done)
            if having + len(under_way.running) < self.needed:
                return
            if self._prompt and having >= self.needed:
                return
            if any(map(is_wrong_request, under_way.failed.values())) and not having:
                await under_way.cancel()
                return
            await under_way.wait()

    async def _finish(self, key: str, under_way: Change[T], release: Callable[[], None] | None) -> None:
        try:
            await under_way.rest()
            if under_way.failed and under_way.done:
                await self._missed(key, list(under_way.done))
        finally:
            if release is not None:
                release()
            self.busy[key] -= 1
            if not self.busy[key]:
                del self.busy[key]
                if key in self._crossing:
                    self._crossing.discard(key)
                    self._crossed(key)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A stream that was read to a temporary file, to be sent more than once."""

    file: IO[bytes]
    length: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    data: None = None
    replayable: bool = True

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes; members read it at the same time, each from where it is."""
        while offset < self.length:
            async with self.turn:
                chunk = await in_thread(self._read, offset)
            offset += len(chunk)
            yield chunk

    def _read(self, offset: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(_CHUNK)


async def repeatable(body: Body, largest: int = LARGEST) -> tuple[Body, Callable[[], None] | None]:
    """A body that can be sent to every member, and what releases it.

    What can be sent once is read first: up to `IN_MEMORY` bytes in memory, more to a temporary file.

    Args:
        body: As the caller gave it.
        largest: Bytes that such a stream has at most.

    Raises:
        StorageInvalidRequestError: It has more (code "TOO_LARGE"), or not the bytes it said
            ("BODY_LENGTH"); nothing was sent.
        Exception: What its source raised.
    """
    if body.replayable:
        return body, None
    parts: list[bytes] = []
    file: IO[bytes] | None = None
    size = 0
    try:
        async for chunk in body.open():
            size += len(chunk)
            if size > largest:
                raise StorageInvalidRequestError(
                    f"a stream that can be read once has at most {largest} bytes here, since every member"
                    " gets it; give a file, or a stream that can be opened again",
                    code=ErrorCode.TOO_LARGE,
                )
            if file is None and size > IN_MEMORY:
                file = await in_thread(TemporaryFile)
                await in_thread(file.writelines, parts)
                parts = []
            if file is None:
                parts.append(chunk)
            else:
                await in_thread(file.write, chunk)
        if body.length is not None and size != body.length:
            raise StorageInvalidRequestError(
                f"the body has {size} bytes, and {body.length} were announced; nothing was sent",
                code=ErrorCode.BODY_LENGTH,
            )
    except BaseException:
        if file is not None:
            file.close()
        raise
    if file is None:
        return BytesBody(b"".join(parts)), None
    return _Spooled(file, size), file.close
