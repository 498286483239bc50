"""Get and head: the properties of an object, then exactly the bytes of that generation.

Rules of this file: Google's JSON API has metadata and bytes at two addresses, so a read is two requests. The
second one is pinned to the generation that the first one found, and what the server says about it is trusted
only if it is exactly what was requested. How a body is resumed and read in spans is in `ranged.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.driver.pinning import replaced
from credstore.driver.ranged import Interrupted, Opened, Source, empty_reader, reader_of
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.drivers.gcs.bucket import Bucket, parsed
from credstore.drivers.gcs.checksums import checkable, checked
from credstore.drivers.gcs.requests import get_media, get_object
from credstore.drivers.gcs.resources import Resource, checksums_of, generation_of, number
from credstore.drivers.gcs.responses import parse_content_range, parse_json
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.wire.transport import HttpResponse, WireError

MAX_RESTARTS = 3
"""Number of times that a read begins again because the object was replaced in between."""
_PARTIAL = 206


@dataclass(frozen=True, slots=True)
class _Found:
    """An object as it was when it was looked at."""

    info: ObjectInfo
    checksums: Mapping[str, str]


async def head(bucket: Bucket, key: str, options: ReadOptions) -> ObjectInfo:
    """What the store knows about one object; see `Driver.head`. Cost: 1 request."""
    return (await _look(bucket, key, options)).info


async def resource_of(bucket: Bucket, key: str, options: ReadOptions) -> Resource:
    """An object's properties as the service has them."""
    try:
        reply = await bucket.call(get_object(key, options, bucket.able), deadline=options.deadline)
    except StorageObjectNotFoundError as error:
        failure = _of_version(error, options)
    else:
        return await parsed(parse_json, reply.body)
    raise failure


async def _look(bucket: Bucket, key: str, options: ReadOptions) -> _Found:
    resource = await resource_of(bucket, key, options)
    info = replace(bucket.info(resource), key=key)
    # Compared here, so that it also holds where the server would ignore the condition.
    if options.if_match is not None and info.etag != options.if_match:
        raise StoragePreconditionFailedError("the object is not the version asked for", bucket=bucket.name)
    return _Found(info, checksums_of(resource))


def _of_version(error: StorageObjectNotFoundError, options: ReadOptions) -> StorageNotFoundError:
    """What is absent: the object, or only the version that was asked for."""
    if options.version_id is None:
        return error
    facts = error.facts()
    facts["code"] = ErrorCode.VERSION_NOT_FOUND
    return StorageNotFoundError("there is no such version of the object", **facts)


async def open_object(bucket: Bucket, key: str, options: ReadOptions) -> StoredReader:
    """The stored bytes; see `Driver.get`.

    Cost: 2 requests, 1 if no bytes are asked for; one for each part of an object of two parts or more; one
    for each resumption.
    """
    options.check_range()
    patience = None if options.deadline is None else options.deadline - time.monotonic()
    for restart in range(MAX_RESTARTS + 1):
        found = await _look(bucket, key, options)
        start, end = options.span(found.info.size)
        if start >= end:
            return empty_reader(found.info)
        span = replace(options, start=start, end=end, suffix=None)
        try:
            return await _opened(bucket, found, span, patience)
        except StorageIntegrityError as error:
            if error.code != ErrorCode.REPLACED or restart == MAX_RESTARTS:
                raise
    raise AssertionError


async def _opened(
    bucket: Bucket, found: _Found, options: ReadOptions, patience: float | None
) -> StoredReader:
    info = found.info

    async def more(wanted: ReadOptions) -> Opened:
        return await _open(bucket, info, wanted)

    source = Source(
        open=more,
        part_size=bucket.config.part_size,
        concurrency=bucket.config.max_concurrency,
        versions=bucket.able.versions,
    )
    opened = await _open(bucket, info, options)
    # Where whoever stored it left no SHA-256, what the service knows is compared (L02).
    known = checkable(found.checksums) is not None
    check = (lambda chunks: checked(chunks, found.checksums, info.size)) if known else None
    return reader_of(source, options, opened, patience=patience, check=check)


async def _open(bucket: Bucket, info: ObjectInfo, options: ReadOptions) -> Opened:
    """A response that gives a span of exactly the generation that was looked at."""
    start, end = options.span(info.size)
    whole = (start, end) == (0, info.size)
    request = get_media(info.key, bucket.generation(info), (start, end), whole=whole)
    try:
        reply = await bucket.call(request, deadline=options.deadline, stream=True)
    except StorageObjectNotFoundError as error:
        raise replaced() from error
    response = reply.response
    if response is None:
        raise StorageIntegrityError("the response has no body to read", code=ErrorCode.NO_BODY)
    try:
        skip = _skipped(reply.status, response.headers, info, (start, end))
    except BaseException:
        await response.aclose()
        raise
    return Opened(
        info=info,
        chunks=_chunks(response),
        take_whole=response.take_whole,
        close=response.aclose,
        skip=skip,
        start=start,
        end=end,
    )


def _skipped(status: int, headers: Mapping[str, str], info: ObjectInfo, span: tuple[int, int]) -> int:
    """Number of bytes to drop first, after all that a response says was compared with what was asked for."""
    told = headers.get("x-goog-generation")
    known = generation_of(info.etag or "")
    if told is not None and known is not None and told != known[0]:
        raise replaced()
    coding = headers.get("content-encoding", "").lower()
    stored = headers.get("x-goog-stored-content-encoding", "").lower()
    if stored and coding not in {"", stored}:
        raise StorageIntegrityError(
            "the provider compressed the object on its way, so these are not the stored bytes",
            code=ErrorCode.WRONG_RANGE,
        )
    length = number(headers.get("content-length"))
    if status == _PARTIAL:
        if parse_content_range(headers.get("content-range")) != (*span, info.size):
            raise _wrong_range()
        if length not in {None, span[1] - span[0]}:
            raise _wrong_range()
        return 0
    if length is None:
        raise StorageIntegrityError(
            "the response does not say how long the object is; it may have been decompressed on its way",
            code=ErrorCode.NO_LENGTH,
        )
    if length != info.size:
        raise _wrong_range()
    return span[0]  # A range was ignored, so all bytes are sent.


def _wrong_range() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider sent bytes other than the range asked for", code=ErrorCode.WRONG_RANGE
    )


async def _chunks(response: HttpResponse) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    except WireError as error:
        raise Interrupted(idle=error.kind == "timeout") from None
