"""One change at all members: it counts when W have made it, and the others finish in the background.

Rules of this file: every member gets the same bytes, write-id and stamp; a member that fails, or is down, is
noted in the journal of those that succeeded, so that it can catch up; a call that fails waits for no one, and
says what is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar

from credstore.concurrency import in_thread, opened_in_thread, until_done
from credstore.driver.values import Body, BytesBody
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError, StorageTimeoutError
from credstore.strategies.health import Member, is_wrong_request
from credstore.strategies.redundant.background import Background
from credstore.strategies.redundant.plan import is_overtaken, not_met

T = TypeVar("T")
IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a stream that are kept in memory; more go to a temporary file."""
LARGEST = 5 * 1024**3
"""Bytes of a stream that can be sent only once."""
_CHUNK = 1024 * 1024


class Change(Generic[T]):
    """A change under way.

    Attributes:
        done: Members that made it, with their results.
        failed: Those that did not, with the reason.
        running: Those that have not ended.
        raised: The first error that is not a member's: of the body's source, or a cancellation.
        ended: Called once when the last member has ended.
    """

    __slots__ = ("_expired", "_stopped", "_waiter", "_wanted", "done", "ended", "failed", "raised", "running")

    def __init__(self, wanted: int) -> None:
        """Have no members yet.

        Args:
            wanted: How many members having made it are reason to wake who waits.
        """
        self.done: dict[Member, T] = {}
        self.failed: dict[Member, StorageError] = {}
        self.running: dict[asyncio.Future[T], Member] = {}
        self.raised: BaseException | None = None
        self.ended: Callable[[], None] | None = None
        self._wanted = wanted
        self._waiter: asyncio.Future[None] | None = None
        self._expired = False
        self._stopped = False

    def start(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], member: Member
    ) -> asyncio.Task[T]:
        """Let a member make it."""
        task = loop.create_task(work)
        self.running[task] = member
        task.add_done_callback(self._take)
        return task

    def _take(self, task: asyncio.Future[T]) -> None:
        """Record how a member ended; that is all there is to do when the last one is well."""
        member = self.running.pop(task, None)
        if member is None:
            return
        waiter = self._waiter
        try:
            self.done[member] = task.result()
        except StorageError as error:
            self._failed(member, error)
        except _NotAskedError as waited:
            self.failed[member] = waited.error
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - who waits raises it
            if self._stopped and isinstance(error, asyncio.CancelledError):
                self.failed[member] = StorageTimeoutError("it had not ended", applied="maybe")
            elif self._expired and isinstance(error, asyncio.CancelledError):
                self._failed(member, StorageTimeoutError("it took too long", applied="maybe"))
            else:
                self.raised = self.raised or error
        else:
            if member.down:
                member.saw(None)
            if self.running and len(self.done) < self._wanted:
                return
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if not self.running and self.ended is not None:
            ended, self.ended = self.ended, None
            ended()

    def _failed(self, member: Member, error: StorageError) -> None:
        self.failed[member] = error
        member.saw(error)

    async def wait(self) -> None:
        """Until enough members have made it, one has failed, or the last one has ended."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        for task in [task for task in self.running if task.done()]:
            self._take(task)  # What has ended by now counts, though its callback is still to come.

    async def cancel(self) -> None:
        """Cancel what is under way, and wait for it."""
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        cancelled = await until_done(tasks)
        for task in tasks:
            self._take(task)
        if cancelled is not None:
            raise cancelled

    async def stop(self) -> None:
        """Cancel what is under way, for which no member is to blame: it may have been made, and failed.

        Raises:
            asyncio.CancelledError: Who waits was cancelled meanwhile.
        """
        self._stopped = True
        await self.cancel()

    def expire(self) -> None:
        """Cancel what is under way: it may have been made, and counts as failed."""
        self._expired = True
        for task in self.running:
            task.cancel()


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
        self.busy: dict[str, _Line] = {}
        """What is under way of each key."""

    async def make(
        self,
        key: str,
        change: Callable[[Member], Coroutine[Any, Any, T]],
        what: str,
        release: Callable[[], None] | None = None,
        *,
        deadline: float | None = None,
    ) -> Change[T]:
        """Make a change, and return when W members have made it.

        A member makes the changes of a key in the order of their calls. Else one that is slow, and was
        overtaken by the next one, would put back there what that one has replaced.

        Args:
            key: What is changed.
            change: Makes it at one member.
            what: Continues "n of m members ...".
            release: Called when no member needs what is sent any more.
            deadline: Until when a member may wait for the change before.

        Raises:
            StorageQuorumError: Fewer than W can have made it.
            StorageError: All members refuse it in the same way.
            Exception: What the body's source raised, where no member has the object.
        """
        under_way: Change[T] = Change(self.needed if self._prompt else len(self._members))
        loop = asyncio.get_running_loop()
        line = self.busy.get(key)
        if line is None:
            self.busy[key] = _Line(under_way)
        else:
            line.join()
            self._crossing.add(key)
        for member in self._members:
            if not member.admits():
                under_way.failed[member] = member.left_alone()
            elif line is None:
                under_way.start(loop, change(member), member)
            else:
                line.add(loop, under_way, partial(change, member), member, deadline)
        try:
            try:
                await self._until_enough(under_way)
            except asyncio.CancelledError:
                await under_way.cancel()
                raise
            if under_way.raised is not None:
                await under_way.cancel()
                if not under_way.done or isinstance(under_way.raised, asyncio.CancelledError):
                    raise under_way.raised
            if len(under_way.done) < self.needed:
                raise not_met(
                    what, self.needed, self._members, under_way.done, under_way.failed, mutation=True
                )
            return under_way
        finally:
            if under_way.running:
                self._leave(key, under_way, release)
            elif not (under_way.failed and under_way.done):
                self._close(key, release)
            elif self._prompt:
                self._background.leave(self._note(key, under_way, release))
            else:
                await self._note(key, under_way, release)

    async def _until_enough(self, under_way: Change[T]) -> None:
        """Until W members have made it, or too few can; all of them where a call returns with the last.

        Where those that cannot are well, and say that another change was quicker, the others are about to say
        so, too: then nothing is left open.
        """
        while under_way.running and under_way.raised is None:
            having = len(under_way.done)
            failed = under_way.failed.values()
            if having + len(under_way.running) < self.needed and not all(map(is_overtaken, failed)):
                return
            if self._prompt and having >= self.needed:
                return
            if not having and any(map(is_wrong_request, failed)):
                await under_way.stop()
                return
            await under_way.wait()

    def _leave(self, key: str, under_way: Change[T], release: Callable[[], None] | None) -> None:
        """Let the others end; only if one has failed is there more to do than to take note."""
        background = self._background

        def ended() -> None:
            background.forget(under_way)
            if under_way.failed and under_way.done:
                background.leave(self._note(key, under_way, release))
            else:
                self._close(key, release)

        under_way.ended = ended
        background.keep(under_way)

    async def _note(self, key: str, under_way: Change[T], release: Callable[[], None] | None) -> None:
        try:
            await self._missed(key, list(under_way.done))
        finally:
            self._close(key, release)

    def _close(self, key: str, release: Callable[[], None] | None) -> None:
        if release is not None:
            release()
        if self.busy[key].leave():
            del self.busy[key]
            if key in self._crossing:
                self._crossing.discard(key)
                self._crossed(key)


class _Line:
    """The changes of one key that have not ended, each member's one behind the other."""

    __slots__ = ("_count", "_first", "_last")

    def __init__(self, first: Change[Any]) -> None:
        self._count = 1
        self._first: Change[Any] | None = first
        self._last: dict[Member, asyncio.Future[Any]] = {}
        """Ends when all changes so far have ended at the member."""

    def join(self) -> None:
        """There is one more."""
        self._count += 1
        if self._first is not None:
            self._last = {member: task for task, member in self._first.running.items()}
            self._first = None

    def leave(self) -> bool:
        """One has ended; whether it was the last."""
        self._count -= 1
        return not self._count

    def add(
        self,
        loop: asyncio.AbstractEventLoop,
        under_way: Change[T],
        change: Callable[[], Coroutine[Any, Any, T]],
        member: Member,
        deadline: float | None,
    ) -> None:
        """Let a member make a change when those before it have ended there."""
        before = self._last.get(member)
        if before is None or before.done():
            self._last[member] = under_way.start(loop, change(), member)
            return
        task = under_way.start(loop, _after(before, change, deadline), member)
        both: asyncio.Future[None] = loop.create_future()
        # A task that was cancelled, or has waited too long, ends before those that it waited for.
        task.add_done_callback(lambda _: before.add_done_callback(lambda _: both.set_result(None)))
        self._last[member] = both


class _NotAskedError(Exception):
    """A member was not asked, which says nothing about it."""

    def __init__(self, error: StorageError) -> None:
        super().__init__()
        self.error = error


async def _after(
    before: asyncio.Future[Any], change: Callable[[], Coroutine[Any, Any, T]], deadline: float | None
) -> T:
    """Make a change at a member when those before it have ended there.

    Raises:
        _NotAskedError: They have not until the deadline.
        Exception: As the change.
    """
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    _, waiting = await asyncio.wait([before], timeout=left)
    if waiting:
        raise _NotAskedError(
            StorageTimeoutError("an earlier change of this key was still under way there", applied="no")
        )
    return await change()


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
                file = await opened_in_thread(TemporaryFile)
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
