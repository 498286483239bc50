"""Copies: inside each member that has the source, sent to those that do not.

Rules of this file: every member copies the version that was seen, or fails; where they fail because that is
gone, this is what is raised. A copy onto itself, as when its data key is wrapped again, is older than what
was made after its source, and members with conditions put it only over what was seen there: a delete or
write meanwhile stays, wherever and whenever the copy lands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from credstore.causes import raise_explained
from credstore.driver.values import (
    CREATE,
    OVERWRITE,
    BytesBody,
    CopyRequest,
    ObjectInfo,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
)
from credstore.errors import StorageConflictError, StorageQuorumError
from credstore.strategies.health import Member
from credstore.strategies.onto_itself import copied_at
from credstore.strategies.redundant.asking import Looking
from credstore.strategies.redundant.mending import Mender
from credstore.strategies.redundant.plan import View, at_rest, not_met, of_source
from credstore.strategies.redundant.reading import Reads
from credstore.strategies.redundant.stamps import (
    HybridClock,
    Stamp,
    same_version,
    stamp_of,
    stamped,
    unstamped,
)
from credstore.strategies.redundant.writing import Change, Writes


@dataclass(frozen=True, slots=True)
class Copies:
    """Makes copies at all members.

    Attributes:
        looking: Asks the members.
        reads: Finds the source.
        mender: Sends it to members that do not have it.
        writes: Makes changes at all members.
        stamps: Makes those of the copies.
    """

    looking: Looking
    reads: Reads
    mender: Mender
    writes: Writes
    stamps: HybridClock

    async def make(self, request: CopyRequest) -> tuple[Change[PutResult], Stamp]:
        """What the members said, and the stamp of the copy; see `RedundantDriver.copy`.

        Raises:
            StorageError: As `RedundantDriver.copy`.
        """
        source = request.source
        options = ReadOptions(if_match=source.etag, deadline=request.deadline)
        found = await self.reads.head(source.key, options)
        newest = found.verdict.newest
        assert newest is not None  # noqa: S101 - else it was not found
        views = await self._views(source.key, newest, options)
        holders = {
            member: view
            for member, view in views.items()
            if view.info is not None and same_version(view.info, newest)
        }
        if not holders:
            await self.reads.head(source.key, options)
            raise StorageConflictError("the source was replaced meanwhile", retryable=True, applied="no")
        onto_itself = request.destination == source.key
        time = stamp_of(newest).time + 1 if onto_itself else self.stamps.next()
        kept = unstamped(newest.system)
        system = stamped(kept if request.system is None else request.system, time)

        async def copy(member: Member) -> PutResult:
            view = views.get(member)
            condition = _as_seen(view, member) if onto_itself else OVERWRITE
            if member in holders and view is not None and view.info is not None:
                return await copied_at(
                    member.driver, replace(request, source=view.info, system=system, precondition=OVERWRITE)
                )
            sent = PutRequest(
                key=request.destination,
                body=BytesBody(b""),
                write_id=request.write_id,
                system=system,
                precondition=condition,
                encryption=request.encryption or at_rest(newest, member.driver.capabilities),
                encryption_by_default=request.encryption is None,
                deadline=request.deadline,
            )
            return await self.mender.send(source.key, list(holders.values()), newest, member, sent)

        try:
            change = await self.writes.make(
                request.destination, copy, "have the copy", deadline=request.deadline
            )
        except StorageQuorumError as error:
            raise_explained(of_source(error), error)
        return change, Stamp(time, request.write_id)

    async def _views(self, key: str, newest: ObjectInfo, options: ReadOptions) -> dict[Member, View]:
        """What all members that can be asked have.

        Raises:
            StorageQuorumError: Too few answered to know whether a version that none of them has is gone.
        """
        looking = self.looking
        answers = await looking.look_at_all(key, options.deadline)
        views = {view.member: view for view in answers.found}
        there = any(view.info is not None and same_version(view.info, newest) for view in answers.found)
        if not there and len(views) < looking.read:
            raise not_met("answered", looking.read, looking.members, views, answers.failed, mutation=False)
        return views


def _as_seen(view: View | None, member: Member) -> Precondition:
    """That a member still has what was seen there, where it can say so."""
    able = member.driver.capabilities
    if view is None:
        return OVERWRITE
    if view.info is None:
        return CREATE if able.conditional_create else OVERWRITE
    if not able.conditional_replace or view.info.etag is None:
        return OVERWRITE
    return Precondition("replace", view.info.etag)
