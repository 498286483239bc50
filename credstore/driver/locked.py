"""Writes under retention or legal hold: why one was refused, and whether the lock was ignored.

Rules of this file: a cloud's own servers keep what they accept; any other one is looked at once after such a
write, since some ignore what they do not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from credstore.causes import raise_explained
from credstore.driver.cleanup import ended
from credstore.driver.retention import honours
from credstore.driver.values import PutResult
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageIntegrityError,
)
from credstore.model import Retention


async def made_under(
    asked: Retention,
    make: Awaitable[PutResult],
    *,
    explain: Callable[[StorageError], Awaitable[StorageError]],
    look: Callable[[PutResult], Awaitable[Retention]] | None,
    remove: Callable[[PutResult], Coroutine[object, object, object]],
) -> PutResult:
    """The result of a write that is to be under a lock.

    Args:
        asked: The lock.
        make: The write.
        explain: Says why it failed.
        look: Reads what keeps the object that was made; None where the server is known to keep locks.
        remove: Removes that object, unless another writer has replaced it.

    Raises:
        StorageIntegrityError: The lock was ignored (code "NOT_HONOURED", `applied` "yes"); the object has
            been removed if that was possible.
        StorageError: The write failed; or it could not be looked at, and `applied` is "yes".
    """
    try:
        result = await make
    except StorageError as error:
        raise_explained(await explain(error), error)
    if look is None:
        return result
    try:
        found = await look(result)
    except StorageAccessDeniedError:
        return result  # Who may write locks may not always read them.
    except StorageError as error:
        error.applied = "yes"
        error.message += " (the object was stored, but it could not be seen whether it is locked)"
        raise
    if not honours(found, asked):
        raise await _ignored(remove(result))
    return result


async def _ignored(removal: Coroutine[object, object, object]) -> StorageIntegrityError:
    task = asyncio.ensure_future(removal)
    cancelled = await ended(task)
    if cancelled is not None:
        raise cancelled
    left = task.cancelled() or task.exception() is not None
    clause = (
        "what was stored could not be removed, and may still be there" if left else "it was removed again"
    )
    return StorageIntegrityError(
        f"the provider ignored the retention or legal hold that was sent with the write; {clause}",
        code=ErrorCode.NOT_HONOURED,
        applied="yes",
    )
