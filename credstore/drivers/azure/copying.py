"""Copy inside the container: at once, in blocks, in place, or by the service in its own time.

Rules of this file: a copy is of exactly the version `request.source` names, as the service honours the
condition on the source (P8); what it would not copy by itself is sent. Put Blob From URL and Put Block From
URL show nothing before all is there. A server that has neither is asked for Copy Blob (see `pending.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from credstore.driver.header_text import read_etag
from credstore.driver.parallel import Span, cut_spans
from credstore.driver.refusals import CUSTOMER_KEYS, TAGS
from credstore.driver.unclear import Write
from credstore.driver.values import CopyRequest, ObjectInfo, PutResult, ReadOptions
from credstore.drivers.azure.blocks import Upload, plan_block_size, upload_blocks
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.encryption import read_encryption
from credstore.drivers.azure.headers import condition_headers
from credstore.drivers.azure.locking import made_locked
from credstore.drivers.azure.pending import copy_by_service
from credstore.drivers.azure.reading import head
from credstore.drivers.azure.requests import (
    copied_headers,
    encryption_of,
    get_tags,
    keeps_key,
    put_blob_from_url,
    put_block_from_url,
    set_metadata,
    set_tags,
)
from credstore.drivers.azure.responses import version_of
from credstore.drivers.azure.settling import check_encrypted, result_of, seen_result, settle_write
from credstore.drivers.azure.xml import parse_tags
from credstore.encryption import CustomerKey
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.model import NOTHING
from credstore.wire.exchange import Reply
from credstore.wire.urls import encode

_LACKING = frozenset({405, 501})
"""Statuses of a server that does not know a request at all."""


async def copy(container: Container, request: CopyRequest, origin: Container | None = None) -> PutResult:
    """Copy one object; see `Driver.copy`.

    Args:
        container: Where the copy goes.
        request: What to copy.
        origin: Another container of the account that has the source.

    Cost: 1 request in place and up to `single_copy_limit`, else 1 and one per block; 1 more where the source
    has tags; 1 HEAD if unclear or refused by a condition. Under retention or legal hold always in blocks.
    """
    source, origin = request.source, origin or container
    for key in (source.key, request.destination):
        container.check_key(key)
    if request.retention is None:
        return await _copied(container, request, origin)
    making = _copied(container, request, origin)
    return await made_locked(container, request.destination, request.retention, making, request.deadline)


async def _copied(container: Container, request: CopyRequest, origin: Container) -> PutResult:
    source, able = request.source, container.able
    conditions = condition_headers(request.precondition, able, NAME)
    copied_headers(request, able, NOTHING)
    locked = request.retention is not None
    kept = origin is container and keeps_key(request)
    if kept and not locked and await _is_current(container, request):
        return await _in_place(container, request)
    headers = copied_headers(request, able, await _source_tags(origin, request)) | conditions
    url = origin.url(source.key)
    if source.version_id is not None and able.versions:
        url += f"?versionid={encode(source.version_id)}"
    if container.lacks_from_url:
        return await _by_service(container, request, headers, url)
    try:
        # Only Put Block List, of all that do not show the copy before it is whole, can put it under a lock.
        if source.size <= container.config.single_copy_limit and not locked:
            return await _at_once(container, request, headers, url)
        return await _in_blocks(container, request, headers, url)
    except StorageUnsupportedError as error:
        # A proxy's page says nothing of what the server knows.
        if error.applied != "no" or error.status_code not in _LACKING or error.provider_code is None:
            raise
    container.lacks_from_url = True
    return await _by_service(container, request, headers, url)


async def _by_service(
    container: Container, request: CopyRequest, headers: Mapping[str, str], url: str
) -> PutResult:
    keys = request.encryption, request.source_customer_key
    if any(isinstance(each, CustomerKey) for each in keys):
        raise CUSTOMER_KEYS.of(NAME)  # Copy Blob takes none.
    return await copy_by_service(container, request, headers, url)


async def _is_current(container: Container, request: CopyRequest) -> bool:
    """Whether the source is what its key names now, and not an old version that is to be restored."""
    source = request.source
    if source.version_id is None or not container.able.versions:
        return True
    try:
        now = await head(container, source.key, ReadOptions(deadline=request.deadline))
    except StorageObjectNotFoundError:
        return False  # It was deleted, and an old version of it is to be restored.
    return now.etag == source.etag


def _write(request: CopyRequest) -> Write:
    return Write(
        key=request.destination,
        write_id=request.write_id,
        precondition=request.precondition,
        deadline=request.deadline,
    )


async def _in_place(container: Container, request: CopyRequest) -> PutResult:
    """Set Blob Metadata, which leaves everything else about the blob as it is."""
    source, condition = request.source, request.precondition
    if condition.mode == "create":
        raise StorageAlreadyExistsError("the object is there, as it is the source too; nothing was sent")
    if condition.etag is not None and condition.etag != source.etag:
        raise StoragePreconditionFailedError("the object is not the version asked for; nothing was sent")
    wire = set_metadata(request, container.able)
    try:
        reply = await container.call(wire, deadline=request.deadline)
    except StorageError as error:
        asked = encryption_of(request)
        seen = await settle_write(container, _write(request), error, asked=asked, of_copy=True)
        return await _seen(container, request, seen)
    return await _made(container, request, reply)


async def _at_once(
    container: Container, request: CopyRequest, headers: Mapping[str, str], url: str
) -> PutResult:
    try:
        reply = await container.call(put_blob_from_url(request, url, headers), deadline=request.deadline)
    except StorageUnsupportedError:
        raise
    except StorageError as error:
        asked = encryption_of(request)
        seen = await settle_write(container, _write(request), error, asked=asked, of_copy=True)
        return await _seen(container, request, seen)
    return await _made(container, request, reply)


async def _in_blocks(
    container: Container, request: CopyRequest, headers: Mapping[str, str], url: str
) -> PutResult:
    source = request.source
    size = plan_block_size(source.size, container.config.copy_part_size)

    async def spans() -> AsyncGenerator[Span, None]:
        for span in cut_spans(0, source.size, size):
            yield span

    async def send(name: str, _: int, span: Span) -> None:
        wire = put_block_from_url(request, url, name, span)
        await container.call(wire, deadline=request.deadline)

    upload = Upload(
        write=_write(request),
        headers=headers,
        concurrency=container.config.max_concurrency,
        encryption=encryption_of(request),
    )
    done = await upload_blocks(container, upload, spans(), send)
    if isinstance(done, ObjectInfo):
        return await _seen(container, request, done)
    return await _made(container, request, done)


async def _seen(container: Container, request: CopyRequest, info: ObjectInfo) -> PutResult:
    result = seen_result(container, info, request.source.size, request.source.digest)
    return await check_encrypted(container, encryption_of(request), info, result, request.deadline)


async def _made(container: Container, request: CopyRequest, reply: Reply) -> PutResult:
    result = result_of(
        container,
        request.destination,
        size=request.source.size,
        digest=request.source.digest,
        etag=read_etag(reply.headers.get("etag")),
        version_id=version_of(reply.headers),
        encryption=read_encryption(reply.headers),
        request_id=reply.headers.get("x-ms-request-id"),
    )
    return await check_encrypted(container, encryption_of(request), reply.headers, result, request.deadline)


async def _source_tags(container: Container, request: CopyRequest) -> Mapping[str, str]:
    source = request.source
    if not source.tag_count or not container.able.tags:
        return NOTHING
    version_id = source.version_id if container.able.versions else None
    return await read_tags(container, source.key, version_id, request.deadline)


async def read_tags(
    container: Container, key: str, version_id: str | None, deadline: float | None
) -> dict[str, str]:
    """The tags of an object; empty where there are no tags at all."""
    if not container.able.tags:
        return {}
    reply = await container.call(get_tags(key, version_id), deadline=deadline)
    return await parsed(parse_tags, reply.body)


async def put_tags(
    container: Container, key: str, tags: Mapping[str, str], *, deadline: float | None
) -> None:
    """Replace the tags of an object.

    Raises:
        StorageUnsupportedError: The account has no tags.
    """
    if not container.able.tags:
        raise TAGS.of(NAME)
    await container.call(set_tags(key, tags), deadline=deadline)
