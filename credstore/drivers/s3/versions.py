"""Versions of objects: listed, and removed for good; for what keeps one see `locking.py`.

Rules of this file: a store that keeps no versions is not asked for any; a response is compared with the
request, version by version, and silence about one does not count as success (P10); a listing that goes round
in circles ends in an error in the caller, which sees all pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from credstore.driver.refusals import FOREIGN_VERSIONS, LIST_VERSIONS
from credstore.driver.values import DeleteOutcome, VersionPage
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.errors import meaning_of
from credstore.drivers.s3.listings import asked
from credstore.drivers.s3.requests import S3Request, delete_objects
from credstore.drivers.s3.responses import build_error
from credstore.drivers.s3.xml import (
    DeletedVersionsReply,
    ErrorReply,
    VersionEntry,
    parse_deleted_versions,
    parse_versioning,
    parse_versions,
)
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageBucketNotFoundError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from credstore.model import StorageVersion

_MARKER = 2
"""Parts of a cursor: the key and the version to continue after."""


async def keeps_versions(bucket: Bucket, *, deadline: float | None) -> bool:
    """Whether versions are or were kept; see `VersionedDriver.keeps_versions`.

    Source: S3 API GetBucketVersioning, whose response has no status until versioning is first switched on.
    """
    bucket.check_usable(deadline)
    if bucket.dialect.unversioned:
        return False
    request = S3Request(operation="GetBucketVersioning", method="GET", query=(("versioning", ""),))
    try:
        reply = await bucket.call(request, deadline=deadline)
    except StorageUnsupportedError as error:
        # A server that does not support this says so with a code; a bare status may be of something in
        # between, and what is to be erased is not called gone for that.
        return error.provider_code is None
    except StorageAccessDeniedError:
        return True
    return await parsed(parse_versioning, reply.body)


async def list_versions(
    bucket: Bucket, prefix: str, cursor: str | None, *, exact: bool, limit: int, deadline: float | None
) -> VersionPage:
    """One page; see `VersionedDriver.list_versions`."""
    bucket.check_usable(deadline)
    _check_has_versions(bucket.dialect)
    bucket.check_key(prefix)
    build = partial(list_object_versions, prefix, cursor, limit)
    page = await asked(bucket, build, parse_versions, deadline)
    more = page.markers
    entries = page.entries
    if exact:
        entries = [each for each in entries if each.key == prefix]
        # The key itself comes first among all that start with it, where keys ascend.
        if more is not None and more[0] != prefix and bucket.dialect.capabilities.ordered:
            more = None
    return VersionPage(
        entries=[_shown(each, bucket.label) for each in entries],
        cursor=None if more is None else json.dumps(more),
    )


def list_object_versions(prefix: str, cursor: str | None, limit: int, dialect: S3Dialect) -> S3Request:
    """ListObjectVersions.

    Raises:
        StorageInvalidRequestError: The cursor is not one of this listing's.
    """
    query = [("versions", ""), ("max-keys", str(limit))]
    if dialect.url_encoded_list:
        query.append(("encoding-type", "url"))
    if prefix:
        query.append(("prefix", prefix))
    if cursor is not None:
        key, version_id = _read_cursor(cursor)
        query.append(("key-marker", key))
        if version_id is not None:
            query.append(("version-id-marker", version_id))
    return S3Request(operation="ListObjectVersions", method="GET", query=tuple(query))


def _read_cursor(cursor: str) -> tuple[str, str | None]:
    try:
        parts = json.loads(cursor)
    except (ValueError, RecursionError):
        parts = None
    if isinstance(parts, list) and len(parts) == _MARKER:  # pyright: ignore[reportUnknownArgumentType]
        key, version_id = parts  # pyright: ignore[reportUnknownVariableType]
        if isinstance(key, str) and (version_id is None or isinstance(version_id, str)):
            return key, version_id
    raise StorageInvalidRequestError("the cursor does not come from this listing of versions")


def _shown(entry: VersionEntry, label: str) -> StorageVersion:
    return StorageVersion(
        key=entry.key,
        version_id=entry.version_id,
        is_latest=entry.is_latest,
        is_delete_marker=entry.is_delete_marker,
        size=entry.size,
        last_modified=entry.last_modified,
        etag=entry.etag,
        storage_class=entry.storage_class,
        served_by=label,
    )


async def delete_versions(
    bucket: Bucket, versions: Sequence[tuple[str, str]], *, deadline: float | None
) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
    """Remove versions in one request; see `VersionedDriver.delete_versions`."""
    bucket.check_usable(deadline)
    _check_has_versions(bucket.dialect)
    most = bucket.dialect.capabilities.max_delete_batch
    if len(versions) > most:
        raise StorageInvalidRequestError(f"at most {most} versions are deleted at once, not {len(versions)}")
    if not versions:
        return {}
    reply = await bucket.call(delete_objects(versions), deadline=deadline)
    try:
        found = await parsed(parse_deleted_versions, reply.body)
    except StorageIntegrityError as error:
        error.applied = "maybe"
        raise
    return compare_deleted_versions(versions, found, bucket=bucket.name)


def compare_deleted_versions(
    versions: Sequence[tuple[str, str]], reply: DeletedVersionsReply, *, bucket: str
) -> dict[tuple[str, str], DeleteOutcome | StorageError]:
    """What became of each version, from a response that may be partial.

    Some servers leave the version out of an outcome: an error then counts for every version of the key that
    was not removed, and a success counts only if it can be about just one version.

    Args:
        versions: Keys and version ids, as requested.
        reply: As received.
        bucket: For the errors.

    Raises:
        StorageIntegrityError: The response is about a version that was not asked for.
    """
    asked = set(versions)
    ids: dict[str, list[str]] = {}
    for key, version_id in versions:
        ids.setdefault(key, []).append(version_id)
    gone: set[tuple[str, str]] = set()
    for each in reply.deleted:
        known = ids.get(each.key, [])
        if each.version_id is None and not each.is_marked and len(known) == 1:
            gone.add((each.key, known[0]))
        elif each.version_id is not None:
            gone.add((each.key, each.version_id))
        elif not known:
            raise _foreign(bucket)
    failed: dict[tuple[str, str | None], ErrorReply] = {
        (key, version_id): error for key, version_id, error in reply.failed
    }
    named = {(key, version_id) for key, version_id in failed if version_id is not None}
    if (gone | named) - asked or any(key not in ids for key, _ in failed):
        raise _foreign(bucket)
    return {
        (key, version_id): DeleteOutcome(existed=None)
        if (key, version_id) in gone and (key, version_id) not in named
        else _failure(key, failed.get((key, version_id)) or failed.get((key, None)), bucket)
        for key, version_id in versions
    }


def _foreign(bucket: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider reported on versions that were not asked for; list what is left",
        code=ErrorCode.FOREIGN_KEY,
        bucket=bucket,
        applied="maybe",
    )


def _failure(key: str, failed: ErrorReply | None, bucket: str) -> DeleteOutcome | StorageError:
    if failed is None:
        return StorageIntegrityError(
            "the provider did not say what became of this version",
            code=ErrorCode.NO_OUTCOME,
            key=key,
            bucket=bucket,
            applied="maybe",
            retryable=True,
        )
    meaning = meaning_of(200, failed.code, failed.message)
    if issubclass(meaning.error, StorageNotFoundError) and meaning.error is not StorageBucketNotFoundError:
        return DeleteOutcome(existed=False)
    error = build_error(meaning, failed, status=None)
    error.key, error.bucket = key, bucket
    error.applied = "maybe" if error.retryable else "no"
    return error


def _check_has_versions(dialect: S3Dialect) -> None:
    if not dialect.capabilities.versions:
        raise (LIST_VERSIONS if dialect.unversioned else FOREIGN_VERSIONS).of(dialect.name)
