"""Delete one object or many: each key asked for has exactly one outcome (P10).

Rules of this file: a response is compared with the request, one by one; silence about a key does not count as
success, and a response to what was not asked for makes all of them untrustworthy (L07).

Source: "Objects: delete" and "Batch requests" of the JSON API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import TypeVar

from credstore.driver.unclear import is_gone
from credstore.driver.values import DeleteOutcome, ReadOptions
from credstore.driver.version_pages import DELETED
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.errors import meaning_of
from credstore.drivers.gcs.probing import prove_delete
from credstore.drivers.gcs.reading import head
from credstore.drivers.gcs.requests import batch, delete_object
from credstore.drivers.gcs.responses import build_error, check_deleted, reason_of, without_token
from credstore.errors import (
    ErrorCode,
    StorageBucketNotFoundError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.wire.multipart import PartReply, PartRequest, closing, format_part, parse_parts
from credstore.wire.urls import encode_query

K = TypeVar("K")


async def delete(
    bucket: Bucket, key: str, *, if_match: str | None, version_id: str | None, deadline: float | None
) -> DeleteOutcome:
    """Remove one object; see `Driver.delete`. Google says whether there was one."""
    request = delete_object(key, bucket.able, if_match=if_match, version_id=version_id)
    await prove_delete(bucket, if_match, deadline)
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
    check_deleted(reply.status, reply.headers, reply.body, emulated=bucket.emulated)
    return _removed(bucket, version_id)


def _removed(bucket: Bucket, version_id: str | None) -> DeleteOutcome:
    """An object that is gone, or hidden where the bucket is known to keep versions."""
    hidden = bucket.shows_versions and version_id is None
    return DeleteOutcome(existed=True, version_id=DELETED if hidden else None)


def _absent(error: StorageError) -> StoragePreconditionFailedError:
    facts = error.facts()
    facts["code"] = StoragePreconditionFailedError.default_code
    return StoragePreconditionFailedError("there is no object to delete", **facts)


async def delete_many(
    bucket: Bucket, keys: Sequence[str], *, deadline: float | None
) -> Mapping[str, DeleteOutcome | StorageError]:
    """Remove up to a batch of keys in one request; see `Driver.delete_many`."""
    bucket.check_usable(deadline)
    outcomes: dict[str, DeleteOutcome | StorageError] = {}
    wanted: dict[str, tuple[str, str | None]] = {}
    for key in keys:
        try:
            bucket.check_key(key)
        except StorageInvalidKeyError as error:
            outcomes[key] = error
        else:
            wanted[key] = key, None
    return outcomes | await delete_each(bucket, wanted, deadline)


async def delete_each(
    bucket: Bucket, wanted: Mapping[K, tuple[str, str | None]], deadline: float | None
) -> dict[K, DeleteOutcome | StorageError]:
    """What became of each key, or version of one, by whatever names it.

    Those that are refused for an expired token are sent once more with a newer one: each part of a batch is
    answered for itself, as Google's own clients expect it.

    Raises:
        StorageIntegrityError: The response is about something that was not asked for.
        StorageError: The whole request failed.
    """
    names: list[K] = list(wanted)
    if len(names) > bucket.able.max_delete_batch:
        raise StorageInvalidRequestError(
            f"at most {bucket.able.max_delete_batch} keys are deleted at once, not {len(names)}"
        )
    if not names:
        return {}
    outcomes = await _once(bucket, names, wanted, deadline)
    expired = [name for name, each in outcomes.items() if _is_expired(each)]
    if not expired:
        return outcomes
    try:
        await bucket.renew(batch(b"", ""), deadline)
    except StorageError:
        return outcomes
    return outcomes | await _once(bucket, expired, wanted, deadline)


def _is_expired(found: DeleteOutcome | StorageError) -> bool:
    return isinstance(found, StorageError) and found.code == ErrorCode.CREDENTIALS_EXPIRED


async def _once(
    bucket: Bucket, names: Sequence[K], wanted: Mapping[K, tuple[str, str | None]], deadline: float | None
) -> dict[K, DeleteOutcome | StorageError]:
    boundary = f"batch_{token_hex(16)}"
    parts = [_part(bucket, number, *wanted[name], boundary) for number, name in enumerate(names)]
    request = batch(b"".join([*parts, closing(boundary)]), boundary)
    reply = await bucket.call(request, deadline=deadline)
    # Emulators respond in order and without Content-ID, as Google's own clients expect it.
    found = parse_parts(reply.headers.get("content-type", ""), reply.body, ordered=len(names))
    if not found.keys() <= set(range(len(names))):
        raise StorageIntegrityError(
            "the provider reported on keys that were not asked for; list what is left",
            code=ErrorCode.FOREIGN_KEY,
            bucket=bucket.name,
            applied="maybe",
        )
    return {
        name: _outcome(bucket, wanted[name], found.get(number), unclear=reply.unclear)
        for number, name in enumerate(names)
    }


def _part(bucket: Bucket, number: int, key: str, version_id: str | None, boundary: str) -> bytes:
    request = delete_object(key, bucket.able, if_match=None, version_id=version_id)
    query = encode_query(request.query)
    target = bucket.path_of(key) + (f"?{query}" if query else "")
    return format_part(f"<credstore+{number}>", PartRequest("DELETE", target, bucket.paying), boundary)


def _outcome(
    bucket: Bucket, asked: tuple[str, str | None], reply: PartReply | None, *, unclear: bool
) -> DeleteOutcome | StorageError:
    key, version_id = asked
    if reply is None:
        return StorageIntegrityError(
            "the provider did not say what became of this key",
            code=ErrorCode.NO_OUTCOME,
            key=key,
            bucket=bucket.name,
            applied="maybe",
            retryable=True,
        )
    if 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's class of success
        return _removed(bucket, version_id)
    reason, text = reason_of(reply.body)
    anonymous = bucket.config.is_anonymous
    meaning = without_token(meaning_of(reply.status, reason, text), anonymous=anonymous)
    absent = issubclass(meaning.error, StorageNotFoundError)
    if absent and meaning.error is not StorageBucketNotFoundError:
        # An earlier attempt of the whole batch may have removed it.
        return DeleteOutcome(existed=None if unclear else False)
    error = build_error(meaning, reason, reply.headers, reply.status)
    error.key, error.bucket = key, bucket.name
    error.applied = "maybe" if error.retryable or unclear else "no"
    return error
