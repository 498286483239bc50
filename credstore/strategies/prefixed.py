"""`PrefixedDriver`: what is below a prefix of one store, as a store of its own. Only keys change.

Rules of this file: every key that goes down gets the prefix, every key that comes up loses it, in results,
listings, errors and links; nothing else is touched and nothing is remembered. What the store below can do
beyond `Driver` (its optional protocols), it can do here too, and no more: `prefixed` gives the driver exactly
those abilities. A new optional protocol is one class and one line of `FORWARDED`; a test finds one that was
forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TypeVar, cast

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
from credstore.driver.signed_links import invalid_link
from credstore.driver.upload_forms import FormRequest
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    Collected,
    CopyRequest,
    DeleteOutcome,
    Journal,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    ResumeToken,
    SignedRequest,
    SignRequest,
    StoredReader,
    VersionPage,
)
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.model import CircuitState, LinkGrant, Retention, UploadForm
from credstore.strategies.abilities import able_as

_LEAST_KEY = 128
"""Bytes that a prefix has to leave for keys: credstore's own have at most 100."""
Told = TypeVar("Told", ObjectInfo, PutResult)


class PrefixedDriver(Driver):
    """The objects of a store whose keys start with a prefix, named by the rest."""

    def __init__(self, inner: Driver, prefix: str) -> None:
        """Own the driver below: it is closed with this one.

        Args:
            inner: Of the whole store.
            prefix: Not empty, with one slash at its end; see `validation.checked_prefix`.

        Raises:
            StorageConfigurationError: It leaves too little of the store's keys.
        """
        self._inner = inner
        self._prefix = prefix
        self._size = len(prefix.encode())
        self._shown = _Shown(prefix)
        self._able = inner.capabilities
        self._left = self._shortened(self._able)
        if self._left.max_key_size < _LEAST_KEY:
            raise StorageConfigurationError(
                f"`prefix` is too long: keys of {inner.name} have {self._able.max_key_size} bytes, and it"
                f" leaves {self._left.max_key_size} of them"
            )

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """The store's capabilities, with shorter keys."""
        able = self._inner.capabilities
        if able is not self._able and able != self._able:  # A strategy may compute them each time.
            self._able, self._left = able, self._shortened(able)
        return self._left

    def _shortened(self, able: Capabilities) -> Capabilities:
        return replace(able, max_key_size=able.max_key_size - self._size)

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`."""
        journal = request.journal
        if journal is not None:
            journal = _PrefixedJournal(journal, self._prefix, request.key)
        with self._shown:
            below = replace(request, key=self._prefix + request.key, journal=journal)
            return self._told(await self._inner.put(below))

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`."""
        with self._shown:
            reader = await self._inner.get(self._prefix + key, options)
            try:
                reader.info = self._told(reader.info)
            except StorageError:
                await reader.aclose()
                raise
            return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        with self._shown:
            return self._told(await self._inner.head(self._prefix + key, options))

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; see `Driver.delete`."""
        with self._shown:
            return await self._inner.delete(
                self._prefix + key, if_match=if_match, version_id=version_id, deadline=deadline
            )

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove several objects; see `Driver.delete_many`."""
        names = {self._prefix + key: key for key in keys}
        with self._shown:
            outcomes = await self._inner.delete_many(list(names), deadline=deadline)
        for outcome in outcomes.values():
            if isinstance(outcome, StorageError):
                self._shown.name(outcome)
        return {names[name]: outcome for name, outcome in outcomes.items() if name in names}

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
        """One page of what is below both prefixes; see `Driver.list`.

        Raises:
            StorageIntegrityError: The store lists what is not below the prefix (code "LISTING").
        """
        with self._shown:
            page = await self._inner.list(
                self._prefix + prefix,
                cursor,
                delimiter=delimiter,
                start_after=None if start_after is None else self._prefix + start_after,
                limit=limit,
                deadline=deadline,
            )
            # The object that cloud consoles create for a folder has the prefix itself as its key.
            entries = [self._told(entry) for entry in page.entries if entry.key != self._prefix]
            prefixes = [self._bare(each) for each in page.prefixes]
            refused = {name.removeprefix(self._prefix): error for name, error in page.refused.items()}
            return replace(page, entries=entries, prefixes=prefixes, refused=refused)

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object; see `Driver.copy`."""
        source = replace(request.source, key=self._prefix + request.source.key)
        below = replace(request, source=source, destination=self._prefix + request.destination)
        with self._shown:
            return self._told(await self._inner.copy(below))

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link; see `Driver.sign`."""
        with self._shown:
            return await self._inner.sign(replace(request, key=self._prefix + request.key))

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that the store can be used, below the prefix where credentials may not do more."""
        with self._shown:
            try:
                await self._inner.ping(deadline=deadline)
            except StorageAccessDeniedError as error:
                if error.status_code is None:  # Not a cloud's policy, but a disk's.
                    raise
                await self._inner.list(self._prefix, limit=1, deadline=deadline)

    async def aclose(self) -> None:
        """Close the store; safe to call again."""
        await self._inner.aclose()

    def _told(self, told: Told) -> Told:
        """The same facts under the key that users know."""
        return replace(told, key=self._bare(told.key))

    def _bare(self, name: str) -> str:
        if not name.startswith(self._prefix):
            raise StorageIntegrityError(
                "the provider reported an object that is not under the prefix of this store",
                code=ErrorCode.LISTING,
            )
        return name[len(self._prefix) :]


class _Tagged(PrefixedDriver):
    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """See `TaggedDriver.get_tags`."""
        with self._shown:
            return await cast("TaggedDriver", self._inner).get_tags(self._prefix + key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """See `TaggedDriver.put_tags`."""
        with self._shown:
            inner = cast("TaggedDriver", self._inner)
            await inner.put_tags(self._prefix + key, tags, deadline=deadline)


class _Versioned(PrefixedDriver):
    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """See `VersionedDriver.keeps_versions`."""
        with self._shown:
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
        with self._shown:
            page = await cast("VersionedDriver", self._inner).list_versions(
                self._prefix + prefix, cursor, exact=exact, limit=limit, deadline=deadline
            )
            entries = [replace(each, key=self._bare(each.key)) for each in page.entries]
            return replace(page, entries=entries)

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """See `VersionedDriver.delete_versions`."""
        with self._shown:
            below = [(self._prefix + key, version_id) for key, version_id in versions]
            outcomes = await cast("VersionedDriver", self._inner).delete_versions(below, deadline=deadline)
            for outcome in outcomes.values():
                if isinstance(outcome, StorageError):
                    self._shown.name(outcome)
            return {(self._bare(key), each): outcome for (key, each), outcome in outcomes.items()}


class _Retaining(PrefixedDriver):
    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """See `RetainingDriver.get_retention`."""
        with self._shown:
            inner = cast("RetainingDriver", self._inner)
            return await inner.get_retention(self._prefix + key, version_id, deadline=deadline)


class _Locking(PrefixedDriver):
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
        with self._shown:
            await cast("LockingDriver", self._inner).set_retention(
                self._prefix + key,
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
        with self._shown:
            inner = cast("LockingDriver", self._inner)
            await inner.set_legal_hold(
                self._prefix + key, held=held, version_id=version_id, deadline=deadline
            )


class _VerifiesLinks(PrefixedDriver):
    def verify_link(self, method: str, path: str, query: Mapping[str, str], now: float) -> LinkGrant:
        """See `VerifiesLinks.verify_link`; a link to anything not below the prefix is not this store's.

        Raises:
            StorageAccessDeniedError: Code "LINK_EXPIRED" or "LINK_INVALID".
        """
        grant = cast("VerifiesLinks", self._inner).verify_link(method, path, query, now)
        if len(grant.key) <= len(self._prefix) or not grant.key.startswith(self._prefix):
            raise invalid_link()
        return replace(grant, key=grant.key[len(self._prefix) :])


class _BreaksCircuits(PrefixedDriver):
    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """See `BreaksCircuits.circuits`."""
        return cast("BreaksCircuits", self._inner).circuits


class _CountsRequests(PrefixedDriver):
    @property
    def requests(self) -> Mapping[str, int]:
        """See `CountsRequests.requests`."""
        return cast("CountsRequests", self._inner).requests


class _KeepsConnections(PrefixedDriver):
    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """See `KeepsConnections.warm`."""
        await cast("KeepsConnections", self._inner).warm(connections, deadline=deadline)


class _MakesUploadForms(PrefixedDriver):
    async def upload_form(self, request: FormRequest) -> UploadForm:
        """See `MakesUploadForms.upload_form`."""
        with self._shown:
            below = replace(request, key=self._prefix + request.key)
            return await cast("MakesUploadForms", self._inner).upload_form(below)


class _SendsParts(PrefixedDriver):
    def part_size(self, length: int) -> int | None:
        """See `SendsParts.part_size`."""
        return cast("SendsParts", self._inner).part_size(length)


class _WantsChecksums(PrefixedDriver):
    async def wants_checksums(self, *, deadline: float | None = None) -> bool:
        """See `WantsChecksums.wants_checksums`."""
        return await cast("WantsChecksums", self._inner).wants_checksums(deadline=deadline)


class _ReportsDigests(PrefixedDriver):
    async def stored_digest(self, info: ObjectInfo, options: ReadOptions = READ_ALL) -> bytes | None:
        """See `ReportsDigests.stored_digest`."""
        with self._shown:
            below = replace(info, key=self._prefix + info.key)
            return await cast("ReportsDigests", self._inner).stored_digest(below, options)


class _CollectsGarbage(PrefixedDriver):
    async def collect(self, grace: timedelta, *, deadline: float | None = None) -> Collected:
        """See `CollectsGarbage.collect`; of the whole store, as what is shared has no prefix."""
        with self._shown:
            return await cast("CollectsGarbage", self._inner).collect(grace, deadline=deadline)


class _CopiesAcross(PrefixedDriver):
    def reaches(self, other: Driver) -> bool:
        """See `CopiesAcross.reaches`."""
        return cast("CopiesAcross", self._inner).reaches(_whole(other)[0])

    async def copy_across(self, other: Driver, request: CopyRequest) -> PutResult:
        """See `CopiesAcross.copy_across`."""
        below, prefix = _whole(other)
        source = replace(request.source, key=prefix + request.source.key)
        request = replace(request, source=source, destination=self._prefix + request.destination)
        with self._shown:
            return self._told(await cast("CopiesAcross", self._inner).copy_across(below, request))


def _whole(driver: Driver) -> tuple[Driver, str]:
    """The driver of a whole store, and the prefix of the part of it that is meant."""
    if not isinstance(driver, PrefixedDriver):
        return driver, ""
    below, prefix = _whole(driver._inner)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module
    return below, prefix + driver._prefix  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


FORWARDED: Mapping[type, type[PrefixedDriver]] = {
    TaggedDriver: _Tagged,
    VersionedDriver: _Versioned,
    RetainingDriver: _Retaining,
    LockingDriver: _Locking,
    VerifiesLinks: _VerifiesLinks,
    MakesUploadForms: _MakesUploadForms,
    ReportsDigests: _ReportsDigests,
    SendsParts: _SendsParts,
    WantsChecksums: _WantsChecksums,
    BreaksCircuits: _BreaksCircuits,
    CountsRequests: _CountsRequests,
    KeepsConnections: _KeepsConnections,
    CollectsGarbage: _CollectsGarbage,
    CopiesAcross: _CopiesAcross,
}
"""What implements an optional protocol of the contract over a driver that has it."""


def prefixed(driver: Driver, prefix: str) -> Driver:
    """The part of a store below a prefix, with the same abilities as the store.

    Args:
        driver: Of the whole store; owned by the result.
        prefix: With one slash at its end; "" returns the driver itself.

    Raises:
        StorageConfigurationError: It leaves too little of the store's keys.
    """
    if not prefix:
        return driver
    return able_as(driver, PrefixedDriver, FORWARDED)(driver, prefix)


class _Shown:
    """A context in which errors lose the prefix."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StorageError):
            self.name(error)

    def name(self, error: StorageError) -> None:
        """Let the error name the key that users know."""
        if error.key is not None:
            error.key = error.key.removeprefix(self._prefix)


class _PrefixedJournal:
    """A journal of keys without the prefix; the prefix is part of the place."""

    def __init__(self, journal: Journal, prefix: str, key: str) -> None:
        """Keep the token of this key's upload."""
        self._journal = journal
        self._prefix = prefix
        self._key = key

    async def load(self) -> ResumeToken | None:
        """The token saved last, or None.

        Raises:
            StorageInvalidRequestError: It belongs to another object or another store (code
                "RESUME_MISMATCH").
        """
        token = await self._journal.load()
        if token is None:
            return None
        place = token.place.removesuffix(f"/{self._prefix}")
        if token.key != self._key or place == token.place:
            raise StorageInvalidRequestError(
                f"the resume file belongs to the upload of {token.key!r} to {token.place}; give each upload "
                f"its own",
                code=ErrorCode.RESUME_MISMATCH,
            )
        return replace(token, place=place, key=self._prefix + token.key)

    async def save(self, token: ResumeToken) -> None:
        """Save it durably."""
        key = token.key.removeprefix(self._prefix)
        await self._journal.save(replace(token, place=f"{token.place}/{self._prefix}", key=key))

    async def clear(self) -> None:
        """Forget it."""
        await self._journal.clear()
