"""Objects in parts: cut, sent a few at a time, completed or aborted.

Rules of this file: at most `max_concurrency` parts are in memory; parts are equal but for the last
(R2 demands it); whatever ends an upload before its completion, also a cancel, aborts it within
`ABORT_TIME`, and an upload that could not be aborted is told and found by `list_uploads` (P16).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from credstore.config.stores import MIB
from credstore.driver.values import ObjectInfo, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.dialect import MAX_PARTS
from credstore.drivers.s3.headers import kind_of, opaque_tag, read_encryption
from credstore.drivers.s3.ours import (
    ABORT_TIME,
    Confirmation,
    Write,
    check_answer,
    check_seen,
    ended,
    look_up,
    not_encrypted,
)
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.responses import version_of
from credstore.drivers.s3.settling import settle_write
from credstore.drivers.s3.uploads import abort_upload, complete_upload, create_upload
from credstore.drivers.s3.xml import parse_completed, parse_upload_id
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
)
from credstore.hashing import LOOP_BUDGET, Hash
from credstore.wire.exchange import Reply

P = TypeVar("P")
FEW = 64 * 1024
"""Bytes of a chunk that are copied to others rather than sent by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One object to send in parts.

    Attributes:
        write: The write it is.
        headers: Describe the object; sent when the upload begins.
        completion: Headers of its completion.
        concurrency: Parts in flight.
        confirmation: What its answers say of its encryption; whoever sends a part gives it the part's.
    """

    write: Write
    headers: Mapping[str, str] = field(repr=False)
    completion: Mapping[str, str] = field(repr=False)
    concurrency: int
    confirmation: Confirmation


@dataclass(frozen=True, slots=True)
class Resume:
    """An upload that is not aborted when it is cut off.

    Attributes:
        upload_id: Of the one to go on with, or None to begin one.
        begun: Called with the id of a new one before its first part.
    """

    upload_id: str | None
    begun: Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Completed:
    """An upload that became an object.

    Attributes:
        etag: Without quotes, or None where not even HEAD tells.
        version_id: Where versions are kept.
        encryption: "AES256", "aws:kms", "SSE-C" or None, as confirmed.
        request_id: The provider's id of the completion.
    """

    etag: str | None
    version_id: str | None
    encryption: str | None
    request_id: str | None


def plan_part_size(length: int | None, part_size: int, largest: int) -> int:
    """Bytes of each part but the last: as configured, or more so that 10,000 parts suffice.

    Args:
        length: Of the whole body, or None; then 10,000 parts of the configured size are the most.
        part_size: As configured.
        largest: The cloud's largest part.

    Raises:
        StorageInvalidRequestError: Too long for 10,000 parts of the largest size.
    """
    if length is None or length <= part_size * MAX_PARTS:
        return min(part_size, largest)
    needed = -(-length // (MAX_PARTS * MIB)) * MIB
    if needed > largest:
        if length > largest * MAX_PARTS:
            raise StorageInvalidRequestError(
                f"the body has {length} bytes, more than {MAX_PARTS} parts of {largest}",
                code=ErrorCode.TOO_LARGE,
            )
        return largest
    return needed


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes to send, as views of the chunks they came in: nothing is copied.

    Attributes:
        size: Of all views.
        views: In order.
    """

    size: int
    views: Sequence[memoryview]

    async def open(self) -> AsyncGenerator[memoryview, None]:
        """The views."""
        for view in self.views:
            yield view

    async def hashed(self, digest: Hash) -> bytes:
        """The digest of the bytes, made off the loop where they are many."""
        if self.size > LOOP_BUDGET:
            await asyncio.to_thread(self._hash_into, digest)
        else:
            self._hash_into(digest)
        return digest.digest()

    def _hash_into(self, digest: Hash) -> None:
        for view in self.views:
            digest.update(view)


async def cut(chunks: AsyncGenerator[bytes, None], size: int) -> AsyncGenerator[Part, None]:
    """The same bytes in parts of exactly `size`, the last one shorter; none for no bytes."""
    held: list[bytearray | memoryview] = []
    have = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                taken = rest[: size - have]
                rest = rest[len(taken) :]
                if len(taken) >= FEW:
                    held.append(taken)
                elif held and isinstance(last := held[-1], bytearray) and len(last) < FEW:
                    last += taken  # A view of each line of a text would take more memory than the text.
                else:
                    held.append(bytearray(taken))
                have += len(taken)
                if have == size:
                    yield Part(size, [memoryview(views) for views in held])
                    held, have = [], 0
        if have:
            yield Part(have, [memoryview(views) for views in held])


async def upload_parts(
    bucket: Bucket,
    upload: Upload,
    parts: AsyncGenerator[P, None],
    send: Callable[[str, int, P], Awaitable[str]],
    *,
    verify: Callable[[list[str]], Awaitable[None]] | None = None,
    resume: Resume | None = None,
) -> Completed | ObjectInfo:
    """Make one object of parts.

    Args:
        bucket: Where to.
        upload: What object.
        parts: Taken one by one, never more than `concurrency` ahead.
        send: Sends one part by (upload id, number from 1, part) and returns its etag.
        verify: Called with the etags of all parts; raises to give the upload up.
        resume: Of an upload that can be continued.

    Returns:
        The completed upload, or what HEAD saw where only that told that it was completed.

    Raises:
        StorageIntegrityError: Encryption that was asked for was not confirmed (code "NOT_ENCRYPTED").
        StorageError: Anything else; `applied` is "no" for anything before the completion.
    """
    write = upload.write
    upload_id = None if resume is None else resume.upload_id
    told: Mapping[str, str] | None = None
    try:
        if upload_id is None:
            upload_id, told = await _begin(bucket, upload)
    except StorageError as error:
        error.applied = "no"  # An upload that was begun shows nothing under the key.
        raise
    try:
        try:
            if told is not None:
                upload.confirmation.begin(told)
            if resume is not None and resume.upload_id is None:
                await resume.begun(upload_id)
            etags = await _send_all(parts, send, upload_id, upload.concurrency)
            if verify is not None:
                await verify(etags)
        except StorageError as error:
            error.applied = "no"
            raise
        return await _complete(bucket, upload, upload_id, etags)
    except BaseException as error:
        ended_well = isinstance(error, StorageError) and error.applied == "yes"
        if not ended_well and (resume is None or not can_go_on(error)):
            await _abort(bucket, write.key, upload_id, error)
        raise


def can_go_on(error: BaseException) -> bool:
    """Whether an upload that ended so can be continued: cut off, or failed for a reason that passes."""
    if not isinstance(error, StorageError):
        return True
    return error.retryable and error.code not in {ErrorCode.CONCURRENT_WRITE, ErrorCode.UPLOAD_NOT_FOUND}


async def _begin(bucket: Bucket, upload: Upload) -> tuple[str, Mapping[str, str]]:
    """The id of a new upload and the headers of the answer.

    A cancel meanwhile waits for it, so that the upload is aborted (P16).
    """
    write = upload.write

    async def begin() -> tuple[str, Mapping[str, str]]:
        reply = await bucket.call(create_upload(write.key, upload.headers), deadline=write.deadline)
        return await parsed(parse_upload_id, reply.body), reply.headers

    task = asyncio.ensure_future(begin())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        await ended(task)
        if not task.cancelled() and task.exception() is None:
            await _abort(bucket, write.key, task.result()[0], cancelled)
        raise


async def _send_all(
    parts: AsyncGenerator[P, None],
    send: Callable[[str, int, P], Awaitable[str]],
    upload_id: str,
    concurrency: int,
) -> list[str]:
    slots = asyncio.Semaphore(concurrency)
    tasks: list[asyncio.Task[str]] = []

    async def run(number: int, part: P) -> str:
        try:
            return await send(upload_id, number, part)
        finally:
            slots.release()

    try:
        async with aclosing(parts), asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()  # Before a part is read, so that no more are in memory.
                try:
                    part = await anext(parts)
                except StopAsyncIteration:
                    break
                number = len(tasks) + 1
                if number > MAX_PARTS:
                    raise StorageInvalidRequestError(
                        f"the body has more than {MAX_PARTS} parts; give its length or raise part_size",
                        code=ErrorCode.TOO_LARGE,
                    )
                tasks.append(group.create_task(run(number, part)))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _complete(
    bucket: Bucket, upload: Upload, upload_id: str, etags: list[str]
) -> Completed | ObjectInfo:
    write = upload.write
    try:
        reply = await bucket.call(
            complete_upload(write.key, upload_id, etags, upload.completion), deadline=write.deadline
        )
    except StorageError as error:
        return await settle_write(bucket, write, error)
    try:
        etag = await parsed(parse_completed, reply.body)
    except StorageIntegrityError as error:
        error.applied = "maybe"
        return await settle_write(bucket, write, error)
    version_id, told = version_of(reply.headers), read_encryption(reply.headers)[0]
    asked = write.encryption
    seen: ObjectInfo | None = None
    if told is not None or asked is None:
        await check_answer(bucket, write, reply.headers)
    elif upload.confirmation.parts == len(etags):
        told = kind_of(asked)  # S3's own completion is silent of SSE-C.
    else:
        seen = await _confirmed(bucket, write)
    if etag is None and seen is None:
        seen = await look_up(bucket, write)
    if seen is not None:
        etag, version_id, told = etag or seen.etag, version_id or seen.version_id, told or seen.encryption
    return Completed(etag, version_id, told, reply.headers.get("x-amz-request-id"))


async def _confirmed(bucket: Bucket, write: Write) -> ObjectInfo | None:
    """What HEAD tells of an object whose encryption no answer has confirmed to the end; None if replaced.

    Raises:
        StorageIntegrityError: It does not confirm it either, or cannot be asked (code "NOT_ENCRYPTED").
    """
    options = ReadOptions(customer_key=write.customer_key, deadline=write.deadline)
    try:
        found = await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        return None
    except StorageError as error:
        why = "the provider did not confirm the encryption to the end and could not be asked"
        raise not_encrypted(why, "yes", "the object is there") from error
    if found.write_id != write.write_id:
        return None
    await check_seen(bucket, write, found)
    return found


def part_etag(reply: Reply, etag: str | None) -> str:
    """The entity tag of a part as the upload is completed with it: of a weak one what is in its quotes.

    Raises:
        StorageIntegrityError: The answer has none.
    """
    if etag is None:
        raise StorageIntegrityError(
            "the provider took a part without giving its etag",
            code=ErrorCode.NO_ETAG,
            status_code=reply.status,
        )
    return opaque_tag(etag)


async def _abort(bucket: Bucket, key: str, upload_id: str, error: BaseException) -> None:
    """Abort the upload even if this task is being cancelled; note on `error` if that failed."""
    deadline = time.monotonic() + ABORT_TIME
    task = asyncio.ensure_future(bucket.call(abort_upload(key, upload_id), deadline=deadline))
    cancelled = await ended(task)
    failure = asyncio.CancelledError() if task.cancelled() else task.exception()
    if failure is not None and getattr(failure, "code", None) != ErrorCode.UPLOAD_NOT_FOUND:
        (cancelled or error).add_note(
            "the multipart upload could not be aborted; list_uploads() finds it, abort_upload() ends it"
        )
    if cancelled is not None:
        raise cancelled
