"""Get and head: a response's bytes as a checked reader, resumed where a connection breaks.

Rules of this file: what the server says about a range is trusted only if it is exactly what was requested.
How a body is resumed and read in spans is in `ranged.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from credstore.driver.pinning import pinned
from credstore.driver.ranged import Interrupted, Opened, Source, empty_reader, reader_of
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.requests import get_blob, head_blob
from credstore.drivers.azure.responses import parse_content_range, parse_info
from credstore.drivers.azure.xml import parse_size
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
)
from credstore.wire.exchange import Reply
from credstore.wire.transport import HttpResponse, WireError

_PARTIAL = 206


async def head(container: Container, key: str, options: ReadOptions) -> ObjectInfo:
    """What the store knows about one object; see `Driver.head`. Cost: 1 request."""
    request = head_blob(key, options, container.able)
    try:
        reply = await container.call(request, deadline=options.deadline)
    except StorageObjectNotFoundError as error:
        raise of_version(error, options) from None
    except StoragePreconditionFailedError:
        await _check_there(container, key, options)
        raise
    size = parse_size(reply.headers.get("content-length"))
    if size is None:
        raise _no_length()
    return parse_info(key, reply.headers, size=size, served_by=container.label)


def of_version(error: StorageObjectNotFoundError, options: ReadOptions) -> StorageNotFoundError:
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

    async def more(wanted: ReadOptions) -> Opened:
        return await _open(container, key, wanted, ranged=True)

    source = Source(
        open=more,
        part_size=container.config.part_size,
        concurrency=container.config.max_concurrency,
        versions=container.able.versions,
    )
    try:
        opened = await _open(container, key, options, ranged=not options.whole)
    except StorageInvalidRequestError as error:
        if error.code != ErrorCode.INVALID_RANGE or options.start > 0:
            raise
        # No byte of an empty object can be requested; without a range the server sends all of it.
        opened = await _open(container, key, options, ranged=False)
    return reader_of(source, options, opened, patience=patience)


async def _nothing(container: Container, key: str, options: ReadOptions) -> StoredReader:
    info = await head(container, key, options)
    options.span(info.size)

    return empty_reader(info)


async def _open(container: Container, key: str, options: ReadOptions, *, ranged: bool) -> Opened:
    """A response that gives what `options` ask for."""
    span = (options.start, options.end) if ranged else None
    request = get_blob(key, options, container.able, span)
    try:
        reply = await container.call(request, deadline=options.deadline, stream=True)
    except StorageObjectNotFoundError as error:
        raise of_version(error, options) from None
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
    return Opened(
        info=info,
        chunks=_chunks(response),
        take_whole=response.take_whole,
        close=response.aclose,
        skip=skip,
        start=start,
        end=end,
    )


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
