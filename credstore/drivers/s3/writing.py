"""Put: small bodies in one request, large and unsized ones in parts, unclear ones settled.

Rules of this file: what the cloud cannot honour is refused before the body is read; a body that is not as
long as announced is never completed (K13); an unclear put is settled before it is reported.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from credstore.driver.header_text import read_etag
from credstore.driver.parts import Part, counted, cut, source_changed
from credstore.driver.values import Journal, ObjectInfo, PartDigests, PutRequest, PutResult
from credstore.drivers.s3.bucket import Bucket
from credstore.drivers.s3.composite import STARTED, Composite, Whole
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import (
    content_md5,
    customer_headers,
    opaque_tag,
    read_encryption,
    to_confirm,
)
from credstore.drivers.s3.locking import check_locked
from credstore.drivers.s3.multipart import (
    Completed,
    Resume,
    Upload,
    can_go_on,
    listed_etag,
    plan_part_size,
    upload_parts,
)
from credstore.drivers.s3.options import locked_with
from credstore.drivers.s3.ours import Confirmation, Write, check_answer, check_seen, look_up
from credstore.drivers.s3.requests import object_headers, put_object
from credstore.drivers.s3.responses import check_checksum, has_header_of_s3, not_s3, version_of
from credstore.drivers.s3.resuming import begun_before, new_token
from credstore.drivers.s3.settling import settle_write
from credstore.drivers.s3.uploads import completion_headers, upload_part
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.hashing import joined, sha256
from credstore.model import NOTHING
from credstore.quick import made
from credstore.threads import in_pool
from credstore.wire.departing import Departure
from credstore.wire.exchange import Reply
from credstore.wire.transport import StreamBody

MAX_RESTARTS = 2
"""Number of times a whole upload is started again after S3 asked for that (N27)."""


async def put(bucket: Bucket, request: PutRequest) -> PutResult:
    """Write one object; see `Driver.put`.

    Cost: 1 request up to `multipart_threshold` (and for an unsized body that fits in one part), else
    2 and one per part; 1 HEAD if unclear, refused by a condition, or where the response has no etag.
    Source: promises P0, P4, P6, P16.
    """
    dialect, config = bucket.dialect, bucket.config
    body = request.body
    bucket.check_key(request.key)
    data = body.data
    if data is None:
        # Everything that can be refused is refused before the body is read.
        bucket.put_headers.of(request, None)
    length = body.length if data is None else len(data)
    largest = dialect.capabilities.max_object_size
    if length is not None and largest is not None and length > largest:
        raise StorageInvalidRequestError(
            f"the body has {length} bytes; this provider keeps at most {largest}",
            code=ErrorCode.TOO_LARGE,
        )
    if length is None:
        return await _put_unsized(bucket, request)
    if part_size(bucket, length) is not None:
        return await _put_sized_in_parts(bucket, request, length)
    if data is not None:
        digest = request.digest
        if digest is not None and request.retention is None and request.driver_options is NOTHING:
            return await _send(bucket, request, body=data, size=length, digest=digest)
        return await _put_single(bucket, request, data)
    if length <= config.part_size:
        pieces = [piece async for piece in counted(body.open(), length)]
        return await _put_single(bucket, request, await joined(pieces))
    checked = locked_with(request, dialect) is not None
    if not body.replayable and (checked or bucket.checksums.of_bodies):
        # A checksum has to come before the body, and only parts of this one can be read twice.
        return await _put_sized_in_parts(bucket, request, length)
    return await _put_stream(bucket, request, length, checked=checked)


def part_size(bucket: Bucket, length: int) -> int | None:
    """See `SendsParts.part_size`."""
    config, largest = bucket.config, bucket.dialect.max_single_put
    if length <= config.multipart_threshold and length <= largest:
        return None
    return plan_part_size(length, config.part_size, largest)


def _write(request: PutRequest, dialect: S3Dialect) -> Write:
    return Write(
        key=request.key,
        write_id=request.write_id,
        precondition=request.precondition,
        customer_key=request.encryption,
        encryption=None if request.encryption_by_default else to_confirm(request.encryption, dialect),
        storage_class=request.storage_class,
        tags=len(request.tags),
        retention=locked_with(request, dialect),
        deadline=request.deadline,
    )


async def _put_single(bucket: Bucket, request: PutRequest, data: bytes) -> PutResult:
    digest = request.digest or await sha256(data)
    checked = locked_with(request, bucket.dialect) is not None
    return await _send(bucket, request, body=data, size=len(data), digest=digest, checked=checked)


async def _put_stream(bucket: Bucket, request: PutRequest, length: int, *, checked: bool) -> PutResult:
    departure = Departure(request.progress, length)
    body = departure.of(length, lambda: counted(request.body.open(), length))
    return await _send(bucket, request, body=body, size=length, digest=request.digest, checked=checked)


async def _send(
    bucket: Bucket,
    request: PutRequest,
    *,
    body: bytes | StreamBody,
    size: int,
    digest: bytes | None,
    checked: bool = False,
) -> PutResult:
    # No local variable for the headers: they may hold a customer's key, and a traceback shows locals.
    headers_of = bucket.put_headers.of
    wire = put_object(request, headers_of(request, digest), body=body, digest=digest, checked=checked)
    if request.progress is not None and isinstance(body, bytes) and not checked:
        wire = replace(wire, body=Departure(request.progress, size).of_bytes(body))
    try:
        reply = await bucket.call(wire, deadline=request.deadline)
    except StorageError as error:
        write = _write(request, bucket.dialect)
        result = _seen(bucket, await settle_write(bucket, write, error), size, digest)
    else:
        result = await _acknowledged(bucket, request, reply, body=body, size=size, digest=digest)
    if request.retention is not None or request.driver_options is not NOTHING:
        await check_locked(bucket, _write(request, bucket.dialect), result.version_id, way="PutObject")
    if request.progress is not None:
        request.progress(size, size)
    return result


async def _acknowledged(
    bucket: Bucket,
    request: PutRequest,
    reply: Reply,
    *,
    body: bytes | StreamBody,
    size: int,
    digest: bytes | None,
) -> PutResult:
    """The result of a put that was answered with a success."""
    headers = reply.headers
    if not bucket.is_s3 and isinstance(body, bytes) and await _is_hash_of(headers.get("etag"), body):
        bucket.shown()
    if not has_header_of_s3(headers) and not (bucket.is_s3 and "etag" in headers):
        # A server as bare as that may have stored it anyway; a login page has not.
        write = _write(request, bucket.dialect)
        try:
            found = await look_up(bucket, write)
        except StorageIntegrityError:
            raise not_s3(reply.status, "maybe") from None
        if found is not None:
            await check_seen(bucket, write, found)
            return _seen(bucket, found, size, digest)
        if not (bucket.is_s3 and "etag" in headers):  # The look may have shown that it speaks S3.
            raise not_s3(reply.status, "maybe")
    asked = request.encryption is not None and not request.encryption_by_default
    if asked or request.storage_class is not None or request.tags is not NOTHING:
        await check_answer(bucket, _write(request, bucket.dialect), headers)
    proved = check_checksum(headers, digest) and bucket.dialect.checks_sha256
    etag, version_id = read_etag(headers.get("etag")), version_of(headers)
    if etag is None and (found := await look_up(bucket, _write(request, bucket.dialect))) is not None:
        etag, version_id = found.etag, found.version_id
    return _result(
        bucket,
        request.key,
        size=size,
        digest=digest,
        etag=etag,
        version_id=version_id,
        encryption=read_encryption(headers)[0],
        request_id=headers.get("x-amz-request-id"),
        proved=proved,
    )


async def _is_hash_of(etag: str | None, body: bytes) -> bool:
    """Whether an entity tag is the MD5 of a body, as only a store that took the body can know."""
    if etag is None:
        return False
    return read_etag(etag) == base64.b64decode(await in_pool(content_md5, body)).hex()


def _result(
    bucket: Bucket,
    key: str,
    *,
    size: int,
    digest: bytes | None,
    etag: str | None,
    version_id: str | None,
    encryption: str | None,
    request_id: str | None,
    proved: bool = False,
) -> PutResult:
    return made(
        PutResult,
        {
            "key": key,
            "size": size,
            "etag": etag,
            "version_id": version_id,
            "digest": digest,
            "encryption": encryption,
            "served_by": bucket.label,
            "replicas": (bucket.label,),
            "request_id": request_id,
            "proved": proved,
        },
    )


def _seen(bucket: Bucket, info: ObjectInfo, size: int, digest: bytes | None) -> PutResult:
    if info.size != size:
        raise StorageIntegrityError(
            f"the provider stored {info.size} of {size} bytes of this write; write it again",
            code=ErrorCode.TRUNCATED,
            applied="yes",
            retryable=True,
        )
    return PutResult(
        key=info.key,
        size=size,
        etag=info.etag,
        version_id=info.version_id,
        digest=digest,
        encryption=info.encryption,
        served_by=bucket.label,
        replicas=(bucket.label,),
    )


async def _put_unsized(bucket: Bucket, request: PutRequest) -> PutResult:
    pieces = cut(counted(request.body.open(), None), bucket.config.part_size)
    started = [piece async for piece in _some(pieces, 2)]
    if len(started) < 2:  # noqa: PLR2004 - one part does not justify an upload in parts
        return await _put_single(
            bucket, request, await joined([view for part in started for view in part.views])
        )

    async def parts() -> AsyncGenerator[Part, None]:
        async with aclosing(pieces):
            while started:
                yield started.pop(0)  # Released, like all others.
            async for piece in pieces:
                yield piece

    return await _put_parts(bucket, request, parts())


async def _some(pieces: AsyncGenerator[Part, None], count: int) -> AsyncGenerator[Part, None]:
    """The first of them; the generator stays open."""
    while count:
        try:
            yield await anext(pieces)
        except StopAsyncIteration:
            return
        count -= 1


async def _put_sized_in_parts(bucket: Bucket, request: PutRequest, length: int) -> PutResult:
    completion_headers(request.precondition, request.encryption, bucket.dialect)
    size = plan_part_size(length, bucket.config.part_size, bucket.dialect.max_single_put)
    if request.journal is not None:
        return await _put_resumably(bucket, request, length, size, request.journal)
    unclear = False
    for restart in range(MAX_RESTARTS + 1):
        try:
            parts = cut(counted(request.body.open(), length), size)
            return await _put_parts(bucket, request, parts, hashed=_hashed(request, size))
        except StorageError as error:
            # N27: after a conflict at completion, the upload can no longer be completed.
            again = error.code in {ErrorCode.CONCURRENT_WRITE, ErrorCode.UPLOAD_NOT_FOUND} and (
                error.applied == "no" or request.precondition.mode != "overwrite"
            )
            unclear = unclear or error.applied == "maybe"
            if unclear and error.applied == "no":
                error.applied = "maybe"
            if not again or not request.body.replayable or restart == MAX_RESTARTS:
                raise
    raise AssertionError


def _hashed(request: PutRequest, size: int) -> PartDigests | None:
    """The digests of parts of this size, where the whole was hashed with them."""
    return request.parts if request.parts is not None and request.parts.size == size else None


def _upload_headers(request: PutRequest, dialect: S3Dialect) -> dict[str, str]:
    headers = object_headers(request, dialect, request.digest)
    return headers | STARTED if dialect.checks_sha256 else headers


async def _put_resumably(
    bucket: Bucket, request: PutRequest, length: int, size: int, journal: Journal
) -> PutResult:
    """Continue the upload that the journal describes, or start one that can be continued."""
    headers = _upload_headers(request, bucket.dialect)
    request, found = await begun_before(bucket, request, headers, journal)
    if isinstance(found, ObjectInfo):
        await check_seen(bucket, _write(request, bucket.dialect), found)
        result = _seen(bucket, found, length, request.digest)
    else:
        known: Mapping[int, str] = {} if found is None else found.etags
        size = size if found is None else found.part_size

        async def started(upload_id: str) -> None:
            token = new_token(bucket, request, headers, part_size=size, upload_id=upload_id)
            await journal.save(token)

        resume = Resume(None if found is None else found.upload_id, started)
        parts = cut(counted(request.body.open(), length), size)
        try:
            result = await _put_parts(
                bucket, request, parts, hashed=_hashed(request, size), known=known, resume=resume
            )
        except Exception as error:
            if not can_go_on(error):
                await journal.clear()
            raise
    await journal.clear()
    return result


async def _put_parts(
    bucket: Bucket,
    request: PutRequest,
    parts: AsyncGenerator[Part, None],
    *,
    hashed: PartDigests | None = None,
    known: Mapping[int, str] | None = None,
    resume: Resume | None = None,
) -> PutResult:
    """Send the parts, `hashed` before or here.

    Those are left out whose entity tags are `known` by their number: the upload has them.
    """
    dialect = bucket.dialect
    write = _write(request, dialect)
    composite = Composite() if dialect.checks_sha256 else None
    upload = Upload(
        write=write,
        headers=_upload_headers(request, dialect),
        completion=completion_headers(request.precondition, request.encryption, dialect),
        concurrency=bucket.config.max_concurrency,
        confirmation=Confirmation(write.encryption),
        composite=composite,
    )
    sent = 0
    departure = Departure(request.progress, request.body.length)

    async def send(upload_id: str, number: int, part: Part) -> str:
        nonlocal sent
        etag = None if known is None else known.get(number)
        if etag is None or composite is not None:
            digest = hashed.digests[number - 1] if hashed else await part.hashed(hashlib.sha256())
            checksum = NOTHING if composite is None else composite.part(number, digest)
            if etag is None:
                etag = await send_new(upload_id, number, part, digest, checksum)
        sent += part.size
        departure.arrived(number, part.size)
        return etag

    async def send_new(
        upload_id: str, number: int, part: Part, digest: bytes, checksum: Mapping[str, str]
    ) -> str:
        # No local variable for the headers: they may hold a customer's key, and a traceback shows locals.
        wire = upload_part(
            request.key,
            upload_id,
            number,
            departure.of(part.size, part.open, number),
            sha256=digest.hex(),
            headers={**customer_headers(request.encryption, dialect), **checksum},
            checked=write.retention is not None,
        )
        try:
            reply = await bucket.call(wire, deadline=request.deadline)
        except StorageIntegrityError:
            if hashed and await part.hashed(hashlib.sha256()) != digest:
                raise source_changed() from None
            raise
        upload.confirmation.part(reply.headers)
        etag = read_etag(reply.headers.get("etag"))
        return opaque_tag(etag) if etag else await listed_etag(bucket, write, upload_id, number, part.size)

    verify = None
    if composite is not None and hashed is None and request.digest is not None and request.body.data is None:
        # The digest was made in an earlier pass over the body, which may have changed since.
        whole = Whole(parts, request.digest)
        parts, verify = whole.parts(), whole.verify
    done = await upload_parts(bucket, upload, parts, send, verify=verify, resume=resume)
    await check_locked(bucket, write, done.version_id, way="CreateMultipartUpload")
    if isinstance(done, Completed):
        return _result(
            bucket,
            request.key,
            size=sent,
            digest=request.digest,
            etag=done.etag,
            version_id=done.version_id,
            encryption=done.encryption,
            request_id=done.request_id,
            proved=done.proved,
        )
    return _seen(bucket, done, sent, request.digest)
