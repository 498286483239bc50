"""Get and head: a response's bytes as a checked reader, resumed where a connection breaks.

Rules of this file: what the server says about a range is trusted only if it is exactly what was requested; a
body cut short is continued from the same version (see `pinning.py`) or ends in an error, never quietly (P21,
N04, L04); the parts of a long one are pinned to one version too.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.driver.parallel import cut_spans, in_order
from credstore.driver.pinning import is_same, pinned, replaced
from credstore.driver.reader import known_reader
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.measuring import Measure, cut, info_of, no_length
from credstore.drivers.s3.requests import S3Request, get_object, head_object
from credstore.drivers.s3.responses import (
    check_is_s3,
    check_is_version,
    parse_content_range,
    parse_info,
)
from credstore.drivers.s3.xml import parse_size
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
)
from credstore.wire.exchange import Reply
from credstore.wire.transport import HttpResponse, WireError

MAX_RESUMES = 3
"""Number of times in a row that one body is continued after little of it has arrived."""
_PROGRESS = 64 * 1024
"""Bytes after which a break resets the count; a body that only trickles is ended (N08)."""
PARALLEL_PARTS = 2
"""Number of parts from which an object is read over several connections."""
PARTIAL = 206


@dataclass(slots=True)
class Opened:
    """A response whose body is open, and which bytes of the object it should yield.

    Attributes:
        info: What its headers say.
        response: The response to read and close.
        skip: Bytes to drop first, where the server ignored the range.
        start: First wanted byte.
        end: One past the last.
        held: Bytes of the body that were read to find out how long it is.
        rest: What follows them; None for the whole body.
        unsized: Whether the response did not say itself how long it is.
    """

    info: ObjectInfo
    response: HttpResponse
    skip: int
    start: int
    end: int
    held: Sequence[bytes] = ()
    rest: AsyncGenerator[bytes, None] | None = None
    unsized: bool = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The response's body as it comes."""
        for piece in self.held:
            yield piece
        async with aclosing(self.rest or self.response.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk


async def head(bucket: Bucket, key: str, options: ReadOptions) -> ObjectInfo:
    """What the store knows about one object; see `Driver.head`.

    Cost: 1 request; 1 or 2 more if the response does not say the length.
    """
    reply = await bucket.call(head_object(key, options, bucket.dialect), deadline=options.deadline)
    check_is_s3(reply.status, reply.headers)
    check_is_version(options.version_id, reply.status, reply.headers)
    size = parse_size(reply.headers.get("content-length"))
    if size is None:
        return await _looked_into(bucket, key, options)
    return parse_info(key, reply.headers, size=size, served_by=bucket.label)


async def _looked_into(bucket: Bucket, key: str, options: ReadOptions) -> ObjectInfo:
    """The same of an object whose length only a GET shows."""
    try:
        opened = await _open(bucket, key, replace(options, start=0, end=1), ranged=True, counting=False)
    except StorageInvalidRequestError as error:
        if error.code != ErrorCode.INVALID_RANGE:
            raise
        opened = await _open(bucket, key, options, ranged=False, counting=False)  # It is empty.
    await opened.response.aclose()
    return opened.info


async def open_object(bucket: Bucket, key: str, options: ReadOptions) -> StoredReader:
    """The stored bytes; see `Driver.get`.

    Cost: 1 request; one for each part of an object of `PARALLEL_PARTS` parts or more; one for each
    resumption.
    """
    all_of_it = options.whole
    if not all_of_it:
        options.check_range()
        if options.end is not None and options.end <= options.start:
            return await _nothing(bucket, key, options)
    patience = None if options.deadline is None else options.deadline - time.monotonic()
    request = get_object(key, options, bucket.dialect, ranged=not all_of_it)
    try:
        reply = await bucket.call(request, deadline=options.deadline, stream=True)
        if all_of_it and (reader := _at_hand(bucket, key, options, reply)) is not None:
            return reader
        opened = await _opened(bucket, key, options, request, reply)
    except StorageInvalidRequestError as error:
        if error.code != ErrorCode.INVALID_RANGE or options.start > 0:
            raise
        # No byte of an empty object can be requested; without a range the server sends all of it.
        opened = await _open(bucket, key, options, ranged=False)
    if options.suffix is not None:  # Any other range of this object has been checked by now.
        options = replace(options, start=opened.start, end=opened.end, suffix=None)
    whole = opened.start == 0 and opened.end == opened.info.size
    if whole and opened.unsized:
        info = opened.info
        return known_reader(
            info, _to_its_end(opened), length=info.size, digest=info.digest, close=opened.response.aclose
        )
    content = opened.response.take_whole() if whole else None
    if content is not None and len(content) == opened.end:
        info = opened.info
        return known_reader(info, content, length=info.size, digest=info.digest)
    body, chunks = _stream(bucket, key, options, opened, patience)
    return known_reader(
        opened.info,
        chunks,
        length=opened.end - opened.start,
        digest=opened.info.digest if whole else None,
        close=body.aclose,
    )


def _at_hand(bucket: Bucket, key: str, options: ReadOptions, reply: Reply) -> StoredReader | None:
    """A reader of all of an object whose response has arrived with nothing unusual about it, as of most.

    None where it takes a closer look, with nothing read but what is not as long as it should be.
    """
    headers, response = reply.headers, reply.response
    length = parse_size(headers.get("content-length"))
    if (
        response is None
        or length is None
        or reply.status == PARTIAL
        or options.version_id is not None
        or "etag" not in headers
        or "content-range" in headers
    ):
        return None
    content = response.take_whole(length)
    if content is None or len(content) != length:
        return None
    info = parse_info(key, headers, size=length, served_by=bucket.label)
    return known_reader(info, content, length=length, digest=info.digest)


def _stream(
    bucket: Bucket, key: str, options: ReadOptions, opened: Opened, patience: float | None
) -> tuple[Body, AsyncIterator[bytes]]:
    """The bytes of a response, and what to close; a long one continues in spans over further connections.

    A deadline is for the beginning of a response, so each further request has as many seconds as the first.
    """
    size, concurrency = bucket.config.part_size, bucket.config.max_concurrency
    exact = _pinned(bucket, options, opened.info)
    alone = opened.end - opened.start < PARALLEL_PARTS * size or concurrency == 1
    if alone or exact is None or opened.skip:
        body = Body(bucket, key, options, opened, patience)
        return body, body.chunks()
    (_, first_end), *rest = cut_spans(opened.start, opened.end, size)

    async def fetch(start: int, end: int) -> list[bytes]:
        of_part = replace(exact, start=start, end=end, deadline=_ending(patience))
        part = Body(bucket, key, of_part, await _open_same(bucket, key, of_part, opened.info), patience)
        try:
            return [chunk async for chunk in part.chunks()]
        finally:
            await part.aclose()

    body = Body(bucket, key, options, replace(opened, end=first_end), patience)
    return body, in_order(_closing(body), rest, fetch, concurrency=concurrency)


def _ending(patience: float | None) -> float | None:
    """The instant by which a response has to begin that is asked for now."""
    return None if patience is None else time.monotonic() + patience


async def _closing(body: Body) -> AsyncGenerator[bytes, None]:
    """What a body yields; then its connection is freed, as others may be waiting for it."""
    try:
        async for chunk in body.chunks():
            yield chunk
    finally:
        await body.aclose()


async def _open_same(bucket: Bucket, key: str, options: ReadOptions, info: ObjectInfo) -> Opened:
    """More of the version that `info` describes.

    Raises:
        StorageIntegrityError: It was replaced in the meantime (code "REPLACED").
    """
    try:
        opened = await _open(bucket, key, options, ranged=True)
    except StoragePreconditionFailedError as error:
        raise replaced() from error
    if (opened.info.etag, opened.info.size) != (info.etag, info.size):
        await opened.response.aclose()
        raise replaced()
    return opened


def _pinned(bucket: Bucket, options: ReadOptions, info: ObjectInfo) -> ReadOptions | None:
    return pinned(options, info, versions=bucket.dialect.capabilities.versions)


async def _nothing(bucket: Bucket, key: str, options: ReadOptions) -> StoredReader:
    info = await head(bucket, key, options)
    options.span(info.size)

    async def none() -> AsyncIterator[bytes]:
        return
        yield b""

    return known_reader(info, none(), length=0)


async def _to_its_end(opened: Opened) -> AsyncGenerator[bytes, None]:
    """All bytes of a response that only ends with its body, so that too many are noticed."""
    done = 0
    try:
        async with aclosing(opened.chunks()) as chunks:
            async for chunk in chunks:
                done += len(chunk)
                yield chunk
    except WireError as broken:
        raise cut(done, opened.end, idle=broken.kind == "timeout") from None


async def _open(
    bucket: Bucket, key: str, options: ReadOptions, *, ranged: bool, counting: bool = True
) -> Opened:
    """A response that gives what `options` ask for.

    Args:
        bucket: Where the object is.
        key: Of the object.
        options: What is wanted of it.
        ranged: Ask the server for no more than that.
        counting: Read a body to its end for its length, if nothing else shows it.
    """
    request = get_object(key, options, bucket.dialect, ranged=ranged)
    reply = await bucket.call(request, deadline=options.deadline, stream=True)
    return await _opened(bucket, key, options, request, reply, counting=counting)


async def _opened(
    bucket: Bucket,
    key: str,
    options: ReadOptions,
    request: S3Request,
    reply: Reply,
    *,
    counting: bool = True,
) -> Opened:
    """What the reply to such a request gives."""
    response = reply.response
    if response is None:
        raise StorageIntegrityError("the response has no body to read", code=ErrorCode.NO_BODY)
    try:
        headers = reply.headers
        check_is_s3(reply.status, headers)
        check_is_version(options.version_id, reply.status, headers)
        told = headers.get("content-range")
        found = None if told is None else parse_content_range(told)
        length = parse_size(headers.get("content-length"))
        if length is None and found is None and reply.status != PARTIAL:
            measure = Measure(bucket, key, options, reply.headers, response)
            size = await measure.size(counting=counting)
            info = info_of(bucket, key, reply.headers, size)
            if measure.used_up:
                await response.aclose()
                reply = await bucket.call(request, deadline=options.deadline, stream=True)
                response = reply.response or response
                if not is_same(info, info_of(bucket, key, reply.headers, size)):
                    raise replaced()
            start, end = options.span(size)
            return Opened(info, response, start, start, end, measure.held, measure.rest, unsized=True)
        return _checked(bucket, key, options, reply, response, length, found)
    except BaseException:
        await response.aclose()
        raise


def _checked(  # noqa: PLR0917 - what its one caller has found
    bucket: Bucket,
    key: str,
    options: ReadOptions,
    reply: Reply,
    response: HttpResponse,
    length: int | None,
    found: tuple[int, int, int] | None,
) -> Opened:
    """What a response gives that says how long the object is, in its `length` or the range it `found`."""
    if reply.status == PARTIAL or (found is not None and length not in {None, found[2]}):
        # Some servers, such as rclone, send the range and its position, but with the status of a full
        # response.
        if found is None:
            raise _wrong_range()
        start, end, size = found
        if (start, end) != options.span(size) or length not in {None, end - start}:
            raise _wrong_range()
        skip = 0
    else:
        if length is None:
            raise no_length()
        size = length
        start, end = (0, size) if options.whole else options.span(size)
        skip = start  # The range was ignored, so all bytes are sent.
    info = parse_info(key, reply.headers, size=size, served_by=bucket.label)
    return Opened(info, response, skip, start, end)


def _wrong_range() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider sent bytes other than the range asked for", code=ErrorCode.WRONG_RANGE
    )


class Body:
    """The bytes of one object across as many connections as it takes."""

    def __init__(
        self, bucket: Bucket, key: str, options: ReadOptions, opened: Opened, patience: float | None
    ) -> None:
        """Start with a response that is open; each further one has `patience` seconds to begin."""
        self._bucket = bucket
        self._key = key
        self._options = options
        self._opened = opened
        self._patience = patience

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The wanted bytes, in order."""
        opened = self._opened
        at, end = opened.start, opened.end
        resumes = 0
        start = at
        while at < end:
            idle = False
            try:
                async with aclosing(_slice(opened.chunks(), opened.skip, end - at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
            except WireError as broken:
                idle = broken.kind == "timeout"
            if at < end:
                await opened.response.aclose()
                resumes = resumes + 1 if at - opened.start < _PROGRESS else 1
                exact = _pinned(self._bucket, self._options, opened.info)
                if exact is None or resumes > MAX_RESUMES:
                    raise cut(at - start, end - start, idle=idle)
                more = replace(exact, start=at, end=opened.end, deadline=_ending(self._patience))
                opened = self._opened = await _open_same(self._bucket, self._key, more, opened.info)

    async def aclose(self) -> None:
        """Release the connection."""
        await self._opened.response.aclose()


async def _slice(chunks: AsyncGenerator[bytes, None], skip: int, count: int) -> AsyncGenerator[bytes, None]:
    """The `count` bytes after the first `skip`, or as many as there are; closes `chunks`."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            part = chunk[skip : skip + count] if skip or len(chunk) > count else chunk
            skip = 0
            count -= len(part)
            yield part
            if count == 0:
                return
