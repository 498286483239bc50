"""`FallbackDriver`: two stores as one, for when the first is down.

What it promises (P0, P28): an acknowledged write is never lost or hidden by an older version of the same
object, except that another process may see the older one for `detours.FRESH` seconds. A write that may have
reached the primary is never repeated at the fallback; its error says "maybe". Nothing served by the fallback
is passed off as the primary's: results name the member, and say `degraded` when the primary should have
served. There are no conditions (compare-and-swap): two clouds cannot be queried atomically (P31).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from credstore.causes import raise_explained
from credstore.concurrency import both
from credstore.driver.contract import (
    Driver,
)
from credstore.driver.refusals import (
    check_condition,
    check_delete,
    check_encryption,
    check_put,
    check_read,
    check_retention,
    check_sign,
    check_writable,
    read_only,
)
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    SignedRequest,
    SignRequest,
    StoredReader,
)
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageInvalidKeyError,
    StoragePreconditionFailedError,
)
from credstore.quick import changed
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.attempts import Watched, half, hurried
from credstore.strategies.fallback.detours import Detours
from credstore.strategies.fallback.members import TwoMembers
from credstore.strategies.fallback.pages import NOTE, Pages
from credstore.strategies.health import Member, is_absence
from credstore.strategies.onto_itself import copied_at
from credstore.strategies.outcomes import outcome_of

T = TypeVar("T")


class FallbackDriver(TwoMembers):
    """A primary, and a fallback that serves what the primary cannot."""

    def __init__(
        self,
        primary: Driver,
        fallback: Driver,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        labels: tuple[str, str] | None = None,
        member: Member | None = None,
        primary_last: bool = False,
    ) -> None:
        """Own both: they are closed with this driver.

        Args:
            primary: Asked first.
            fallback: Asked when the primary fails, or does not have what is read.
            clock: Unix seconds.
            monotonic: Seconds, for how long a primary that is down is left alone.
            labels: What the members are called in `served_by`; their names, made different, unless given.
            member: What is known of the primary, where others ask it too.
            primary_last: Whether every delete ends at the primary, as moves to it need.
        """
        super().__init__(primary, fallback, labels)
        self._pages = Pages(primary, fallback, self._first, self._second)
        self._detours = Detours(fallback, clock=clock)
        self._primary_last = primary_last
        self._member = member or Member(primary, self._first, 0, clock=monotonic)

    @property
    def name(self) -> str:
        """Always "fallback"."""
        return "fallback"

    @property
    def capabilities(self) -> Capabilities:
        """What both can do, except conditions, versions, resumption and links for writes."""
        return self._capabilities

    async def put(self, request: PutRequest) -> PutResult:
        """Write to the primary, or to the fallback if the primary provably did not apply it.

        Raises:
            StorageError: The primary's error, if the fallback may not take over or failed too.
        """
        self._guard.check(request.deadline)
        _check(request.key)
        check_put(request, self._capabilities, self.name)
        check_writable(self._capabilities, self._first)
        body = Watched(request.body)
        attempt = replace(request, body=body, deadline=half(request.deadline))
        try:
            # Where nothing else can take the write, it is tried anyway.
            if self._fallback.capabilities.writable and not self._member.admits():
                raise self._member.left_alone()
            result = await self._member.ask(self._primary.put, attempt)
        except StorageError as error:
            repeatable = body.source.replayable or not body.opened
            if not plan.write_moves_on(error, repeatable=repeatable):
                raise
            return await self._divert(error, request.encryption, lambda: self._fallback.put(request))
        return await self._arrived(result, request.deadline)

    async def _divert(
        self,
        error: StorageError,
        encryption: ServerEncryption | None,
        write: Callable[[], Awaitable[PutResult]],
    ) -> PutResult:
        """Write to the fallback after the primary's `error`, having noted it there."""
        if not self._fallback.capabilities.writable:
            raise plan.not_diverted(error, self._second) from error
        try:
            await self._detours.note(encryption)
            result = await write()
        except StorageError as second:
            raise plan.of_both(error, second, self._second) from second
        return replace(result, served_by=self._second, replicas=(self._second,), degraded=True)

    async def _arrived(self, result: PutResult, deadline: float | None) -> PutResult:
        """A write reached the primary: the fallback's version of the key is now old."""
        degraded = False
        try:
            if await self._detours.happened():
                check_writable(self._fallback.capabilities, self._second)
                await self._fallback.delete(result.key, deadline=deadline)
        except StorageError:
            degraded = True  # Its version is older, as every reader can see.
        return replace(result, served_by=self._first, replicas=(self._first,), degraded=degraded)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the newer of the members' versions; see `Driver.get`."""
        self._begin_read(key, options)
        reader, failure = await self._try(self._primary.get, key, options)
        if reader is not None:
            if self._detours.quiet():
                if reader.info.served_by != self._first:
                    reader.info = changed(reader.info, {"served_by": self._first})
                return reader
            if await self._is_current(reader, options):
                return reader
        try:
            second = await self._fallback.get(key, options)
        except StorageError as error:
            if plan.is_definite(error) and self._may_be_back(failure):
                reader = await self._member.ask(self._primary.get, key, options)
                if is_absence(error):
                    reader.info = changed(reader.info, {"served_by": self._first})
                    return reader
                if await self._is_current(reader, options):
                    return reader
                raise  # The fallback has another version, and it is the newer one.
            raise_explained(self._of_both(failure, error), error)
        second.info = self._diverted(second.info, failure)
        return second

    async def _is_current(self, reader: StoredReader, options: ReadOptions) -> bool:
        """Whether the primary's version is the newest; the reader is closed if it is not."""
        try:
            reader.info = await self._newest(reader.info, options)
        except BaseException:
            await reader.aclose()
            raise
        if reader.info.served_by == self._first:
            return True
        await reader.aclose()
        return False

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        self._begin_read(key, options)
        found, failure = await self._try(self._primary.head, key, options)
        if found is not None:
            found = await self._newest(found, options)
            if found.served_by == self._first or options.if_match is None:
                return found
        try:
            return self._diverted(await self._fallback.head(key, options), failure)
        except StorageError as error:
            if plan.is_definite(error) and self._may_be_back(failure):
                found = await self._member.ask(self._primary.head, key, options)
                if is_absence(error):
                    return changed(found, {"served_by": self._first})
                found = await self._newest(found, options)
                if found.served_by == self._first:
                    return found
                raise  # As for `get`.
            raise_explained(self._of_both(failure, error), error)

    def _begin_read(self, key: str, options: ReadOptions) -> None:
        self._guard.check(options.deadline)
        _check(key)
        check_read(options, self._capabilities, self.name)

    async def _try(
        self, read: Callable[[str, ReadOptions], Awaitable[T]], key: str, options: ReadOptions
    ) -> tuple[T | None, StorageError | None]:
        """What the primary returns, or the error after which the fallback is asked."""
        member = self._member
        if not member.admits():
            return None, member.left_alone()
        try:
            return await member.ask(read, key, hurried(options)), None
        except StorageError as error:
            if not plan.read_moves_on(error):
                raise
            return None, error

    def _may_be_back(self, failure: StorageError | None) -> bool:
        """Whether the primary, which alone may have it, was left alone after no more than one failure."""
        unasked = failure is not None and failure.code == ErrorCode.CIRCUIT_OPEN
        return unasked and not self._member.surely_down

    async def _newest(self, found: ObjectInfo, options: ReadOptions) -> ObjectInfo:
        """The primary's object, or the fallback's where a write was diverted after it."""
        mine = found if found.served_by == self._first else changed(found, {"served_by": self._first})
        if await self._detours.may_hide(found.last_modified):
            try:
                theirs = await self._fallback.head(found.key, replace(options, if_match=None))
            except StorageError as error:
                return mine if is_absence(error) else changed(mine, {"degraded": True})
            if plan.newer(mine, theirs) is theirs:
                return self._diverted(theirs, None)
        return changed(mine, {"degraded": True}) if self._detours.unknown else mine

    def _diverted(self, info: ObjectInfo, failure: StorageError | None) -> ObjectInfo:
        asked = failure is None or is_absence(failure)
        return changed(info, {"served_by": self._second, "degraded": not asked})

    def _of_both(self, first: StorageError | None, second: StorageError) -> StorageError:
        return second if first is None else plan.of_both(first, second, self._second)

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove the object at both members, the newest version last, so that no older one reappears.

        Raises:
            StorageError: From the member that was not reached, which it names; the message says what was
                done.
        """
        self._guard.check(deadline)
        _check(key)
        check_delete(if_match, version_id, self._capabilities, self.name)
        check_writable(self._capabilities, self._first)
        if not self._fallback.capabilities.writable:
            await self._check_absent(key, deadline)
            return await self._primary.delete(key, deadline=deadline)
        (one, label), (two, other) = await self._older_first(key, deadline)
        first = await one.delete(key, deadline=deadline)
        try:
            second = await two.delete(key, deadline=deadline)
            if self._primary_last and two is not self._primary:
                second = plan.either(await one.delete(key, deadline=deadline), second)
        except StorageError as error:
            raise plan.undone(error, failed=other, done=label) from error
        return plan.either(first, second)

    async def _check_absent(self, key: str, deadline: float | None) -> None:
        """Refuse to remove what a read-only fallback has: it would still be found.

        Raises:
            StorageReadOnlyError: It has the object.
            StorageError: It could not be asked.
        """
        try:
            await self._fallback.head(key, ReadOptions(deadline=deadline))
        except StorageError as error:
            if not is_absence(error):
                raise
        else:
            raise read_only(self._second)

    async def _older_first(
        self, key: str, deadline: float | None
    ) -> tuple[tuple[Driver, str], tuple[Driver, str]]:
        """The members and their labels, in the order to delete a key in."""
        primary, fallback = (self._primary, self._first), (self._fallback, self._second)
        either = (fallback, primary) if self._primary_last else (primary, fallback)
        if not await self._detours.happened() and not self._detours.unknown:
            return either
        try:
            newest = await self.head(key, ReadOptions(deadline=deadline))
        except StorageError as error:
            if not is_absence(error):
                raise
            return either
        return (primary, fallback) if newest.served_by == self._second else (fallback, primary)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Like `delete`, for each key."""
        self._guard.check(deadline)
        for key in keys:
            _check(key)
        check_writable(self._capabilities, self._first)
        frozen = not self._fallback.capabilities.writable
        if frozen or await self._detours.happened() or self._detours.unknown:
            return {key: await outcome_of(self.delete(key, deadline=deadline)) for key in keys}
        outcomes = dict(await self._primary.delete_many(keys, deadline=deadline))
        reached = {key: done for key, done in outcomes.items() if not isinstance(done, StorageError)}
        if not reached:
            return outcomes
        answer = await outcome_of(self._fallback.delete_many(list(reached), deadline=deadline))
        for key, first in reached.items():
            second = answer if isinstance(answer, StorageError) else answer[key]
            if isinstance(second, StorageError):
                outcomes[key] = plan.undone(second, failed=self._second, done=self._first)
            else:
                outcomes[key] = plan.either(first, second)
        return outcomes

    async def list(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> Page:
        """One page of the union, each name once.

        Raises:
            StorageError: A member failed, and without it there is nothing to list.
        """
        self._guard.check(deadline)
        return await self._pages.page(
            prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit, deadline=deadline
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy at the member that has the source; the other one does not have this version of it.

        Raises:
            StorageError: See `Driver.copy`; a source at the primary is not copied elsewhere.
        """
        self._guard.check(request.deadline)
        _check(request.destination)
        check_condition(request.precondition, self._capabilities, self.name)
        check_encryption(request.encryption, self._capabilities, self.name)
        check_encryption(request.source_customer_key, self._capabilities, self.name)
        check_retention(request.retention, self._capabilities, self.name)
        check_writable(self._capabilities, self._first)
        source = request.source
        if await self._detours.happened():
            options = ReadOptions(customer_key=request.source_customer_key, deadline=request.deadline)
            now = await self.head(source.key, options)
            if (now.served_by, now.etag) != (source.served_by, source.etag):
                raise StoragePreconditionFailedError("the source was replaced since it was looked at")
        if source.served_by != self._second:
            return await self._arrived(await copied_at(self._primary, request), request.deadline)
        check_writable(self._fallback.capabilities, self._second)
        await self._detours.note(request.encryption)
        copied = await copied_at(self._fallback, request)
        return replace(copied, served_by=self._second, replicas=(self._second,), degraded=True)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to the member that has the object.

        Raises:
            StorageUnsupportedError: The link is for a write, which would bypass the strategy.
            StorageNotFoundError: Neither member has it.
        """
        self._guard.check(request.deadline)
        check_sign(request, self._capabilities, self.name)
        options = ReadOptions(version_id=request.version_id, deadline=request.deadline)
        found = await self.head(request.key, options)
        at_first = found.served_by == self._first
        signed = await (self._primary if at_first else self._fallback).sign(request)
        return replace(signed, served_by=found.served_by)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that both members can be reached.

        Raises:
            StorageError: From one that cannot; the message says whether the other can.
        """
        self._guard.check(deadline)
        first, second = await both(
            outcome_of(self._primary.ping(deadline=deadline)),
            lambda: outcome_of(self._fallback.ping(deadline=deadline)),
        )
        if isinstance(first, StorageError):
            if isinstance(second, StorageError):
                raise plan.of_both(first, second, self._second)
            raise plan.alone(first, failed=self._first, works=self._second)
        if isinstance(second, StorageError):
            raise plan.alone(second, failed=self._second, works=self._first)

    async def aclose(self) -> None:
        """Close both members, even if the first fails to; safe to call again."""
        self._guard.closed = True
        try:
            await self._primary.aclose()
        finally:
            await self._fallback.aclose()


def _check(key: str) -> None:
    if key == NOTE:
        raise StorageInvalidKeyError(
            f"a fallback store keeps {key!r} for itself; choose another key",
            code=ErrorCode.RESERVED_KEY,
            key=key,
        )
