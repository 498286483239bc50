"""`PassingDriver`: a driver over one other that passes everything on; strategies change what they are about.

Rules of this file: it decides nothing. Whatever may change an object runs inside `changing`, which a strategy
can use to learn of it. An optional protocol is one class and one line of `PASSED`; a test finds one that was
forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime, timedelta
from typing import cast

from credstore.driver.contract import (
    BreaksCircuits,
    CollectsGarbage,
    CopiesAcross,
    CountsRequests,
    Driver,
    KeepsConnections,
    LockingDriver,
    MakesUploadForms,
    ReportsDigests,
    RetainingDriver,
    SendsParts,
    TaggedDriver,
    VerifiesLinks,
    VersionedDriver,
    WantsChecksums,
)
from credstore.driver.upload_forms import FormRequest
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    Collected,
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
from credstore.errors import RetentionMode, StorageError
from credstore.model import CircuitState, LinkGrant, Retention, UploadForm


class PassingDriver(Driver):
    """The store below, as it is."""

    def __init__(self, inner: Driver) -> None:
        """Own the driver below: it is closed with this one."""
        self._inner = inner

    def changing(self, *keys: str) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 - for strategies
        """Around whatever may change these objects, however it ends."""
        return nullcontext()

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """The store's."""
        return self._inner.capabilities

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`."""
        async with self.changing(request.key):
            return await self._inner.put(request)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        return await self._inner.get(key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        return await self._inner.head(key, options)

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; see `Driver.delete`."""
        async with self.changing(key):
            return await self._inner.delete(key, if_match=if_match, version_id=version_id, deadline=deadline)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove several objects; see `Driver.delete_many`."""
        async with self.changing(*keys):
            return await self._inner.delete_many(keys, deadline=deadline)

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
        """One page; see `Driver.list`."""
        return await self._inner.list(
            prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit, deadline=deadline
        )

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object; see `Driver.copy`."""
        async with self.changing(request.destination):
            return await self._inner.copy(request)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link; see `Driver.sign`."""
        return await self._inner.sign(request)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that the store can be used; see `Driver.ping`."""
        await self._inner.ping(deadline=deadline)

    async def aclose(self) -> None:
        """Close the store; safe to call again."""
        await self._inner.aclose()


class _Tagged(PassingDriver):
    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """See `TaggedDriver.get_tags`."""
        return await cast("TaggedDriver", self._inner).get_tags(key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """See `TaggedDriver.put_tags`."""
        async with self.changing(key):
            await cast("TaggedDriver", self._inner).put_tags(key, tags, deadline=deadline)


class _Versioned(PassingDriver):
    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """See `VersionedDriver.keeps_versions`."""
        return await cast("VersionedDriver", self._inner).keeps_versions(deadline=deadline)

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """See `VersionedDriver.list_versions`."""
        return await cast("VersionedDriver", self._inner).list_versions(
            prefix, cursor, exact=exact, limit=limit, deadline=deadline
        )

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """See `VersionedDriver.delete_versions`."""
        async with self.changing(*(key for key, _ in versions)):
            return await cast("VersionedDriver", self._inner).delete_versions(versions, deadline=deadline)


class _Retaining(PassingDriver):
    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """See `RetainingDriver.get_retention`."""
        inner = cast("RetainingDriver", self._inner)
        return await inner.get_retention(key, version_id, deadline=deadline)


class _Locking(PassingDriver):
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
        """See `LockingDriver.set_retention`."""
        async with self.changing(key):
            await cast("LockingDriver", self._inner).set_retention(
                key,
                retain_until,
                mode,
                version_id=version_id,
                bypass_governance=bypass_governance,
                deadline=deadline,
            )

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """See `LockingDriver.set_legal_hold`."""
        async with self.changing(key):
            inner = cast("LockingDriver", self._inner)
            await inner.set_legal_hold(key, held=held, version_id=version_id, deadline=deadline)


class _VerifiesLinks(PassingDriver):
    def verify_link(self, method: str, path: str, query: Mapping[str, str], now: float) -> LinkGrant:
        """See `VerifiesLinks.verify_link`."""
        return cast("VerifiesLinks", self._inner).verify_link(method, path, query, now)


class _MakesUploadForms(PassingDriver):
    async def upload_form(self, request: FormRequest) -> UploadForm:
        """See `MakesUploadForms.upload_form`."""
        return await cast("MakesUploadForms", self._inner).upload_form(request)


class _BreaksCircuits(PassingDriver):
    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return cast("BreaksCircuits", self._inner).circuits


class _CountsRequests(PassingDriver):
    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return cast("CountsRequests", self._inner).requests


class _KeepsConnections(PassingDriver):
    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """See `KeepsConnections.warm`."""
        await cast("KeepsConnections", self._inner).warm(connections, deadline=deadline)


class _CollectsGarbage(PassingDriver):
    async def collect(self, grace: timedelta, *, deadline: float | None = None) -> Collected:
        """See `CollectsGarbage.collect`."""
        return await cast("CollectsGarbage", self._inner).collect(grace, deadline=deadline)


class _WantsChecksums(PassingDriver):
    async def wants_checksums(self, *, deadline: float | None = None) -> bool:
        """See `WantsChecksums.wants_checksums`."""
        return await cast("WantsChecksums", self._inner).wants_checksums(deadline=deadline)


class _SendsParts(PassingDriver):
    def part_size(self, length: int) -> int | None:
        """See `SendsParts.part_size`."""
        return cast("SendsParts", self._inner).part_size(length)


class _ReportsDigests(PassingDriver):
    async def stored_digest(self, info: ObjectInfo, options: ReadOptions = READ_ALL) -> bytes | None:
        """See `ReportsDigests.stored_digest`."""
        return await cast("ReportsDigests", self._inner).stored_digest(info, options)


class _CopiesAcross(PassingDriver):
    def reaches(self, other: Driver) -> bool:
        """See `CopiesAcross.reaches`."""
        return cast("CopiesAcross", self._inner).reaches(other)

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """See `CopiesAcross.copy_across`."""
        async with self.changing(request.destination):
            return await cast("CopiesAcross", self._inner).copy_across(other, request)


PASSED: Mapping[type, type[PassingDriver]] = {
    TaggedDriver: _Tagged,
    VersionedDriver: _Versioned,
    RetainingDriver: _Retaining,
    LockingDriver: _Locking,
    VerifiesLinks: _VerifiesLinks,
    MakesUploadForms: _MakesUploadForms,
    BreaksCircuits: _BreaksCircuits,
    CountsRequests: _CountsRequests,
    KeepsConnections: _KeepsConnections,
    CollectsGarbage: _CollectsGarbage,
    WantsChecksums: _WantsChecksums,
    SendsParts: _SendsParts,
    ReportsDigests: _ReportsDigests,
    CopiesAcross: _CopiesAcross,
}
"""What implements an optional protocol of the contract over a driver that has it."""
