"""Making replicas equal again, one key at a time.

Rules of this file (P30): bytes come from a copy that was checked against its digest; a replica is put only
where there is none, or over the very version that was seen there, and never past a tombstone. A member
without such conditions is mended only in a scrub that was given the store to itself. Nothing here fails a
read or a write.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from credstore.driver.refusals import REPLICAS
from credstore.driver.values import (
    CREATE,
    NO_HEADERS,
    OVERWRITE,
    BytesBody,
    ObjectInfo,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
)
from credstore.errors import (
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
)
from credstore.hashing import hash_into
from credstore.model import NOTHING
from credstore.strategies.health import Member
from credstore.strategies.redundant.asking import Looking
from credstore.strategies.redundant.plan import TOMBS, Verdict, View, at_rest, is_overtaken, verdict
from credstore.strategies.redundant.reading import Reads
from credstore.strategies.redundant.stamps import Stamp, stamp_of, stamped
from credstore.wire.tally import note

Kind = Literal["missing", "outdated", "corrupt", "deleted", "tombstone", "unreadable"]
"""What is wrong with a replica: it is not there; an older version is; its bytes are not those of its digest;
it should have been deleted; its tombstone is not there; it could not be looked at."""
_NANO = 1_000_000_000
_AT_ONCE = 4 * 1024 * 1024
"""Bytes up to which a replica is checked in memory before it is sent on."""
_ATTEMPTS = 3
"""Looks at a key that is written to meanwhile."""
_MEANWHILE = "it was written to meanwhile"


@dataclass(frozen=True, slots=True)
class Mark:
    """One difference that was found.

    Attributes:
        member: Where.
        kind: What is wrong there.
        mended: Whether it is right now.
        reason: Why not; empty where it is.
    """

    member: Member
    kind: Kind
    mended: bool
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of one key.

    Attributes:
        marks: Differences.
        bytes_read: From all members, to check them.
        seen: Whether every member answered.
        exists: Whether readers find an object.
    """

    marks: list[Mark] = field(default_factory=list[Mark])
    bytes_read: int = 0
    seen: bool = False
    exists: bool = False

    @property
    def equal(self) -> bool:
        """Whether all replicas are known to be equal now."""
        return self.seen and all(mark.mended for mark in self.marks)


class Mender:
    """Makes the replicas of a key equal."""

    def __init__(
        self,
        looking: Looking,
        reads: Reads,
        *,
        lifetime: float,
        wall: Callable[[], float],
        deadline: Callable[[], float],
    ) -> None:
        """Mend nothing yet.

        Args:
            looking: Asks the members.
            reads: Knows which replicas are bad.
            lifetime: Seconds for which a request can be under way, and a tombstone is needed at least.
            wall: Unix seconds.
            deadline: Of a request that starts now.
        """
        self._looking = looking
        self._reads = reads
        self._lifetime = lifetime
        self._wall = wall
        self._deadline = deadline
        self._busy: set[str] = set()

    async def repair(self, key: str) -> None:
        """After a read found replicas behind: mend what can be mended; a failure is ignored."""
        if key not in self._busy:
            self._busy.add(key)
            try:
                await self.reconcile(key, deep=False, exclusive=False)
            finally:
                self._busy.discard(key)

    async def reconcile(self, key: str, *, deep: bool, exclusive: bool) -> Outcome:
        """Compare all replicas of a key, and make them equal; again where it was written to meanwhile.

        Args:
            key: Of the object.
            deep: Read the bytes of every replica too.
            exclusive: No one else writes meanwhile, so that conditions are not needed.
        """
        outcome = await self._reconcile(key, deep=deep, exclusive=exclusive)
        for _ in range(_ATTEMPTS - 1):
            if not any(mark.reason == _MEANWHILE for mark in outcome.marks):
                break
            earlier, outcome = outcome, await self._reconcile(key, deep=deep, exclusive=exclusive)
            outcome.bytes_read += earlier.bytes_read
            outcome.marks[:0] = [mark for mark in earlier.marks if mark.mended]
        return outcome

    async def _reconcile(self, key: str, *, deep: bool, exclusive: bool) -> Outcome:
        outcome = Outcome()
        answers = await self._looking.look_at_all(key, self._deadline())
        bad = {
            member: error
            for member, error in answers.failed.items()
            if isinstance(
                error, StorageIntegrityError
            )  # What is there is damaged, as the member itself says.
        }
        outcome.seen = len(bad) == len(answers.failed)
        outcome.marks += [
            Mark(member, "unreadable", mended=False, reason=error.message)
            for member, error in answers.failed.items()
            if member not in bad
        ]
        if len(answers.found) < self._looking.read:
            # An acknowledged version may be at those that are missing.
            outcome.marks += [
                Mark(member, "corrupt", mended=False, reason=error.message) for member, error in bad.items()
            ]
            return outcome
        decided = verdict(answers.found)
        if not await self._looking.is_there(key, answers.found, self._deadline()):
            outcome.marks += [
                Mark(view.member, "missing", mended=False, reason=_MEANWHILE) for view in decided.behind
            ]
            return outcome
        work = _Work(self, key, decided, outcome, exclusive=exclusive)
        if decided.newest is None:
            await work.bury(answers.found)
        else:
            outcome.exists = True
            await work.spread(answers.found, deep=deep)
        for member in bad:
            call = partial(self._renew, key, member, decided)
            await self.mend(call, member, "corrupt", outcome)
        if outcome.equal:
            await self._forget(key, answers.found, decided)
        return outcome

    async def _renew(self, key: str, member: Member, decided: Verdict) -> None:
        """Remove what a member itself calls damaged, and put the newest version there, if there is one.

        Raises:
            StorageError: As `Driver.delete` and `replicate`.
        """
        options = ReadOptions(deadline=self._deadline())
        try:
            await self._looking.head(member, key, options)
        except StorageIntegrityError:
            await member.driver.delete(key, deadline=options.deadline)
        grave = await self._looking.grave(member, key, options.deadline)
        if decided.newest is not None:
            target = View(member, None, grave)
            await self.replicate(key, decided.holders, decided.newest, target, exclusive=False)

    def is_over(self, tomb: Stamp) -> bool:
        """Whether no request from before this deletion can be under way any more."""
        return self._wall() - tomb.time / _NANO > self._lifetime

    def suspect(self, view: View, info: ObjectInfo) -> None:
        """See `Reads.suspect`."""
        self._reads.suspect(view, info)

    async def _forget(self, key: str, views: Sequence[View], decided: Verdict) -> None:
        """Remove tombstones that are not needed any more: all members confirm, and no request is left."""
        if decided.tomb is None or not self.is_over(decided.tomb):
            return
        for view in views:
            if view.grave is not None:
                able = view.member.driver.capabilities.conditional_delete
                try:
                    await view.member.ask(
                        view.member.driver.delete,
                        TOMBS + key,
                        if_match=view.grave.etag if able else None,
                        deadline=self._deadline(),
                    )
                except StorageError:
                    return  # The next scrub finds it again.

    async def mend(
        self, call: Callable[[], Awaitable[object]], member: Member, kind: Kind, outcome: Outcome
    ) -> None:
        """Make one repair and note what became of it."""
        try:
            await member.ask(call)
        except StorageError as error:
            reason = _MEANWHILE if is_overtaken(error) else error.message
            outcome.marks.append(Mark(member, kind, mended=False, reason=reason))
        else:
            note("repair")
            outcome.marks.append(Mark(member, kind, mended=True))

    async def bury(
        self, member: Member, key: str, stamp: Stamp, grave: ObjectInfo | None, shown: ObjectInfo | None
    ) -> None:
        """Have a tombstone at a member that is at least as new as `stamp`.

        Args:
            member: Where.
            key: That was deleted.
            stamp: Of the deletion.
            grave: The tombstone that is there, as far as is known.
            shown: An object like which it is encrypted at rest.

        Raises:
            StorageError: As `Driver.put`.
        """
        driver = member.driver
        able = driver.capabilities
        while grave is None or stamp_of(grave) < stamp:
            if grave is None:
                condition = CREATE if able.conditional_create else OVERWRITE
            else:
                replaces = able.conditional_replace and grave.etag is not None
                condition = Precondition("replace", grave.etag) if replaces else OVERWRITE
            try:
                await driver.put(
                    PutRequest(
                        key=TOMBS + key,
                        body=BytesBody(b""),
                        write_id=stamp.tie,
                        digest=hashlib.sha256(b"").digest(),
                        system=stamped(NOTHING, stamp.time),
                        precondition=condition,
                        encryption=at_rest(shown, able),
                        encryption_by_default=True,
                        deadline=self._deadline(),
                    )
                )
            except StorageConflictError:  # Another deletion was quicker.
                grave = await self._looking.grave(member, key, self._deadline())
            else:
                return

    async def remove(self, view: View, key: str, tomb: Stamp, *, looked: bool) -> None:
        """Remove what a member has, if it is older than a tombstone.

        Args:
            view: What was seen there.
            key: Of the object.
            tomb: Stamp of the tombstone.
            looked: Whether that was a moment ago; else it is looked at again.

        Raises:
            StorageError: As `Driver.delete`.
        """
        driver, info = view.member.driver, view.info
        if not looked:
            info = await self._looking.head(view.member, key, ReadOptions(deadline=self._deadline()))
        while info is not None and stamp_of(info) < tomb:
            able = driver.capabilities.conditional_delete and info.etag is not None
            try:
                await driver.delete(key, if_match=info.etag if able else None, deadline=self._deadline())
            except StorageConflictError:
                info = await self._looking.head(view.member, key, ReadOptions(deadline=self._deadline()))
            else:
                return

    async def replicate(
        self, key: str, source: Sequence[View], newest: ObjectInfo, target: View, *, exclusive: bool
    ) -> None:
        """Put a checked copy of the newest version where it is not, unless it is deleted meanwhile.

        A deletion puts its tombstone before it looks for objects, and this looks for a tombstone after it has
        put the object; so whichever is later removes it.

        Raises:
            StorageConflictError: It was deleted.
            StorageUnsupportedError: The member has no conditions, and this was not given the store to itself.
            StorageIntegrityError: There is no copy that can be checked.
            StorageError: As `Driver.get` and `Driver.put`.
        """
        able = target.member.driver.capabilities
        condition = OVERWRITE
        if target.info is None and able.conditional_create:
            condition = CREATE
        elif target.info is not None and able.conditional_replace and target.info.etag is not None:
            condition = Precondition("replace", target.info.etag)
        elif not exclusive:
            raise REPLICAS.of(target.member.label)
        await self.send(
            key,
            source,
            newest,
            target.member,
            PutRequest(
                key=key,
                body=BytesBody(b""),
                write_id=newest.write_id or hashlib.sha256(newest.digest or b"").hexdigest()[:32],
                system=newest.system or NOTHING,
                precondition=condition,
                encryption=at_rest(newest, able),
                encryption_by_default=True,
                deadline=self._deadline(),
            ),
        )
        grave = await self._looking.grave(target.member, key, self._deadline())
        tomb = None if grave is None else stamp_of(grave)
        if tomb is not None and tomb > stamp_of(newest):
            await self.remove(target, key, tomb, looked=False)
            raise StorageConflictError("it was deleted meanwhile", key=key)

    async def send(
        self, key: str, source: Sequence[View], newest: ObjectInfo, target: Member, order: PutRequest
    ) -> PutResult:
        """Write the checked bytes of an object at another member.

        Args:
            key: Of the object.
            source: Members that have it.
            newest: What it is.
            target: Where it goes.
            order: How; body, digest, headers, metadata and storage class are the object's.

        Raises:
            StorageIntegrityError: There is no copy that can be checked.
            StorageError: As `Driver.get` and `Driver.put`.
        """
        if not newest.digest:
            raise StorageIntegrityError("no digest is recorded with it, so no copy can be checked")
        classes = target.driver.capabilities.storage_classes
        order = replace(
            order,
            digest=newest.digest,
            headers=newest.headers or NO_HEADERS,
            metadata=newest.metadata or NOTHING,
            storage_class=newest.storage_class if newest.storage_class in classes else None,
        )
        failure: StorageError = StorageIntegrityError("no good copy was found")
        for view in sorted(source, key=lambda view: self._reads.is_suspect(view, newest)):
            try:
                return await target.driver.put(replace(order, body=await self._checked(view, key, newest)))
            except StorageIntegrityError as error:
                self._reads.suspect(view, newest)
                failure = error
            except StorageObjectNotFoundError as error:
                failure = error  # It was deleted there since, and another one may still have it.
        raise failure

    async def _checked(self, view: View, key: str, newest: ObjectInfo) -> BytesBody | _Copy:
        """The bytes of a replica: checked already where they are few, else while they are sent."""
        copy = _Copy(self, view, key, newest)
        if newest.size > _AT_ONCE:
            return copy
        return BytesBody(b"".join([chunk async for chunk in copy.open()]))

    async def digest_of(self, view: View, key: str) -> bytes:
        """SHA-256 of the bytes that a member has (32 bytes).

        Raises:
            StorageIntegrityError: They are not those of the recorded digest.
            StorageError: They cannot be read.
        """
        digest = hashlib.sha256()
        async for chunk in self.bytes_of(view, key, 0):
            await hash_into(digest, chunk)
        return digest.digest()

    async def bytes_of(self, view: View, key: str, offset: int) -> AsyncIterator[bytes]:
        """The bytes that a member has, from an offset; checked where that is 0.

        Raises:
            StorageError: As `Driver.get`.
        """
        options = ReadOptions(
            start=offset,
            if_match=None if view.info is None else view.info.etag,
            deadline=self._deadline(),
        )
        async with await view.member.ask(view.member.driver.get, key, options) as reader:
            async for chunk in reader:
                yield chunk


@dataclass(frozen=True, slots=True)
class _Copy:
    """A replica as the body of another one; its end is only reached if the bytes match the digest."""

    mender: Mender
    view: View
    key: str
    newest: ObjectInfo
    data: None = None
    replayable: bool = True

    @property
    def length(self) -> int:
        return self.newest.size

    def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        return self.mender.bytes_of(self.view, self.key, offset)


@dataclass(slots=True)
class _Work:
    """The repairs of one key."""

    mender: Mender
    key: str
    decided: Verdict
    outcome: Outcome
    exclusive: bool

    async def bury(self, views: Sequence[View]) -> None:
        """It was deleted, or never was: no object anywhere, and the tombstone everywhere."""
        tomb = self.decided.tomb
        if tomb is None:
            return
        expired = self.mender.is_over(tomb)
        for view in views:
            if view.info is not None:
                call = partial(self.mender.remove, view, self.key, tomb, looked=False)
                await self.mender.mend(call, view.member, "deleted", self.outcome)
            if (view.tomb is None or view.tomb < tomb) and not expired:
                call = partial(self.mender.bury, view.member, self.key, tomb, view.grave, view.info)
                await self.mender.mend(call, view.member, "tombstone", self.outcome)

    async def spread(self, views: Sequence[View], *, deep: bool) -> None:
        """The newest version everywhere, with its own bytes."""
        newest, good = self.decided.newest, list(self.decided.holders)
        assert newest is not None  # noqa: S101 - the caller looked
        bad: list[View] = []
        if deep:
            good, bad = await self._checked(newest)
        for view in views:
            if view in good:
                continue
            kind: Kind = "corrupt" if view in bad else "missing" if view.info is None else "outdated"
            call = partial(self.mender.replicate, self.key, good, newest, view, exclusive=self.exclusive)
            await self.mender.mend(call, view.member, kind, self.outcome)

    async def _checked(self, newest: ObjectInfo) -> tuple[list[View], list[View]]:
        """Holders whose bytes match, and those whose bytes do not."""
        good: list[View] = []
        bad: list[View] = []
        digests: dict[bytes, list[View]] = {}
        for view in self.decided.holders:
            try:
                found = await self.mender.digest_of(view, self.key)
                self.outcome.bytes_read += newest.size
            except StorageIntegrityError:
                self.mender.suspect(view, newest)
                bad.append(view)
            except StorageError as error:
                # What was seen there a moment ago has been replaced or deleted since.
                reason = _MEANWHILE if is_overtaken(error) else error.message
                self.outcome.marks.append(Mark(view.member, "unreadable", mended=False, reason=reason))
                good.append(view)  # Nothing shows that it is bad.
            else:
                digests.setdefault(found, []).append(view)
                good.append(view)
        if newest.digest is None and len(digests) > 1:
            reason = "replicas have different bytes, and no digest is recorded to choose by"
            self.outcome.marks += [
                Mark(view.member, "corrupt", mended=False, reason=reason)
                for each in digests.values()
                for view in each
            ]
        return good, bad
