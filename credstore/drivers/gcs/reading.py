"""Get and head: the properties of an object from the JSON API, its bytes with them from the XML API.

Rules of this file: only the XML API sends an object's metadata along with its bytes, so a read is one request
there, as Google's client for Go does it. What the server says about a range is trusted only if it is exactly
what was requested; how a body is resumed and read in spans is in `ranged.py`. Of a server that does not say
which generation it sends, as emulators do not, the properties are asked for separately.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.driver.ranged import Interrupted, Opened, Source, empty_reader, reader_of
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.drivers.gcs.bucket import Bucket, parsed
from credstore.drivers.gcs.checksums import checkable, checked
from credstore.drivers.gcs.requests import get_media, get_object
from credstore.drivers.gcs.resources import (
    GENERATION,
    Resource,
    checksums_in,
    checksums_of,
    number,
)
from credstore.drivers.gcs.responses import parse_content_range, parse_json
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.wire.exchange import Reply
from credstore.wire.transport import HttpResponse, WireError

_PARTIAL = 206


@dataclass(frozen=True, slots=True)
class _Found:
    """A response whose body is open, and the checksums of the whole object."""

    opened: Opened
    checksums: Mapping[str, str]


async def head(bucket: Bucket, key: str, options: ReadOptions) -> ObjectInfo:
    """What the store knows about one object; see `Driver.head`. Cost: 1 request."""
    info = _info(bucket, key, await resource_of(bucket, key, options), options)
    _check_match(bucket, info, options)
    return info


def _info(bucket: Bucket, key: str, resource: Resource, options: ReadOptions) -> ObjectInfo:
    info = bucket.info(resource, named=options.version_id is not None)
    return info if info.key == key else replace(info, key=key)


def _check_match(bucket: Bucket, info: ObjectInfo, options: ReadOptions) -> None:
    """Compare the entity tag here too, so that it also holds where the server ignores the condition."""
    if options.if_match is not None and info.etag != options.if_match:
        raise StoragePreconditionFailedError("the object is not the version asked for", bucket=bucket.name)


async def resource_of(bucket: Bucket, key: str, options: ReadOptions) -> Resource:
    """An object's properties as the service has them."""
    try:
        reply = await bucket.call(get_object(key, options, bucket.able), deadline=options.deadline)
    except StorageObjectNotFoundError as error:
        raise _of_version(error, options) from None
    return await parsed(parse_json, reply.body)


def _of_version(error: StorageObjectNotFoundError, options: ReadOptions) -> StorageNotFoundError:
    """What is absent: the object, or only the version that was asked for."""
    if options.version_id is None:
        return error
    facts = error.facts()
    facts["code"] = ErrorCode.VERSION_NOT_FOUND
    return StorageNotFoundError("there is no such version of the object", **facts)


async def open_object(bucket: Bucket, key: str, options: ReadOptions) -> StoredReader:
    """The stored bytes; see `Driver.get`.

    Cost: 1 request; one for each part of an object of two parts or more; one for each resumption.
    """
    options.check_range()
    if options.end is not None and options.end <= options.start:
        info = await head(bucket, key, options)
        options.span(info.size)
        return empty_reader(info)
    patience = None if options.deadline is None else options.deadline - time.monotonic()

    async def more(wanted: ReadOptions) -> Opened:
        return (await _open(bucket, key, wanted, ranged=True)).opened

    source = Source(
        open=more,
        part_size=bucket.config.part_size,
        concurrency=bucket.config.max_concurrency,
        versions=bucket.able.versions,
    )
    try:
        found = await _open(bucket, key, options, ranged=not options.whole)
    except StorageInvalidRequestError as error:
        if error.code != ErrorCode.INVALID_RANGE or options.start > 0:
            raise
        # No byte of an empty object can be requested; without a range the server sends all of it.
        found = await _open(bucket, key, options, ranged=False)
    size = found.opened.info.size
    # Where whoever stored it left no SHA-256, what the service knows is compared (L02).
    known = checkable(found.checksums) is not None

    def check(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return checked(chunks, found.checksums, size)

    return reader_of(source, options, found.opened, patience=patience, check=check if known else None)


async def _open(bucket: Bucket, key: str, options: ReadOptions, *, ranged: bool) -> _Found:
    """A response that gives what `options` ask for."""
    request = get_media(key, options, bucket.able, ranged=ranged)
    try:
        reply = await bucket.call(request, deadline=options.deadline, stream=True)
    except StorageObjectNotFoundError as error:
        raise _of_version(error, options) from None
    response = reply.response
    if response is None:
        raise StorageIntegrityError("the response has no body to read", code=ErrorCode.NO_BODY)
    try:
        size, (start, end), skip = _spanned(reply, options)
        info, checksums = await _said(bucket, key, options, reply, size)
        if info.size != size:
            raise _wrong_range()  # Where the two were asked for separately, it was replaced in between.
        _check_match(bucket, info, options)
    except BaseException:
        await response.aclose()
        raise
    opened = Opened(
        info=info,
        chunks=_chunks(response),
        take_whole=response.take_whole,
        close=response.aclose,
        skip=skip,
        start=start,
        end=end,
    )
    return _Found(opened, checksums)


async def _said(
    bucket: Bucket, key: str, options: ReadOptions, reply: Reply, size: int
) -> tuple[ObjectInfo, Mapping[str, str]]:
    """The object that a response is of, and its checksums."""
    if GENERATION in reply.headers:
        named = options.version_id is not None
        return bucket.info_in(key, reply.headers, size, named=named), checksums_in(reply.headers)
    resource = await resource_of(bucket, key, options)
    return _info(bucket, key, resource, options), checksums_of(resource)


def _spanned(reply: Reply, options: ReadOptions) -> tuple[int, tuple[int, int], int]:
    """Size of the object, the span that is wanted, and how many bytes to drop first.

    Raises:
        StorageIntegrityError: The response is not of that span, or not of the stored bytes.
    """
    coding = reply.headers.get("content-encoding", "").lower()
    stored = reply.headers.get("x-goog-stored-content-encoding", "").lower()
    if stored and coding not in {"", "identity", stored}:
        raise StorageIntegrityError(
            "the provider compressed the object on its way, so these are not the stored bytes",
            code=ErrorCode.WRONG_RANGE,
        )
    length = number(reply.headers.get("content-length"))
    if reply.status == _PARTIAL:
        found = parse_content_range(reply.headers.get("content-range"))
        if found is None:
            raise _wrong_range()
        start, end, size = found
        if (start, end) != options.span(size) or length not in {None, end - start}:
            raise _wrong_range()
        return size, (start, end), 0
    whole = number(reply.headers.get("x-goog-stored-content-length"))
    if length is None or (whole is not None and length != whole):
        raise StorageIntegrityError(
            "the response does not say how long the object is; it may have been decompressed on its way",
            code=ErrorCode.NO_LENGTH,
        )
    span = options.span(length)
    return length, span, span[0]  # A range was ignored, so all bytes are sent.


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
