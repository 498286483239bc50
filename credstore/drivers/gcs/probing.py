"""Whether a server that is not Google's keeps conditions, asked before anything depends on it.

Rules of this file: what a probe writes is empty, has a name of credstore's own, and is removed at once,
also where it is not clear whether it was written; a server that keeps conditions writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from secrets import token_hex

from credstore.driver.cleanup import ABORT_TIME, ended
from credstore.driver.internal import internal_key
from credstore.driver.refusals import check_condition, check_delete
from credstore.driver.values import Precondition
from credstore.drivers.gcs.bucket import Bucket, outcome
from credstore.drivers.gcs.capabilities import NAME
from credstore.drivers.gcs.requests import delete_object, empty, insert
from credstore.drivers.gcs.responses import parse_resource
from credstore.errors import StorageError, StoragePreconditionFailedError

_IMPOSSIBLE = str(2**62)
"""A generation that no object has, as they count microseconds."""


async def prove_condition(bucket: Bucket, precondition: Precondition, deadline: float | None) -> None:
    """Refuse the condition of a write that the server ignores.

    Cost: nothing at Google's own endpoints; else 1 request, 2 if it is ignored, once for each driver.

    Raises:
        StorageUnsupportedError: Conditions are ignored; nothing was sent of the write.
        StorageError: The server could not be asked; `applied` is "no".
    """
    check_condition(precondition, bucket.able, NAME)
    if precondition.mode != "overwrite" and not bucket.proved:
        await _ask(bucket, deadline)
        check_condition(precondition, bucket.able, NAME)


async def prove_delete(bucket: Bucket, if_match: str | None, deadline: float | None) -> None:
    """The same for the condition of a delete."""
    if if_match is not None and bucket.able.conditional_delete and not bucket.proved:
        await _ask(bucket, deadline)
        check_delete(if_match, None, bucket.able, NAME)


async def _ask(bucket: Bucket, deadline: float | None) -> None:
    """Write what must not be written: over a version of an absent object."""
    key = internal_key(f"probe-{token_hex(8)}")
    request = insert(
        key,
        empty(key),
        (("ifGenerationMatch", _IMPOSSIBLE),),
        boundary=token_hex(16),
        body=b"",
        size=0,
        replayable=True,
    )
    written = True
    try:
        reply = await bucket.call(request, deadline=deadline)
        await outcome(parse_resource, reply.body)  # A login page has not ignored a condition.
    except StoragePreconditionFailedError:
        written = False
        bucket.proved = True
        return
    except StorageError as error:
        written, error.applied = error.applied != "no", "no"  # Nothing was sent of what depends on it.
        raise
    finally:
        if written:
            await _removed(bucket, key)
    bucket.ignores_conditions()
    bucket.proved = True


async def _removed(bucket: Bucket, key: str) -> None:
    """Remove what was or may have been written, however the call ends, cancelled too."""
    request = delete_object(key, bucket.able, if_match=None, version_id=None)
    task = asyncio.ensure_future(bucket.call(request, deadline=time.monotonic() + ABORT_TIME))
    cancelled = await ended(task)
    if not task.cancelled():
        task.exception()  # What remains is empty and credstore's own, and no verb shows it.
    if cancelled is not None:
        raise cancelled
