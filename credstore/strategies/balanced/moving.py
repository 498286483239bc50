"""One object from the member that has it to the one where it belongs, while both are used.

Rules of this file: it is put only where nothing is, and removed only if it is still what was copied. Where
the source of the copy is gone or another one once the copy is there, the object was deleted or written
meanwhile, and the copy is removed again; a deletion that finds nothing looks once more where the key belongs.
Members without such conditions take part only where no one else writes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from secrets import token_hex

from credstore.driver.contract import Driver
from credstore.driver.refusals import REBALANCED
from credstore.driver.values import (
    CREATE,
    NO_HEADERS,
    OVERWRITE,
    Capabilities,
    ObjectInfo,
    PutRequest,
    PutResult,
    ReadOptions,
)
from credstore.encryption import KmsKey, ServerEncryption
from credstore.errors import StorageConflictError, StorageError, StorageObjectNotFoundError
from credstore.model import NOTHING
from credstore.strategies.fallback import plan
from credstore.strategies.health import Member, is_absence


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


async def _head(member: Member, key: str) -> ObjectInfo | None:
    try:
        return await member.driver.head(key)
    except StorageError as error:
        if is_absence(error):
            return None
        raise


@dataclass(frozen=True, slots=True)
class Moves:
    """Moves of single objects.

    Attributes:
        exclusive: No one else writes meanwhile, so that conditions are not needed.
    """

    exclusive: bool

    async def move(self, key: str, holder: Member, home: Member) -> bool:
        """Move one object; False where there was nothing to move, or it was written to meanwhile.

        Args:
            key: Of the object.
            holder: Has it.
            home: Where it belongs.

        Raises:
            StorageUnsupportedError: One of them has no conditions, and others may write.
            StorageError: As a member raised it.
        """
        self._check(holder, home)
        now = await _head(holder, key)
        if now is None:
            return False
        there = await _head(home, key)
        if there is not None:
            if plan.newer(there, now) is there or there.write_id == now.write_id:
                await self._remove(key, now.etag, holder)
            return False  # Else it was written while the other was down; `fallback` knows which counts.
        try:
            put = await self._put(key, holder, now, home)
        except (StorageConflictError, StorageObjectNotFoundError):
            return False  # Something is there now, or the source is gone.
        after = await _head(holder, key)
        same = after is not None and after.etag == now.etag
        if same and await self._remove(key, now.etag, holder):
            return True
        await self._remove(key, put.etag, home)
        return False

    def _check(self, holder: Member, home: Member) -> None:
        if self.exclusive:
            return
        if not holder.driver.capabilities.conditional_delete:
            raise REBALANCED.of(holder.label)
        able = home.driver.capabilities
        if not (able.conditional_create and able.conditional_delete):
            raise REBALANCED.of(home.label)

    async def _put(self, key: str, holder: Member, now: ObjectInfo, home: Member) -> PutResult:
        able = home.driver.capabilities
        return await home.driver.put(
            PutRequest(
                key=key,
                body=MemberBody(holder.driver, now),
                write_id=now.write_id or token_hex(16),
                digest=now.digest or None,
                headers=now.headers or NO_HEADERS,
                metadata=now.metadata or NOTHING,
                system=now.system or NOTHING,
                precondition=CREATE if able.conditional_create else OVERWRITE,
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
