"""Copy inside the store: one request, or ranges of the source where it is too large for that.

Rules of this file: a copy is of exactly the version `request.source` names, or an error (P8); what
S3 would not copy by itself (metadata under REPLACE, tags of a copy in parts, encryption) is sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from credstore.driver import CopyRequest, ObjectInfo, PutResult, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.documents import parse_copied, parse_tags
from credstore.drivers.s3.headers import read_encryption, storage_headers
from credstore.drivers.s3.multipart import Upload, part_etag, plan_part_size, upload_parts
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.replies import version_of
from credstore.drivers.s3.requests import (
    copied_encryption,
    copied_object_headers,
    copy_object,
    get_tagging,
)
from credstore.drivers.s3.settling import Write, explain, settle_write
from credstore.drivers.s3.uploads import completion_headers, upload_part_copy
from credstore.errors import (
    StorageError,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)


async def copy(bucket: Bucket, request: CopyRequest) -> PutResult:
    """Copy one object; see `Driver.copy`.

    Cost: 1 request up to `single_copy_limit`, else 3 (tags, begin, complete) and one per part;
    1 HEAD if unclear.
    """
    bucket.check_key(request.source.key)
    if request.source.size > bucket.config.single_copy_limit:
        return await _copy_in_parts(bucket, request)
    try:
        reply = await bucket.call(
            copy_object(bucket.name, request, bucket.dialect), deadline=request.deadline
        )
    except StorageError as error:
        return _seen(bucket, await _settle(bucket, request, error))
    try:
        etag = await parsed(parse_copied, reply.body)
    except StorageIntegrityError as error:
        error.applied = "maybe"
        return _seen(bucket, await _settle(bucket, request, error))
    return _result(
        bucket,
        request,
        etag=etag,
        version_id=version_of(reply.headers),
        encryption=read_encryption(reply.headers)[0],
    )


def _write(bucket: Bucket, request: CopyRequest) -> Write:
    return Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        customer_key=copied_encryption(request, bucket.dialect),
        deadline=request.deadline,
    )


async def _settle(bucket: Bucket, request: CopyRequest, error: StorageError) -> ObjectInfo:
    """As `settle_write`, but 412 may be about the source as well as about the destination."""
    write = _write(bucket, request)
    if error.applied != "no":
        return await settle_write(bucket, write, error)
    if isinstance(error, StoragePreconditionFailedError) and request.precondition.mode == "create":
        options = ReadOptions(customer_key=write.customer_key, deadline=request.deadline)
        try:
            await head(bucket, request.destination, options)
        except StorageObjectNotFoundError:
            raise error from None
        raise explain(error, request.precondition)
    raise error


def _result(
    bucket: Bucket, request: CopyRequest, *, etag: str | None, version_id: str | None, encryption: str | None
) -> PutResult:
    return PutResult(
        key=request.destination,
        size=request.source.size,
        etag=etag,
        version_id=version_id,
        digest=request.source.digest,
        encryption=encryption,
        served_by=bucket.label,
        replicas=(bucket.label,),
    )


def _seen(bucket: Bucket, info: ObjectInfo) -> PutResult:
    return PutResult(
        key=info.key,
        size=info.size,
        etag=info.etag,
        version_id=info.version_id,
        digest=info.digest,
        encryption=info.encryption,
        served_by=bucket.label,
        replicas=(bucket.label,),
    )


async def get_tags(
    bucket: Bucket, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    """The tags of an object; none where the cloud has none."""
    if not bucket.dialect.capabilities.tags:
        return {}
    reply = await bucket.call(get_tagging(key, version_id), deadline=deadline)
    return await parsed(parse_tags, reply.body)


async def _copy_in_parts(bucket: Bucket, request: CopyRequest) -> PutResult:
    dialect, config, source = bucket.dialect, bucket.config, request.source
    completion = completion_headers(request.precondition, copied_encryption(request, dialect), dialect)
    headers = copied_object_headers(request, dialect)
    tags = await get_tags(bucket, source.key, source.version_id, request.deadline)
    headers |= storage_headers(None, tags, dialect)
    size = plan_part_size(source.size, config.copy_part_size, dialect.max_single_put)

    async def spans() -> AsyncGenerator[tuple[int, int], None]:
        for start in range(0, source.size, size):
            yield start, min(start + size, source.size)

    async def send(upload_id: str, number: int, span: tuple[int, int]) -> str:
        wire = upload_part_copy(bucket.name, request, dialect, upload_id=upload_id, number=number, span=span)
        reply = await bucket.call(wire, deadline=request.deadline)
        return part_etag(reply, await parsed(parse_copied, reply.body))

    async def look_again() -> None:
        options = ReadOptions(customer_key=request.source_customer_key, deadline=request.deadline)
        now = await head(bucket, source.key, options)
        if (now.etag, now.write_id, now.size) != (source.etag, source.write_id, source.size):
            raise StoragePreconditionFailedError("the source was changed while it was copied")

    upload = Upload(
        write=_write(bucket, request),
        headers=headers,
        completion=completion,
        concurrency=config.max_concurrency,
    )
    done = await upload_parts(
        bucket, upload, spans(), send, verify=None if dialect.pinned_part_copy else look_again
    )
    if isinstance(done, ObjectInfo):
        return _seen(bucket, done)
    return _result(
        bucket,
        request,
        etag=done.etag,
        version_id=done.version_id,
        encryption=read_encryption(done.headers)[0],
    )
