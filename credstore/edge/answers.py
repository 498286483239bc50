"""The answers of the edge: what each request gets, and nothing that was not proved right.

Rules of this file: a link is checked before the store is asked; all links that grant nothing get one
answer. What fails before the first byte has a status; what fails later cuts the connection, so that
no damaged object arrives whole. An answer holds two chunks of an object at most.
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
from credstore.edge.conditions import Span, chosen_span, entity_tag, failed_condition, is_settled
from credstore.edge.headers import (
    GUARDS,
    METHODS,
    PREFLIGHT,
    content_range,
    object_headers,
    unchanged_headers,
)
from credstore.edge.negotiation import IDENTITY, choose_coding
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

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

PATIENCE = 30.0
"""Seconds in which a reader has to take the next `SLICE`."""
SLICE = 64 * 1024
"""Bytes sent at once."""
LOOKS = 3
"""How often an object is looked at anew that another write replaces meanwhile."""
MOST_FIELDS = 16
"""Fields of a query; a link has nine at most."""
_ABSENT = (StorageObjectNotFoundError, StorageInvalidKeyError)
_BUSY = (StorageUnavailableError, StorageTimeoutError, StorageConnectionError, StorageRateLimitedError)
_TEXTS = {
    400: "This is not a request of HTTP that can be answered.\n",
    403: "This link is not valid.\n",
    404: "There is no such object.\n",
    405: "Only GET and HEAD are answered here.\n",
    406: "The object cannot be had in the encodings that are accepted.\n",
    412: "The object is another version.\n",
    416: "The object has no such range.\n",
    500: "The object cannot be read.\n",
    503: "The store is not available now; try again.\n",
}
_NOW = struct.pack("ii", 1, 0)
"""SO_LINGER: end at once."""


@dataclass(frozen=True, slots=True)
class _Representation:
    """What of an object is sent: stored or plain bytes, whole or in part."""

    item: StorageItem
    coding: str
    size: int | None
    span: Span | None
    headers: Mapping[str, str]


class _ReplacedError(Exception):
    """The object is not the one that was looked at any more."""


class Answers:
    """The handler of all requests."""

    def __init__(self, provider: StorageProvider, *, log: Callable[[str], None] | None) -> None:
        """Answer from this store.

        Args:
            provider: It checks its links itself.
            log: Told each answer: method, path without query, status.
        """
        self._provider = provider
        self._log = log

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = _target(request.raw_path).partition("?")
        try:
            response = await self._answer(request, path, query)
        except StorageError as error:
            response = plain(_status_of(error))
        if self._log is not None:
            self._log(f"{request.method} {path} {response.status}")
        return response

    async def _answer(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        if request.method == "OPTIONS":  # Links are no part of it: it tells nothing about them.
            return web.Response(status=204, headers={**GUARDS, **PREFLIGHT})
        if request.method not in METHODS:
            return plain(405, Allow=", ".join(METHODS))
        grant = await self._granted(request.method, path, query)
        if grant is None:
            return plain(403)
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
            return await asyncio.to_thread(self._provider.verify_link, method, path, fields)
        except StorageAccessDeniedError:
            return None

    async def _about(
        self, request: web.BaseRequest, item: StorageItem, grant: LinkGrant
    ) -> web.StreamResponse:
        if item.client_side:  # There are no links to what is encrypted, but with `check=False`.
            return plain(500)
        stored, decodable = _codings(item)
        # Several headers of one name are one list.
        coding = choose_coding(_listed(request, "Accept-Encoding"), stored, decodable=decodable)
        if coding is None:
            return plain(406, Vary="Accept-Encoding")
        size = item.plain_size if coding == IDENTITY else item.size
        now = time.time()
        settled = is_settled(item.last_modified, now)
        version = strong_etag(item.etag) or (item.digest.hex() if item.digest else None)
        if item.digest is None and not settled:
            version = None  # Of a file of another tool the etag is no more than its size and times.
        tag = None if version is None else entity_tag(version, coding)
        ranged = coding == IDENTITY and size is not None
        left = int(grant.expires_at.timestamp() - now)
        dated = item if settled else replace(item, last_modified=None)
        headers = object_headers(dated, grant.overrides, coding=coding, tag=tag, left=left, ranged=ranged)
        status = failed_condition(request.headers, tag, item.last_modified, settled=settled)
        if status == 304:  # noqa: PLR2004 - not modified
            return web.Response(status=304, headers=unchanged_headers(headers))
        if status is not None:
            return plain(status)
        if request.method == "HEAD":
            return _begun(200, headers, size)
        span = chosen_span(request.headers, tag, size) if ranged and size is not None else None
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
            if reader.info.client_side:  # Somebody took the mark away that would have refused it before.
                return plain(500)
            if (reader.info.etag, reader.info.size) != (item.etag, item.size):
                raise _ReplacedError
            first = await anext(chunks, b"")
            response = _begun(200, wanted.headers, reader.length)
            if span is not None and wanted.size is not None:
                response = _begun(206, wanted.headers, reader.length)
                response.headers["Content-Range"] = content_range(span, wanted.size)
            try:
                await response.prepare(request)
                await _write(response, first)
                async for chunk in chunks:
                    await _write(response, chunk)
            except (StorageError, TimeoutError, ConnectionError):
                # The status is sent; only a broken connection can still tell. Or it is the reader's end.
                _cut(request)
            return response


def plain(status: int, **headers: str) -> web.Response:
    """An answer without an object.

    Args:
        status: Of HTTP, one that has a text here.
        headers: More of them.
    """
    return web.Response(
        status=status, text=_TEXTS[status], headers={"Cache-Control": "no-store", **GUARDS, **headers}
    )


def _begun(status: int, headers: Mapping[str, str], length: int | None) -> web.StreamResponse:
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
    values = request.headers.getall(name, [])
    return ",".join(values) if values else None


def _codings(item: StorageItem) -> tuple[str | None, bool]:
    """The coding that the stored bytes can be sent in as they are, and whether plain ones can be."""
    if item.compression is not None:
        # What needs a dictionary is nothing for the reader's own decoder.
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
    """End the connection with a reset: a plain end would be a complete answer in HTTP/1.0."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        transport.abort()


def _status_of(error: StorageError) -> int:
    if isinstance(error, _ABSENT):
        return 404
    return 503 if isinstance(error, _BUSY) else 500
