"""Checks of the optional protocol `LockingDriver`: what is under retention or legal hold stays.

A driver that does not implement it, or whose capabilities have neither, passes them; so does one whose bucket
has it switched off and says so. Nothing is put under a retention that could not be removed afterwards, so the
mode "compliance" is not tried.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from credstore.driver.contract import Driver, LockingDriver, VersionedDriver
from credstore.driver.values import CopyRequest, PutResult, ReadOptions
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing.checks.versions import all_versions, with_versions
from credstore.testing.harness import (
    Harness,
    fail,
    fetched,
    put,
    refuses,
    request,
    require,
    same,
    unsupported,
)

_DATA = b"kept"


@dataclass(frozen=True, slots=True)
class _Kept:
    """An object under lock.

    Attributes:
        driver: Of the store.
        locking: The same.
        key: Of the object.
        version: Its version, where the store keeps versions, else None.
    """

    driver: Driver
    locking: LockingDriver
    key: str
    version: str | None

    async def is_under(self, wanted: Retention, what: str) -> None:
        """Continue only if exactly this keeps it."""
        found = await self.locking.get_retention(self.key, self.version)
        same(found, wanted, f"retention of {what}")

    async def retain(self, until: datetime | None, *, bypass_governance: bool = False) -> None:
        """Put it under retention in the mode "governance", or lift that."""
        await self.locking.set_retention(
            self.key, until, "governance", version_id=self.version, bypass_governance=bypass_governance
        )

    async def hold(self, *, held: bool) -> None:
        """Put it under legal hold, or release it."""
        await self.locking.set_legal_hold(self.key, held=held, version_id=self.version)

    async def free(self) -> None:
        """Let it be removed, if it is still there."""
        able = self.driver.capabilities
        with suppress(StorageNotFoundError):
            await self.locking.get_retention(self.key, self.version)
            if able.legal_holds:
                await self.hold(held=False)
            if "governance" in able.retention_modes:
                await self.retain(None, bypass_governance=True)

    async def stays(self, what: str) -> None:
        """Continue only if no operation of the driver removes it, or replaces it without a trace."""
        hides = await with_versions(self.driver) is not None
        await _refuses_or_hides(self.driver.put(request(self.key, b"other")), f"put over {what}", hides=hides)
        await _refuses_or_hides(self.driver.delete(self.key), f"delete of {what}", hides=hides)
        await _refuses_or_hides(
            _deleted_with_others(self.driver, self.key), f"delete_many of {what}", hides=hides
        )
        able = self.driver.capabilities
        if able.versions and self.version is not None:
            call = self.driver.delete(self.key, version_id=self.version)
            await refuses(call, StorageAccessDeniedError, what=f"delete of the version of {what}")
        if isinstance(self.driver, VersionedDriver) and hides:
            await _one_is_refused(self.driver, self.key, what)
        if able.versions or not hides:
            options = ReadOptions(version_id=self.version if able.versions else None)
            same(await fetched(self.driver, self.key, options), _DATA, f"bytes of {what}")


async def _refuses_or_hides(call: Awaitable[object], what: str, *, hides: bool) -> None:
    """Continue only if it is refused; where versions are kept, it may put something above."""
    if not hides:
        await refuses(call, StorageAccessDeniedError, what=what)
        return
    try:
        await call
    except StorageAccessDeniedError:
        return


async def _deleted_with_others(driver: Driver, key: str) -> None:
    outcome = (await driver.delete_many([key])).get(key)
    if isinstance(outcome, StorageError):
        raise outcome


async def _one_is_refused(driver: VersionedDriver, key: str, what: str) -> None:
    """Try to remove all versions with content; one of them has to stay, and is listed afterwards."""
    asked = [
        (each.key, each.version_id)
        for each in await all_versions(driver, key, exact=True)
        if not each.is_delete_marker
    ]
    outcomes = await driver.delete_versions(asked)
    stay = {pair for pair, outcome in outcomes.items() if isinstance(outcome, StorageAccessDeniedError)}
    require(stay, f"delete_versions removes {what}")
    left = {(each.key, each.version_id) for each in await all_versions(driver, key, exact=True)}
    require(stay <= left, f"delete_versions says that {what} stays, but it is not listed any more")


@asynccontextmanager
async def _locked(
    driver: Driver, retention: Retention, key: str = "key"
) -> AsyncGenerator[_Kept | None, None]:
    """An object that is written under lock and can be removed afterwards; None where there are no locks."""
    if not isinstance(driver, LockingDriver):
        yield None
        return
    try:
        result = await driver.put(request(key, _DATA, retention=retention))
    except StorageUnsupportedError as error:
        same(
            error.code,
            ErrorCode.RETENTION_DISABLED,
            "code of a store that refuses what its capabilities have",
        )
        same(await fetched(driver, key), None, "bytes after a refused write")
        yield None
        return
    kept = await _kept(driver, driver, key, result)
    try:
        yield kept
    finally:
        await kept.free()


async def _kept(driver: Driver, locking: LockingDriver, key: str, result: PutResult) -> _Kept:
    """An object that was just written, by its version as a listing shows it."""
    if driver.capabilities.versions:
        return _Kept(driver, locking, key, result.version_id)
    versioned = await with_versions(driver)
    listed = [] if versioned is None else await all_versions(versioned, key, exact=True)
    return _Kept(driver, locking, key, listed[0].version_id if listed else None)


def _in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


async def keeps_what_is_retained(harness: Harness) -> None:
    """A retention is set by the write itself, is reported as it was asked for, and nothing gets round it."""
    driver = harness.open()
    if "governance" in driver.capabilities.retention_modes:
        retention = Retention(mode="governance", retain_until=_in_days(1))
        async with _locked(driver, retention) as kept:
            if kept is not None:
                await kept.is_under(retention, "an object that was written under it")
                same(await kept.locking.get_retention("key"), retention, "retention of the current object")
                await kept.stays("an object under retention")
    await driver.aclose()


async def only_lengthens_a_retention(harness: Harness) -> None:
    """A retention becomes shorter only for those who say so; then it can also be removed."""
    driver = harness.open()
    if "governance" in driver.capabilities.retention_modes:
        first = Retention(mode="governance", retain_until=_in_days(2))
        async with _locked(driver, first) as kept:
            if kept is not None:
                longer = _in_days(3)
                await kept.retain(longer)
                await kept.is_under(Retention(mode="governance", retain_until=longer), "a longer retention")
                for shorter in (first.retain_until, None):
                    call = kept.retain(shorter)
                    await refuses(call, StorageAccessDeniedError, what="a shorter retention")
                await kept.is_under(
                    Retention(mode="governance", retain_until=longer), "what could not be shortened"
                )
                await kept.retain(first.retain_until, bypass_governance=True)
                await kept.is_under(first, "a retention that was shortened with permission")
                await kept.retain(None, bypass_governance=True)
                await kept.is_under(Retention(), "an object whose retention was removed with permission")
                await _goes(kept)
    await driver.aclose()


async def holds_until_released(harness: Harness) -> None:
    """A legal hold keeps an object until it is released, with or without a retention."""
    driver = harness.open()
    if driver.capabilities.legal_holds:
        held = Retention(legal_hold=True)
        async with _locked(driver, held) as kept:
            if kept is not None:
                await kept.is_under(held, "an object that was written under it")
                await kept.hold(held=True)
                await kept.stays("an object under legal hold")
                await kept.hold(held=False)
                await kept.hold(held=False)
                await kept.is_under(Retention(), "a released object")
                await _goes(kept)
    await driver.aclose()


async def locks_what_is_there(harness: Harness) -> None:
    """An object that was written without a lock gets one later; nothing else about it changes."""
    driver = harness.open()
    able = driver.capabilities
    if isinstance(driver, LockingDriver) and able.legal_holds and "governance" in able.retention_modes:
        written = await driver.put(
            request("key", _DATA, metadata={"a": "b"}, tags={"t": "u"} if able.tags else {})
        )
        kept = await _kept(driver, driver, "key", written)
        before = await driver.head("key")
        until = _in_days(1)
        try:
            await kept.hold(held=True)
            await kept.retain(until)
        except StorageUnsupportedError as error:
            # Where holds need nothing of the bucket, as at Google, only the retention is refused.
            same(error.code, ErrorCode.RETENTION_DISABLED, "code of a bucket without locks")
            with suppress(StorageUnsupportedError):
                await kept.hold(held=False)
        else:
            try:
                await kept.is_under(
                    Retention(mode="governance", retain_until=until, legal_hold=True), "an object under both"
                )
                now = await driver.head("key")
                same(
                    (now.size, now.digest, now.metadata, now.write_id),
                    (before.size, before.digest, before.metadata, before.write_id),
                    "size, digest, metadata and write-id of an object that was locked",
                )
                await kept.stays("an object that was locked later")
            finally:
                await kept.free()
    await driver.aclose()


async def copies_without_the_lock(harness: Harness) -> None:
    """A copy has the retention it is given, and none of its source's."""
    driver = harness.open()
    if driver.capabilities.legal_holds:
        async with _locked(driver, Retention(legal_hold=True)) as kept:
            if kept is not None:
                source = await driver.head("key")
                plain = await driver.copy(
                    CopyRequest(source=source, destination="plain", write_id=token_hex(16))
                )
                unlocked = await _kept(driver, kept.locking, "plain", plain)
                await unlocked.is_under(Retention(), "a plain copy")
                locked = await driver.copy(
                    CopyRequest(
                        source=source,
                        destination="locked",
                        write_id=token_hex(16),
                        retention=Retention(legal_hold=True),
                    )
                )
                copy = await _kept(driver, kept.locking, "locked", locked)
                try:
                    await copy.is_under(Retention(legal_hold=True), "a copy under legal hold")
                    await copy.stays("a copy under legal hold")
                finally:
                    await copy.free()
    await driver.aclose()


async def refuses_locks_it_has_not(harness: Harness) -> None:
    """A retention or hold beyond the capabilities is refused before anything is sent."""
    driver = harness.open()
    able, until = driver.capabilities, _in_days(1)
    await put(driver, "key")
    copy = CopyRequest(source=await driver.head("key"), destination="copy", write_id=token_hex(16))
    lacking: list[Retention] = [
        Retention(mode=mode, retain_until=until)
        for mode in ("governance", "compliance")
        if mode not in able.retention_modes
    ]
    if not able.legal_holds:
        lacking.append(Retention(legal_hold=True))
    for each in lacking:
        await unsupported(driver.put(request("new", retention=each)), "put under a lock", harness)
        order = CopyRequest(
            source=copy.source, destination=copy.destination, write_id=copy.write_id, retention=each
        )
        await unsupported(driver.copy(order), "copy under a lock", harness)
        if isinstance(driver, LockingDriver):
            call = (
                driver.set_legal_hold("key", held=True)
                if each.mode is None
                else driver.set_retention("key", until, each.mode)
            )
            await unsupported(call, "a lock", harness)
    if (able.retention_modes or able.legal_holds) and not isinstance(driver, LockingDriver):
        fail("the capabilities have retention or legal holds, but the driver is not a LockingDriver")
    same([await fetched(driver, key) for key in ("new", "copy")], [None, None], "bytes after refused writes")
    await driver.aclose()


async def _goes(kept: _Kept) -> None:
    """Continue only if what is not kept any more can be removed."""
    if isinstance(kept.driver, VersionedDriver) and kept.version is not None:
        outcomes = await kept.driver.delete_versions([(kept.key, kept.version)])
        for outcome in outcomes.values():
            if isinstance(outcome, StorageError):
                fail(f"what is not kept any more cannot be removed: {outcome}")
    else:
        await kept.driver.delete(kept.key)
        same(await fetched(kept.driver, kept.key), None, "bytes of an object that was released and deleted")
