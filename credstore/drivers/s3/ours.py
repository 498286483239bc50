"""One of our writes: what identifies it, what its responses have to confirm, and how it is undone.

Rules of this file: an option that was asked for and is not confirmed is an error, never a success (servers
that know nothing about it respond 200 anyway); what such a write made is removed, but only while its write-id
or version shows that it is ours. What is only a default, as AES256 may be, is requested but need not be
confirmed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from credstore.driver.cleanup import ABORT_TIME, ended
from credstore.driver.values import OVERWRITE, ObjectInfo, Precondition, ReadOptions
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.headers import Told, told_by, unconfirmed
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.requests import delete_object
from credstore.drivers.s3.responses import version_of
from credstore.drivers.s3.xml import parse_size
from credstore.encryption import ServerEncryption
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import Retention, strong_etag


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What identifies one write at its key, and what was requested.

    Attributes:
        key: Where it goes.
        write_id: The write-id it carries.
        precondition: What it may replace.
        customer_key: The key to look at it with, if it is encrypted with one.
        encryption: What has to be confirmed, or None.
        storage_class: The one requested, or None.
        tags: Number of tags it has.
        retention: What it locks its object with, or None.
        in_place: Whether it rewrites the object it is made from, so that only its own version can be removed.
        deadline: Instant of `time.monotonic()`, or None.
    """

    key: str
    write_id: str
    precondition: Precondition = OVERWRITE
    customer_key: ServerEncryption | None = None
    encryption: ServerEncryption | None = None
    storage_class: str | None = None
    tags: int = 0
    retention: Retention | None = None
    in_place: bool = False
    deadline: float | None = None


class TakenBack(NamedTuple):
    """What became of a write that must not stay: a clause for a message, and whether it is gone."""

    clause: str
    gone: bool


@dataclass(slots=True)
class Confirmation:
    """What the responses of one upload in parts have said about its encryption so far.

    The first of them may say nothing, since some stores only confirm the parts; once neither has, nothing
    more is sent.

    Attributes:
        encryption: The encryption that has to be confirmed, or None.
        started: Whether the response to its start confirmed it.
        parts: How many of the responses to parts did.
    """

    encryption: ServerEncryption | None
    started: bool = False
    parts: int = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take note of the response to the upload's start.

        Raises:
            StorageIntegrityError: It says that something else will be done (code "NOT_ENCRYPTED").
        """
        told = told_by(headers)
        why = unconfirmed(self.encryption, told)
        if why is not None and told.kind is not None:
            raise not_encrypted(why, "no")
        self.started = why is None

    def part(self, headers: Mapping[str, str]) -> None:
        """Take note of the response to a part.

        Raises:
            StorageIntegrityError: Neither this nor the start was confirmed (code "NOT_ENCRYPTED").
        """
        if self.encryption is None:
            return
        told = told_by(headers)
        why = unconfirmed(self.encryption, told)
        if why is None:
            self.parts += 1
        elif told.kind is not None or not self.started:
            raise not_encrypted(why, "no")


def not_encrypted(why: str, applied: Applied, done: str = "nothing was stored") -> StorageIntegrityError:
    """The error of a write whose encryption was not confirmed.

    Args:
        why: What is wrong.
        applied: Whether there was an object.
        done: What became of it.
    """
    return StorageIntegrityError(f"{why}; {done}", code=ErrorCode.NOT_ENCRYPTED, applied=applied)


async def check_answer(bucket: Bucket, write: Write, headers: Mapping[str, str]) -> None:
    """Check the response to a finished write against what was requested.

    Raises:
        StorageIntegrityError: Something was not done (code "NOT_ENCRYPTED" or "NOT_HONOURED", `applied`
            "yes"); what was made has been removed if it was still ours.
    """
    if write.encryption is not None:
        why = unconfirmed(write.encryption, told_by(headers))
        if why is not None:
            await _refuse(bucket, write, ErrorCode.NOT_ENCRYPTED, why, version_of(headers))
    told = headers.get("x-amz-storage-class"), parse_size(headers.get("x-amz-tagging-count"))
    if (why := _contradicted(write, *told)) is not None:
        await _refuse(bucket, write, ErrorCode.NOT_HONOURED, why, version_of(headers))


async def check_seen(bucket: Bucket, write: Write, info: ObjectInfo) -> None:
    """The same for what HEAD says about it.

    Raises:
        StorageIntegrityError: As `check_answer`.
    """
    why = unconfirmed(write.encryption, Told(info.encryption, info.kms_key_id))
    if why is not None:
        await _refuse(bucket, write, ErrorCode.NOT_ENCRYPTED, why, info.version_id)
    if (why := _contradicted(write, info.storage_class, info.tag_count)) is not None:
        await _refuse(bucket, write, ErrorCode.NOT_HONOURED, why, info.version_id)


def _contradicted(write: Write, storage_class: str | None, tags: int | None) -> str | None:
    """How a response differs from the request; silence means nothing, since S3's responses are silent."""
    if write.storage_class is not None and storage_class not in {None, write.storage_class}:
        return f"the provider did not store the object with the storage class {write.storage_class}"
    if write.tags and tags not in {None, write.tags}:
        return f"the provider stored the object with {tags} of {write.tags} tags"
    return None


async def _refuse(
    bucket: Bucket, write: Write, code: ErrorCode, why: str, version_id: str | None
) -> NoReturn:
    done, _ = await take_back(bucket, write, version_id)
    raise StorageIntegrityError(f"{why}; {done}", code=code, applied="yes")


async def look_up(bucket: Bucket, write: Write) -> ObjectInfo | None:
    """What HEAD says about a finished write; None if it fails, or if another write's object is there.

    Raises:
        StorageIntegrityError: Nothing is there (code "NO_OUTCOME", `applied` "maybe"): what acknowledged the
            write may not be a store at all.
    """
    options = ReadOptions(customer_key=write.customer_key, deadline=write.deadline)
    try:
        found = await head(bucket, write.key, options)
    except StorageObjectNotFoundError:
        raise StorageIntegrityError(
            "the write was acknowledged without an etag, and nothing is there; check `endpoint`, and whether "
            "a proxy stands in between",
            code=ErrorCode.NO_OUTCOME,
            applied="maybe",
            retryable=True,
        ) from None
    except StorageError:
        return None
    return found if found.write_id == write.write_id else None


async def take_back(bucket: Bucket, write: Write, version_id: str | None) -> TakenBack:
    """Remove what a write made, unless another writer has replaced it; even while this task is cancelled.

    Args:
        bucket: Where it is.
        write: What was written.
        version_id: Version of what it made, where reported.
    """
    task = asyncio.ensure_future(_remove(bucket, write, version_id))
    cancelled = await ended(task)
    if cancelled is not None:
        raise cancelled
    if not task.cancelled() and isinstance(task.exception(), StoragePreconditionFailedError):
        return TakenBack("it is no longer there", gone=True)
    if task.cancelled() or isinstance(task.exception(), StorageError):
        return TakenBack("what was stored could not be removed and may still be there", gone=False)
    return task.result()


async def discard(bucket: Bucket, key: str, version_id: str | None) -> None:
    """Remove what only this call knows of, if possible; even while this task is cancelled."""
    request = delete_object(key, bucket.dialect, if_match=None, version_id=version_id)
    task = asyncio.ensure_future(bucket.call(request, deadline=time.monotonic() + ABORT_TIME))
    cancelled = await ended(task)
    if not task.cancelled():
        task.exception()  # What remains is credstore's own, and no verb shows it.
    if cancelled is not None:
        raise cancelled


async def _remove(bucket: Bucket, write: Write, version_id: str | None) -> TakenBack:
    deadline = time.monotonic() + ABORT_TIME
    can = bucket.dialect.capabilities
    if write.in_place and (version_id is None or not can.versions):
        return TakenBack("the object was rewritten in place and was left as it is", gone=False)
    if version_id is None or not can.versions:
        found = await _find(bucket, write, deadline)
        if found is None or (found.write_id is not None and found.write_id != write.write_id):
            return TakenBack("it is no longer there", gone=True)
        if found.write_id is None:
            return TakenBack("what is there was left alone, since nothing shows who wrote it", gone=False)
        version_id = found.version_id if can.versions else None
        etag = strong_etag(found.etag) if can.conditional_delete and version_id is None else None
    else:
        etag = None
    request = delete_object(write.key, bucket.dialect, if_match=etag, version_id=version_id)
    try:
        await bucket.call(request, deadline=deadline)
    except StorageUnsupportedError:
        if etag is None:
            raise
        # The server at this endpoint has no such condition; the write-id was looked at just now.
        plain = delete_object(write.key, bucket.dialect, if_match=None, version_id=None)
        await bucket.call(plain, deadline=deadline)
    return TakenBack("what was stored was removed again", gone=True)


async def _find(bucket: Bucket, write: Write, deadline: float) -> ObjectInfo | None:
    """What is at the key, whether or not it is encrypted with the customer's key."""
    plain = ReadOptions(deadline=deadline)
    try:
        try:
            return await head(bucket, write.key, plain)
        except StorageObjectNotFoundError:
            raise
        except StorageError:
            if write.customer_key is None:
                raise
        keyed = ReadOptions(customer_key=write.customer_key, deadline=deadline)
        return await head(bucket, write.key, keyed)
    except StorageObjectNotFoundError:
        return None
