"""`RedundantDriver`: N stores with the same objects as one, of which some may be down or bad.

What it promises (P27 to P31): a write that returned is durable at W members under one write-id and one stamp;
a read returns the newest of the versions that R members know of, which includes every acknowledged one, and
"not found" needs R of them to say so; a deletion is a tombstone at W members before anything is removed, so a
member that missed it brings nothing back. Results name the member, and say `degraded` when one did not
respond or is behind. There are no conditions: of concurrent writes the one with the greater stamp stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Any

from credstore.concurrency import map_all
from credstore.driver.contract import BreaksCircuits, Driver, KeepsConnections
from credstore.driver.guard import Guard
from credstore.driver.refusals import (
    check_copy,
    check_delete,
    check_put,
    check_read,
    check_sign,
)
from credstore.driver.values import (
    OVERWRITE,
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
from credstore.errors import StorageError
from credstore.model import CircuitState
from credstore.quick import changed
from credstore.strategies.health import Member, labels_of
from credstore.strategies.outcomes import outcome_of
from credstore.strategies.redundant.asking import Looking
from credstore.strategies.redundant.background import Background
from credstore.strategies.redundant.copying import Copies
from credstore.strategies.redundant.journal import Journal
from credstore.strategies.redundant.mending import Mender
from credstore.strategies.redundant.pages import Pages
from credstore.strategies.redundant.plan import (
    OWN,
    Quorums,
    View,
    able_together,
    check_key,
    not_met,
    quorums_of,
    verdict,
)
from credstore.strategies.redundant.reading import Found, Reads
from credstore.strategies.redundant.scrubbing import Scrubber
from credstore.strategies.redundant.stamps import (
    HybridClock,
    Stamp,
    etag_of,
    stamped,
)
from credstore.strategies.redundant.writing import Change, Writes, repeatable

LIFETIME = 3600.0
"""Seconds for which any request may be under way, and a tombstone is kept at least."""
PATIENCE = 0.5
"""Seconds after which a member that does not answer a read is joined by another."""
REQUEST = 60.0
"""Seconds for a request in the background."""
_AT_ONCE = 16


class RedundantDriver(Driver):
    """The same objects at several members.

    Attributes:
        quorums: N, W and R.
        scrubber: Finds and mends divergence.
    """

    def __init__(
        self,
        members: Sequence[Driver],
        write_quorum: int | None = None,
        read_quorum: int | None = None,
        *,
        lifetime: float = LIFETIME,
        patience: float = PATIENCE,
        prompt: bool = True,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Own the members: they are closed with this driver.

        Args:
            members: Two or more, always in the same order.
            write_quorum: W; a majority unless given.
            read_quorum: R; as few as W permits unless given.
            lifetime: Seconds for which a request may be under way at most: how long a tombstone is kept at
                least, and how long a member may take in the background.
            patience: Seconds after which a member that does not answer a read is joined by another.
            prompt: Whether a write returns with the W-th member; False waits for all that respond.
            wall: Unix seconds, for stamps.
            clock: Seconds, for how long a member is left alone.

        Raises:
            StorageConfigurationError: A read could miss a write, or a quorum is out of range.
        """
        self.quorums: Quorums = quorums_of(len(members), write_quorum, read_quorum)
        self._name = "redundant"
        self.members = [
            Member(driver, label, index, clock=clock)
            for index, (driver, label) in enumerate(zip(members, labels_of(list(members)), strict=True))
        ]
        self._capabilities = able_together([driver.capabilities for driver in members])
        self._guard = Guard(self._name)
        self._clock = clock
        self._stamps = HybridClock(wall)
        self._background = Background(lifetime)
        self._looking = Looking(self.members, self.quorums.read, self._stamps, patience)
        self._reads = Reads(self._looking)
        self._mender = Mender(self._looking, self._reads, lifetime=lifetime, wall=wall, deadline=_soon)
        self._pages = Pages(self.members, self.quorums.read, self._reads)
        self.journal = Journal(self.members, self._pages, _soon)
        self.scrubber = Scrubber(self.members, self._pages, self._mender, self.journal, _soon)
        self._writes = Writes(
            self.members,
            self.quorums.write,
            self._background,
            self.journal.note,
            lambda key: self._background.leave(self._mender.repair(key)),
            prompt=prompt,
        )
        self._copies = Copies(self._looking, self._reads, self._mender, self._writes, self._stamps)
        self._catching = False
        for member in self.members:
            member.came_back = self._catch_up_later

    @property
    def name(self) -> str:
        """Always "redundant"."""
        return self._name

    @property
    def labels(self) -> tuple[str, ...]:
        """What the members are called in `served_by`."""
        return tuple(member.label for member in self.members)

    @property
    def capabilities(self) -> Capabilities:
        """What all members can do, except conditions, versions, retention, tags and links for writes."""
        return self._capabilities

    async def put(self, request: PutRequest) -> PutResult:
        """Write to all members; see `Driver.put`.

        Raises:
            StorageQuorumError: Fewer than W have it; `outcomes` says what became of each.
        """
        self._guard.check(request.deadline)
        check_key(request.key)
        check_put(request, self._capabilities, self.name)
        body, release = await repeatable(request.body)
        time_ = self._stamps.next()
        changes = {"body": body, "system": stamped(request.system, time_), "precondition": OVERWRITE}
        watched = below = changed(request, changes)
        first = self.members[0]
        if request.progress is not None:  # One member's.
            below = changed(below, {"progress": None})
            first = next((member for member in self.members if not member.down), first)

        def write(member: Member) -> Coroutine[Any, Any, PutResult]:
            return member.driver.put(watched if member is first else below)

        change = await self._writes.make(request.key, write, "have it", release, deadline=request.deadline)
        return self._result(change, Stamp(time_, request.write_id))

    def _result(self, change: Change[PutResult], stamp: Stamp) -> PutResult:
        """What the members said together."""
        having = sorted(change.done, key=lambda member: member.index)
        return changed(
            change.done[having[0]],
            {
                "etag": etag_of(stamp),
                "version_id": None,
                "served_by": having[0].label,
                "replicas": tuple([member.label for member in having]),
                "degraded": bool(change.failed),
            },
        )

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the newest version; see `Driver.get`. A member that dies midway is followed by another.

        Raises:
            StorageQuorumError: Fewer than R members answered.
        """
        self._begin_read(key, options)
        reader, found = await self._reads.get(key, options)
        self._repair_later(key, found)
        return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        self._begin_read(key, options)
        options.check_range()
        found = await self._reads.head(key, options)
        self._repair_later(key, found)
        return found.info

    def _begin_read(self, key: str, options: ReadOptions) -> None:
        self._guard.check(options.deadline)
        if key.startswith(OWN):
            check_key(key)
        if options.version_id is not None or options.customer_key is not None:
            check_read(options, self._capabilities, self._name)

    def _repair_later(self, key: str, found: Found) -> None:
        """Mend replicas that are behind, unless a write of this process is about to."""
        if found.verdict.behind and key not in self._writes.busy:
            self._background.leave(self._mender.repair(key))

    def _catch_up_later(self) -> None:
        if not self._guard.closed and not self._catching:
            self._catching = True
            self._background.leave(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            await self.scrubber.catch_up()
        except StorageError:
            return  # The next member that comes back, or `scrub`, tries again.
        finally:
            self._catching = False

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Put a tombstone at W members, then remove the object at all that have one.

        Raises:
            StorageQuorumError: Fewer than R members answered, or fewer than W have the tombstone.
        """
        self._guard.check(deadline)
        check_key(key)
        check_delete(if_match, version_id, self._capabilities, self.name)
        answers = await self._looking.look(key, deadline)
        decided = verdict(answers.found)
        seen = {view.member: view for view in answers.found}
        tomb = Stamp(self._stamps.next(), token_hex(16))
        counted = False

        async def bury(member: Member) -> None:
            view = seen.get(member)
            grave = view.grave if view else await self._looking.grave(member, key, deadline)
            await self._mender.bury(member, key, tomb, grave, decided.newest)
            if counted:
                await self._mender.remove(view or View(member, None, grave), key, tomb, looked=False)

        change = await self._writes.make(key, bury, "have its tombstone", deadline=deadline)
        counted = True

        async def remove(member: Member) -> StorageError | None:
            view = seen.get(member, View(member, None, None))
            call = self._mender.remove
            # Where there was nothing, a repair may have put it there since.
            return await outcome_of(member.ask(call, view, key, tomb, looked=view.info is not None))

        removed = await map_all(list(change.done), remove, at_once=len(self.members))
        failed = [each for each in removed if each is not None]
        if failed:
            self._background.leave(self.journal.note(key, list(change.done)))
        degraded = bool(answers.failed or change.failed or failed)
        return DeleteOutcome(existed=decided.newest is not None, degraded=degraded)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Like `delete`, for each key."""
        self._guard.check(deadline)
        for key in keys:
            check_key(key)

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
        """One page of what R members list together; see `Driver.list`.

        Size and time are of the first member that lists an object. Where it is behind with a version of the
        same size, that shows in `head` alone. Listings carry no stamps, so an entry has an etag only where
        the key had to be looked at.

        Raises:
            StorageQuorumError: Fewer than R members listed it.
        """
        self._guard.check(deadline)
        return await self._pages.page(
            prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit, deadline=deadline
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy inside each member that has the source, and send it to those that do not.

        Raises:
            StorageObjectNotFoundError: The source is not there, or not any more.
            StoragePreconditionFailedError: It is another version than `request.source`.
            StorageConflictError: It was deleted or replaced while members copied it; retryable.
            StorageQuorumError: Fewer than W have the copy.
        """
        self._guard.check(request.deadline)
        check_key(request.source.key)
        check_key(request.destination)
        check_copy(request, self._capabilities, self.name)
        change, stamp = await self._copies.make(request)
        return self._result(change, stamp)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to a member that has the object now.

        Raises:
            StorageUnsupportedError: The link is for a write, which would bypass the strategy.
            StorageObjectNotFoundError: R members have no such object.
        """
        self._guard.check(request.deadline)
        check_key(request.key)
        check_sign(request, self._capabilities, self.name)
        found = await self._reads.head(request.key, ReadOptions(deadline=request.deadline))
        member = found.holders[0].member
        return replace(await member.driver.sign(request), served_by=member.label)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that all members can be reached.

        Raises:
            StorageError: From one that cannot; the message says whether the others are enough.
        """
        self._guard.check(deadline)

        async def one(member: Member) -> StorageError | None:
            return await outcome_of(member.ask(member.driver.ping, deadline=deadline))

        answers = await map_all(self.members, one, at_once=len(self.members))
        failed = {
            member: error
            for member, error in zip(self.members, answers, strict=True)
            if isinstance(error, StorageError)
        }
        if not failed:
            return
        needed = max(self.quorums.write, self.quorums.read)
        done = [member for member in self.members if member not in failed]
        if len(done) < needed:
            raise not_met("respond", needed, self.members, done, failed, mutation=False)
        member, error = next(iter(failed.items()))
        names = ", ".join(each.label for each in done)
        raise type(error)(
            f"{error.message} (this is {member.label}; {names} work, which is enough)", **error.facts()
        )

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The circuits of all members; see `BreaksCircuits.circuits`."""
        found: dict[str, CircuitState] = {}
        for member in self.members:
            if isinstance(member.driver, BreaksCircuits):
                found |= member.driver.circuits
        return found

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections to all members ready; see `KeepsConnections.warm`.

        Raises:
            StorageError: One of them could not be reached; all were tried.
        """
        self._guard.check(deadline)

        async def one(member: Member) -> StorageError | None:
            if isinstance(member.driver, KeepsConnections):
                return await outcome_of(member.driver.warm(connections, deadline=deadline))
            return None

        for failed in await map_all(self.members, one, at_once=len(self.members)):
            if failed is not None:
                raise failed

    def add(self, driver: Driver) -> str:
        """Take in one more member, which may be empty: both quorums grow by one, so no read misses anything.

        Args:
            driver: Closed with this driver from now on.

        Returns:
            What it is called in `served_by`.
        """
        self._guard.check()
        label = driver.name
        if label in self.labels or any(each.startswith(f"{label} (") for each in self.labels):
            label = f"{label} ({len(self.members) + 1})"
        member = Member(driver, label, len(self.members), clock=self._clock)
        member.came_back = self._catch_up_later
        self.quorums = Quorums(self.quorums.members + 1, self.quorums.write + 1, self.quorums.read + 1)
        self.members.append(member)
        self._looking.read = self._pages.read = self.quorums.read
        self._writes.needed = self.quorums.write
        self._capabilities = able_together([each.driver.capabilities for each in self.members])
        return label

    async def settled(self) -> None:
        """Wait until nothing is left to do: last members of writes, repairs, catching up."""
        await self._background.settled()

    async def aclose(self) -> None:
        """Wait for what is left to do, then close all members; safe to call again.

        Raises:
            Exception: The first that a member raised; all were closed.
        """
        self._guard.closed = True
        failures: list[BaseException] = []
        try:
            await self._background.aclose()
        finally:
            for member in self.members:
                try:
                    await member.driver.aclose()
                except Exception as error:  # noqa: BLE001 - the others are closed too
                    failures.append(error)
        if failures:
            raise failures[0]


def _soon() -> float:
    """The deadline of a request in the background that starts now."""
    return time.monotonic() + REQUEST
