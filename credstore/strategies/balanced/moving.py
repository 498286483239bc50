"""One object from the member that has it to the one where it belongs, while both are used.

Rules of this file: a copy is put only over a claim that was made before the source was looked at (`claims.py`
says why); a version is removed only if it is still what was copied. Nothing has to be undone: what a move
that was cut off has left is a claim, or two copies of one version, and the next one ends it. Members without
such conditions take part only where no one else writes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from credstore.driver.contract import Driver
from credstore.driver.refusals import REBALANCED
from credstore.driver.values import (
    CREATE,
    NO_HEADERS,
    OVERWRITE,
    Capabilities,
    ObjectInfo,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
)
from credstore.encryption import KmsKey, ServerEncryption
from credstore.errors import StorageConflictError, StorageError, StorageObjectNotFoundError
from credstore.model import NOTHING
from credstore.strategies.balanced.claims import claim_of, is_claim, moved, shown
from credstore.strategies.fallback import plan
from credstore.strategies.health import Member, is_absence
from credstore.strategies.outcomes import outcome_of


@dataclass(frozen=True, slots=True)
class MemberBody:
    """An object of one member as the body of a write to another."""

    driver: Driver
    info: ObjectInfo
    data: None = None
    replayable: bool = True

    @property
    def length(self) -> int:
        """Its size."""
        return self.info.size

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of that very version, checked where all of them are read."""
        options = ReadOptions(start=offset, if_match=self.info.etag)
        async with await self.driver.get(self.info.key, options) as reader:
            async for chunk in reader:
                yield chunk


@dataclass(frozen=True, slots=True)
class Moves:
    """Moves of single objects.

    Attributes:
        members: All of them.
        stores: Their drivers, which show claims.
        exclusive: No one else writes meanwhile, so that conditions are not needed.
    """

    members: Sequence[Member]
    stores: Sequence[Driver]
    exclusive: bool
    _busy: set[str] = field(default_factory=set[str])

    async def settle(self, key: str, home: Member) -> bool:
        """Have an object where it belongs, and nowhere else; False where nothing was moved.

        Args:
            key: Of the object.
            home: Where it belongs.

        Raises:
            StorageUnsupportedError: A member has no conditions, and others may write.
            StorageError: As a member raised it.
        """
        if key in self._busy:  # Two members have it; the move that is under way looks at both.
            return False
        self._busy.add(key)
        try:
            return await self._settle(key, home)
        finally:
            self._busy.discard(key)

    async def is_left_over(self, key: str, member: Member) -> bool:
        """Whether a member has a claim, and no move of this call is about to replace it."""
        if key in self._busy:
            return False
        found = await self._head(member, key)
        return found is not None and is_claim(found)

    async def _settle(self, key: str, home: Member) -> bool:
        found = {member: await self._head(member, key) for member in self.members}
        claims = {member: info for member, info in found.items() if info is not None and is_claim(info)}
        held = {
            member: shown(info) for member, info in found.items() if info is not None and member not in claims
        }
        for member, claim in claims.items():
            if member is not home or not held:  # It was left by a move that was cut off.
                await self._remove(key, claim.etag, member)
        there = held.pop(home, None)
        for member in held:
            self._check(member, home)
        if there is not None:
            for member, info in held.items():
                # Else it was written while the other was down; `fallback` knows which counts.
                if plan.newer(there, info) is there or there.write_id == info.write_id:
                    await self._remove(key, info.etag, member)
            return False
        if not held:
            return False
        holder = next(iter(held))
        for member, info in held.items():
            if plan.newer(held[holder], info) is info:
                holder = member
        now = held.pop(holder)
        if not await self._move(holder, now, home, claims.get(home)):
            return False
        for member, info in held.items():
            if plan.newer(now, info) is now:
                await self._remove(key, info.etag, member)
        return True

    async def _move(self, holder: Member, now: ObjectInfo, home: Member, left: ObjectInfo | None) -> bool:
        """Move one version; False where it was written to or deleted meanwhile.

        Args:
            holder: Has it.
            now: What it is, and the newest there is.
            home: Where it belongs.
            left: The claim that is there already.
        """
        key = now.key
        claim: str | None = None
        able = home.driver.capabilities
        try:
            if able.conditional_create and able.conditional_replace:
                claim = await self._claim(key, home, now, left)
                again = await self._head(holder, key)
                if again is None or again.etag != now.etag:
                    await self._remove(key, claim, home)
                    return False
            elif left is not None:
                await self._remove(key, left.etag, home)
            put = await self._put(key, holder, now, home, claim)
        except (StorageConflictError, StorageObjectNotFoundError):
            # Something is there now, or the source or the claim is gone.
            if claim is not None:
                await self._remove(key, claim, home)
            return False
        except StorageError:
            if claim is not None:  # What it could not remove either, the next call does.
                await outcome_of(self._remove(key, claim, home))
            raise
        if await self._remove(key, now.etag, holder):
            return True
        # Whoever deleted it there deletes it here next; whoever moved it here, too, relies on this one.
        after = await self._head(holder, key)
        if after is not None and after.etag != now.etag:
            await self._remove(key, put.etag, home)  # What was written meanwhile moves next time.
        return False

    def _check(self, holder: Member, home: Member) -> None:
        if self.exclusive:
            return
        if not holder.driver.capabilities.conditional_delete:
            raise REBALANCED.of(holder.label)
        able = home.driver.capabilities
        if not (able.conditional_create and able.conditional_replace and able.conditional_delete):
            raise REBALANCED.of(home.label)

    async def _head(self, member: Member, key: str) -> ObjectInfo | None:
        """What a member has, be it a claim."""
        try:
            return await self.stores[member.index].head(key)
        except StorageError as error:
            if is_absence(error):
                return None
            raise

    async def _claim(self, key: str, home: Member, now: ObjectInfo, left: ObjectInfo | None) -> str | None:
        """Claim the place of an object where it belongs; the entity tag of the claim."""
        condition = CREATE if left is None else Precondition("replace", left.etag)
        at_rest = _at_rest(now, home.driver.capabilities)
        result = await home.driver.put(claim_of(key, condition, at_rest))
        return result.etag

    async def _put(
        self, key: str, holder: Member, now: ObjectInfo, home: Member, claim: str | None
    ) -> PutResult:
        able = home.driver.capabilities
        if claim is not None:
            condition = Precondition("replace", claim)
        else:
            condition = CREATE if able.conditional_create else OVERWRITE
        return await home.driver.put(
            PutRequest(
                key=key,
                body=MemberBody(holder.driver, now),
                write_id=now.write_id or token_hex(16),
                digest=now.digest or None,
                headers=now.headers or NO_HEADERS,
                metadata=now.metadata or NOTHING,
                system=moved(now),
                precondition=condition,
                encryption=_at_rest(now, able),
                encryption_by_default=True,
                storage_class=now.storage_class if now.storage_class in able.storage_classes else None,
            )
        )

    async def _remove(self, key: str, etag: str | None, member: Member) -> bool:
        """Remove a version; False where another one, or none, is there now."""
        able = member.driver.capabilities.conditional_delete
        try:
            await member.driver.delete(key, if_match=etag if able else None)
        except StorageConflictError:
            return False
        return True


def _at_rest(info: ObjectInfo, able: Capabilities) -> ServerEncryption | None:
    if info.encryption is None:
        return None
    if info.encryption == "aws:kms" and able.sse_kms:
        return KmsKey(info.kms_key_id)
    return "AES256" if able.sse_s3 else None
