"""Copy Blob, which the service may still be at when it responds: waited for, or aborted and removed.

Rules of this file: while the service is at it the destination is there but not whole, so nothing is reported
before it is done. If the deadline passes, the copy fails or the caller is cancelled, it is aborted within
`ABORT_TIME`, and what it made is removed while its write-id shows that it is ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from credstore.driver.cleanup import ABORT_TIME, ended
from credstore.driver.header_text import read_etag
from credstore.driver.unclear import Write
from credstore.driver.values import CopyRequest, PutResult, ReadOptions
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.encryption import read_encryption
from credstore.drivers.azure.requests import abort_copy, copy_blob, delete_blob, head_blob
from credstore.drivers.azure.responses import parse_info, version_of
from credstore.drivers.azure.settling import result_of, settle_write
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two looks at a copy that the service is at; each is twice as long as the one before."""
_sleep = asyncio.sleep


async def copy_by_service(
    container: Container, request: CopyRequest, headers: Mapping[str, str], url: str
) -> PutResult:
    """Let the service copy, and wait for it.

    Args:
        container: Of both objects.
        request: The copy.
        headers: Of the copy, with its condition.
        url: Of the source, without a signature.

    Raises:
        StorageTimeoutError: It was not done by the deadline, and was aborted.
        StorageError: Anything else, as for `Driver.copy`.
    """
    write = Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        deadline=request.deadline,
    )
    try:
        reply = await container.call(copy_blob(request, url, headers), deadline=request.deadline)
    except StorageError as error:
        await settle_write(container, write, error, asked=request.encryption, of_copy=True)
        found: Mapping[str, str] = {"x-ms-copy-status": "pending"}
    else:
        found = reply.headers
    try:
        while (status := found.get("x-ms-copy-status", "success").lower()) == "pending":
            found = await _looked(container, request)
        if status != "success":
            raise StorageUnavailableError("the service could not complete the copy", applied="maybe")
    except BaseException as error:
        await _give_up(container, request, error)
        raise
    return result_of(
        container,
        request.destination,
        size=request.source.size,
        digest=request.source.digest,
        etag=read_etag(found.get("etag")),
        version_id=version_of(found),
        encryption=read_encryption(found),
        request_id=found.get("x-ms-request-id"),
    )


async def _looked(
    container: Container, request: CopyRequest, pauses: float = _FIRST_PAUSE
) -> Mapping[str, str]:
    """What HEAD says once the copy is no longer pending."""
    pause = pauses
    while True:
        found = await _state(container, request, request.deadline)
        if found.get("x-ms-copy-status", "success").lower() != "pending":
            return found
        if request.deadline is not None and time.monotonic() + pause >= request.deadline:
            raise StorageTimeoutError("the service was still copying when the time was over", applied="maybe")
        await _sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _state(container: Container, request: CopyRequest, deadline: float | None) -> Mapping[str, str]:
    """The headers of the destination.

    Raises:
        StorageConflictError: It is another writer's.
    """
    wire = head_blob(request.destination, ReadOptions(), container.able)
    headers = (await container.call(wire, deadline=deadline)).headers
    info = parse_info(request.destination, headers, size=0, served_by="")
    if info.write_id != request.write_id:
        raise StorageConflictError(
            "another writer replaced the copy before it was complete",
            code=ErrorCode.CONCURRENT_WRITE,
            applied="maybe",
        )
    return headers


async def _give_up(container: Container, request: CopyRequest, error: BaseException) -> None:
    """Abort the copy and remove what it made, even if this task is being cancelled."""
    task = asyncio.ensure_future(_remove(container, request))
    cancelled = await ended(task)
    left = task.cancelled() or isinstance(task.exception(), StorageError)
    if left:
        (cancelled or error).add_note("the unfinished copy could not be removed; delete the destination")
    elif isinstance(error, StorageError) and request.precondition.mode == "create":
        error.applied = "no"
    if cancelled is not None:
        raise cancelled


async def _remove(container: Container, request: CopyRequest) -> None:
    deadline = time.monotonic() + ABORT_TIME
    try:
        found = await _state(container, request, deadline)
    except StorageConflictError:
        return
    copy_id = found.get("x-ms-copy-id")
    if copy_id is not None and found.get("x-ms-copy-status", "").lower() == "pending":
        await container.call(abort_copy(request.destination, copy_id), deadline=deadline)
        found = await _state(container, request, deadline)
    wire = delete_blob(
        request.destination, container.able, if_match=read_etag(found.get("etag")), version_id=None
    )
    await container.call(wire, deadline=deadline)
