"""Object Lock: what keeps a version, and how it is put under retention or legal hold.

Rules of this file: a cloud without Object Lock is not asked; a lock that was asked for with a write is looked
at once at a server that is not the cloud's own, for each way of writing, since some ignore the headers.

Source: S3 API PutObjectRetention, PutObjectLegalHold, GetObjectRetention, GetObjectLegalHold, HeadObject.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from datetime import datetime

from credstore.driver.refusals import (
    RETENTION,
    check_legal_holds,
    check_retention_mode,
    check_version,
)
from credstore.driver.retention import honours
from credstore.driver.values import ReadOptions
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import format_time
from credstore.drivers.s3.ours import Write, take_back
from credstore.drivers.s3.requests import (
    XML_NAMESPACE,
    S3Request,
    head_object,
    put_document,
    version_query,
)
from credstore.drivers.s3.responses import has_header_of_s3, not_s3
from credstore.drivers.s3.xml import parse_legal_hold, parse_lock_rules, parse_retention, retention_mode
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAccessDeniedError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.times import parse_time

_MARKER_STATUS = 405
"""Of what reads a delete marker by its version."""
_NOT_LOCKED = frozenset(
    {
        "NoSuchObjectLockConfiguration",  # The version has no lock.
        "ObjectLockConfigurationNotFoundError",  # The bucket has none.
        "InvalidRequest",  # AWS: "Bucket is missing Object Lock Configuration".
    }
)


async def get_retention(
    bucket: Bucket, key: str, version_id: str | None, *, deadline: float | None
) -> Retention:
    """What keeps a version; see `RetainingDriver.get_retention`.

    Cost: 1 request for a version under retention or legal hold, 3 where nothing keeps it; 1 more where the
        version may not be read.
    """
    bucket.check_usable(deadline)
    if not bucket.dialect.object_lock:
        raise RETENTION.of(bucket.label)
    options = ReadOptions(version_id=version_id, deadline=deadline)
    headers: Mapping[str, str]
    try:
        headers = (await bucket.call(head_object(key, options, bucket.dialect), deadline=deadline)).headers
    except StorageUnsupportedError as error:
        if error.provider_code is None:
            raise  # A bare status may be of something in between, and nothing is called free for that.
        return Retention()  # A delete marker, which nothing can keep.
    except StorageNotFoundError as error:
        if error.status_code == _MARKER_STATUS:
            return Retention()
        raise
    except (StorageAccessDeniedError, StorageInvalidRequestError):
        headers = {}  # It may be unreadable, or need its customer key; its locks may be reported anyway.
    mode = retention_mode(headers.get("x-amz-object-lock-mode"))
    hold = headers.get("x-amz-object-lock-legal-hold", "").upper() == "ON"
    if mode is not None or hold:
        until = parse_time(headers.get("x-amz-object-lock-retain-until-date"))
        return Retention(mode=mode, retain_until=until, legal_hold=hold)
    # The headers are sent only to those who may read them, so their absence says nothing.
    retention = await _ask(bucket, _get_lock("GetObjectRetention", "retention", key, version_id), deadline)
    held = await _ask(bucket, _get_lock("GetObjectLegalHold", "legal-hold", key, version_id), deadline)
    mode, until = (None, None) if retention is None else parse_retention(retention)
    return Retention(mode=mode, retain_until=until, legal_hold=held is not None and parse_legal_hold(held))


def _get_lock(operation: str, what: str, key: str, version_id: str | None) -> S3Request:
    query = ((what, ""), *version_query(version_id))
    return S3Request(operation=operation, method="GET", key=key, query=query)


async def _ask(bucket: Bucket, request: S3Request, deadline: float | None) -> bytes | None:
    """The document about one lock of a version, or None where there is none."""
    try:
        return (await bucket.call(request, deadline=deadline)).body
    except StorageError as error:
        if error.provider_code in _NOT_LOCKED:
            return None
        if isinstance(error, StorageUnsupportedError) and error.provider_code is not None:
            return None  # A bare status may be of something in between.
        raise


def put_retention(
    key: str,
    retain_until: datetime | None,
    mode: RetentionMode,
    dialect: S3Dialect,
    *,
    version_id: str | None,
    bypass_governance: bool,
) -> S3Request:
    """PutObjectRetention; an empty document removes what is there.

    Raises:
        StorageUnsupportedError: The cloud has no retention of this kind, or no versions.
    """
    check_retention_mode(mode, dialect.capabilities, dialect.name)
    check_version(version_id, dialect.capabilities, dialect.name)
    root = ET.Element("Retention", {"xmlns": XML_NAMESPACE})
    if retain_until is not None:
        ET.SubElement(root, "Mode").text = mode.upper()
        ET.SubElement(root, "RetainUntilDate").text = format_time(retain_until)
    headers = {"x-amz-bypass-governance-retention": "true"} if bypass_governance else {}
    query = (("retention", ""), *version_query(version_id))
    return put_document("PutObjectRetention", key, query, root, headers)


def put_legal_hold(key: str, dialect: S3Dialect, *, held: bool, version_id: str | None) -> S3Request:
    """PutObjectLegalHold.

    Raises:
        StorageUnsupportedError: The cloud has no legal holds, or no versions.
    """
    check_legal_holds(dialect.capabilities, dialect.name)
    check_version(version_id, dialect.capabilities, dialect.name)
    root = ET.Element("LegalHold", {"xmlns": XML_NAMESPACE})
    ET.SubElement(root, "Status").text = "ON" if held else "OFF"
    return put_document("PutObjectLegalHold", key, (("legal-hold", ""), *version_query(version_id)), root)


async def set_retention(
    bucket: Bucket,
    key: str,
    retain_until: datetime | None,
    mode: RetentionMode,
    *,
    version_id: str | None,
    bypass_governance: bool,
    deadline: float | None,
) -> None:
    """Put a version under retention, or remove it; see `LockingDriver.set_retention`.

    Cost: 1 request.

    Raises:
        StorageUnsupportedError: The bucket has no Object Lock (code "RETENTION_DISABLED").
        StorageError: Anything else.
    """
    request = put_retention(
        key, retain_until, mode, bucket.dialect, version_id=version_id, bypass_governance=bypass_governance
    )
    wanted = (None, None) if retain_until is None else (mode, retain_until)
    await _lock(bucket, request, version_id, lambda kept: (kept.mode, kept.retain_until) == wanted, deadline)


async def set_legal_hold(
    bucket: Bucket, key: str, *, held: bool, version_id: str | None, deadline: float | None
) -> None:
    """Put a version under legal hold, or release it; see `LockingDriver.set_legal_hold`.

    Cost: 1 request.

    Raises:
        StorageError: As `set_retention`.
    """
    request = put_legal_hold(key, bucket.dialect, held=held, version_id=version_id)
    await _lock(bucket, request, version_id, lambda kept: kept.legal_hold == held, deadline)


async def _lock(
    bucket: Bucket,
    request: S3Request,
    version_id: str | None,
    done: Callable[[Retention], bool],
    deadline: float | None,
) -> None:
    """Send one of the two above, and find out what became of it where that is unclear (P0).

    It says what is to be there in the end, so it does not matter which attempt, or who, has made it so. A
    success without any of S3's headers is unclear too: whatever gave it may not be a store.
    """
    key = request.key or ""
    bucket.check_key(key)
    try:
        reply = await bucket.call(request, deadline=deadline)
        if not has_header_of_s3(reply.headers):
            raise not_s3(reply.status, "maybe")
    except StorageError as error:
        if error.applied == "no" or not bucket.may_look():
            raise
        try:
            found = await get_retention(bucket, key, version_id, deadline=deadline)
        except StorageError as unseen:
            raise error from unseen
        bucket.looked()
        if not done(found):
            raise


async def wants_checksums(bucket: Bucket, *, deadline: float | None) -> bool:
    """Whether bodies are refused without `Content-MD5`; see `WantsChecksums.wants_checksums`.

    Cost: 1 request, once; none where the cloud has no Object Lock, or a refusal has shown it.
    Source: S3 API GetObjectLockConfiguration; PutObject on objects under a retention period.
    """
    bucket.check_usable(deadline)
    checksums = bucket.checksums
    if not bucket.dialect.object_lock or checksums.is_known:
        return checksums.of_bodies
    request = S3Request(operation="GetObjectLockConfiguration", method="GET", query=(("object-lock", ""),))
    wanted = False
    try:
        wanted = parse_lock_rules((await bucket.call(request, deadline=deadline)).body)
    except StorageError as error:
        # Not everybody may ask for it; what passes is asked again.
        checksums.is_known = not error.retryable
        return False
    checksums.is_known = True
    if wanted:
        checksums.learn("PutObject")
    return wanted


async def check_locked(bucket: Bucket, write: Write, version_id: str | None, *, way: str) -> None:
    """Refuse a write whose lock was ignored; another server than the cloud's own is looked at once.

    Args:
        bucket: Where it is.
        write: What was written.
        version_id: What it made.
        way: Name of the request that carried the lock.

    Raises:
        StorageIntegrityError: It is not under retention or hold as asked (code "NOT_HONOURED", `applied`
            "yes"); it has been removed if it was still ours.
        StorageError: It could not be looked at; `applied` is "yes".
    """
    asked, done = write.retention, f"{way} under Object Lock"
    if asked is None or not bucket.is_elsewhere or done in bucket.kept:
        return
    try:
        found = await get_retention(bucket, write.key, version_id, deadline=write.deadline)
    except StorageAccessDeniedError:
        return  # Who may write locks may not always read them.
    except StorageError as error:
        error.applied = "yes"
        error.message += " (the object was stored, but it could not be seen whether it is locked)"
        raise
    if honours(found, asked):
        bucket.kept.add(done)
        return
    clause, _ = await take_back(bucket, write, version_id)
    raise StorageIntegrityError(
        f"the provider ignored the retention or legal hold that was sent with the write; {clause}",
        code=ErrorCode.NOT_HONOURED,
        applied="yes",
    )
