"""What became of a write whose response was lost, negative or unclear: one HEAD finds out (P0, P6).

Rules of this file: a definite failure is explained in the words of what was asked; an unclear one,
and every conflict, is looked up by its write-id before anyone hears of it, so that no write is ever
reported as a conflict with itself (N02, N11, N12, N17). A conflict is looked into even if it answered
the only attempt: a network or proxy below us may deliver a request twice and lose the first answer (N14).
"""

from __future__ import annotations

from credstore.driver.settle import settle
from credstore.driver.values import ObjectInfo, Precondition, ReadOptions
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.ours import Write, check_seen
from credstore.drivers.s3.reading import head
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)


def explain(error: StorageError, precondition: Precondition) -> StorageError:
    """The same failure in terms of what was requested, keeping all facts."""
    if precondition.mode == "create" and isinstance(error, StoragePreconditionFailedError):
        return _exists(error)
    if precondition.mode == "replace" and isinstance(error, StorageObjectNotFoundError):
        # S3 responds NoSuchKey, not 412, to If-Match on a key that is absent.
        facts = error.facts()
        facts["code"] = StoragePreconditionFailedError.default_code
        return StoragePreconditionFailedError("there is no object to replace", **facts)
    return error


def _exists(error: StorageError) -> StorageAlreadyExistsError:
    facts = error.facts()
    facts["code"] = StorageAlreadyExistsError.default_code
    facts["retryable"] = False
    return StorageAlreadyExistsError("another write's object is there", **facts)


async def settle_write(
    bucket: Bucket, write: Write, error: StorageError, *, of_copy: bool = False
) -> ObjectInfo:
    """Turn a failed write into what is known to be true of it.

    Args:
        bucket: Where it was sent.
        write: What was sent.
        error: How it failed.
        of_copy: What it refuses may be about the source of a copy.

    Returns:
        The object, if the write happened after all.

    Raises:
        StorageAlreadyExistsError: Another write's object is there; `applied` is "maybe" after an unclear
            attempt, since ours may have been there before and been deleted or replaced.
        StorageIntegrityError: It happened, but not as requested; see `check_seen`.
        StorageError: The failure; `applied` is "maybe" if even a HEAD cannot tell.
    """
    definite = error.applied == "no"
    if definite and not _may_be_our_own(error):
        raise error if of_copy else explain(error, write.precondition)
    conflict = isinstance(error, (StorageConflictError, StorageNotFoundError))
    if not conflict and not bucket.may_look():
        raise error  # The provider is overloaded. A conflict may be with ourselves, so it is looked into.
    options = ReadOptions(customer_key=write.customer_key, deadline=write.deadline)
    seen: ObjectInfo | None
    try:
        seen = await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        seen = None
    except StorageError as unseen:
        raise (explain(error, write.precondition) if definite and not of_copy else error) from unseen
    if not conflict:
        bucket.looked()
    seen_id = seen.write_id if seen is not None else None
    outcome = settle(write.precondition.mode, write.write_id, seen_id, exists=seen is not None)
    if outcome == "yes" and seen is not None:
        await check_seen(bucket, write, seen)
        return seen
    if definite and of_copy and (seen is None or write.precondition.mode != "create"):
        raise error
    if outcome == "no" and not definite:
        # To know that it was never ours, one has to know that no one deletes or replaces this key (P0, P6).
        raise _exists(error)
    raise explain(error, write.precondition)


def _may_be_our_own(error: StorageError) -> bool:
    """Whether a definite refusal is also what the second delivery of a write that was applied gets."""
    return isinstance(error, StorageConflictError)
