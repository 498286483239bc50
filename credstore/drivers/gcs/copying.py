"""Copy inside the bucket: a rewrite, which the service continues request by request until all is copied.

Rules of this file: a copy is of exactly the version `request.source` names, as the service honours the
condition on the source (P8); nothing shows under the destination before all is there. Where a server
leaves the copy's own metadata out, as emulators do, it is sent once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credstore.driver.unclear import Write
from credstore.driver.values import CopyRequest, ObjectInfo, PutResult
from credstore.drivers.gcs.bucket import Bucket, outcome
from credstore.drivers.gcs.encryption import kms_query
from credstore.drivers.gcs.locking import made_locked
from credstore.drivers.gcs.probing import prove_condition
from credstore.drivers.gcs.requests import copied, encryption_of, patch_metadata, rewrite
from credstore.drivers.gcs.resources import Resource
from credstore.drivers.gcs.responses import parse_resource, parse_rewrite, request_id_of
from credstore.drivers.gcs.settling import check_encrypted, result_of, settle_write
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError


async def copy(bucket: Bucket, request: CopyRequest, origin: Bucket | None = None) -> PutResult:
    """Copy one object; see `Driver.copy`.

    Args:
        bucket: Where the copy goes.
        request: What to copy.
        origin: Another bucket that has the source, and the same credentials.

    Cost: 1 request, and more for large objects where the service decides so, as to another storage class; 1
    HEAD if unclear or refused by a condition; 1 more for the first one under retention or a hold at a server
    that is not Google's own.
    """
    origin = origin or bucket
    if request.retention is None:
        return await _copied(bucket, request, origin)
    making = _copied(bucket, request, origin)
    return await made_locked(bucket, request.destination, request.retention, making, request.deadline)


async def _copied(bucket: Bucket, request: CopyRequest, origin: Bucket) -> PutResult:
    source = request.source
    for key in (source.key, request.destination):
        bucket.check_key(key)
    said = copied(request, bucket.able)
    kms_query(request.encryption)
    await prove_condition(bucket, request.precondition, request.deadline)
    write = Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        deadline=request.deadline,
    )
    made: Resource | ObjectInfo
    try:
        made, request_id = await _rewritten(bucket, request, said, origin)
    except StorageError as error:
        made, request_id = await settle_write(bucket, write, error, of_copy=True), None
    result = result_of(bucket, made, size=source.size, digest=source.digest, request_id=request_id)
    await check_encrypted(bucket, encryption_of(request), made, result, request.deadline)
    return result


async def _rewritten(
    bucket: Bucket, request: CopyRequest, said: Mapping[str, Any], origin: Bucket
) -> tuple[Resource, str | None]:
    tail = f"/rewriteTo{bucket.path_of(request.destination).removeprefix('/storage/v1')}"
    token, done = None, -1
    while True:
        wire = rewrite(request, said, tail, token, exact=bucket.keeps_generations)
        reply = await origin.call(wire, deadline=request.deadline)
        state = await outcome(parse_rewrite, reply.body)
        if state.resource is not None:
            resource = await _with_own_metadata(bucket, request, said, state.resource)
            return resource, request_id_of(reply.headers)
        if state.rewritten <= done:
            raise StorageIntegrityError(
                "the provider's copy does not get on", code=ErrorCode.TRUNCATED, applied="no", retryable=True
            )
        token, done = state.token, state.rewritten


async def _with_own_metadata(
    bucket: Bucket, request: CopyRequest, said: Mapping[str, Any], resource: Resource
) -> Resource:
    """The copy, with the metadata that it was to have."""
    if bucket.info(resource).write_id == request.write_id:
        return resource
    if not bucket.config.is_elsewhere:
        raise StorageIntegrityError(
            "the provider's copy does not have the metadata that it was given",
            code=ErrorCode.NOT_S3,
            applied="yes",
        )
    wire = patch_metadata(request.destination, said["metadata"])
    return await outcome(parse_resource, (await bucket.call(wire, deadline=request.deadline)).body)
