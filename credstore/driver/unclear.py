"""What became of a write whose response was lost, negative or unclear: one HEAD finds out (P0, P6).

Rules of this file: a definite failure is explained in the words of what was asked; an unclear one, and every
conflict, is looked up by its write-id before anyone hears of it, so that no write is ever reported as a
conflict with itself (N02, N11, N12, N17). A conflict is looked into even if it answered the only attempt: a
network or proxy below us may deliver a request twice and lose the first answer (N14). What the write-id found
means is decided in `settle.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from credstore.driver.settle import settle
from credstore.driver.values import OVERWRITE, ObjectInfo, Precondition, PutResult
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What identifies one write at its key.

    Attributes:
        key: Where it goes.
        write_id: The write-id it carries.
        precondition: What it may replace.
        deadline: Instant of `time.monotonic()`, or None.
    """

    key: str
    write_id: str
    precondition: Precondition = OVERWRITE
    deadline: float | None = None


class Budget(Protocol):
    """Who says whether one more request is permitted, as an exchange does."""

    def may_look(self) -> bool:
        """Whether the retry budget permits one more request."""
        ...

    def looked(self) -> None:
        """It got a response: return what it took from the budget."""
        ...


Look = Callable[[str, float | None], Awaitable[ObjectInfo]]
"""`Driver.head` of a key by a deadline."""


def explain(error: StorageError, precondition: Precondition) -> StorageError:
    """The same failure in terms of what was requested, keeping all facts."""
    if precondition.mode == "create" and isinstance(error, StoragePreconditionFailedError):
        return _exists(error)
    if precondition.mode == "replace" and isinstance(
        error, (StorageObjectNotFoundError, StorageAlreadyExistsError)
    ):
        facts = error.facts()
        facts["code"] = StoragePreconditionFailedError.default_code
        return StoragePreconditionFailedError("there is no such version to replace", **facts)
    return error


def _exists(error: StorageError) -> StorageAlreadyExistsError:
    facts = error.facts()
    facts["code"] = StorageAlreadyExistsError.default_code
    facts["retryable"] = False
    return StorageAlreadyExistsError("another write's object is there", **facts)


async def settle_write(
    look: Look, budget: Budget, write: Write, error: StorageError, *, of_copy: bool = False
) -> ObjectInfo:
    """Turn a failed write into what is known to be true of it.

    Args:
        look: Sees what the key holds.
        budget: Permits that.
        write: What was sent.
        error: How it failed.
        of_copy: What it refuses may be about the source of a copy.

    Returns:
        The object, if the write happened after all.

    Raises:
        StorageAlreadyExistsError: Another write's object is there; `applied` is "maybe" after an unclear
            attempt, since ours may have been there before and been deleted or replaced.
        StorageError: The failure; `applied` is "maybe" if even a HEAD cannot tell.
    """
    definite = error.applied == "no"
    conflict = isinstance(error, (StorageConflictError, StorageNotFoundError))
    if definite and not isinstance(error, StorageConflictError):
        raise error if of_copy else explain(error, write.precondition)
    if not conflict and not budget.may_look():
        raise error  # The provider is overloaded. A conflict may be with ourselves, so it is looked into.
    seen: ObjectInfo | None
    try:
        seen = await look(write.key, write.deadline)
    except StorageObjectNotFoundError:
        seen = None
    except StorageError as unseen:
        raise (explain(error, write.precondition) if definite and not of_copy else error) from unseen
    if not conflict:
        budget.looked()
    seen_id = seen.write_id if seen is not None else None
    outcome = settle(write.precondition.mode, write.write_id, seen_id, exists=seen is not None)
    if outcome == "yes" and seen is not None:
        return seen
    if definite and of_copy and (seen is None or write.precondition.mode != "create"):
        raise error
    if outcome == "no" and not definite:
        # To know that it was never ours, one has to know that no one deletes or replaces this key (P0, P6).
        raise _exists(error)
    raise explain(error, write.precondition)


def result_of(
    label: str,
    info: ObjectInfo,
    *,
    size: int,
    digest: bytes | None,
    request_id: str | None = None,
) -> PutResult:
    """The result of a write that happened, from what the store says about its object.

    Raises:
        StorageIntegrityError: It has another size (code "TRUNCATED", `applied` "yes").
    """
    if info.size != size:
        raise StorageIntegrityError(
            f"the provider stored {info.size} of {size} bytes of this write; write it again",
            code=ErrorCode.TRUNCATED,
            applied="yes",
            retryable=True,
        )
    return PutResult(
        key=info.key,
        size=size,
        etag=info.etag,
        version_id=info.version_id,
        digest=digest,
        encryption=info.encryption,
        served_by=label,
        replicas=(label,),
        request_id=request_id,
    )


async def is_gone(look: Awaitable[ObjectInfo]) -> bool:
    """Whether an earlier, unclear attempt, or anyone else, has removed the object that a HEAD looks for."""
    try:
        await look
    except StorageObjectNotFoundError:
        return True
    except StorageError:
        return False
    return False
