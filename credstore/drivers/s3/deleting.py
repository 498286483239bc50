"""Delete one object or many: each key asked for has exactly one outcome (P10).

Rules of this file: a response is compared with the request, key by key; silence about a key does not count as
success, and a key that was not asked for makes the whole response untrustworthy (L07).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from credstore.driver.unclear import is_gone
from credstore.driver.values import DeleteOutcome, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.errors import meaning_of
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.requests import delete_object, delete_objects
from credstore.drivers.s3.responses import build_error, version_of
from credstore.drivers.s3.xml import DeleteReply, parse_deleted
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageBucketNotFoundError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)

_SUCCESSES = range(200, 300)
_GONE = DeleteOutcome(existed=None)


async def delete(
    bucket: Bucket, key: str, *, if_match: str | None, version_id: str | None, deadline: float | None
) -> DeleteOutcome:
    """Remove one object; see `Driver.delete`. S3 does not say whether there was one.

    Cost: 1 request; 1 more for a named version at an endpoint that is not the cloud's own.
    """
    request = delete_object(key, bucket.dialect, if_match=if_match, version_id=version_id)
    if version_id is not None and bucket.is_elsewhere:
        await _check_knows_versions(bucket, key, version_id, deadline)
    try:
        reply = await bucket.call(request, deadline=deadline)
    except StorageObjectNotFoundError as error:
        if if_match is not None and error.applied == "no":
            raise _absent(error) from None
        return DeleteOutcome(existed=None if error.applied == "maybe" else False)
    except StorageConflictError as error:
        # Only after an unclear attempt can that be about our own deletion; it is if the object is gone.
        if error.applied == "no" or version_id is not None:
            raise
        if not await is_gone(head(bucket, key, ReadOptions(deadline=deadline))):
            raise
        return DeleteOutcome(existed=None)
    if version_id is not None:
        return DeleteOutcome(existed=None, version_id=version_of(reply.headers))
    return DeleteOutcome(existed=None, version_id=_marker_of(reply.headers))


async def _check_knows_versions(bucket: Bucket, key: str, version_id: str, deadline: float | None) -> None:
    """Look at the version first: a server that ignores versions would remove what is there now.

    Raises:
        StorageNotFoundError: It gives another version; nothing was removed.
        StorageError: It could not be asked.
    """
    try:
        await head(bucket, key, ReadOptions(version_id=version_id, deadline=deadline))
    except StorageNotFoundError as error:
        if error.status_code in _SUCCESSES:
            raise
    except (StorageAccessDeniedError, StorageInvalidRequestError):
        return  # A delete marker, for one, cannot be looked at.
    except StorageUnsupportedError as error:
        if error.provider_code is None:
            raise  # A bare status may be of something in between.


def _marker_of(headers: Mapping[str, str]) -> str | None:
    """The delete marker that was put in place of a deletion; "null" where versioning is suspended.

    A version id alone proves nothing: some clouds without versions give one to everything.
    """
    if headers.get("x-amz-delete-marker", "").lower() != "true":
        return None
    return headers.get("x-amz-version-id") or "null"


def _absent(error: StorageError) -> StoragePreconditionFailedError:
    """S3 responds NoSuchKey, not 412, to If-Match on a key that is absent."""
    facts = error.facts()
    facts["code"] = StoragePreconditionFailedError.default_code
    return StoragePreconditionFailedError("there is no object to delete", **facts)


async def delete_many(
    bucket: Bucket, keys: Sequence[str], *, deadline: float | None
) -> Mapping[str, DeleteOutcome | StorageError]:
    """Remove up to a batch of keys in one request; see `Driver.delete_many`."""
    most = bucket.dialect.capabilities.max_delete_batch
    if len(keys) > most:
        raise StorageInvalidRequestError(f"at most {most} keys are deleted at once, not {len(keys)}")
    bucket.check_usable(deadline)
    outcomes: dict[str, DeleteOutcome | StorageError] = {}
    wanted: list[str] = []
    for key in keys:
        try:
            bucket.check_key(key)
        except StorageInvalidKeyError as error:
            outcomes[key] = error
        else:
            wanted.append(key)
    if not wanted:
        return outcomes
    reply = await bucket.call(delete_objects(wanted), deadline=deadline)
    try:
        found = await parsed(parse_deleted, reply.body)
    except StorageIntegrityError as error:
        error.applied = "maybe"
        raise
    return outcomes | compare_deleted(wanted, found, bucket=bucket.name)


def compare_deleted(
    keys: Sequence[str], reply: DeleteReply, *, bucket: str
) -> dict[str, DeleteOutcome | StorageError]:
    """What became of each key, from a response that may be partial.

    Args:
        keys: As requested.
        reply: As received.
        bucket: For the errors.

    Raises:
        StorageIntegrityError: The response is about a key that was not asked for.
    """
    wanted = set(keys)
    if not (wanted.issuperset(reply.deleted) and wanted.issuperset(reply.failed)):
        raise StorageIntegrityError(
            "the provider reported on keys that were not asked for; list what is left",
            code=ErrorCode.FOREIGN_KEY,
            bucket=bucket,
            applied="maybe",
        )
    return {key: _outcome(key, reply, bucket) for key in keys}


def _outcome(key: str, reply: DeleteReply, bucket: str) -> DeleteOutcome | StorageError:
    failed = reply.failed.get(key)
    if failed is not None and key not in reply.deleted:
        meaning = meaning_of(200, failed.code, failed.message)
        if (
            issubclass(meaning.error, StorageNotFoundError)
            and meaning.error is not StorageBucketNotFoundError
        ):
            return DeleteOutcome(existed=False)
        error = build_error(meaning, failed, status=None)
        error.key, error.bucket = key, bucket
        error.applied = "maybe" if error.retryable else "no"
        return error
    if failed is None and key in reply.deleted:
        version_id = reply.deleted[key]
        return _GONE if version_id is None else DeleteOutcome(existed=None, version_id=version_id)
    return StorageIntegrityError(
        "the provider did not say what became of this key",
        code=ErrorCode.NO_OUTCOME,
        key=key,
        bucket=bucket,
        applied="maybe",
        retryable=True,
    )
