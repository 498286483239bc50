"""Objects in parts: cut, sent a few at a time, completed or aborted.

Rules of this file: at most `max_concurrency` parts are in memory; all parts but the last have equal size (R2
demands it); whatever ends an upload before its completion, even a cancel, aborts it within `ABORT_TIME`, and
an upload that could not be aborted is reported and found by `list_uploads` (P16). Once its completion was
sent, it is aborted only where it is known that it has not been completed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeVar

from credstore.concurrency import map_all
from credstore.config.settings import MIB
from credstore.driver.cleanup import ABORT_TIME, ended
from credstore.driver.values import ObjectInfo, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.composite import Composite
from credstore.drivers.s3.dialect import MAX_PARTS
from credstore.drivers.s3.headers import kind_of, read_encryption
from credstore.drivers.s3.ours import (
    Confirmation,
    Write,
    check_answer,
    check_seen,
    look_up,
    not_encrypted,
)
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.responses import version_of
from credstore.drivers.s3.settling import settle_write
from credstore.drivers.s3.uploads import (
    NO_DIGESTS,
    abort_upload,
    complete_upload,
    create_upload,
    list_parts,
)
from credstore.drivers.s3.xml import parse_completed, parse_parts, parse_upload_id
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageBucketNotFoundError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)

P = TypeVar("P")
_REFUSED = (StorageAlreadyExistsError, StoragePreconditionFailedError)
"""What a conditional completion ends with that another write's object keeps from happening."""
_COMPLETING = (
    "the multipart upload may still be completing, so it was not aborted; if the object does not appear, "
    "list_uploads() finds the upload and abort_upload() ends it"
)
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One object to send in parts.

    Attributes:
        write: The write it is.
        headers: Describe the object; sent when the upload starts.
        completion: Headers of its completion.
        concurrency: Number of parts in flight.
        confirmation: What its responses say about its encryption; whoever sends a part passes it the part's.
        composite: Knows the digests of the parts, where the upload was started with that checksum.
    """

    write: Write
    headers: Mapping[str, str] = field(repr=False)
    completion: Mapping[str, str] = field(repr=False)
    concurrency: int
    confirmation: Confirmation
    composite: Composite | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """An upload that is not aborted when it is interrupted.

    Attributes:
        upload_id: Of the one to continue, or None to start one.
        started: Called with the id of a new one before its first part.
    """

    upload_id: str | None
    started: Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Completed:
    """An upload that became an object.

    Attributes:
        etag: Without quotes, or None if not even HEAD reports it.
        version_id: Where versions are kept.
        encryption: "AES256", "aws:kms", "SSE-C" or None, as confirmed.
        request_id: The provider's id of the completion.
        proved: Whether the provider has said that it keeps exactly the parts that were sent.
    """

    etag: str | None
    version_id: str | None
    encryption: str | None
    request_id: str | None
    proved: bool = False


def plan_part_size(length: int | None, part_size: int, largest: int) -> int:
    """Bytes of each part but the last: as configured, or more so that 10,000 parts suffice.

    Args:
        length: Of the whole body, or None; then at most 10,000 parts of the configured size are possible.
        part_size: As configured.
        largest: The cloud's largest part.

    Raises:
        StorageInvalidRequestError: The body is too long for 10,000 parts of the largest size.
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


async def upload_parts(
    bucket: Bucket,
    upload: Upload,
    parts: AsyncGenerator[P, None],
    send: Callable[[str, int, P], Awaitable[str]],
    *,
    verify: Callable[[list[str]], Awaitable[None]] | None = None,
    resume: Resume | None = None,
) -> Completed | ObjectInfo:
    """Make one object from parts.

    Args:
        bucket: Where to store it.
        upload: Which object.
        parts: Taken one by one, never more than `concurrency` ahead.
        send: Sends one part by (upload id, number from 1, part) and returns its etag.
        verify: Called with the etags of all parts; raises to abandon the upload.
        resume: Of an upload that can be continued.

    Returns:
        The completed upload, or what HEAD saw if only that showed that it was completed.

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
        error.applied = "no"  # An upload that was started shows nothing under the key.
        raise
    try:
        try:
            if told is not None:
                upload.confirmation.begin(told)
            if resume is not None and resume.upload_id is None:
                await resume.started(upload_id)
            etags = await _send_all(parts, send, upload_id, upload.concurrency)
            if verify is not None:
                await verify(etags)
        except StorageError as error:
            error.applied = "no"
            raise
    except BaseException as error:
        if resume is None or not can_go_on(error):
            await _abort(bucket, write.key, upload_id, error)
        raise
    try:
        return await _complete(bucket, upload, upload_id, etags)
    except StorageError as error:
        if error.applied == "maybe" and not isinstance(error, _REFUSED):
            if error.code != ErrorCode.UPLOAD_NOT_FOUND:
                error.add_note(_COMPLETING)
        elif error.applied != "yes" and (resume is None or not can_go_on(error)):
            await _abort(bucket, write.key, upload_id, error)
        raise
    except BaseException as error:
        if resume is None or not can_go_on(error):
            await _abort(bucket, write.key, upload_id, error, unless=write)
        raise


def can_go_on(error: BaseException) -> bool:
    """Whether an upload that ended this way can be continued: interrupted, or failed for a passing reason."""
    if not isinstance(error, StorageError):
        return True
    return error.retryable and error.code != ErrorCode.CONCURRENT_WRITE  # After that it cannot be completed.


async def _begin(bucket: Bucket, upload: Upload) -> tuple[str, Mapping[str, str]]:
    """The id of a new upload and the headers of the response.

    A cancel during the request waits for it, so that the upload is aborted (P16).
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
    async def run(numbered: tuple[int, P]) -> str:
        return await send(upload_id, *numbered)

    return await map_all(_numbered(parts), run, at_once=concurrency)


async def _numbered(parts: AsyncGenerator[P, None]) -> AsyncGenerator[tuple[int, P], None]:
    number = 0
    async with aclosing(parts):
        async for part in parts:
            number += 1
            if number > MAX_PARTS:
                raise StorageInvalidRequestError(
                    f"the body has more than {MAX_PARTS} parts; pass its length or raise part_size",
                    code=ErrorCode.TOO_LARGE,
                )
            yield number, part


async def _complete(
    bucket: Bucket, upload: Upload, upload_id: str, etags: list[str]
) -> Completed | ObjectInfo:
    write, composite = upload.write, upload.composite
    digests = NO_DIGESTS if composite is None else composite.digests
    wire = complete_upload(write.key, upload_id, etags, upload.completion, digests)
    try:
        reply = await bucket.call(wire, deadline=write.deadline)
    except StorageError as error:
        if error.status_code == _NOT_FOUND and not isinstance(error, StorageBucketNotFoundError):
            # So ends the second delivery of a completion whose first one was applied.
            error.applied = "maybe"
        return await settle_write(bucket, write, error)
    try:
        etag, checksum = await parsed(parse_completed, reply.body)
    except StorageIntegrityError as error:
        error.applied = "maybe"
        return await settle_write(bucket, write, error)
    proved = composite is not None and composite.proves(checksum)
    version_id, told = version_of(reply.headers), read_encryption(reply.headers)[0]
    asked = write.encryption
    seen: ObjectInfo | None = None
    if told is not None or asked is None:
        await check_answer(bucket, write, reply.headers)
    elif upload.confirmation.parts == len(etags):
        told = kind_of(asked)  # S3's own completion says nothing about SSE-C.
    else:
        seen = await _confirmed(bucket, write)
    if etag is None and seen is None:
        seen = await look_up(bucket, write)
    if seen is not None:
        etag, version_id, told = etag or seen.etag, version_id or seen.version_id, told or seen.encryption
    return Completed(etag, version_id, told, reply.headers.get("x-amz-request-id"), proved)


async def _confirmed(bucket: Bucket, write: Write) -> ObjectInfo | None:
    """What HEAD says about an object whose encryption is not fully confirmed yet; None if replaced.

    Raises:
        StorageIntegrityError: It is not confirmed there either, or HEAD failed (code "NOT_ENCRYPTED").
    """
    options = ReadOptions(customer_key=write.customer_key, deadline=write.deadline)
    try:
        found = await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        return None
    except StorageError as error:
        why = "the provider did not fully confirm the encryption and could not be asked"
        raise not_encrypted(why, "yes", "the object is there") from error
    if found.write_id != write.write_id:
        return None
    await check_seen(bucket, write, found)
    return found


async def listed_etag(bucket: Bucket, write: Write, upload_id: str, number: int, size: int) -> str:
    """The entity tag of a part whose response did not have it, taken from the listing of parts.

    Args:
        bucket: Where the upload is.
        write: What it is of.
        upload_id: Of the upload.
        number: Of the part, from 1.
        size: Bytes that the part must have.

    Raises:
        StorageIntegrityError: It is not listed either (code "NO_ETAG").
    """
    try:
        reply = await bucket.call(list_parts(write.key, upload_id, number - 1), deadline=write.deadline)
        page = await parsed(parse_parts, reply.body)
    except StorageError as error:
        raise _without_etag() from error
    for part in page.parts:
        if (part.number, part.size) == (number, size) and part.etag:
            return part.etag
    raise _without_etag()


def _without_etag() -> StorageIntegrityError:
    return StorageIntegrityError("the provider took a part without giving its etag", code=ErrorCode.NO_ETAG)


async def _abort(
    bucket: Bucket, key: str, upload_id: str, error: BaseException, *, unless: Write | None = None
) -> None:
    """Abort the upload even if this task is being cancelled; note on `error` if that failed.

    Args:
        bucket: Where it is.
        key: Of the object that it was to become.
        upload_id: Which one.
        error: Why.
        unless: The write it is of, where its completion was sent: it is aborted only if that write's
            object is not there, and is left alone where that cannot be seen.
    """
    deadline = time.monotonic() + ABORT_TIME

    async def abort() -> None:
        if unless is not None and await _is_there(bucket, replace(unless, deadline=deadline)):
            return
        await bucket.call(abort_upload(key, upload_id), deadline=deadline)

    task = asyncio.ensure_future(abort())
    cancelled = await ended(task)
    failure = asyncio.CancelledError() if task.cancelled() else task.exception()
    if failure is not None and getattr(failure, "code", None) != ErrorCode.UPLOAD_NOT_FOUND:
        (cancelled or error).add_note(
            "the multipart upload could not be aborted; list_uploads() finds it, abort_upload() ends it"
        )
    if cancelled is not None:
        raise cancelled


async def _is_there(bucket: Bucket, write: Write) -> bool:
    """Whether a write has become the object.

    Raises:
        StorageError: It cannot be seen.
    """
    options = ReadOptions(customer_key=write.customer_key, deadline=write.deadline)
    try:
        found = await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        return False
    return found.write_id == write.write_id
