"""Resumable uploads: sent in order, a chunk a request, each followed by what the service says it has.

Rules of this file: how much has arrived is what the service says, never what was sent. A chunk whose response
was lost is asked about; the service ignores bytes that it has already, so one that is sent again does no
harm. A final response that was lost is settled by the write-id. An upload that is given up is cancelled,
unless it can be continued.

Source: "Resumable uploads" and "Perform resumable uploads", cloud.google.com/storage/docs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from credstore.driver.cleanup import ABORT_TIME, ended
from credstore.driver.parts import Part
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo
from credstore.drivers.gcs.bucket import Bucket, outcome
from credstore.drivers.gcs.checksums import Checksum
from credstore.drivers.gcs.encryption import key_headers
from credstore.drivers.gcs.requests import GcsRequest, begin_upload, give_up, send_chunk
from credstore.drivers.gcs.resources import Query, Resource
from credstore.drivers.gcs.responses import (
    CANCELLED,
    INCOMPLETE,
    parse_resource,
    received,
    request_id_of,
    session_of,
)
from credstore.drivers.gcs.settling import settle_write
from credstore.encryption import ServerEncryption
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
)
from credstore.model import Progress
from credstore.wire.departing import Departure
from credstore.wire.exchange import Reply

MAX_RECOVERIES = 3
"""Number of times in a row that an upload is continued after a failure without any progress."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One resumable upload.

    Attributes:
        write: The write it is.
        target: Path and query of it, which let whoever has them finish it.
        total: Bytes of the object, where known.
        progress: Called with what has arrived.
        at: Bytes that have arrived for good.
        kept: Whether it stays when it is interrupted, to be continued.
        key: The customer-supplied one, for each chunk; anything else for none.
        departure: Counts what leaves.
    """

    write: Write
    target: str = field(repr=False)
    total: int | None
    progress: Progress | None
    at: int = 0
    kept: bool = False
    key: ServerEncryption | None = None
    departure: Departure = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.departure = Departure(self.progress, self.total)


@dataclass(frozen=True, slots=True)
class Made:
    """What an upload became: the object's properties, the id of its last request, what they prove."""

    resource: Resource
    request_id: str | None
    proved: bool = False


async def begin(
    bucket: Bucket,
    write: Write,
    said: Mapping[str, Any],
    query: Query,
    total: int | None,
    *,
    key: ServerEncryption | None,
) -> str:
    """Begin an upload.

    Args:
        bucket: Where to store it.
        write: The write it is.
        said: The object's properties.
        query: Its condition, and a key of Cloud KMS.
        total: Bytes of the object, where known.
        key: The customer-supplied one; anything else for none.

    Returns:
        Its path and query.

    Raises:
        StorageError: `applied` is "no", as an upload that was started shows nothing under the key.
    """
    try:
        request = begin_upload(write.key, said, query, total, key_headers(key))
        reply = await bucket.call(request, deadline=write.deadline)
        return session_of(reply.headers)
    except StorageError as error:
        error.applied = "no"
        raise


async def status(bucket: Bucket, session: Session) -> Resource | None:
    """Ask what has arrived, which sets `Session.at`; the object, where the upload has ended.

    Raises:
        StorageNotFoundError: There is no such upload any more (code "UPLOAD_NOT_FOUND").
    """
    request = send_chunk(session.write.key, session.target, None, start=0, total=session.total)
    reply = await bucket.call(request, deadline=session.write.deadline)
    if reply.status != INCOMPLETE:
        return await outcome(parse_resource, reply.body)
    session.at = _proved(reply, session.total)
    return None


def _proved(reply: Reply, most: int | None) -> int:
    """How much the service says that it has."""
    found = received(reply.headers)
    if found is None or (most is not None and found > most):
        raise StorageIntegrityError(
            "the provider's answer does not say how much of the upload has arrived",
            code=ErrorCode.NOT_S3,
            applied="no",
        )
    return found


async def send_all(
    bucket: Bucket, session: Session, parts: AsyncGenerator[Part, None], checksum: Checksum | None
) -> Made | ObjectInfo:
    """Send the parts of a body from `Session.at` on, and finish.

    Args:
        bucket: Where to store it.
        session: The upload; cancelled here when it fails, unless it is kept.
        parts: In whole multiples of 256 KiB, but for the last.
        checksum: Of all bytes, to compare; None where some were sent before.

    Returns:
        What it became, or what HEAD saw if only that showed that it was finished.

    Raises:
        StorageError: `applied` is "no" for anything before the last chunk.
        Exception: Whatever the body raised.
    """
    try:
        return await _send_all(bucket, session, parts, checksum)
    except BaseException as error:
        done = isinstance(error, StorageError) and error.applied == "yes"
        if not done and not (session.kept and can_go_on(error)):
            await _cancelled(bucket, session, error)
        raise


async def _send_all(
    bucket: Bucket, session: Session, parts: AsyncGenerator[Part, None], checksum: Checksum | None
) -> Made | ObjectInfo:
    held: Part | None = None
    start = session.at
    async with aclosing(parts):
        async for part in parts:
            if held is not None:
                await _before_the_end(bucket, session, held, start)
                start += held.size
            held = part
            if checksum is not None:
                for view in part.views:
                    await checksum.add(view)
    last = held or Part(0, ())
    session.total = start + last.size
    try:
        made = await _sent(bucket, session, last, start)
    except StorageError as error:
        if isinstance(error, StorageNotFoundError) and error.code == ErrorCode.UPLOAD_NOT_FOUND:
            error.applied = "maybe"  # It may have ended before, as far as anyone can tell.
        return await settle_write(bucket, session.write, error)
    if made is None:
        raise _endless()
    if checksum is not None:
        made = replace(made, proved=checksum.check(made.resource))
    if session.progress is not None:
        session.progress(session.total, session.total)
    return made


async def _before_the_end(bucket: Bucket, session: Session, part: Part, start: int) -> None:
    try:
        made = await _sent(bucket, session, part, start)
    except StorageError as error:
        error.applied = "no"  # An upload without its last chunk shows nothing under the key.
        raise
    if made is not None:
        raise StorageIntegrityError(
            "the provider ended the upload before its last bytes were sent; look at the object",
            code=ErrorCode.TRUNCATED,
            applied="maybe",
        )
    session.departure.settled(session.at)


async def _sent(bucket: Bucket, session: Session, part: Part, start: int) -> Made | None:
    """Send one chunk until all of it has arrived; what the upload became, if that was the end."""
    end = start + part.size
    last = session.total == end
    failures = 0
    while True:
        if not start <= session.at <= end:
            raise StorageIntegrityError(
                "the provider has lost bytes of the upload that it had before, or has more than were sent",
                code=ErrorCode.TRUNCATED,
                applied="no",
                retryable=True,
            )
        before = session.at
        if before == end and not last:
            return None
        try:
            reply = await bucket.call(_chunk(session, part, start), deadline=session.write.deadline)
        except StorageError as error:
            made = await _recovered(bucket, session, error)
            if made is not None:
                return Made(made, None)
        else:
            if reply.status != INCOMPLETE:
                return Made(await outcome(parse_resource, reply.body), request_id_of(reply.headers))
            session.at = _proved(reply, end)
        failures = 0 if session.at > before else failures + 1
        if failures > MAX_RECOVERIES:
            raise _endless()


def _chunk(session: Session, part: Part, start: int) -> GcsRequest:
    """The rest of a part from what has arrived."""
    skip = session.at - start
    session.departure.settled(session.at)
    body = session.departure.of(part.size - skip, lambda: _from(part, skip))
    return send_chunk(
        session.write.key,
        session.target,
        body,
        start=session.at,
        total=session.total,
        headers=key_headers(session.key),
    )


async def _from(part: Part, skip: int) -> AsyncGenerator[memoryview, None]:
    for view in part.views:
        if skip >= len(view):
            skip -= len(view)
        else:
            yield view[skip:]
            skip = 0


async def _recovered(bucket: Bucket, session: Session, error: StorageError) -> Resource | None:
    """Ask what has arrived after a failure that may pass; the object, where the upload has ended."""
    passing = error.retryable or error.applied == "maybe"
    if not passing or error.code == ErrorCode.UPLOAD_NOT_FOUND or not bucket.may_look():
        raise error
    try:
        made = await status(bucket, session)
    except StorageError as unseen:
        if unseen.code == ErrorCode.UPLOAD_NOT_FOUND:
            raise unseen from error
        raise error from unseen
    bucket.looked()
    return made


def _endless() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider takes nothing more of the upload, though it is not complete",
        code=ErrorCode.TRUNCATED,
        applied="no",
        retryable=True,
    )


def can_go_on(error: BaseException) -> bool:
    """Whether an upload that ended this way can be continued: interrupted, or failed for a passing reason."""
    return not isinstance(error, StorageError) or error.retryable


async def _cancelled(bucket: Bucket, session: Session, error: BaseException) -> None:
    """Cancel an upload even if this task is being cancelled; note on `error` if that failed."""
    request = give_up(session.write.key, session.target)
    task = asyncio.ensure_future(bucket.call(request, deadline=time.monotonic() + ABORT_TIME))
    cancelled = await ended(task)
    failure = asyncio.CancelledError() if task.cancelled() else task.exception()
    gone = getattr(failure, "code", None) == ErrorCode.UPLOAD_NOT_FOUND
    if failure is not None and not gone and getattr(failure, "status_code", None) != CANCELLED:
        (cancelled or error).add_note("the upload could not be cancelled; Google gives it up after a week")
    if cancelled is not None:
        raise cancelled
