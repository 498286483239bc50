"""The bytes of one object over as many responses as it takes: in spans at once, and resumed where one breaks.

Rules of this file: a body cut short is continued from the same version (see `pinning.py`) or ends in an
error, never quietly (P21, N04, L04); the parts of a long one are pinned to one version too. How a response is
opened and checked is the driver's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from credstore.driver.parallel import cut_spans, in_order
from credstore.driver.pinning import pinned, replaced
from credstore.driver.reader import known_reader
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.errors import (
    StorageConnectionError,
    StorageError,
    StoragePreconditionFailedError,
    StorageTimeoutError,
)

MAX_RESUMES = 3
"""Number of times in a row that one body is continued after little of it has arrived."""
_PROGRESS = 64 * 1024
"""Bytes after which a break resets the count; a body that only trickles is ended (N08)."""
_PARALLEL_PARTS = 2
"""Number of parts from which an object is read over several connections."""


class Interrupted(Exception):  # noqa: N818 - what happened, and no error yet
    """A body broke off or, `idle`, stopped coming; never reaches users."""

    def __init__(self, *, idle: bool) -> None:
        super().__init__()
        self.idle = idle


@dataclass(slots=True)
class Opened:
    """A response whose body is open, and which bytes of the object it yields: from `start` up to `end`.

    Attributes:
        info: What is known of the object, with the size of all of it.
        chunks: The body as it arrives; raises `Interrupted`.
        take_whole: The whole body if it has arrived, else None, consuming nothing.
        close: Discards the rest; safe to call again.
        skip: Bytes to drop first, where the server ignored the range.
        start: First wanted byte.
        end: One past the last.
    """

    info: ObjectInfo
    chunks: AsyncGenerator[bytes, None]
    take_whole: Callable[[], bytes | None]
    close: Callable[[], Awaitable[None]]
    skip: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the bytes of one object come from.

    Attributes:
        open: A response that gives exactly the span of the options, `start` to `end`, under their condition.
        part_size: Bytes of one span of a long body.
        concurrency: Number of spans at once.
        versions: Whether the store can keep versions.
    """

    open: Callable[[ReadOptions], Awaitable[Opened]]
    part_size: int
    concurrency: int
    versions: bool


def reader_of(
    source: Source,
    options: ReadOptions,
    opened: Opened,
    *,
    patience: float | None,
    check: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] | None = None,
) -> StoredReader:
    """The checked bytes that begin with a response that is open; more is requested as needed.

    Args:
        source: Where more comes from.
        options: Of the read.
        opened: The first response; closed by the reader.
        patience: Seconds that each further response may take to begin, since a deadline is for the first.
        check: What all bytes of an object without a recorded digest pass through.

    Cost: one request for each part of an object of two parts or more; one for each resumption.
    """
    info, whole = opened.info, opened.start == 0 and opened.end == opened.info.size
    checked = check is not None and whole and info.digest is None
    content = opened.take_whole() if whole and not checked else None
    if content is not None and len(content) == opened.end:
        return known_reader(info, content, length=info.size, digest=info.digest, close=opened.close)
    body, chunks = _stream(source, options, opened, patience)
    return known_reader(
        info,
        chunks if check is None or not checked else check(chunks),
        length=opened.end - opened.start,
        digest=info.digest if whole else None,
        close=body.aclose,
    )


def empty_reader(info: ObjectInfo) -> StoredReader:
    """The reader of no bytes of an object."""

    async def none() -> AsyncIterator[bytes]:
        return
        yield b""

    return known_reader(info, none(), length=0)


def _stream(
    source: Source, options: ReadOptions, opened: Opened, patience: float | None
) -> tuple[Body, AsyncIterator[bytes]]:
    """The bytes of a response, and what to close; a long one continues in spans over further connections."""
    size, concurrency = source.part_size, source.concurrency
    exact = pinned(options, opened.info, versions=source.versions)
    alone = opened.end - opened.start < _PARALLEL_PARTS * size or concurrency == 1
    if alone or exact is None or opened.skip:
        body = Body(source, options, opened, patience)
        return body, body.chunks()
    (_, first_end), *rest = cut_spans(opened.start, opened.end, size)

    async def fetch(start: int, end: int) -> list[bytes]:
        of_part = replace(exact, start=start, end=end, deadline=_ending(patience))
        part = Body(source, of_part, await _open_same(source, of_part, opened.info), patience)
        try:
            return [chunk async for chunk in part.chunks()]
        finally:
            await part.aclose()

    body = Body(source, options, replace(opened, end=first_end), patience)
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


async def _open_same(source: Source, options: ReadOptions, info: ObjectInfo) -> Opened:
    """More of the version that `info` describes.

    Raises:
        StorageIntegrityError: It was replaced in the meantime (code "REPLACED").
    """
    try:
        opened = await source.open(options)
    except StoragePreconditionFailedError as error:
        raise replaced() from error
    if (opened.info.etag, opened.info.size) != (info.etag, info.size):
        await opened.close()
        raise replaced()
    return opened


class Body:
    """The bytes of one object across as many connections as it takes."""

    def __init__(self, source: Source, options: ReadOptions, opened: Opened, patience: float | None) -> None:
        """Start with a response that is open; each further one has `patience` seconds to begin."""
        self._source = source
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
                async with aclosing(_slice(opened.chunks, opened.skip, end - at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
            except Interrupted as broken:
                idle = broken.idle
            if at < end:
                await opened.close()
                resumes = resumes + 1 if at - opened.start < _PROGRESS else 1
                exact = pinned(self._options, opened.info, versions=self._source.versions)
                if exact is None or resumes > MAX_RESUMES:
                    raise _cut(at - start, end - start, idle=idle)
                more = replace(exact, start=at, end=opened.end, deadline=_ending(self._patience))
                opened = self._opened = await _open_same(self._source, more, opened.info)

    async def aclose(self) -> None:
        """Release the connection."""
        await self._opened.close()


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
