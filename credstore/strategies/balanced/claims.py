"""Claims: what a move leaves at the new place first, so that whoever deletes or writes there stops it.

The danger: a delete looks at the new place before the copy is there, and at the old one after it was read;
then the copy brings the object back. So a move puts a claim there first, looks at the old place again, and
replaces exactly that claim. A delete ends at the place where the key belongs. If it removed the object at the
old place before the second look, that look shows it; if after, it finds the claim or the copy, and without
the claim there is no copy. A write replaces the claim. This holds in any order, and after any failure
or kill.

Rules of this file: a claim is seen in this package alone. Each is different from all others, since some
stores make entity tags of bytes. An object that was moved is as old as it was before, so a write that went to
another member meanwhile is the newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex

from credstore.driver.contract import Driver
from credstore.driver.values import (
    READ_ALL,
    SYSTEM_PREFIX,
    BytesBody,
    CopyRequest,
    ObjectInfo,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
    StoredReader,
)
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.model import NOTHING
from credstore.quick import changed
from credstore.strategies.abilities import able_as
from credstore.strategies.passing import PASSED, PassingDriver

CLAIM = f"{SYSTEM_PREFIX}claim"
"""In the system metadata of a claim."""
MOVED = f"{SYSTEM_PREFIX}moved"
"""In the system metadata of an object that was moved: when it was last modified, in Unix seconds."""
SIZE = 509
"""Bytes of a claim: listings show no metadata, so what has this size is looked at."""
MARK_SIZE = len(MOVED) + len("9999999999.999999")
"""Bytes of metadata that a move adds."""
_TEXT = "An object is being moved here. If that was cut off, `credstore rebalance` ends it. "


def is_claim(info: ObjectInfo) -> bool:
    """Whether this is a claim, not an object; for what `head` or `get` reports."""
    return info.system is not None and CLAIM in info.system


def claim_of(
    key: str, precondition: Precondition, encryption: ServerEncryption | None, deadline: float | None = None
) -> PutRequest:
    """The write of a claim.

    Args:
        key: Of the object that is to be moved there.
        precondition: Nothing may be there, or an older claim.
        encryption: At rest, as the object's.
        deadline: Instant of `time.monotonic()`, or None.
    """
    token = token_hex(16)
    body = f"{_TEXT}{token}".ljust(SIZE).encode()
    return PutRequest(
        key=key,
        body=BytesBody(body),
        write_id=token,
        digest=sha256(body).digest(),
        system={CLAIM: token},
        precondition=precondition,
        encryption=encryption,
        encryption_by_default=True,
        deadline=deadline,
    )


def moved(info: ObjectInfo) -> Mapping[str, str]:
    """The system metadata of an object where it is moved to."""
    system = info.system or NOTHING
    if info.last_modified is None:
        return system
    return {**system, MOVED: f"{info.last_modified.timestamp():.6f}"}


def shown(info: ObjectInfo) -> ObjectInfo:
    """An object as it was before it was moved."""
    text = None if info.system is None else info.system.get(MOVED)
    if text is None:
        return info
    system = {name: value for name, value in (info.system or NOTHING).items() if name != MOVED}
    try:
        modified: datetime | None = datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        modified = info.last_modified
    return changed(info, {"system": system, "last_modified": modified})


class UnclaimedDriver(PassingDriver):
    """The store below without its claims; its listings still have them, since they show no metadata."""

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        try:
            reader = await self._inner.get(key, options)
        except StorageError as error:
            await self._explain(key, options, error)
            raise
        info = reader.info
        if info.system:
            if is_claim(info):
                await reader.aclose()
                raise StorageObjectNotFoundError("there is no such object", key=key)
            reader.info = shown(info)
        return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        try:
            info = await self._inner.head(key, options)
        except StorageError as error:
            await self._explain(key, options, error)
            raise
        if not info.system:
            return info
        if is_claim(info):
            raise StorageObjectNotFoundError("there is no such object", key=key)
        return shown(info)

    async def _explain(self, key: str, options: ReadOptions, error: StorageError) -> None:
        """Raise that there is no such object, where the range or version is one that a claim has not."""
        if error.code == ErrorCode.INVALID_RANGE or isinstance(error, StoragePreconditionFailedError):
            await self.head(key, ReadOptions(deadline=options.deadline))

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object, which is as old as the copy; see `Driver.copy`."""
        if request.system is None and request.source.system is not None:
            request = replace(request, system=request.source.system)
        return await self._inner.copy(request)


def unclaimed(driver: Driver) -> Driver:
    """The driver of a member, without its claims."""
    return able_as(driver, UnclaimedDriver, PASSED)(driver)
