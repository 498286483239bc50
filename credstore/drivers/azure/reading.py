"""Get and head: a response's bytes as a checked reader, resumed where a connection breaks.

Rules of this file: what the server says about a range is trusted only if it is exactly what was requested; a
body cut short is continued from the same version (see `pinning.py`) or ends in an error, never quietly (P21,
N04, L04); the parts of a long one are pinned to one version too.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.driver.parallel import cut_spans, in_order
from credstore.driver.pinning import pinned, replaced
from credstore.driver.reader import ObjectReader
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.requests import get_blob, head_blob
from credstore.drivers.azure.responses import parse_content_range, parse_info
from credstore.drivers.azure.xml import parse_size
from credstore.errors import (
    ErrorCode,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.wire.exchange import Reply
from credstore.wire.transport import HttpResponse, WireError

MAX_RESUMES = 3
"""Number of times in a row that one body is continued after little of it has arrived."""
_PROGRESS = 64 * 1024
"""Bytes after which a break resets the count; a body that only trickles is ended (N08)."""
_PARALLEL_PARTS = 2
"""Number of parts from which an object is read over several connections."""
_PARTIAL = 206


@dataclass(slots=True)
class Opened:
    """A response whose body is open, and which bytes of the object it yields: from `start` up to `end`.

    Attributes:
        info: What its headers say.
        response: The response to read and close.
        skip: Bytes to drop first, where the server ignored the range.
        start: First wanted byte.
        end: One past the last.
    """

    info: ObjectInfo
    response: HttpResponse
    skip: int
    start: int
    end: int


async def head(container: Container, key: str, options: ReadOptions) -> ObjectInfo:
    """What the store knows about one object; see `Driver.head`. Cost: 1 request."""
    request = head_blob(key, options, container.able)
    try:
        reply = await container.call(request, deadline=options.deadline)
    except StorageObjectNotFoundError as error:
        raise _of_version(error, options) from None
    except StoragePreconditionFailedError:
        await _check_there(container, key, options)
        raise
    size = parse_size(reply.headers.get("content-length"))
    if size is None:
        raise _no_length()
    return parse_info(key, reply.headers, size=size, served_by=container.label)


def _of_version(error: StorageObjectNotFoundError, options: ReadOptions) -> StorageNotFoundError:
    """What is absent: the object, or only the version that was asked for."""
    if options.version_id is None:
        return error
    facts = error.facts()
    facts["code"] = ErrorCode.VERSION_NOT_FOUND
    return StorageNotFoundError("there is no such version of the object", **facts)


async def _check_there(container: Container, key: str, options: ReadOptions) -> None:
    """Tell what is absent from what is another version; Azurite says the same of both."""
    if options.if_match is not None:
        await head(container, key, replace(options, if_match=None))


def _no_length() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the response does not say how long the object is; a proxy in between may have decompressed it",
        code=ErrorCode.NO_LENGTH,
    )


async def open_object(container: Container, key: str, options: ReadOptions) -> StoredReader:
    """The stored bytes; see `Driver.get`.

    Cost: 1 request; one for each part of an object of two parts or more; one for each resumption; 1 HEAD
    more for the last bytes of an object (`suffix`), since Azure has no such range.
    """
    options.check_range()
    if options.suffix is not None:
        info = await head(container, key, options)
        start, end = options.span(info.size)
        exact = pinned(options, info, versions=container.able.versions) or options
        options = replace(exact, start=start, end=end, suffix=None)
    if options.end is not None and options.end <= options.start:
        return await _nothing(container, key, options)
    patience = None if options.deadline is None else options.deadline - time.monotonic()
    try:
        opened = await _open(container, key, options, ranged=not options.whole)
    except StorageInvalidRequestError as error:
        if error.code != ErrorCode.INVALID_RANGE or options.start > 0:
            raise
        # No byte of an empty object can be requested; without a range the server sends all of it.
        opened = await _open(container, key, options, ranged=False)
    info, whole = opened.info, opened.start == 0 and opened.end == opened.info.size
    content = opened.response.take_whole() if whole else None
    if content is not None and len(content) == opened.end:
        return ObjectReader(info, content, length=info.size, digest=info.digest, close=opened.response.aclose)
    body, chunks = _stream(container, key, options, opened, patience)
    return ObjectReader(
        info,
        chunks,
        length=opened.end - opened.start,
        digest=info.digest if whole else None,
        close=body.aclose,
    )


def _stream(
    container: Container, key: str, options: ReadOptions, opened: Opened, patience: float | None
) -> tuple[Body, AsyncIterator[bytes]]:
    """The bytes of a response, and what to close; a long one continues in spans over further connections.

    A deadline is for the beginning of a response, so each further request has as many seconds as the first.
    """
    size, concurrency = container.config.part_size, container.config.max_concurrency
    exact = _pinned(container, options, opened.info)
    alone = opened.end - opened.start < _PARALLEL_PARTS * size or concurrency == 1
    if alone or exact is None or opened.skip:
        body = Body(container, key, options, opened, patience)
        return body, body.chunks()
    (_, first_end), *rest = cut_spans(opened.start, opened.end, size)

    async def fetch(start: int, end: int) -> list[bytes]:
        of_part = replace(exact, start=start, end=end, deadline=_ending(patience))
        part = Body(container, key, of_part, await _open_same(container, key, of_part, opened.info), patience)
        try:
            return [chunk async for chunk in part.chunks()]
        finally:
            await part.aclose()

    body = Body(container, key, options, replace(opened, end=first_end), patience)
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


async def _open_same(container: Container, key: str, options: ReadOptions, info: ObjectInfo) -> Opened:
    """More of the version that `info` describes.

    Raises:
        StorageIntegrityError: It was replaced in the meantime (code "REPLACED").
    """
    try:
        opened = await _open(container, key, options, ranged=True)
    except StoragePreconditionFailedError as error:
        raise replaced() from error
    if (opened.info.etag, opened.info.size) != (info.etag, info.size):
        await opened.response.aclose()
        raise replaced()
    return opened


def _pinned(container: Container, options: ReadOptions, info: ObjectInfo) -> ReadOptions | None:
    return pinned(options, info, versions=container.able.versions)


async def _nothing(container: Container, key: str, options: ReadOptions) -> StoredReader:
    info = await head(container, key, options)
    options.span(info.size)

    async def none() -> AsyncIterator[bytes]:
        return
        yield b""

    return ObjectReader(info, none(), length=0)


async def _open(container: Container, key: str, options: ReadOptions, *, ranged: bool) -> Opened:
    """A response that gives what `options` ask for."""
    span = (options.start, options.end) if ranged else None
    request = get_blob(key, options, container.able, span)
    try:
        reply = await container.call(request, deadline=options.deadline, stream=True)
    except StorageObjectNotFoundError as error:
        raise _of_version(error, options) from None
    except StoragePreconditionFailedError:
        await _check_there(container, key, options)
        raise
    response = reply.response
    if response is None:
        raise StorageIntegrityError("the response has no body to read", code=ErrorCode.NO_BODY)
    try:
        return _checked(container, key, options, reply, response)
    except BaseException:
        await response.aclose()
        raise


def _checked(
    container: Container, key: str, options: ReadOptions, reply: Reply, response: HttpResponse
) -> Opened:
    if reply.headers.get("x-ms-copy-status", "").lower() == "pending":
        raise StorageUnavailableError(
            "the object is being copied and not whole yet; read it when that is done", retryable=True
        )
    length = parse_size(reply.headers.get("content-length"))
    skip = 0
    if reply.status == _PARTIAL:
        found = parse_content_range(reply.headers.get("content-range"))
        if found is None:
            if length != 0:
                raise _wrong_range()
            found = (0, 0, 0)  # Azurite's answer for a range of an empty blob.
        start, end, size = found
        if (start, end) != options.span(size) or length not in {None, end - start}:
            raise _wrong_range()
    else:
        if length is None:
            raise _no_length()
        size = length
        start, end = options.span(size)
        skip = start  # The range was ignored, so all bytes are sent.
    info = parse_info(key, reply.headers, size=size, served_by=container.label)
    return Opened(info, response, skip, start, end)


def _wrong_range() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider sent bytes other than the range asked for", code=ErrorCode.WRONG_RANGE
    )


class Body:
    """The bytes of one object across as many connections as it takes."""

    def __init__(
        self, container: Container, key: str, options: ReadOptions, opened: Opened, patience: float | None
    ) -> None:
        """Start with a response that is open; each further one has `patience` seconds to begin."""
        self._container = container
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
                async with aclosing(_slice(opened.response.chunks(), opened.skip, end - at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
            except WireError as broken:
                idle = broken.kind == "timeout"
            if at < end:
                await opened.response.aclose()
                resumes = resumes + 1 if at - opened.start < _PROGRESS else 1
                exact = _pinned(self._container, self._options, opened.info)
                if exact is None or resumes > MAX_RESUMES:
                    raise _cut(at - start, end - start, idle=idle)
                more = replace(exact, start=at, end=opened.end, deadline=_ending(self._patience))
                opened = self._opened = await _open_same(self._container, self._key, more, opened.info)

    async def aclose(self) -> None:
        """Release the connection."""
        await self._opened.response.aclose()


def _cut(done: int, length: int, *, idle: bool) -> StorageError:
    """The error of a body that broke off or, `idle`, stopped coming."""
    if idle:
        return StorageTimeoutError(f"the body stopped coming after {done} of {length} bytes")
    return StorageConnectionError(f"the connection broke after {done} of {length} bytes of the body")


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
