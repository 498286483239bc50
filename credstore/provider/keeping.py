"""The verbs about what a store keeps: versions, retention and legal holds; part of `StorageProvider`.

Rules of this file: what the store would ignore is refused before anything is sent; nothing weakens what keeps
an object unless the caller says so in words.
"""

from __future__ import annotations

import builtins
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex

from credstore.causes import raise_explained
from credstore.driver.contract import LockingDriver, RetainingDriver
from credstore.driver.refusals import (
    LEGAL_HOLD,
    RETENTION,
    check_legal_holds,
    check_retention_mode,
    check_version,
    no_retention,
)
from credstore.driver.retention import NOT_RETAINED, changed
from credstore.driver.values import CopyRequest, ObjectInfo, ReadOptions
from credstore.encryption import CustomerKey, known_encryption
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAccessDeniedError,
    StorageError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import Retention, StorageResult, StorageVersion, VersionsDeletedResult
from credstore.provider.copying import as_it_is, result_of_copy
from credstore.provider.retaining import (
    DEFAULT_MODE,
    checked_mode,
    checked_until,
    copied_by_store,
    explained,
)
from credstore.provider.session import Session
from credstore.provider.validation import check_flag, check_version_id
from credstore.provider.versioning import delete_versions, list_versions


class KeepingVerbs:
    """Versions, retention and legal holds of one store."""

    _session: Session

    async def list_versions(
        self, prefix: str, *, exact: bool = False, max_versions: int | None = None
    ) -> builtins.list[StorageVersion]:
        """The versions and delete markers of the objects under a prefix, by key, newest first.

        Args:
            prefix: What the keys start with; "" for all.
            exact: Only those of exactly the key `prefix`.
            max_versions: Maximum number of versions to return; None for all.

        Raises:
            StorageUnsupportedError: The provider keeps no versions, or cannot list them.
            StorageIntegrityError: The provider's listing repeats itself or does not end.
            StorageError: Anything else.

        Cost: 1 request per 1,000 versions.
        """
        with self._session.call("list_versions", prefix if exact else None, awaited=False):
            return await list_versions(self._session, prefix, exact=exact, max_versions=max_versions)

    async def delete_versions(
        self, prefix: str, *, exact: bool = False, keep_latest: bool = False
    ) -> VersionsDeletedResult:
        """Delete the objects under a prefix so that nothing is left of them: no version, no delete marker.

        Older versions are removed first, so readers find what is there now or nothing, never an older
        version. An interrupted call is continued by making it again. What remains is hidden by a delete
        marker. Where the store keeps no versions, it only deletes the objects. What is written in the
        meantime may be removed or not.

        Args:
            prefix: What the keys start with; not empty.
            exact: Only exactly the key `prefix`, even if others start with it.
            keep_latest: Keep the current versions, and remove only older ones.

        Returns:
            How many versions were removed, and which remain: what keeps each, and until when.

        Raises:
            StorageInvalidRequestError: An empty prefix, which would be the whole store.
            StorageVersionsRemainError: The credentials may not list versions, so it is unknown what remains.
            StorageIntegrityError: The provider's listing repeats itself or does not end.
            StorageError: It ended early; the same call continues.

        Cost: 1 request where the provider can keep versions, to find out whether it does. If not, 1 for one
            key, 2 per 1,000 objects of a prefix; if so, 1 and at most 2 more per 1,000 versions, and up to 3
            for each version that remains.
        """
        with self._session.call("delete_versions", prefix if exact else None, mutation=True) as call:
            return await delete_versions(
                self._session, prefix, exact=exact, keep_latest=keep_latest, call=call
            )

    async def restore(
        self,
        key: str,
        version_id: str,
        *,
        source_encryption: CustomerKey | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> StorageResult:
        """Make a kept version the current one: the store copies it on top, also where the object was deleted.

        Bytes, content headers, metadata, tags, storage class and encryption are those of that version, and
        the copy is checked as `copy` checks it. All versions stay, also the one that was current until now.
        What is current already is left alone.

        Args:
            key: The object's key.
            version_id: The version, from `list_versions`.
            source_encryption: The customer-provided key of that version (SSE-C), which is kept.
            timeout: Seconds, instead of the configured number; grows with the object.

        Returns:
            The object as it is now; its `version_id` is a new one.

        Raises:
            StorageNotFoundError: There is no such version, or it is a delete marker (code
                "VERSION_NOT_FOUND").
            StorageUnsupportedError: The provider keeps no versions, or cannot preserve what this one has.
            StorageError: As `copy`.

        Cost: 2 requests more than `copy`.
        Source: S3 User Guide, "Restoring previous versions".
        """
        source_encryption = known_encryption(source_encryption)
        with self._session.call("restore", key, mutation=True):
            return await _restore(self._session, key, version_id, source_encryption, timeout)

    async def retain(
        self,
        key: str,
        *,
        until: datetime | None,
        mode: RetentionMode = DEFAULT_MODE,
        version_id: str | None = None,
        bypass_governance: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> Retention:
        """Forbid everybody to remove or replace an object before a date.

        Where the store keeps versions, one version is kept: the key can be written to and deleted as before,
        which puts a version or a delete marker above it. A retention that has not ended is only ever
        lengthened, or made stricter.

        Args:
            key: The object's key.
            until: The date, in the future and with a time zone; kept in whole seconds, rounded up. None
                removes a retention in the mode "governance", with `bypass_governance`.
            mode: "governance", which those with a permission for it can end early, or "compliance", which
                no one can: neither the account's owner nor the provider.
            version_id: A kept version; None for the current one.
            bypass_governance: Shorten or remove a retention in the mode "governance", for which clouds demand
                a permission of its own (at AWS `s3:BypassGovernanceRetention`).
            timeout: Seconds for each request, instead of the configured number.

        Returns:
            What keeps the object now.

        Raises:
            StorageInvalidRequestError: The date has passed or has no time zone, or an unknown mode; nothing
                was sent.
            StorageRetainedError: It would be shortened or weakened; nothing was changed.
            StorageUnsupportedError: The provider has no retention, and nothing was sent; or the bucket has
                it switched off (code "RETENTION_DISABLED").
            StorageNotFoundError: There is no such object or version.
            StorageError: Anything else.

        Cost: 2 requests, up to 4 where nothing keeps it yet.
        Source: S3 API PutObjectRetention; Azure's "Set Blob Immutability Policy"; Google's "Object Retention
            Lock".
        """
        with self._session.call("retain", key, mutation=True):
            check_flag("bypass_governance", bypass_governance)
            wanted = None if until is None else checked_until("until", until)
            if until is None and not bypass_governance:
                raise StorageInvalidRequestError(
                    "until=None would remove the retention, which takes bypass_governance=True"
                )
            return await _retain(
                self._session,
                key,
                until=wanted,
                mode=mode,
                version_id=version_id,
                bypass_governance=bypass_governance,
                timeout=timeout,
            )

    async def hold(
        self,
        key: str,
        *,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> None:
        """Put an object under legal hold: no one can remove or replace it until `release`.

        It is independent of a retention, and has no end date. Where the store keeps versions, one version is
        held. Doing so twice is not an error.

        Args:
            key: The object's key.
            version_id: A kept version; None for the current one.
            timeout: Seconds, instead of the configured number.

        Raises:
            StorageUnsupportedError: The provider has no legal holds, and nothing was sent; or the bucket has
                them switched off (code "RETENTION_DISABLED").
            StorageNotFoundError: There is no such object or version.
            StorageError: Anything else.

        Cost: 1 request, on Google Cloud Storage 2.
        Source: S3 API PutObjectLegalHold; Azure's "Set Blob Legal Hold"; Google's "Object holds".
        """
        with self._session.call("hold", key, mutation=True):
            await _set_hold(self._session, key, version_id, timeout, held=True)

    async def release(
        self,
        key: str,
        *,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> None:
        """Lift a legal hold; a retention stays. Doing so where there is none is not an error.

        Args:
            key: The object's key.
            version_id: A kept version; None for the current one.
            timeout: Seconds, instead of the configured number.

        Raises:
            StorageError: As `hold`.

        Cost: as `hold`.
        """
        with self._session.call("release", key, mutation=True):
            await _set_hold(self._session, key, version_id, timeout, held=False)

    async def get_retention(
        self,
        key: str,
        *,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    ) -> Retention:
        """What keeps an object from being removed; an empty `Retention` where nothing does.

        Args:
            key: The object's key.
            version_id: A kept version; None for the current one.
            timeout: Seconds for each request, instead of the configured number.

        Returns:
            As the store reports it, so `retain_until` may have passed.

        Raises:
            StorageUnsupportedError: The provider has no retention; nothing was sent.
            StorageNotFoundError: There is no such object or version.
            StorageAccessDeniedError: The credentials may not read it.
            StorageError: Anything else.

        Cost: 1 request, up to 3 where nothing keeps it.
        """
        session = self._session
        with session.call("get_retention", key):
            _check(session, key, version_id)
            if not isinstance(session.driver, RetainingDriver):
                raise RETENTION.of(session.name)
            return await session.driver.get_retention(key, version_id, deadline=session.deadline(timeout))


def _check(session: Session, key: str, version_id: str | None) -> None:
    session.check_key(key)
    if version_id is not None:
        check_version_id(version_id)
        check_version(version_id, session.capabilities, session.name)


def _locking(session: Session, key: str, version_id: str | None, mode: RetentionMode | None) -> LockingDriver:
    """The driver, if it can do what is asked for: a retention of this mode, or a legal hold.

    Raises:
        StorageInvalidRequestError: The key or the version is wrong.
        StorageUnsupportedError: It cannot.
    """
    _check(session, key, version_id)
    driver, able, who = session.driver, session.capabilities, session.name
    if mode is None:
        check_legal_holds(able, who)
    else:
        check_retention_mode(mode, able, who)
    if not isinstance(driver, LockingDriver):
        raise (LEGAL_HOLD if mode is None else no_retention(mode, ())).of(who)
    return driver


async def _retain(
    session: Session,
    key: str,
    *,
    until: datetime | None,
    mode: RetentionMode,
    version_id: str | None,
    bypass_governance: bool,
    timeout: float | None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
) -> Retention:
    """Check that it is not weakened, with a better text than the store's, and set it."""
    driver = _locking(session, key, version_id, checked_mode("mode", mode))
    try:
        now = await driver.get_retention(key, version_id, deadline=session.deadline(timeout))
    except StorageAccessDeniedError:
        now = NOT_RETAINED  # Who may set it may not always read it; then the store alone decides.
    wanted = changed(now, until, mode, now=datetime.now(UTC), bypass_governance=bypass_governance)
    try:
        await driver.set_retention(
            key,
            until,
            mode,
            version_id=version_id,
            bypass_governance=bypass_governance,
            deadline=session.deadline(timeout),
        )
    except StorageAccessDeniedError as error:
        raise_explained(await explained(session, error, key, version_id), error)
    return wanted


async def _set_hold(
    session: Session,
    key: str,
    version_id: str | None,
    timeout: float | None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
    *,
    held: bool,
) -> None:
    driver = _locking(session, key, version_id, None)
    await driver.set_legal_hold(key, held=held, version_id=version_id, deadline=session.deadline(timeout))


async def _restore(
    session: Session,
    key: str,
    version_id: str,
    source_encryption: CustomerKey | None,
    timeout: float | None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
) -> StorageResult:
    _check(session, key, check_version_id(version_id))
    reading = session.reading(source_encryption, version_id, timeout)
    try:
        info = replace(await session.driver.head(key, reading), key=key, version_id=version_id)
    except StorageUnsupportedError as error:
        raise _no_content(error) from error
    except StorageNotFoundError as error:
        raise_explained(_no_content(error) if error.code == ErrorCode.VERSION_NOT_FOUND else error, error)
    if await _is_current(session, info, reading):
        return result_of_copy(session, info, as_it_is(info))
    request = CopyRequest(
        source=info,
        destination=key,
        write_id=token_hex(16),
        encryption=reading.customer_key,
        source_customer_key=reading.customer_key,
        deadline=session.deadline(timeout, info.size),
    )
    return result_of_copy(session, info, await copied_by_store(session, request))


async def _is_current(session: Session, version: ObjectInfo, reading: ReadOptions) -> bool:
    try:
        now = await session.driver.head(version.key, replace(reading, version_id=None))
    except (StorageObjectNotFoundError, StorageInvalidRequestError, StorageAccessDeniedError):
        return False  # It was deleted; or what is there has another customer's key.
    if now.version_id is None and now.write_id is not None:  # As where a store is not known to keep versions.
        return now.write_id == version.write_id
    return now.version_id == version.version_id


def _no_content(error: StorageError) -> StorageNotFoundError:
    facts = error.facts()
    facts["code"] = ErrorCode.VERSION_NOT_FOUND
    return StorageNotFoundError(
        "there is no such version, or it is a delete marker, which has nothing to restore; to bring back "
        "what is below a delete marker, restore that version",
        **facts,
    )
