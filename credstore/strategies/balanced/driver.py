"""`BalancedDriver`: stores that share the objects, by weight.

What it promises: a key belongs at the first store of its ranking (`plan.py`), so reads find what was
written. While that one is down the second takes over, with everything that `fallback` promises: the first two
stores of a ranking are a `FallbackDriver`. "Not found" needs all stores to say so, so objects that are not
where they belong, after a store was added or weights were changed, are found; `rebalance` moves them, online.
How fast members have been decides nothing by itself: a place that followed it would move, and reads would not
find writes. Each object is at one store only.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from credstore.concurrency import for_each, map_all
from credstore.driver.contract import BreaksCircuits, Driver, KeepsConnections
from credstore.driver.guard import Guard
from credstore.driver.refusals import check_copy, check_delete, check_put, check_read, check_sign
from credstore.driver.values import (
    NO_HEADERS,
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
from credstore.errors import (
    StorageConflictError,
    StorageError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING, CircuitState
from credstore.quick import changed
from credstore.strategies.balanced.claims import MARK_SIZE, SIZE, unclaimed
from credstore.strategies.balanced.moving import MemberBody, Moves
from credstore.strategies.balanced.pages import Pages
from credstore.strategies.balanced.plan import adjusted, checked_weights, ranking
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.fallback.pages import NOTE
from credstore.strategies.health import Member, is_absence, labels_of
from credstore.strategies.latencies import Latencies
from credstore.strategies.outcomes import outcome_of

T = TypeVar("T")
_AT_ONCE = 16
_KEPT = 4096
_SAMPLE = 4
"""Reads of which one is timed."""


class BalancedDriver(Driver):
    """Each object at one of several members, chosen by its key."""

    def __init__(
        self,
        members: Sequence[Driver],
        weights: Sequence[float] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Own the members: they are closed with this driver.

        Args:
            members: Two or more, always in the same order; new ones come last.
            weights: One for each member, how much of all objects it gets; equal unless given.
            clock: Unix seconds.
            monotonic: Seconds, for how long a member is left alone.

        Raises:
            StorageConfigurationError: The weights are not such numbers.
        """
        self._weights = checked_weights(weights, len(members))
        self._members = [
            Member(unclaimed(driver), label, index, clock=monotonic)
            for index, (driver, label) in enumerate(zip(members, labels_of(list(members)), strict=True))
        ]
        self._stores = list(members)
        self._clock = clock
        self._monotonic = monotonic
        self._latencies = [Latencies() for _ in members]
        self._reads = 0
        self._places = {member.label: member.index for member in self._members}
        self._homes: dict[str, tuple[FallbackDriver, list[Member]]] = {}
        self._pairs: dict[tuple[int, int], FallbackDriver] = {}
        able = members[0].capabilities
        for each in members[1:]:
            able = plan.able_together(able, each.capabilities)
        largest = able.max_metadata_size
        self._capabilities = replace(
            able,
            versions=False,
            tags=False,
            retention_modes=frozenset(),
            legal_holds=False,
            sse_c=False,
            max_metadata_size=None if largest is None else max(0, largest - MARK_SIZE),
        )
        self._pages = Pages(self._members, self.head)
        self._guard = Guard("balanced")

    @property
    def name(self) -> str:
        """Always "balanced"."""
        return "balanced"

    @property
    def capabilities(self) -> Capabilities:
        """What all members can do, except conditions, versions, retention, tags and links for writes."""
        return self._capabilities

    def _of(self, key: str) -> tuple[FallbackDriver, list[Member]]:
        """Where a key belongs, and the members that may have it besides."""
        found = self._homes.get(key)
        if found is None:
            first, second, *others = ranking(key, self._weights)
            found = self._pair(first, second), [self._members[index] for index in others]
            if len(self._homes) >= _KEPT:
                self._homes.clear()
            self._homes[key] = found
        return found

    def _pair(self, first: int, second: int) -> FallbackDriver:
        found = self._pairs.get((first, second))
        if found is None:
            one, two = self._members[first], self._members[second]
            found = self._pairs[first, second] = FallbackDriver(
                one.driver,
                two.driver,
                clock=self._clock,
                labels=(one.label, two.label),
                member=one,
                primary_last=True,
            )
        return found

    async def put(self, request: PutRequest) -> PutResult:
        """Write where the key belongs; see `FallbackDriver.put`."""
        self._guard.check(request.deadline)
        check_put(request, self._capabilities, self.name)
        return await self._of(request.key)[0].put(request)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the object where it belongs, else where it is; see `FallbackDriver.get`."""
        self._guard.check(options.deadline)
        check_read(options, self._capabilities, self.name)
        pair, _ = self._of(key)
        self._reads += 1
        began = 0.0 if self._reads % _SAMPLE else self._monotonic()
        try:
            reader = await pair.get(key, options)
        except StorageError as error:
            if not is_absence(error):
                raise
            return await self._elsewhere(key, error, lambda driver: driver.get(key, options), _label_reader)
        if began:
            now = self._monotonic()
            self._latencies[self._places[reader.info.served_by]].seen(now - began, now)
        return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        self._guard.check(options.deadline)
        check_read(options, self._capabilities, self.name)
        pair, _ = self._of(key)
        try:
            return await pair.head(key, options)
        except StorageError as error:
            if not is_absence(error):
                raise
            return await self._elsewhere(key, error, lambda driver: driver.head(key, options), _label_info)

    async def _elsewhere(
        self,
        key: str,
        error: StorageError,
        read: Callable[[Driver], Awaitable[T]],
        labelled: Callable[[T, str], T],
    ) -> T:
        """What another member has; home is asked again last, since it may have been moved there meanwhile.

        Raises:
            StorageError: None has it, or one of them could not be asked.
        """
        for member in (*self._of(key)[1], self._home(key)):
            try:
                return labelled(await member.ask(read, member.driver), member.label)
            except StorageError as failure:
                if not is_absence(failure):
                    raise
        raise error

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove the object at every member, home last: no older one and no move brings it back.

        Raises:
            StorageError: A member could not be reached, so that it may still be there.
        """
        self._guard.check(deadline)
        check_delete(if_match, version_id, self._capabilities, self.name)
        pair, others = self._of(key)
        found = [await member.ask(member.driver.delete, key, deadline=deadline) for member in others]
        found.append(await pair.delete(key, deadline=deadline))
        told = {each.existed for each in found}
        return DeleteOutcome(existed=True if True in told else (None if None in told else False))

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Like `delete`, for each key."""
        self._guard.check(deadline)

        async def one(key: str) -> DeleteOutcome | StorageError:
            return await outcome_of(self.delete(key, deadline=deadline))

        return dict(zip(keys, await map_all(keys, one, at_once=_AT_ONCE), strict=True))

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
        """One page of what all members have, each name once; see `Driver.list`.

        Raises:
            StorageError: A member failed: what only it has cannot be left out.
        """
        self._guard.check(deadline)
        return await self._pages.page(
            prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit, deadline=deadline
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy inside a member where the copy belongs at the source's; else its bytes pass through here."""
        self._guard.check(request.deadline)
        check_copy(request, self._capabilities, self.name)
        for _ in range(len(self._members) + 1):
            try:
                return await self._copied(request)
            except StorageObjectNotFoundError:
                source = request.source
                now = await self.head(source.key, ReadOptions(deadline=request.deadline))
                if now.write_id != source.write_id:
                    raise _replaced() from None
                if now.served_by == source.served_by:
                    raise
                request = replace(request, source=now)  # It was moved to another member meanwhile.
        raise StorageConflictError("the object was moved again and again while it was copied", retryable=True)

    async def _copied(self, request: CopyRequest) -> PutResult:
        source = request.source
        first = self._home(request.destination)
        if request.destination == source.key and source.served_by != first.label:
            request = await self._brought_home(request, first)
            source = request.source
        pair, _ = self._of(request.destination)
        if source.served_by == first.label:
            return await pair.copy(request)
        now = await self._pinned(request)
        holder = self._named(now.served_by)
        return await pair.put(
            PutRequest(
                key=request.destination,
                body=MemberBody(holder.driver, now),
                write_id=request.write_id,
                digest=now.digest or None,
                headers=now.headers or NO_HEADERS,
                metadata=now.metadata or NOTHING,
                system=(now.system or NOTHING) if request.system is None else request.system,
                encryption=request.encryption,
                storage_class=(
                    now.storage_class if now.storage_class in self._capabilities.storage_classes else None
                ),
                deadline=request.deadline,
            )
        )

    async def _brought_home(self, request: CopyRequest, home: Member) -> CopyRequest:
        """A copy of an object onto itself, where it belongs: put there it could come back after a delete."""
        source = await self._pinned(request)
        try:
            if not await Moves(self._members, self._stores, exclusive=False).settle(source.key, home):
                return request
        except StorageUnsupportedError:
            return request  # There are no conditions.
        now = await self.head(source.key, ReadOptions(deadline=request.deadline))
        if now.write_id != source.write_id:
            raise _replaced()
        return replace(request, source=now)

    async def _pinned(self, request: CopyRequest) -> ObjectInfo:
        """The source of a copy, if it is what readers get now.

        Raises:
            StoragePreconditionFailedError: It was replaced; the one before may still be at another member.
        """
        source = request.source
        now = await self.head(source.key, ReadOptions(deadline=request.deadline))
        moved = source.write_id is not None and now.write_id == source.write_id
        if not moved and (now.served_by, now.etag) != (source.served_by, source.etag):
            raise _replaced()
        return now

    def _home(self, key: str) -> Member:
        """Where a key belongs."""
        return self._members[ranking(key, self._weights)[0]]

    def _named(self, label: str) -> Member:
        return next(member for member in self._members if member.label == label)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to the member that has the object now.

        Raises:
            StorageUnsupportedError: The link is for a write, which would bypass the strategy.
            StorageObjectNotFoundError: No member has it.
        """
        self._guard.check(request.deadline)
        check_sign(request, self._capabilities, self.name)
        found = await self.head(request.key, ReadOptions(deadline=request.deadline))
        signed = await self._named(found.served_by).driver.sign(request)
        return replace(signed, served_by=found.served_by)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that all members can be reached; each has objects that no other one has."""
        self._guard.check(deadline)

        async def one(member: Member) -> StorageError | None:
            return await outcome_of(member.driver.ping(deadline=deadline))

        for answer in await map_all(self._members, one, at_once=len(self._members)):
            if answer is not None:
                raise answer

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The circuits of all members; see `BreaksCircuits.circuits`."""
        found: dict[str, CircuitState] = {}
        for member in self._members:
            if isinstance(member.driver, BreaksCircuits):
                found |= member.driver.circuits
        return found

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections to all members ready; see `KeepsConnections.warm`."""
        self._guard.check(deadline)
        for member in self._members:
            if isinstance(member.driver, KeepsConnections):
                await member.driver.warm(connections, deadline=deadline)

    def suggested_weights(self) -> dict[str, float]:
        """Weights by which faster members would get more; see `plan.adjusted`. Nothing is changed."""
        now = self._monotonic()
        typical = [each.typical(now) for each in self._latencies]
        down = [member.down for member in self._members]
        found = adjusted(self._weights, typical, down)
        return {member.label: weight for member, weight in zip(self._members, found, strict=True)}

    async def rebalance(self, prefix: str = "", *, exclusive: bool = False) -> int:
        """Move what is not where it belongs; see `credstore.balance.rebalance`.

        Raises:
            StorageUnsupportedError: A member has no conditions, and this was not given the store to itself.
            StorageError: A member failed; the same call continues.
        """
        moved = 0
        moves = Moves(self._members, self._stores, exclusive=exclusive)

        async def move(entry: ObjectInfo) -> None:
            nonlocal moved
            home = self._home(entry.key)
            astray = entry.served_by != home.label
            if not astray and (entry.size != SIZE or not await moves.is_left_over(entry.key, home)):
                return
            if await moves.settle(entry.key, home):
                moved += 1

        async def entries() -> AsyncIterator[ObjectInfo]:
            for member in self._members:
                cursor: str | None = None
                while True:
                    page = await member.driver.list(prefix, cursor)
                    for entry in page.entries:
                        if entry.key != NOTE:
                            yield replace(entry, served_by=member.label)
                    if page.cursor is None:
                        break
                    cursor = page.cursor

        self._guard.check()
        await for_each(entries(), move, at_once=lambda: _AT_ONCE)
        return moved

    async def aclose(self) -> None:
        """Close all members, even if one fails to; safe to call again."""
        self._guard.closed = True
        failures: list[BaseException] = []
        for member in self._members:
            try:
                await member.driver.aclose()
            except Exception as error:  # noqa: BLE001 - the others are closed too
                failures.append(error)
        if failures:
            raise failures[0]


def _label_info(info: ObjectInfo, label: str) -> ObjectInfo:
    return changed(info, {"served_by": label})


def _label_reader(reader: StoredReader, label: str) -> StoredReader:
    reader.info = changed(reader.info, {"served_by": label})
    return reader


def _replaced() -> StoragePreconditionFailedError:
    return StoragePreconditionFailedError("the source was replaced since it was looked at")
