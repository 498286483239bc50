"""`PricedDriver`: several stores as one, each object at the one where it costs least.

What it promises: an object is at one member, the one that `plan.py` names when it is first written, and
stays there when it is replaced. A read finds it wherever it is; "not found" needs every member to say so. If
a member that is asked earlier does not respond, what a later one has is served and marked as degraded, and a
write fails, since the object may be there. There are no conditions (P31), and no versions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from credstore.concurrency import map_all
from credstore.driver.contract import BreaksCircuits, Driver, KeepsConnections, TaggedDriver
from credstore.driver.guard import Guard
from credstore.driver.refusals import (
    TAGS,
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
from credstore.errors import (
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import CircuitState
from credstore.prices.plan import MONTH, Facts
from credstore.strategies.merging import merge, position_of, read_page
from credstore.strategies.onto_itself import copied_at
from credstore.strategies.priced import plan

T = TypeVar("T")
_NAME = "priced"
_WRONG = (StorageInvalidRequestError, StorageUnsupportedError)


class PricedDriver(Driver):
    """Members, and what they cost."""

    def __init__(self, members: Sequence[Driver], facts: Sequence[Facts], *, days: float = MONTH) -> None:
        """Own the members: they are closed with this driver.

        Args:
            members: Two or more stores.
            facts: Of each of them; `label` is what `served_by` calls it, all different.
            days: How long objects are kept, for the choice of a member.

        Raises:
            StorageConfigurationError: There are fewer than two, labels repeat, or one lists in an order of
                its own.
        """
        labels = [each.label for each in facts]
        if len(members) < 2 or len(members) != len(facts) or len(set(labels)) != len(labels):  # noqa: PLR2004
            raise StorageConfigurationError("name two or more stores, each with a label of its own")
        if not all(each.capabilities.ordered for each in members):
            raise StorageConfigurationError(
                "a store that lists in an order of its own cannot be one of several"
            )
        self._members = tuple(members)
        self._facts = tuple(facts)
        self._days = days
        self._order = plan.read_order(facts)
        self._able = plan.able_together([each.capabilities for each in members])
        self._guard = Guard(_NAME)

    @property
    def name(self) -> str:
        """Always "priced"."""
        return _NAME

    @property
    def labels(self) -> tuple[str, ...]:
        """What the members are called in `served_by`, in the order of the settings."""
        return tuple(each.label for each in self._facts)

    @property
    def capabilities(self) -> Capabilities:
        """What all members can do, except conditions, versions, retention and links for writes."""
        return self._able

    async def put(self, request: PutRequest) -> PutResult:
        """Write where the object is, or else where it costs least; see `Driver.put`.

        Cost: 1 HEAD at each member besides the write.
        """
        self._guard.check(request.deadline)
        check_put(request, self._able, self.name)
        check_writable(self._able, self.name)
        holding = await self._holding(request.key, request.deadline)
        if holding:
            at = holding[0]
        else:
            length = request.body.length
            chosen = plan.write_order(self._facts, length, request.storage_class, self._days)
            at = next(each for each in chosen if self._members[each].capabilities.writable)
        for each in holding or [at]:
            check_writable(self._members[each].capabilities, self._facts[each].label)
        result = await self._members[at].put(request)
        degraded = False
        for other in holding[1:]:
            try:
                await self._members[other].delete(request.key, deadline=request.deadline)
            except StorageError:
                degraded = True  # Its version is older, and is not asked for first.
        label = self._facts[at].label
        return replace(result, served_by=label, replicas=(label,), degraded=degraded)

    async def _holding(self, key: str, deadline: float | None) -> list[int]:
        """The members that have an object, in the order in which they are asked.

        Raises:
            StorageError: One of them could not be asked.
        """

        async def has(at: int) -> bool:
            try:
                await self._members[at].head(key, ReadOptions(deadline=deadline))
            except StorageObjectNotFoundError:
                return False
            except StorageIntegrityError:
                return True  # What is there is damaged, and can be replaced and deleted like any other.
            return True

        found = await map_all(self._order, has, at_once=len(self._order))
        return [at for at, there in zip(self._order, found, strict=True) if there]

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes at the first member that has them; see `Driver.get`."""
        self._begin_read(options)
        reader, at, degraded = await self._first(lambda member: member.get(key, options))
        reader.info = self._told(reader.info, at, degraded=degraded)
        return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        self._begin_read(options)
        info, at, degraded = await self._first(lambda member: member.head(key, options))
        return self._told(info, at, degraded=degraded)

    def _begin_read(self, options: ReadOptions) -> None:
        self._guard.check(options.deadline)
        check_read(options, self._able, self.name)

    def _told(self, info: ObjectInfo, at: int, *, degraded: bool) -> ObjectInfo:
        return replace(info, served_by=self._facts[at].label, degraded=degraded or info.degraded)

    async def _first(self, read: Callable[[Driver], Awaitable[T]]) -> tuple[T, int, bool]:
        """What the first member that has the object returns, which one it is, and whether one was silent.

        Raises:
            StorageError: None has it; of one that could not be asked, if there is such a one.
        """
        absent: StorageError | None = None
        failure: StorageError | None = None
        for at in self._order:
            try:
                return await read(self._members[at]), at, failure is not None
            except StorageObjectNotFoundError as error:
                absent = absent or error
            except (*_WRONG, StoragePreconditionFailedError):
                raise
            except StorageError as error:
                failure = failure or error
        raise failure or absent or StorageObjectNotFoundError("there is no such object")

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove the object wherever it is, at the member that is asked first last; see `Driver.delete`."""
        self._guard.check(deadline)
        check_delete(if_match, version_id, self._able, self.name)
        check_writable(self._able, self.name)
        holding = await self._holding(key, deadline)
        for at in holding:
            if not self._members[at].capabilities.writable:
                raise read_only(self._facts[at].label)
        for at in reversed(holding):
            await self._members[at].delete(key, deadline=deadline)
        return DeleteOutcome(existed=bool(holding))

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Like `delete`, for each key."""
        self._guard.check(deadline)
        check_writable(self._able, self.name)

        async def remove(key: str) -> DeleteOutcome | StorageError:
            try:
                return await self.delete(key, deadline=deadline)
            except StorageError as error:
                return error

        return dict(zip(keys, await map_all(keys, remove, at_once=16), strict=True))

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
        """One page of the union; see `Driver.list`.

        Raises:
            StorageError: A member could not be listed: what it has cannot be left out.
        """
        self._guard.check(deadline)
        count = len(self._members)
        position = position_of(cursor, count, start_after)

        async def read(at: int) -> Page | None:
            place = position.places[at]
            if place.ended:
                return None
            page = await read_page(
                self._members[at], place, prefix, delimiter=delimiter, limit=limit, deadline=deadline
            )
            label = self._facts[at].label
            return replace(page, entries=[replace(entry, served_by=label) for entry in page.entries])

        pages = await map_all(range(count), read, at_once=count)
        rank = {self._facts[at].label: place for place, at in enumerate(self._order)}
        return merge(
            position,
            pages,
            limit,
            lambda one, two: min(one, two, key=lambda each: rank[each.served_by or ""]),
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy at the member that has the source; see `Driver.copy`."""
        self._guard.check(request.deadline)
        check_condition(request.precondition, self._able, self.name)
        check_encryption(request.encryption, self._able, self.name)
        check_encryption(request.source_customer_key, self._able, self.name)
        check_retention(request.retention, self._able, self.name)
        source = request.source
        options = ReadOptions(deadline=request.deadline)
        info, at, _ = await self._first(lambda member: member.head(source.key, options))
        if info.etag != source.etag:
            raise StoragePreconditionFailedError("the source was replaced since it was looked at")
        others = [each for each in await self._holding(request.destination, request.deadline) if each != at]
        for each in (at, *others):
            check_writable(self._members[each].capabilities, self._facts[each].label)
        result = await copied_at(self._members[at], request)
        for other in others:
            await self._members[other].delete(request.destination, deadline=request.deadline)
        label = self._facts[at].label
        return replace(result, served_by=label, replicas=(label,))

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        return {} if member is None else await member.get_tags(key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        if member is None:
            raise TAGS.of(f"the member of {self.name} that has this object")
        await member.put_tags(key, tags, deadline=deadline)

    async def _tagged(self, key: str, deadline: float | None) -> TaggedDriver | None:
        _, at, _ = await self._first(lambda member: member.head(key, ReadOptions(deadline=deadline)))
        member = self._members[at]
        return member if isinstance(member, TaggedDriver) else None

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to the member that has the object.

        Raises:
            StorageUnsupportedError: The link is for a write, which would bypass the strategy.
            StorageNotFoundError: No member has it.
        """
        self._guard.check(request.deadline)
        check_sign(request, self._able, self.name)
        options = ReadOptions(deadline=request.deadline)
        _, at, _ = await self._first(lambda member: member.head(request.key, options))
        return replace(await self._members[at].sign(request), served_by=self._facts[at].label)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that all members can be reached.

        Raises:
            StorageError: One cannot.
        """
        self._guard.check(deadline)
        await map_all(
            self._members, lambda member: member.ping(deadline=deadline), at_once=len(self._members)
        )

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The circuits of all members; see `BreaksCircuits.circuits`."""
        found: dict[str, CircuitState] = {}
        for member in self._members:
            if isinstance(member, BreaksCircuits):
                found |= member.circuits
        return found

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections to all members ready; see `KeepsConnections.warm`."""
        self._guard.check(deadline)
        for member in self._members:
            if isinstance(member, KeepsConnections):
                await member.warm(connections, deadline=deadline)

    async def aclose(self) -> None:
        """Close all members, even if one fails to; safe to call again."""
        self._guard.closed = True
        failures: list[BaseException] = []
        for member in self._members:
            try:
                await member.aclose()
            except Exception as error:  # noqa: BLE001 - the others are closed first
                failures.append(error)
        if failures:
            raise failures[0]
