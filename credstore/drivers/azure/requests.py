"""One operation of Azure Blob Storage as the parts of one request. Pure.

Rules of this file: no endpoint and no credential (those are the container's, see `container.py`); a builder
refuses what the account would ignore, so refusing costs no request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from credstore.driver.refusals import (
    check_copy,
    check_delete,
    check_put,
    check_read,
    no_encryption_of_source,
)
from credstore.driver.values import (
    Capabilities,
    CopyRequest,
    PutRequest,
    ReadOptions,
    join_metadata,
)
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.encryption import key_headers, source_headers, write_headers
from credstore.drivers.azure.headers import (
    META,
    TIER,
    content_headers,
    format_etag,
    lock_headers,
    metadata_headers,
    storage_headers,
    tag_headers,
)
from credstore.drivers.azure.responses import INFERRED
from credstore.drivers.azure.xml import format_blocks, format_key_info, format_tags
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption
from credstore.model import NOTHING, strong_etag
from credstore.quick import made
from credstore.wire.azure.signer import COPY_SOURCE
from credstore.wire.transport import StreamBody

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class AzureRequest:
    """One request, apart from where it goes and who signs it.

    Attributes:
        operation: Azure's name of the operation.
        method: HTTP method.
        key: The object's key, or None for the container.
        whole_account: About the account, and not about the container.
        query: Decoded pairs.
        headers: With lower-case names.
        body: What is sent.
        mutation: Whether it changes the store.
        replayable: Whether the body can be sent again.
        probe: Whether it is sent even to an endpoint whose circuit is open.
    """

    operation: str
    method: str
    key: str | None = None
    whole_account: bool = False
    query: Query = ()
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)
    mutation: bool = False
    replayable: bool = True
    probe: bool = False


def format_md5(digest: bytes) -> str:
    """`Content-MD5` of a digest: protection in transit, not security."""
    return base64.b64encode(digest).decode("ascii")


def md5_of(body: bytes) -> str:
    """`Content-MD5` of a body."""
    return format_md5(hashlib.md5(body, usedforsecurity=False).digest())


def object_headers(
    request: PutRequest, able: Capabilities, digest: bytes | None, *, metadata: bool = True
) -> dict[str, str]:
    """All headers that describe a new object, for both Put Blob and Put Block List.

    Args:
        request: The write.
        able: Of the account.
        digest: SHA-256 of the body to record, or None.
        metadata: Whether the object's metadata is among them.

    Raises:
        StorageUnsupportedError: Azure cannot do what is requested.
        StorageInvalidRequestError: A header cannot be sent over HTTP.
    """
    check_put(request, able, NAME)
    joined = (
        join_metadata(request.metadata, request.system, request.write_id, digest) if metadata else NOTHING
    )
    return {
        **content_headers(request.headers),
        **metadata_headers(joined),
        **storage_headers(request.storage_class, request.tags, able, NAME),
        **lock_headers(request.retention),
    }


def put_blob(
    request: PutRequest, headers: dict[str, str], *, body: bytes | StreamBody, md5: str | None
) -> AzureRequest:
    """Put Blob.

    Args:
        request: The write.
        headers: That describe the blob, from `put_headers.py`; one is added.
        body: The bytes.
        md5: Their `Content-MD5`, which the service compares.
    """
    if md5 is not None:
        headers["content-md5"] = md5
    return made(
        AzureRequest,
        {
            "operation": "PutBlob",
            "method": "PUT",
            "key": request.key,
            "headers": headers,
            "body": body,
            "mutation": True,
            "replayable": request.body.replayable or isinstance(body, bytes),
        },
    )


def put_block(
    key: str, block_id: str, body: StreamBody, md5: str, encryption: ServerEncryption | None = None
) -> AzureRequest:
    """Put Block, encrypted like the whole object."""
    return AzureRequest(
        operation="PutBlock",
        method="PUT",
        key=key,
        query=(("comp", "block"), ("blockid", block_id)),
        headers={"content-md5": md5, **write_headers(encryption)},
        body=body,
        mutation=True,
    )


def put_block_list(
    key: str,
    block_ids: Sequence[str],
    headers: Mapping[str, str],
    encryption: ServerEncryption | None = None,
) -> AzureRequest:
    """Put Block List: the blocks become the object.

    Args:
        key: The object's key.
        block_ids: Of its blocks, in order.
        headers: Of the object, with its condition.
        encryption: Of the object and its blocks.
    """
    body = format_blocks(block_ids)
    return AzureRequest(
        operation="PutBlockList",
        method="PUT",
        key=key,
        query=(("comp", "blocklist"),),
        headers={
            **headers,
            **write_headers(encryption),
            "content-type": "application/xml",
            "content-md5": md5_of(body),
        },
        body=body,
        mutation=True,
    )


def drop_blocks(key: str) -> AzureRequest:
    """Put Blob of nothing where nothing is, which drops the blocks that are not committed."""
    return AzureRequest(
        operation="PutBlob",
        method="PUT",
        key=key,
        headers={"x-ms-blob-type": "BlockBlob", "if-none-match": "*"},
        body=b"",
        mutation=True,
    )


def get_block_list(key: str) -> AzureRequest:
    """Get Block List, of the blocks that are not committed."""
    return AzureRequest(
        operation="GetBlockList",
        method="GET",
        key=key,
        query=(("comp", "blocklist"), ("blocklisttype", "uncommitted")),
    )


def version_query(version_id: str | None) -> Query:
    """What names a kept version; empty for the current one."""
    return (("versionid", version_id),) if version_id is not None else ()


def _read(operation: str, method: str, key: str, options: ReadOptions, able: Capabilities) -> AzureRequest:
    check_read(options, able, NAME)
    headers = {"if-match": format_etag(options.if_match)} if options.if_match is not None else {}
    headers |= key_headers(options.customer_key)
    return AzureRequest(
        operation=operation, method=method, key=key, query=version_query(options.version_id), headers=headers
    )


def get_blob(
    key: str, options: ReadOptions, able: Capabilities, span: tuple[int, int | None] | None
) -> AzureRequest:
    """Get Blob.

    Args:
        key: The object's key.
        options: Version and condition.
        able: Of the account.
        span: First byte and one past the last, or None for its end; None for the whole object.
    """
    request = _read("GetBlob", "GET", key, options, able)
    if span is None:
        return request
    start, end = span
    # Not `Range`, about whose place in the signature Azure's own clients and documents do not agree.
    ranged = {"x-ms-range": f"bytes={start}-{'' if end is None else end - 1}"}
    return AzureRequest(
        operation=request.operation,
        method=request.method,
        key=key,
        query=request.query,
        headers={**request.headers, **ranged},
    )


def head_blob(key: str, options: ReadOptions, able: Capabilities) -> AzureRequest:
    """Get Blob Properties."""
    return _read("GetBlobProperties", "HEAD", key, options, able)


def delete_blob(
    key: str, able: Capabilities, *, if_match: str | None, version_id: str | None
) -> AzureRequest:
    """Delete Blob, without its snapshots.

    Raises:
        StorageUnsupportedError: The account keeps no versions.
    """
    check_delete(if_match, version_id, able, NAME)
    return AzureRequest(
        operation="DeleteBlob",
        method="DELETE",
        key=key,
        query=version_query(version_id),
        headers={"if-match": format_etag(if_match)} if if_match is not None else {},
        mutation=True,
    )


def batch(body: StreamBody, boundary: str) -> AzureRequest:
    """Blob Batch below the container."""
    return AzureRequest(
        operation="BlobBatch",
        method="POST",
        query=(("restype", "container"), ("comp", "batch")),
        headers={"content-type": f"multipart/mixed; boundary={boundary}"},
        body=body,
        mutation=True,
    )


def list_blobs(
    prefix: str, marker: str | None, limit: int, *, delimiter: str | None = None, include: str = ""
) -> AzureRequest:
    """List Blobs.

    Args:
        prefix: What the names start with.
        marker: From the page before, or None.
        limit: Names on the page.
        delimiter: What cuts names off.
        include: What else is listed: "versions", "uncommittedblobs".
    """
    query = [("restype", "container"), ("comp", "list"), ("maxresults", str(limit))]
    for name, value in (
        ("prefix", prefix),
        ("delimiter", delimiter),
        ("marker", marker),
        ("include", include),
    ):
        if value:
            query.append((name, value))
    return AzureRequest(operation="ListBlobs", method="GET", query=tuple(query))


def copied_headers(request: CopyRequest, able: Capabilities, tags: Mapping[str, str]) -> dict[str, str]:
    """All headers that describe a copy: everything from the source, with a new write-id.

    Without its encryption, as they are kept while others are waited for, and a key is in no frame of that.

    Raises:
        StorageUnsupportedError: Something that is asked for cannot be had.
    """
    check_copy(request, able, NAME)
    source = request.source
    if source.encryption == "SSE-C" and not isinstance(request.source_customer_key, CustomerKey):
        raise no_encryption_of_source("SSE-C").of(NAME)
    system = (source.system or {}) if request.system is None else request.system
    joined = join_metadata(source.metadata or {}, system, request.write_id, source.digest)
    headers = metadata_headers(joined) | tag_headers(tags) | lock_headers(request.retention)
    if source.headers is not None:
        headers |= content_headers(source.headers)
    # A tier that the account chose is its default for the copy too.
    if source.storage_class in able.storage_classes and INFERRED not in source.extras:
        headers[TIER] = str(source.storage_class)
    write_headers(encryption_of(request))
    return headers


def keeps_key(request: CopyRequest) -> bool:
    """Whether it only rewrites the metadata of a blob, so that this stays encrypted as it is."""
    source, asked = request.source, encryption_of(request)
    if request.destination != source.key:
        return False
    if isinstance(asked, CustomerKey):
        return source.encryption == "SSE-C" and asked == request.source_customer_key
    if isinstance(asked, KmsKey):
        return source.kms_key_id == asked.key_id
    return source.encryption in {None, "AES256"}


def encryption_of(request: CopyRequest) -> ServerEncryption | None:
    """What the copy is encrypted with: as requested, or with the key or scope of its source."""
    if request.encryption is not None:
        return request.encryption
    if request.source_customer_key is not None:
        return request.source_customer_key
    scope = request.source.kms_key_id
    return None if scope is None else KmsKey(scope)


def set_metadata(request: CopyRequest, able: Capabilities) -> AzureRequest:
    """Set Blob Metadata: a copy onto itself, pinned to the version that was looked at."""
    kept = {
        name: value for name, value in copied_headers(request, able, NOTHING).items() if name.startswith(META)
    } | write_headers(encryption_of(request))
    etag = strong_etag(request.source.etag)
    return AzureRequest(
        operation="SetBlobMetadata",
        method="PUT",
        key=request.destination,
        query=(("comp", "metadata"),),
        headers=kept if etag is None else {**kept, "if-match": f'"{etag}"'},
        mutation=True,
    )


def _source(url: str, request: CopyRequest) -> dict[str, str]:
    strong = strong_etag(request.source.etag)
    pinned = {} if strong is None else {"x-ms-source-if-match": f'"{strong}"'}
    return {COPY_SOURCE: url, **pinned, **source_headers(request.source_customer_key)}


def put_blob_from_url(request: CopyRequest, url: str, headers: Mapping[str, str]) -> AzureRequest:
    """Put Blob From URL, pinned to the source (P8).

    Args:
        request: The copy.
        url: Of the source, without a signature.
        headers: Of the copy, with its condition.
    """
    return AzureRequest(
        operation="PutBlobFromURL",
        method="PUT",
        key=request.destination,
        headers={
            **headers,
            **write_headers(encryption_of(request)),
            **_source(url, request),
            "x-ms-blob-type": "BlockBlob",
            "x-ms-copy-source-blob-properties": "false",
        },
        mutation=True,
    )


def put_block_from_url(request: CopyRequest, url: str, block_id: str, span: tuple[int, int]) -> AzureRequest:
    """Put Block From URL, pinned to the source; `span` is its first byte and the one past its last."""
    start, end = span
    return AzureRequest(
        operation="PutBlockFromURL",
        method="PUT",
        key=request.destination,
        query=(("comp", "block"), ("blockid", block_id)),
        headers={
            **_source(url, request),
            **write_headers(encryption_of(request)),
            "x-ms-source-range": f"bytes={start}-{end - 1}",
        },
        mutation=True,
    )


def copy_blob(request: CopyRequest, url: str, headers: Mapping[str, str]) -> AzureRequest:
    """Copy Blob, which the service may still be at when it responds; content headers are the source's."""
    return AzureRequest(
        operation="CopyBlob",
        method="PUT",
        key=request.destination,
        headers={
            **{name: value for name, value in headers.items() if not name.startswith("x-ms-blob-")},
            **write_headers(encryption_of(request)),
            **_source(url, request),
        },
        mutation=True,
    )


def abort_copy(key: str, copy_id: str) -> AzureRequest:
    """Abort Copy Blob: what was copied so far becomes an empty blob."""
    return AzureRequest(
        operation="AbortCopyBlob",
        method="PUT",
        key=key,
        query=(("comp", "copy"), ("copyid", copy_id)),
        headers={"x-ms-copy-action": "abort"},
        mutation=True,
    )


def set_tier(key: str, tier: str, priority: str, version_id: str | None) -> AzureRequest:
    """Set Blob Tier, out of the archive with a priority."""
    return AzureRequest(
        operation="SetBlobTier",
        method="PUT",
        key=key,
        query=(("comp", "tier"), *version_query(version_id)),
        headers={TIER: tier, "x-ms-rehydrate-priority": priority},
        mutation=True,
    )


def get_tags(key: str, version_id: str | None) -> AzureRequest:
    """Get Blob Tags."""
    return AzureRequest(
        operation="GetBlobTags", method="GET", key=key, query=(("comp", "tags"), *version_query(version_id))
    )


def set_tags(key: str, tags: Mapping[str, str]) -> AzureRequest:
    """Set Blob Tags, which replaces all."""
    tag_headers(tags)
    body = format_tags(tags)
    return AzureRequest(
        operation="SetBlobTags",
        method="PUT",
        key=key,
        query=(("comp", "tags"),),
        headers={"content-type": "application/xml", "content-md5": md5_of(body)},
        body=body,
        mutation=True,
    )


def delegation_key(start: datetime, expiry: datetime) -> AzureRequest:
    """Get User Delegation Key."""
    return AzureRequest(
        operation="GetUserDelegationKey",
        method="POST",
        whole_account=True,
        query=(("restype", "service"), ("comp", "userdelegationkey")),
        headers={"content-type": "application/xml"},
        body=format_key_info(start, expiry),
    )
