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
from datetime import datetime
from typing import TypeVar

from credstore.causes import raise_explained
from credstore.concurrency import both
from credstore.driver.contract import (
    BreaksCircuits,
    Driver,
    KeepsConnections,
    LockingDriver,
    TaggedDriver,
)
from credstore.driver.guard import Guard
from credstore.driver.refusals import (
    TAGS,
    check_condition,
    check_delete,
    check_encryption,
    check_legal_holds,
    check_put,
    check_read,
    check_retention,
    check_retention_mode,
    check_sign,
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
    VersionPage,
)
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageError,
    StorageInvalidKeyError,
    StoragePreconditionFailedError,
)
from credstore.model import CircuitState, Retention
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.attempts import Watched, half, hurried
from credstore.strategies.fallback.detours import Detours
from credstore.strategies.fallback.pages import NOTE, Pages
from credstore.strategies.fallback.versions import MemberVersions
from credstore.strategies.health import Member, is_absence
from credstore.strategies.outcomes import outcome_of

T = TypeVar("T")


class FallbackDriver(Driver):
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
    ) -> None:
        """Own both: they are closed with this driver.

        Args:
            primary: Asked first.
            fallback: Asked when the primary fails, or does not have what is read.
            clock: Unix seconds.
            monotonic: Seconds, for how long a primary that is down is left alone.
            labels: What the members are called in `served_by`; their names, made different, unless given.
            member: What is known of the primary, where others ask it too.
        """
        self._primary = primary
        self._fallback = fallback
        same = primary.name == fallback.name
        if labels is None:
            labels = (
                f"{primary.name} (primary)" if same else primary.name,
                f"{fallback.name} (fallback)" if same else fallback.name,
            )
        self._first, self._second = labels
        self._pages = Pages(primary, fallback, self._first, self._second)
        self._versions = MemberVersions((primary, fallback), (self._first, self._second))
        self._detours = Detours(fallback, clock=clock)
        self._member = member or Member(primary, self._first, 0, clock=monotonic)
        self._capabilities = plan.able_together(primary.capabilities, fallback.capabilities)
        self._guard = Guard("fallback")

    @property
    def name(self) -> str:
        """Always "fallback"."""
        return "fallback"

    @property
    def labels(self) -> tuple[str, str]:
        """What the members are called in `served_by`: the primary, the fallback."""
        return self._first, self._second

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
        body = Watched(request.body)
        attempt = replace(request, body=body, deadline=half(request.deadline))
        try:
            if not self._member.admits():
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
                    reader.info = replace(reader.info, served_by=self._first)
                return reader
            try:
                found = await self._newest(reader.info, options)
            except BaseException:
                await reader.aclose()
                raise
            if found.served_by == self._first:
                reader.info = found
                return reader
            await reader.aclose()
        try:
            second = await self._fallback.get(key, options)
        except StorageError as error:
            if is_absence(error) and self._may_be_back(failure):
                reader = await self._member.ask(self._primary.get, key, options)
                reader.info = replace(reader.info, served_by=self._first)
                return reader
            raise_explained(self._of_both(failure, error), error)
        second.info = self._diverted(second.info, failure)
        return second

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
            if is_absence(error) and self._may_be_back(failure):
                found = await self._member.ask(self._primary.head, key, options)
                return replace(found, served_by=self._first)
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
        mine = found if found.served_by == self._first else replace(found, served_by=self._first)
        if await self._detours.may_hide(found.last_modified):
            try:
                theirs = await self._fallback.head(found.key, replace(options, if_match=None))
            except StorageError as error:
                return mine if is_absence(error) else replace(mine, degraded=True)
            if plan.newer(mine, theirs) is theirs:
                return self._diverted(theirs, None)
        return replace(mine, degraded=True) if self._detours.unknown else mine

    def _diverted(self, info: ObjectInfo, failure: StorageError | None) -> ObjectInfo:
        asked = failure is None or is_absence(failure)
        return replace(info, served_by=self._second, degraded=not asked)

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
        (one, label), (two, other) = await self._older_first(key, deadline)
        first = await one.delete(key, deadline=deadline)
        try:
            second = await two.delete(key, deadline=deadline)
        except StorageError as error:
            raise plan.undone(error, failed=other, done=label) from error
        return plan.either(first, second)

    async def _older_first(
        self, key: str, deadline: float | None
    ) -> tuple[tuple[Driver, str], tuple[Driver, str]]:
        """The members and their labels, in the order to delete a key in."""
        primary, fallback = (self._primary, self._first), (self._fallback, self._second)
        if not await self._detours.happened() and not self._detours.unknown:
            return primary, fallback
        try:
            newest = await self.head(key, ReadOptions(deadline=deadline))
        except StorageError as error:
            if not is_absence(error):
                raise
            return primary, fallback
        return (primary, fallback) if newest.served_by == self._second else (fallback, primary)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Like `delete`, for each key."""
        self._guard.check(deadline)
        for key in keys:
            _check(key)
        if await self._detours.happened() or self._detours.unknown:
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
        source = request.source
        if await self._detours.happened():
            options = ReadOptions(customer_key=request.source_customer_key, deadline=request.deadline)
            now = await self.head(source.key, options)
            if (now.served_by, now.etag) != (source.served_by, source.etag):
                raise StoragePreconditionFailedError("the source was replaced since it was looked at")
        if source.served_by != self._second:
            return await self._arrived(await self._primary.copy(request), request.deadline)
        await self._detours.note(request.encryption)
        copied = await self._fallback.copy(request)
        return replace(copied, served_by=self._second, replicas=(self._second,), degraded=True)

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags at the member that has it; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        return {} if member is None else await member.get_tags(key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object at the member that has it; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        if member is None:
            raise TAGS.of(f"the member of {self.name} that has this object")
        await member.put_tags(key, tags, deadline=deadline)

    async def _tagged(self, key: str, deadline: float | None) -> TaggedDriver | None:
        """The member that has an object, if that member has tags."""
        info = await self.head(key, ReadOptions(deadline=deadline))
        member = self._fallback if info.served_by == self._second else self._primary
        return member if isinstance(member, TaggedDriver) else None

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Whether one of the members may keep versions; see `VersionedDriver.keeps_versions`."""
        return await self._versions.kept(deadline)

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """One page of one member, the primary's first; see `VersionedDriver.list_versions`.

        Objects of a member without versions count as one version each.

        Raises:
            StorageUnsupportedError: Neither member keeps versions.
            StorageError: From a member; what it has cannot be left out.
        """
        return await self._versions.page(prefix, cursor, exact=exact, limit=limit, deadline=deadline)

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove each version at the member that has it; see `VersionedDriver.delete_versions`."""
        return await self._versions.remove(versions, deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps a version at the member that has it, or an object at all that have it.

        Where both have an object, the longer retention counts, since both have to give it up.
        """
        self._guard.check(deadline)
        return await self._versions.retention(key, version_id, deadline)

    async def set_retention(
        self,
        key: str,
        retain_until: datetime | None,
        mode: RetentionMode,
        *,
        version_id: str | None = None,
        bypass_governance: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Put an object under retention at every member that has it; see `LockingDriver.set_retention`.

        Raises:
            StorageError: A member that may have it cannot be asked, and nothing was changed; or, with
                `applied` "maybe", one was reached and the other was not.
        """
        self._guard.check(deadline)
        check_retention_mode(mode, self._capabilities, self.name)

        async def retain(member: LockingDriver, version: str | None) -> None:
            await member.set_retention(
                key,
                retain_until,
                mode,
                version_id=version,
                bypass_governance=bypass_governance,
                deadline=deadline,
            )

        await self._versions.lock(key, version_id, retain, deadline)

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Hold an object, or release it, at every member that has it; see `set_retention`."""
        self._guard.check(deadline)
        check_legal_holds(self._capabilities, self.name)

        async def hold(member: LockingDriver, version: str | None) -> None:
            await member.set_legal_hold(key, held=held, version_id=version, deadline=deadline)

        await self._versions.lock(key, version_id, hold, deadline)

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

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The circuits of both members; see `BreaksCircuits.circuits`."""
        found: dict[str, CircuitState] = {}
        for member in (self._primary, self._fallback):
            if isinstance(member, BreaksCircuits):
                found |= member.circuits
        return found

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections to both members ready; see `KeepsConnections.warm`.

        Raises:
            StorageError: One of them could not be reached; both were tried.
        """
        self._guard.check(deadline)

        async def ready(member: Driver) -> None:
            if isinstance(member, KeepsConnections):
                await member.warm(connections, deadline=deadline)

        for failed in await both(outcome_of(ready(self._primary)), lambda: outcome_of(ready(self._fallback))):
            if isinstance(failed, StorageError):
                raise failed

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
