"""`ReadOnlyDriver`: a store that nothing can be changed in, whatever its credentials may do.

Rules of this file: whatever has an effect is refused before anything is sent, in the same words, and all else
is passed on untouched. An optional protocol is one class and one line of `ABILITIES`. A test goes through
every method of the contract, so that a new one is either refused here or listed there as a read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from credstore.driver.refusals import read_only
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
from credstore.model import CircuitState, LinkGrant, Method, Retention, UploadForm
from credstore.strategies.abilities import able_as

_READING: frozenset[Method] = frozenset({"GET", "HEAD"})


class ReadOnlyDriver(Driver):
    """A store as it is, and as it stays."""

    def __init__(self, inner: Driver) -> None:
        """Own the driver below: it is closed with this one."""
        self._inner = inner
        self._able = inner.capabilities
        self._left = _left(self._able)

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """The store's, without anything that lets others write."""
        able = self._inner.capabilities
        if able is not self._able and able != self._able:  # A strategy may compute them each time.
            self._able, self._left = able, _left(able)
        return self._left

    async def put(self, request: PutRequest) -> PutResult:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)

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
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Refused as a whole.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)

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
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to read; see `Driver.sign`.

        Raises:
            StorageReadOnlyError: The link would write or delete.
        """
        if request.method not in _READING:
            raise read_only(self.name)
        return await self._inner.sign(request)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that the store can be reached; see `Driver.ping`."""
        await self._inner.ping(deadline=deadline)

    async def aclose(self) -> None:
        """Close the store; safe to call again."""
        await self._inner.aclose()


class _Tagged(ReadOnlyDriver):
    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """See `TaggedDriver.get_tags`."""
        return await cast("TaggedDriver", self._inner).get_tags(key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


class _Versioned(ReadOnlyDriver):
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
        """Refused as a whole.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


class _Retaining(ReadOnlyDriver):
    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """See `RetainingDriver.get_retention`."""
        inner = cast("RetainingDriver", self._inner)
        return await inner.get_retention(key, version_id, deadline=deadline)


class _Locking(ReadOnlyDriver):
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
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


class _VerifiesLinks(ReadOnlyDriver):
    def verify_link(self, method: str, path: str, query: Mapping[str, str], now: float) -> LinkGrant:
        """See `VerifiesLinks.verify_link`.

        Raises:
            StorageReadOnlyError: It would write or delete, whoever made it.
        """
        grant = cast("VerifiesLinks", self._inner).verify_link(method, path, query, now)
        if method not in _READING:
            raise read_only(self.name)
        return grant


class _MakesUploadForms(ReadOnlyDriver):
    async def upload_form(self, request: FormRequest) -> UploadForm:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


class _BreaksCircuits(ReadOnlyDriver):
    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return cast("BreaksCircuits", self._inner).circuits


class _CountsRequests(ReadOnlyDriver):
    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return cast("CountsRequests", self._inner).requests


class _KeepsConnections(ReadOnlyDriver):
    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """See `KeepsConnections.warm`."""
        await cast("KeepsConnections", self._inner).warm(connections, deadline=deadline)


class _CollectsGarbage(ReadOnlyDriver):
    async def collect(self, grace: timedelta, *, deadline: float | None = None) -> Collected:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


class _SendsParts(ReadOnlyDriver):
    def part_size(self, length: int) -> int | None:
        """See `SendsParts.part_size`."""
        return cast("SendsParts", self._inner).part_size(length)


class _WantsChecksums(ReadOnlyDriver):
    async def wants_checksums(self, *, deadline: float | None = None) -> bool:
        """See `WantsChecksums.wants_checksums`."""
        return await cast("WantsChecksums", self._inner).wants_checksums(deadline=deadline)


class _ReportsDigests(ReadOnlyDriver):
    async def stored_digest(self, info: ObjectInfo, options: ReadOptions = READ_ALL) -> bytes | None:
        """See `ReportsDigests.stored_digest`."""
        return await cast("ReportsDigests", self._inner).stored_digest(info, options)


class _CopiesAcross(ReadOnlyDriver):
    def reaches(self, other: Driver) -> bool:
        """See `CopiesAcross.reaches`."""
        return cast("CopiesAcross", self._inner).reaches(other)

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """Refused.

        Raises:
            StorageReadOnlyError: Always.
        """
        raise read_only(self.name)


ABILITIES: Mapping[type, type[ReadOnlyDriver]] = {
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
    SendsParts: _SendsParts,
    WantsChecksums: _WantsChecksums,
    ReportsDigests: _ReportsDigests,
    CopiesAcross: _CopiesAcross,
}
"""What implements an optional protocol of the contract over a driver that has it."""


def only_read(driver: Driver) -> Driver:
    """A store that nothing can be changed in; owns the driver."""
    return able_as(driver, ReadOnlyDriver, ABILITIES)(driver)


def _left(able: Capabilities) -> Capabilities:
    return replace(able, writable=False, resumable=False, upload_forms=False, presign=able.presign & _READING)
