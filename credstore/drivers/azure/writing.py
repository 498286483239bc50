"""Put: small bodies in one request, large and unsized ones in blocks, unclear ones settled.

Rules of this file: what the account cannot honour is refused before the body is read; a body that is not as
long as announced is never committed (K13); an unclear put is settled before it is reported. The service
compares the MD5 of what is in memory with what arrived, and the one it reports is compared again (L02).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from credstore.driver.header_text import read_etag
from credstore.driver.parts import Part, counted, cut
from credstore.driver.unclear import Write
from credstore.driver.values import Journal, ObjectInfo, PutRequest, PutResult
from credstore.drivers.azure.blocks import Upload, plan_block_size, upload_blocks
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.encryption import read_encryption
from credstore.drivers.azure.headers import condition_headers
from credstore.drivers.azure.locking import made_locked
from credstore.drivers.azure.requests import format_md5, md5_of, object_headers, put_blob, put_block
from credstore.drivers.azure.responses import version_of
from credstore.drivers.azure.resuming import begun_before, token_of
from credstore.drivers.azure.settling import check_encrypted, result_of, seen_result, settle_write
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.hashing import LOOP_BUDGET, joined, sha256
from credstore.threads import in_pool
from credstore.wire.departing import Departure
from credstore.wire.exchange import Reply
from credstore.wire.transport import StreamBody

MAX_RESTARTS = 2
"""Number of times a whole upload is started again after another write has dropped its blocks."""


async def put(container: Container, request: PutRequest) -> PutResult:
    """Write one object; see `Driver.put`.

    Cost: 1 request up to `multipart_threshold` (and for an unsized body that fits in one block), else 1 and
    one per block; 1 HEAD if unclear, or refused by a condition; 1 more for the first one under retention or
    legal hold at a server that is not Azure's own.
    Source: promises P0, P4, P6.
    """
    if request.retention is None:
        return await _put(container, request)
    making = _put(container, request)
    return await made_locked(container, request.key, request.retention, making, request.deadline)


async def _put(container: Container, request: PutRequest) -> PutResult:
    able, config, body = container.able, container.config, request.body
    container.check_key(request.key)
    if body.data is None:
        # Everything that can be refused is refused before the body is read.
        container.put_headers.of(request, able, None)
    largest = able.max_object_size
    if body.length is not None and largest is not None and body.length > largest:
        raise StorageInvalidRequestError(
            f"the body has {body.length} bytes; this provider keeps at most {largest}",
            code=ErrorCode.TOO_LARGE,
        )
    if body.length is None:
        return await _put_unsized(container, request)
    if body.length > config.multipart_threshold:
        return await _put_sized_in_blocks(container, request, body.length)
    if body.data is not None:
        return await _put_single(container, request, body.data)
    if body.length <= config.part_size:
        pieces = [piece async for piece in counted(body.open(), body.length)]
        return await _put_single(container, request, await joined(pieces))
    return await _put_stream(container, request, body.length)


def _write(request: PutRequest) -> Write:
    return Write(
        key=request.key,
        write_id=request.write_id,
        precondition=request.precondition,
        deadline=request.deadline,
    )


async def _put_single(container: Container, request: PutRequest, data: bytes) -> PutResult:
    digest = request.digest or await sha256(data)
    md5 = md5_of(data) if len(data) <= LOOP_BUDGET else await in_pool(md5_of, data)
    return await _send(container, request, body=data, size=len(data), digest=digest, md5=md5)


async def _put_stream(container: Container, request: PutRequest, length: int) -> PutResult:
    departure = Departure(request.progress, length)
    body = departure.of(length, lambda: counted(request.body.open(), length))
    return await _send(container, request, body=body, size=length, digest=request.digest, md5=None)


async def _send(
    container: Container,
    request: PutRequest,
    *,
    body: bytes | StreamBody,
    size: int,
    digest: bytes | None,
    md5: str | None,
) -> PutResult:
    # Not in a variable, which a traceback would show: a customer-provided key may be among the headers.
    wire = put_blob(request, container.put_headers.of(request, container.able, digest), body=body, md5=md5)
    if request.progress is not None and isinstance(body, bytes):
        wire = replace(wire, body=Departure(request.progress, size).of_bytes(body))
    try:
        reply = await container.call(wire, deadline=request.deadline)
    except StorageError as error:
        seen = await settle_write(container, _write(request), error, asked=request.encryption)
        result = await _seen(container, request, seen, size, digest)
    else:
        proved = _check_md5(reply, md5)
        result = await _acknowledged(container, request, reply, size, digest, proved=proved)
    if request.progress is not None:
        request.progress(size, size)
    return result


def _check_md5(reply: Reply, md5: str | None) -> bool:
    """Compare what the service says it stored with what was sent; whether it has said so (L02).

    Raises:
        StorageIntegrityError: It stored other bytes (code "CHECKSUM_MISMATCH", `applied` "maybe").
    """
    told = reply.headers.get("content-md5")
    if told is None or md5 is None:
        return False
    if told.strip() != md5:
        raise StorageIntegrityError(
            "the provider's checksum is not that of the bytes that were sent; the object should not be used",
            code=ErrorCode.CHECKSUM_MISMATCH,
            applied="maybe",
        )
    return True


async def _seen(
    container: Container, request: PutRequest, info: ObjectInfo, size: int, digest: bytes | None
) -> PutResult:
    result = seen_result(container, info, size, digest)
    return await check_encrypted(container, request.encryption, info, result, request.deadline)


async def _acknowledged(
    container: Container,
    request: PutRequest,
    reply: Reply,
    size: int,
    digest: bytes | None,
    *,
    proved: bool = False,
) -> PutResult:
    result = result_of(
        container,
        request.key,
        size=size,
        digest=digest,
        etag=read_etag(reply.headers.get("etag")),
        version_id=version_of(reply.headers),
        encryption=read_encryption(reply.headers),
        request_id=reply.headers.get("x-ms-request-id"),
        proved=proved,
    )
    return await check_encrypted(container, request.encryption, reply.headers, result, request.deadline)


async def _put_unsized(container: Container, request: PutRequest) -> PutResult:
    pieces = cut(counted(request.body.open(), None), container.config.part_size)
    started = [piece async for piece in _some(pieces, 2)]
    if len(started) < 2:  # noqa: PLR2004 - one block does not justify an upload in blocks
        return await _put_single(
            container, request, await joined([view for part in started for view in part.views])
        )

    async def parts() -> AsyncGenerator[Part, None]:
        async with aclosing(pieces):
            while started:
                yield started.pop(0)  # Released, like all others.
            async for piece in pieces:
                yield piece

    return await _put_blocks(container, request, parts())


async def _some(pieces: AsyncGenerator[Part, None], count: int) -> AsyncGenerator[Part, None]:
    """The first of them; the generator stays open."""
    while count:
        try:
            yield await anext(pieces)
        except StopAsyncIteration:
            return
        count -= 1


async def _put_sized_in_blocks(container: Container, request: PutRequest, length: int) -> PutResult:
    size = plan_block_size(length, container.config.part_size)
    if request.journal is not None:
        return await _put_resumably(container, request, length, size, request.journal)
    for restart in range(MAX_RESTARTS + 1):
        try:
            return await _put_blocks(container, request, cut(counted(request.body.open(), length), size))
        except StorageConflictError as error:
            again = error.applied == "no" and error.code == ErrorCode.CONCURRENT_WRITE and error.retryable
            if not again or not request.body.replayable or restart == MAX_RESTARTS:
                raise
    raise AssertionError


async def _put_resumably(
    container: Container, request: PutRequest, length: int, size: int, journal: Journal
) -> PutResult:
    """Continue the upload that the journal describes, or start one that can be continued."""
    headers = object_headers(request, container.able, request.digest)
    request, found = await begun_before(container, request, headers, journal)
    if isinstance(found, ObjectInfo):
        result = await _seen(container, request, found, length, request.digest)
    else:
        if found is None:
            await journal.save(token_of(container, request, headers, size))
        else:
            size = found.part_size
        known = frozenset[int]() if found is None else found.known
        parts = cut(counted(request.body.open(), length), size)
        try:
            result = await _put_blocks(container, request, parts, known=known)
        except StorageError as error:
            if not error.retryable:
                await journal.clear()
            raise
    await journal.clear()
    return result


async def _put_blocks(
    container: Container,
    request: PutRequest,
    parts: AsyncGenerator[Part, None],
    *,
    known: frozenset[int] = frozenset(),
) -> PutResult:
    """Send the parts, except for the `known` ones, which the service has."""
    able = container.able
    headers = object_headers(request, able, request.digest)
    upload = Upload(
        write=_write(request),
        headers=headers | condition_headers(request.precondition, able, NAME),
        concurrency=container.config.max_concurrency,
        encryption=request.encryption,
    )
    sent = 0
    departure = Departure(request.progress, request.body.length)

    async def send(name: str, number: int, part: Part) -> None:
        nonlocal sent
        if number not in known:
            md5 = format_md5(await part.hashed(hashlib.md5(usedforsecurity=False)))
            body = departure.of(part.size, part.open, number)
            wire = put_block(request.key, name, body, md5, request.encryption)
            await container.call(wire, deadline=request.deadline)
        sent += part.size
        departure.arrived(number, part.size)

    done = await upload_blocks(container, upload, parts, send)
    if isinstance(done, ObjectInfo):
        return await _seen(container, request, done, sent, request.digest)
    return await _acknowledged(container, request, done, sent, request.digest)
