"""The edge's responses: what each request gets, and nothing that was not verified.

Rules of this file: a link is checked before the store is asked; all links that grant nothing get the same
response. A failure before the first byte gets a status; a later one cuts the connection, so that no damaged
object arrives complete. A response holds at most two chunks of an object.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from credstore.driver.reader import ObjectReader
from credstore.edge.conditions import (
    CONDITIONS,
    Span,
    chosen_span,
    entity_tag,
    failed_condition,
    is_settled,
)
from credstore.edge.headers import (
    GUARDS,
    METHODS,
    PREFLIGHT,
    content_range,
    object_headers,
    unchanged_headers,
)
from credstore.edge.negotiation import IDENTITY, choose_coding
from credstore.edge.pages import PAGE_FILES, LinkPages, PageResponse
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConnectionError,
    StorageError,
    StorageInvalidKeyError,
    StorageObjectNotFoundError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.model import LinkGrant, StorageItem, strong_etag
from credstore.threads import in_pool

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

PATIENCE = 30.0
"""Seconds within which a reader has to accept the next `SLICE`."""
SLICE = 64 * 1024
"""Bytes sent at once."""
LOOKS = 3
"""How often to look again at an object that another write has replaced in the meantime."""
MOST_FIELDS = 16
"""Maximum number of fields in a query; a link has at most nine."""
_ABSENT = (StorageObjectNotFoundError, StorageInvalidKeyError)
_BUSY = (StorageUnavailableError, StorageTimeoutError, StorageConnectionError, StorageRateLimitedError)
_TEXTS = {
    400: "This is not a valid HTTP request.\n",
    403: "This link is not valid.\n",
    404: "There is no such object.\n",
    405: "Only GET and HEAD are supported here.\n",
    406: "The object is not available in the encodings that are accepted.\n",
    412: "The object is a different version.\n",
    416: "The object has no such range.\n",
    500: "The object cannot be read.\n",
    503: "The store is not available now; try again.\n",
}
_NOW = struct.pack("ii", 1, 0)
"""SO_LINGER: end at once."""


@dataclass(frozen=True, slots=True)
class _Representation:
    """What is sent of an object: stored or plain bytes, all or a part."""

    item: StorageItem
    coding: str
    size: int | None
    span: Span | None
    headers: Mapping[str, str]


class _ReplacedError(Exception):
    """The object is no longer the one that was looked at."""


class Responder:
    """The handler of all requests."""

    def __init__(
        self,
        provider: StorageProvider,
        *,
        log: Callable[[str], None] | None,
        pages: LinkPages | None = None,
    ) -> None:
        """Serve from this store.

        Args:
            provider: A store that checks its links itself.
            log: Called for each response: method, path without query, status.
            pages: What browsers get in place of some objects.
        """
        self._provider = provider
        self._pages = pages
        self._log = log

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request."""
        path, _, query = _target(request.raw_path).partition("?")
        try:
            response = await self._respond(request, path, query)
        except StorageError as error:
            response = plain(status_of(error))
        if self._log is not None:
            self._log(f"{request.method} {path} {response.status}")
        return response

    async def _respond(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        if request.method == "OPTIONS":  # Links are not involved: it reveals nothing about them.
            return web.Response(status=204, headers={**GUARDS, **PREFLIGHT})
        if request.method not in METHODS:
            return plain(405, Allow=", ".join(METHODS))
        if self._pages is not None and not query and path.startswith(PAGE_FILES):
            file = await self._pages.file(path.removeprefix(PAGE_FILES))
            return plain(404) if file is None else _page(file)
        grant = await self._granted(request.method, path, query)
        if grant is None:
            return plain(403)
        if self._pages is not None:
            page = await self._pages.page(grant.key, _listed(request, "Accept") or "")
            if page is not None:
                return _page(page)
        for _ in range(LOOKS):
            item = await self._provider.get_metadata(grant.key)
            if item is None:
                return plain(404)
            try:
                return await self._about(request, item, grant)
            except _ReplacedError:
                continue
        return plain(503)

    async def _granted(self, method: str, path: str, query: str) -> LinkGrant | None:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            return None
        fields = dict(pairs)
        if len(fields) != len(pairs):
            return None
        try:
            return await in_pool(self._provider.verify_link, method, path, fields)
        except StorageAccessDeniedError:
            return None

    async def _about(
        self, request: web.BaseRequest, item: StorageItem, grant: LinkGrant
    ) -> web.StreamResponse:
        if item.client_side:  # There are no links to what is encrypted, except with `check=False`.
            return plain(500)
        stored, decodable = _codings(item)
        coding = choose_coding(_listed(request, "Accept-Encoding"), stored, decodable=decodable)
        if coding is None:
            return plain(406, Vary="Accept-Encoding")
        size = item.plain_size if coding == IDENTITY else item.size
        now = time.time()
        settled = is_settled(item.last_modified, now)
        version = strong_etag(item.etag) or (item.digest.hex() if item.digest else None)
        if item.digest is None and not settled:
            version = None  # For a file from another tool, the etag only covers its size and times.
        tag = None if version is None else entity_tag(version, coding)
        ranged = coding == IDENTITY and size is not None
        left = int(grant.expires_at.timestamp() - now)
        dated = item if settled else replace(item, last_modified=None)
        headers = object_headers(dated, grant.overrides, coding=coding, tag=tag, left=left, ranged=ranged)
        if self._pages is not None:
            headers["Vary"] = "Accept, Accept-Encoding"
        asked = {name: value for name in CONDITIONS if (value := _listed(request, name)) is not None}
        status = failed_condition(asked, tag, item.last_modified, settled=settled)
        if status == 304:  # noqa: PLR2004 - not modified
            return web.Response(status=304, headers=unchanged_headers(headers))
        if status is not None:
            return plain(status)
        if request.method == "HEAD":
            return _started(200, headers, size)
        span = chosen_span(asked, tag, size) if ranged and size is not None else None
        if span is not None and size is not None and span.start == span.end:
            return plain(416, **{"Content-Range": content_range(span, size), "Accept-Ranges": "bytes"})
        return await self._send(request, _Representation(item, coding, size, span, headers))

    async def _send(self, request: web.BaseRequest, wanted: _Representation) -> web.StreamResponse:
        span, item = wanted.span, wanted.item
        opening = self._provider.open(
            item.key,
            start=0 if span is None else span.start,
            end=None if span is None else span.end,
            decode=wanted.coding == IDENTITY,
        )
        async with opening as reader, aclosing(_held_back(reader)) as chunks:
            if reader.info.client_side:  # Somebody removed the mark that would have refused it before.
                return plain(500)
            if (reader.info.etag, reader.info.size) != (item.etag, item.size):
                raise _ReplacedError
            first = await anext(chunks, b"")
            response = _started(200, wanted.headers, reader.length)
            if span is not None and wanted.size is not None:
                response = _started(206, wanted.headers, reader.length)
                response.headers["Content-Range"] = content_range(span, wanted.size)
            try:
                await response.prepare(request)
                await _write(response, first)
                async for chunk in chunks:
                    await _write(response, chunk)
            except (StorageError, TimeoutError, ConnectionError):
                # The status is sent, so only a broken connection can still show it. Or the reader broke it.
                _cut(request)
            return response


def plain(status: int, **headers: str) -> web.Response:
    """A response without an object.

    Args:
        status: An HTTP status that has a text here.
        headers: More of them.
    """
    return web.Response(
        status=status, text=_TEXTS[status], headers={"Cache-Control": "no-store", **GUARDS, **headers}
    )


def _page(page: PageResponse) -> web.Response:
    return web.Response(status=page.status, headers=page.headers, body=page.body)


def _started(status: int, headers: Mapping[str, str], length: int | None) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    return response


def _target(raw: str) -> str:
    """The path and query of a request's target, which may name scheme and host too (RFC 9112 §3.2.2)."""
    if raw.startswith("/"):
        return raw
    _, marked, rest = raw.partition("://")
    return "/" + rest.partition("/")[2] if marked else raw


def _listed(request: web.BaseRequest, name: str) -> str | None:
    """The value of a header; several lines with its name are one list (RFC 9110 §5.3)."""
    values = request.headers.getall(name, [])
    return ",".join(values) if values else None


def _codings(item: StorageItem) -> tuple[str | None, bool]:
    """The coding in which the stored bytes can be sent unchanged, and whether plain bytes can be sent."""
    if item.compression is not None:
        # The reader's decoder cannot handle what needs a dictionary.
        return (item.compression if item.dictionary is None else None), True
    encoding = (item.content_encoding or IDENTITY).strip().lower()
    return (None, True) if encoding == IDENTITY else (encoding, False)


async def _held_back(reader: ObjectReader[StorageItem]) -> AsyncGenerator[bytes, None]:
    """The chunks, each when the next is there: the last only once all bytes proved right.

    So a small object that is not what was stored is refused, and a large one never arrives whole.
    """
    held = b""
    async for chunk in reader:
        if held:
            yield held
        held = chunk
    if held:
        yield held


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    view = memoryview(chunk)
    for start in range(0, len(view), SLICE):
        async with asyncio.timeout(PATIENCE):
            await response.write(view[start : start + SLICE])


def _cut(request: web.BaseRequest) -> None:
    """End the connection with a reset: a plain end would be a complete response in HTTP/1.0."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        transport.abort()


def status_of(error: StorageError) -> int:
    """The HTTP status that a failure before the first byte gets."""
    if isinstance(error, _ABSENT):
        return 404
    return 503 if isinstance(error, _BUSY) else 500
