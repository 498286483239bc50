"""Deleting many objects: each key that was given has exactly one outcome (P10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from credstore.concurrency import map_all
from credstore.driver.values import DeleteOutcome
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
)
from credstore.model import BatchDeleteResult
from credstore.provider.call import Call, unforeseen
from credstore.provider.retaining import explained
from credstore.provider.session import Session
from credstore.provider.validation import check_key

Erase = Callable[[Session, Sequence[str]], Awaitable[Mapping[str, StorageError]]]
"""Removes every version of keys, and returns the errors."""
BATCHES = 4
"""Batch-delete requests in flight."""


async def delete_keys(
    session: Session, keys: Iterable[str], call: Call, *, erase: Erase | None = None
) -> BatchDeleteResult:
    """Delete any number of keys; each distinct input key has exactly one outcome (P10).

    Args:
        session: Of the store.
        keys: In any number; repeats count once.
        call: That they were given to.
        erase: What removes every version of keys and gives the errors; None to delete as the store does.

    Raises:
        StorageInvalidRequestError: `keys` is something other than a list of keys.
        StorageInvalidKeyError: A key is not text at all.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidRequestError(
            f"batch_delete takes a list of keys, not a single {type(keys).__name__}"
        )
    failed: dict[str, Exception] = {}
    wanted: list[str] = []
    with call.outside():
        distinct = _distinct(keys)
    longest = session.capabilities.max_key_size
    for key in distinct:
        try:
            check_key(key, longest)
        except StorageError as error:
            failed[key] = error.at(provider=session.name, operation="batch_delete", key=error.key)
        else:
            wanted.append(key)
    if erase is not None:
        errors = await erase(session, wanted)
    else:
        outcomes = await delete_outcomes(session, wanted)
        errors = {key: each for key, each in outcomes.items() if isinstance(each, StorageError)}
        errors |= await _explained(session, errors)
    for key in wanted if errors else ():
        if key in errors:
            failed[key] = errors[key].at(provider=session.name, operation="batch_delete", key=key)
    deleted = tuple([key for key in wanted if key not in failed] if failed else wanted)
    return BatchDeleteResult(deleted=deleted, failed=failed)


async def _explained(session: Session, errors: Mapping[str, StorageError]) -> dict[str, StorageError]:
    """Why a lock forbids the deletion of keys, where the store has not said until when."""
    locked = [key for key, error in errors.items() if error.code == ErrorCode.LOCKED]

    async def one(key: str) -> StorageError:
        return await explained(session, errors[key], key)

    return dict(zip(locked, await map_all(locked, one, at_once=BATCHES), strict=True))


async def delete_outcomes(session: Session, keys: Sequence[str]) -> dict[str, DeleteOutcome | StorageError]:
    """What became of each key; nothing is raised.

    Args:
        session: Of the store.
        keys: Checked and distinct, in any number.
    """
    size = session.capabilities.max_delete_batch
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]

    async def run(batch: Sequence[str]) -> Mapping[str, DeleteOutcome | StorageError]:
        try:
            return await session.driver.delete_many(batch, deadline=session.deadline())
        except StorageError as error:
            return {key: for_key(error, key) for key in batch}
        except Exception as error:  # noqa: BLE001 - the outcomes of the other requests count
            failure = unforeseen(error, mutation=True)
            failure.__cause__ = error
            return {key: for_key(failure, key) for key in batch}

    told = await map_all(batches, run, at_once=BATCHES)
    outcomes: dict[str, DeleteOutcome | StorageError] = {}
    for each in told:
        outcomes.update(each)
    return {key: outcomes[key] if key in outcomes else _unknown(key) for key in keys}


def _distinct(keys: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for key in keys:
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise StorageInvalidKeyError(f"a key is text (str), not {type(key).__name__}")
        found[key] = None
    return list(found)


def for_key(error: StorageError, key: str) -> StorageError:
    """A copy of the error for one of the keys it is about."""
    facts = error.facts()
    facts["key"] = key
    own = type(error)(error.message, **facts)
    own.__cause__ = error
    return own


def _unknown(key: str) -> StorageError:
    return StorageIntegrityError(
        "the provider did not say what became of this key",
        code=ErrorCode.NO_OUTCOME,
        key=key,
        applied="maybe",
        retryable=True,
    )
