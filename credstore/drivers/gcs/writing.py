"""Put: small bodies in one request, large and unsized ones as resumable uploads, unclear ones settled.

Rules of this file: what the store cannot honour is refused before the body is read; a body that is not as
long as announced never becomes an object (K13); an unclear put is settled before it is reported. The service
compares the checksum of what is in memory with what arrived, and the one it reports is compared again (L02).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from credstore.driver.parts import Part, counted, cut
from credstore.driver.unclear import Write
from credstore.driver.values import Journal, ObjectInfo, PutRequest, PutResult
from credstore.drivers.gcs.bucket import Bucket, outcome
from credstore.drivers.gcs.checksums import Checksum
from credstore.drivers.gcs.encryption import key_headers, kms_query
from credstore.drivers.gcs.locking import made_locked
from credstore.drivers.gcs.probing import prove_condition
from credstore.drivers.gcs.requests import insert
from credstore.drivers.gcs.resources import Query, conditions
from credstore.drivers.gcs.responses import parse_resource, request_id_of
from credstore.drivers.gcs.resuming import begun_before, new_token
from credstore.drivers.gcs.sessions import Made, Session, begin, can_go_on, send_all
from credstore.drivers.gcs.settling import check_encrypted, result_of, settle_write
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError, StorageNotFoundError
from credstore.hashing import LOOP_BUDGET, joined, sha256
from credstore.model import NOTHING
from credstore.quick import changed

MAX_RESTARTS = 2
"""Number of times that an upload is started again after the service has lost it."""


class _Sized(NamedTuple):
    """One body that is sent in one request: how long it is, its SHA-256 where that is known, and checksum."""

    size: int
    digest: bytes | None
    checksum: Checksum


async def put(bucket: Bucket, request: PutRequest) -> PutResult:
    """Write one object; see `Driver.put`.

    Cost: 1 request up to `multipart_threshold` (and for an unsized body that fits in one part), else 1 and
    one per part; 1 HEAD if unclear, or refused by a condition; 1 more for the first one under retention or a
    hold at a server that is not Google's own.
    Source: promises P0, P4, P6.
    """
    if request.retention is None:
        return await _put(bucket, request)
    making = _put(bucket, request)
    return await made_locked(bucket, request.key, request.retention, making, request.deadline)


async def _put(bucket: Bucket, request: PutRequest) -> PutResult:
    able, config, body = bucket.able, bucket.config, request.body
    bucket.check_usable(request.deadline)
    bucket.check_key(request.key)
    if body.data is None:
        # Everything that can be refused is refused before the body is read.
        bucket.described.of(request, able, None)
        kms_query(request.encryption)
    largest = able.max_object_size
    if body.length is not None and largest is not None and body.length > largest:
        raise StorageInvalidRequestError(
            f"the body has {body.length} bytes; this provider keeps at most {largest}",
            code=ErrorCode.TOO_LARGE,
        )
    if request.precondition.mode != "overwrite":
        await prove_condition(bucket, request.precondition, request.deadline)
    if body.length is None:
        return await _put_unsized(bucket, request)
    if body.length > config.multipart_threshold:
        return await _put_in_chunks(bucket, request, body.length)
    if body.data is not None:
        return await _put_single(bucket, request, body.data)
    if body.length <= config.part_size:
        pieces = [piece async for piece in counted(body.open(), body.length)]
        return await _put_single(bucket, request, await joined(pieces))
    return await _put_stream(bucket, request, body.length)


def _query(request: PutRequest) -> Query:
    """Under which condition, and with which key, an object is made."""
    if request.encryption is None and request.precondition.mode == "overwrite":
        return ()
    return (*conditions(request.precondition), *kms_query(request.encryption))


def _write(request: PutRequest) -> Write:
    return Write(
        key=request.key,
        write_id=request.write_id,
        precondition=request.precondition,
        deadline=request.deadline,
    )


async def _put_single(bucket: Bucket, request: PutRequest, data: bytes) -> PutResult:
    digest = request.digest or await sha256(data)
    checksum = Checksum()
    if len(data) > LOOP_BUDGET:
        await checksum.add(data)
    else:
        checksum.take(data)
    said = bucket.described.prepared(request, bucket.able, digest, (checksum.name, checksum.value))
    wire = insert(
        request.key,
        said,
        _query(request),
        boundary=request.write_id,
        body=data,
        size=len(data),
        replayable=True,
        headers=NOTHING if request.encryption is None else key_headers(request.encryption),
    )
    return await _send(bucket, request, wire, _Sized(len(data), digest, checksum))


async def _put_stream(bucket: Bucket, request: PutRequest, length: int) -> PutResult:
    sized = _Sized(length, request.digest, Checksum())
    said = bucket.described.prepared(request, bucket.able, request.digest)
    attempts: list[Checksum] = []

    async def opened() -> AsyncIterator[bytes]:
        attempts[:] = [Checksum()]
        async with aclosing(counted(request.body.open(), length)) as chunks:
            async for chunk in chunks:
                await attempts[0].add(chunk)
                yield chunk

    wire = insert(
        request.key,
        said,
        _query(request),
        boundary=request.write_id,
        body=opened,
        size=length,
        replayable=request.body.replayable,
        headers=key_headers(request.encryption),
    )
    return await _send(bucket, request, wire, sized, attempts)


async def _send(
    bucket: Bucket,
    request: PutRequest,
    wire: Any,
    sized: _Sized,
    attempts: list[Checksum] | None = None,
) -> PutResult:
    made: Made | ObjectInfo
    try:
        reply = await bucket.call(wire, deadline=request.deadline)
        made = Made(await outcome(parse_resource, reply.body), request_id_of(reply.headers))
    except StorageError as error:
        made = await settle_write(bucket, _write(request), error)
    else:
        checksum = attempts[0] if attempts else sized.checksum
        made = Made(made.resource, made.request_id, checksum.check(made.resource))
    if request.progress is not None:
        request.progress(sized.size, sized.size)
    return await _result(bucket, request, made, sized.size, sized.digest)


async def _result(
    bucket: Bucket, request: PutRequest, made: Made | ObjectInfo, size: int, digest: bytes | None
) -> PutResult:
    if isinstance(made, ObjectInfo):
        result = result_of(bucket, made, size=size, digest=digest)
    else:
        result = result_of(bucket, made.resource, size=size, digest=digest, request_id=made.request_id)
        if made.proved:
            result = changed(result, {"proved": True})
    if request.encryption is not None:
        said = made if isinstance(made, ObjectInfo) else made.resource
        await check_encrypted(bucket, request.encryption, said, result, request.deadline)
    return result


async def _put_unsized(bucket: Bucket, request: PutRequest) -> PutResult:
    pieces = cut(counted(request.body.open(), None), bucket.config.part_size)
    started = [piece async for piece in _some(pieces, 2)]
    if len(started) < 2:  # noqa: PLR2004 - one part does not justify a resumable upload
        return await _put_single(
            bucket, request, await joined([view for part in started for view in part.views])
        )

    async def parts() -> AsyncGenerator[Part, None]:
        async with aclosing(pieces):
            while started:
                yield started.pop(0)  # Released, like all others.
            async for piece in pieces:
                yield piece

    return await _put_session(bucket, request, parts(), None)


async def _some(pieces: AsyncGenerator[Part, None], count: int) -> AsyncGenerator[Part, None]:
    """The first of them; the generator stays open."""
    while count:
        try:
            yield await anext(pieces)
        except StopAsyncIteration:
            return
        count -= 1


async def _put_in_chunks(bucket: Bucket, request: PutRequest, length: int) -> PutResult:
    if request.journal is not None:
        return await _put_resumably(bucket, request, length, request.journal)
    for restart in range(MAX_RESTARTS + 1):
        parts = cut(counted(request.body.open(), length), bucket.config.part_size)
        try:
            return await _put_session(bucket, request, parts, length)
        except StorageNotFoundError as error:
            lost = error.code == ErrorCode.UPLOAD_NOT_FOUND and error.applied == "no"
            if not lost or not request.body.replayable or restart == MAX_RESTARTS:
                raise
    raise AssertionError


async def _put_session(
    bucket: Bucket, request: PutRequest, parts: AsyncGenerator[Part, None], total: int | None
) -> PutResult:
    async with aclosing(parts):
        started = await _begun(bucket, request, total)
        if isinstance(started, ObjectInfo):
            return await _result(bucket, request, started, started.size, request.digest)
        made = await send_all(bucket, started, parts, Checksum())
    return await _result(bucket, request, made, started.total or 0, request.digest)


async def _begun(bucket: Bucket, request: PutRequest, total: int | None) -> Session | ObjectInfo:
    """An upload that was started; or the object, where this very write made the condition fail."""
    said = bucket.described.of(request, bucket.able, request.digest)
    write = _write(request)
    try:
        target = await begin(bucket, write, said, _query(request), total, key=request.encryption)
    except StorageError as error:
        return await settle_write(bucket, write, error)
    return Session(
        write=write,
        target=target,
        total=total,
        progress=request.progress,
        key=request.encryption,
    )


async def _put_resumably(bucket: Bucket, request: PutRequest, length: int, journal: Journal) -> PutResult:
    """Continue the upload that the journal describes, or start one that can be continued."""
    said = bucket.described.of(request, bucket.able, request.digest)
    request, found = await begun_before(bucket, request, said, journal)
    if isinstance(found, ObjectInfo):
        await journal.clear()
        return await _result(bucket, request, found, length, request.digest)
    if found is None:
        started = await _begun(bucket, request, length)
        if isinstance(started, ObjectInfo):
            return await _result(bucket, request, started, length, request.digest)
        await journal.save(new_token(bucket, request, said, started.target))
        session = started
    else:
        session = Session(
            write=_write(request),
            target=found.target,
            total=length,
            progress=request.progress,
            at=found.at,
            key=request.encryption,
        )
    session.kept = True
    rest = counted(request.body.open(session.at), length - session.at)
    parts = cut(rest, bucket.config.part_size)
    try:
        made = await send_all(bucket, session, parts, Checksum() if session.at == 0 else None)
    except StorageError as error:
        if not can_go_on(error):
            await journal.clear()
        raise
    await journal.clear()
    return await _result(bucket, request, made, length, request.digest)
