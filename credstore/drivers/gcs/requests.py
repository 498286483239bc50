"""One operation of Google's APIs as the parts of one request. Pure.

Rules of this file: no endpoint and no credential (those are the bucket's, see `bucket.py`); a builder refuses
what the store would ignore, so refusing costs no request. Every read of bytes accepts gzip, since the service
would otherwise decompress what is stored as gzip and send other bytes.

Source: the references of objects and uploads in the JSON API, and of GET Object in the XML API; "Transcoding
of gzip-compressed files".
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from credstore.driver.header_text import encode_text
from credstore.driver.refusals import (
    check_copy,
    check_delete,
    check_put,
    check_read,
    check_storage_class,
    no_encryption_of_source,
)
from credstore.driver.same_options import SameOptions
from credstore.driver.values import (
    DIGEST,
    WRITE_ID,
    Capabilities,
    CopyRequest,
    PutRequest,
    ReadOptions,
    join_metadata,
)
from credstore.drivers.gcs.capabilities import NAME
from credstore.drivers.gcs.encryption import SOURCE_HEADERS, key_headers, kms_query
from credstore.drivers.gcs.resources import (
    LISTED,
    Query,
    conditions,
    lock_properties,
    match,
    metadata,
    properties,
    wanted,
)
from credstore.encryption import CustomerKey, ServerEncryption
from credstore.model import NOTHING
from credstore.quick import made
from credstore.wire.transport import StreamBody

Place = Literal["object", "media", "objects", "bucket", "upload", "session", "batch"]
DEFAULT_TYPE = "application/octet-stream"
"""Content type of objects that were given none, which the service would choose too."""


@dataclass(frozen=True, kw_only=True)
class GcsRequest:
    """One request, apart from where it goes and who signs it.

    Attributes:
        operation: Google's name of the operation.
        method: HTTP method.
        place: Which kind of address it goes to.
        key: The object's key, where there is one.
        target: For "session": path and query that the service gave.
        tail: What comes after the object's path, percent-encoded.
        query: Decoded pairs.
        headers: With lower-case names.
        body: What is sent.
        mutation: Whether it changes the store.
        replayable: Whether the body can be sent again.
        probe: Whether it is sent even to an endpoint whose circuit is open.
    """

    operation: str
    method: str
    place: Place
    key: str | None = None
    target: str = field(default="", repr=False)
    tail: str = ""
    query: Query = ()
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)
    mutation: bool = False
    replayable: bool = True
    probe: bool = False


_encoded = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii


def _json(said: Mapping[str, Any]) -> bytes:
    return _encoded(said).encode("ascii")


MULTIPART: Query = (("uploadType", "multipart"),)
_OF_JSON = {"content-type": "application/json; charset=UTF-8"}


class Prepared(NamedTuple):
    """Properties as an upload in one request sends them.

    Attributes:
        content_type: Of the object.
        json: The document, or the start of it.
    """

    content_type: str
    json: str


class Described:
    """The properties of one bucket's new objects; those of writes with the same options are made once."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._same = SameOptions(_described)
        self._started = SameOptions(_started)

    def prepared(
        self,
        request: PutRequest,
        able: Capabilities,
        digest: bytes | None,
        checksum: tuple[str, str] | None = None,
    ) -> Prepared:
        """The document of `of` as text, with a checksum by the name of its property.

        Raises:
            StorageError: As `of`.
        """
        kind, start = self._started.of(request, able) or _started(request, able)
        kept = {**request.metadata, **request.system}
        kept.pop(WRITE_ID, None)
        if digest is not None:
            kept.pop(DIGEST, None)
        said = [f"{_quoted(name)}:{_quoted(encode_text(value))}" for name, value in kept.items()]
        said.append(f'"{WRITE_ID}":{_quoted(request.write_id)}')
        if digest is not None:
            said.append(f'"{DIGEST}":"{digest.hex()}"')
        end = "}" if checksum is None else f',"{checksum[0]}":"{checksum[1]}"}}'
        return Prepared(kind, f'{start},"name":{_quoted(request.key)},"metadata":{{{",".join(said)}}}{end}')

    def of(self, request: PutRequest, able: Capabilities, digest: bytes | None) -> dict[str, Any]:
        """All properties of a new object, for every kind of upload.

        Args:
            request: The write.
            able: Of the bucket.
            digest: SHA-256 of the body to record, or None.

        Raises:
            StorageUnsupportedError: Google cannot do what is requested.
            StorageInvalidRequestError: A header cannot be sent over HTTP.
        """
        joined = join_metadata(request.metadata, request.system, request.write_id, digest)
        return {
            **(self._same.of(request, able) or _described(request, able)),
            "name": request.key,
            "metadata": metadata(joined),
        }


def _described(request: PutRequest, able: Capabilities) -> dict[str, Any]:
    """What does not depend on the object."""
    check_put(request, able, NAME)
    found: dict[str, Any] = {
        "contentType": DEFAULT_TYPE,
        **properties(request.headers),
        **lock_properties(request.retention),
    }
    if request.storage_class is not None:
        found["storageClass"] = request.storage_class
    return found


def _started(request: PutRequest, able: Capabilities) -> Prepared:
    """The start of a document, and the content type in it."""
    said = _described(request, able)
    return Prepared(said["contentType"], _encoded(said)[:-1])


def empty(key: str) -> Prepared:
    """The properties of an object with nothing but a name."""
    return Prepared(DEFAULT_TYPE, _encoded({"name": key, "contentType": DEFAULT_TYPE}))


def insert(
    key: str,
    said: Prepared,
    query: Query,
    *,
    boundary: str,
    body: bytes | Callable[[], AsyncIterator[bytes | memoryview]],
    size: int,
    replayable: bool,
    headers: Mapping[str, str] = NOTHING,
) -> GcsRequest:
    """Objects: insert, properties and bytes in one request.

    Args:
        key: The object's key.
        said: Its properties, with its checksum where that is known.
        query: Its condition.
        boundary: Between the two, 128 bits that were drawn for this write, so that no body has them.
        body: The bytes, or what opens them.
        size: Of the bytes.
        replayable: Whether they can be sent again.
        headers: The customer-supplied key.
    """
    before = (
        f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n"
        f"{said.json}\r\n--{boundary}\r\ncontent-type: {said.content_type}\r\n\r\n"
    ).encode()
    after = f"\r\n--{boundary}--\r\n".encode()
    whole: bytes | StreamBody
    if isinstance(body, bytes):
        whole = b"".join((before, body, after))
    else:
        whole = StreamBody(len(before) + size + len(after), lambda: _framed(before, body, after))
    return made(
        GcsRequest,
        {
            "operation": "InsertObject",
            "method": "POST",
            "place": "upload",
            "key": key,
            "query": (*MULTIPART, *query) if query else MULTIPART,
            "headers": {"content-type": f"multipart/related; boundary={boundary}", **headers},
            "body": whole,
            "mutation": True,
            "replayable": replayable,
        },
    )


async def _framed(
    before: bytes, body: Callable[[], AsyncIterator[bytes | memoryview]], after: bytes
) -> AsyncGenerator[bytes | memoryview, None]:
    yield before
    chunks = body()
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    yield after


def begin_upload(
    key: str, said: Mapping[str, Any], query: Query, size: int | None, headers: Mapping[str, str] = NOTHING
) -> GcsRequest:
    """Begin a resumable upload; nothing of it shows under the key before it is finished."""
    announced = {} if size is None else {"x-upload-content-length": str(size)}
    return GcsRequest(
        operation="BeginUpload",
        method="POST",
        place="upload",
        key=key,
        query=(("uploadType", "resumable"), *query),
        headers={**_OF_JSON, "x-upload-content-type": said["contentType"], **announced, **headers},
        body=_json(said),
        mutation=True,
    )


def send_chunk(
    key: str,
    target: str,
    body: StreamBody | None,
    *,
    start: int,
    total: int | None,
    headers: Mapping[str, str] = NOTHING,
) -> GcsRequest:
    """Some bytes of a resumable upload, or none, which asks what has arrived.

    Args:
        key: The object's key.
        target: Of the upload.
        body: The bytes, or None.
        start: Where in the object they begin.
        total: Bytes of the object, where that is known; it ends when that many have arrived.
        headers: The customer-supplied key.
    """
    size = 0 if body is None or body.length is None else body.length
    span = f"{start}-{start + size - 1}" if size else "*"
    return GcsRequest(
        operation="SendChunk" if size else "UploadStatus",
        method="PUT",
        place="session",
        key=key,
        target=target,
        headers={"content-range": f"bytes {span}/{'*' if total is None else total}", **headers},
        body=body if size else b"",
        mutation=True,
    )


def give_up(key: str, target: str) -> GcsRequest:
    """Cancel a resumable upload."""
    return GcsRequest(
        operation="CancelUpload", method="DELETE", place="session", key=key, target=target, mutation=True
    )


def _generation(version_id: str | None) -> Query:
    return (("generation", version_id),) if version_id is not None else ()


def get_object(key: str, options: ReadOptions, able: Capabilities) -> GcsRequest:
    """Objects: get, the properties only."""
    check_read(options, able, NAME)
    return GcsRequest(
        operation="GetObject",
        method="GET",
        place="object",
        key=key,
        query=_generation(options.version_id),
        headers=key_headers(options.customer_key),
    )


def get_media(key: str, options: ReadOptions, able: Capabilities, *, ranged: bool) -> GcsRequest:
    """GET Object of the XML API, the bytes with all properties in headers.

    Args:
        key: The object's key.
        options: Version, condition and range.
        able: Of the store.
        ranged: Whether to name the range; False asks for all bytes.
    """
    check_read(options, able, NAME)
    headers = {"accept-encoding": "gzip", **key_headers(options.customer_key)}
    if options.if_match is not None:
        names = ("x-goog-if-generation-match", "x-goog-if-metageneration-match")
        headers |= dict(zip(names, wanted(options.if_match), strict=True))
    if ranged and options.suffix is not None:
        headers["range"] = f"bytes=-{options.suffix}"
    elif ranged:
        headers["range"] = f"bytes={options.start}-{'' if options.end is None else options.end - 1}"
    return made(
        GcsRequest,
        {
            "operation": "GetMedia",
            "method": "GET",
            "place": "media",
            "key": key,
            "query": _generation(options.version_id),
            "headers": headers,
        },
    )


def delete_object(
    key: str, able: Capabilities, *, if_match: str | None, version_id: str | None
) -> GcsRequest:
    """Objects: delete.

    Raises:
        StorageUnsupportedError: The server ignores conditions, or keeps no versions.
    """
    check_delete(if_match, version_id, able, NAME)
    return GcsRequest(
        operation="DeleteObject",
        method="DELETE",
        place="object",
        key=key,
        query=(*_generation(version_id), *(match(if_match) if if_match is not None else ())),
        mutation=True,
    )


def batch(body: bytes, boundary: str) -> GcsRequest:
    """Up to 100 requests in one."""
    return GcsRequest(
        operation="Batch",
        method="POST",
        place="batch",
        headers={"content-type": f"multipart/mixed; boundary={boundary}"},
        body=body,
        mutation=True,
    )


def list_objects(
    prefix: str,
    token: str | None,
    limit: int,
    *,
    delimiter: str | None = None,
    start: str | None = None,
    versions: bool = False,
) -> GcsRequest:
    """Objects: list.

    Args:
        prefix: What the names start with.
        token: From the page before, or None.
        limit: Names on the page.
        delimiter: What cuts names off.
        start: The first name that is wanted.
        versions: Also those that are not current.
    """
    optional = {"prefix": prefix or None, "pageToken": token, "delimiter": delimiter, "startOffset": start}
    pairs = [(name, value) for name, value in optional.items() if value]
    if versions:
        pairs.append(("versions", "true"))
    return GcsRequest(
        operation="ListObjects",
        method="GET",
        place="objects",
        query=(
            ("maxResults", str(limit)),
            ("fields", f"nextPageToken,prefixes,items({LISTED})"),
            *pairs,
        ),
    )


def get_bucket(fields: str) -> GcsRequest:
    """Buckets: get, some of its properties."""
    return GcsRequest(operation="GetBucket", method="GET", place="bucket", query=(("fields", fields),))


def copied(request: CopyRequest, able: Capabilities) -> dict[str, Any]:
    """All properties of a copy: those of its source, with credstore's own replaced.

    Raises:
        StorageUnsupportedError: Google cannot do what is requested, or cannot read the source.
    """
    check_copy(request, able, NAME)
    source = request.source
    if source.encryption == "SSE-C" and not isinstance(request.source_customer_key, CustomerKey):
        raise no_encryption_of_source("SSE-C").of(NAME)
    check_storage_class(source.storage_class, able, NAME)
    system = request.system if request.system is not None else source.system or NOTHING
    joined = join_metadata(source.metadata or NOTHING, system, request.write_id, source.digest)
    found: dict[str, Any] = {
        "contentType": DEFAULT_TYPE,
        "metadata": metadata(joined),
        **lock_properties(request.retention),
    }
    if source.headers is not None:
        found |= properties(source.headers)
    if source.storage_class is not None:
        found["storageClass"] = source.storage_class
    return found


def encryption_of(request: CopyRequest) -> ServerEncryption | None:
    """What the copy is encrypted with: as requested, or with the customer-supplied key of its source."""
    return request.source_customer_key if request.encryption is None else request.encryption


def rewrite(
    request: CopyRequest, said: Mapping[str, Any], tail: str, token: str | None, *, exact: bool
) -> GcsRequest:
    """Objects: rewrite, which is repeated with a token until all is copied.

    Args:
        request: The copy.
        said: Its properties, the same each time.
        tail: Where it goes.
        token: From the response before, or None.
        exact: Whether the server knows generations, so that one can be named.
    """
    source = request.source
    query = list(conditions(request.precondition))
    if exact and source.version_id is not None:
        query.append(("sourceGeneration", source.version_id))
    if exact and source.etag is not None:
        query += match(source.etag, "ifSource")
    if request.encryption is None and source.kms_key_id is not None:
        query.append(("destinationKmsKeyName", source.kms_key_id))
    query += kms_query(request.encryption, "destinationKmsKeyName")
    if token is not None:
        query.append(("rewriteToken", token))
    return GcsRequest(
        operation="RewriteObject",
        method="POST",
        place="object",
        key=source.key,
        tail=tail,
        query=tuple(query),
        headers={
            **_OF_JSON,
            **key_headers(encryption_of(request)),
            **key_headers(request.source_customer_key, SOURCE_HEADERS),
        },
        body=_json(said),
        mutation=True,
    )


def patch_metadata(key: str, joined: Mapping[str, str | None]) -> GcsRequest:
    """Objects: patch, of metadata; None removes a name."""
    return GcsRequest(
        operation="PatchObject",
        method="PATCH",
        place="object",
        key=key,
        headers=_OF_JSON,
        body=_json({"metadata": joined}),
        mutation=True,
    )


def patch_lock(
    key: str, said: Mapping[str, Any], etag: str | None, *, version_id: str | None, override: bool
) -> GcsRequest:
    """Objects: patch, of a retention or holds, if nothing else has changed since.

    Args:
        key: The object's key.
        said: The properties to set.
        etag: Of the object as it was looked at; None where the server has none.
        version_id: A kept version, or None for the current one.
        override: Whether an "Unlocked" retention may be shortened, locked or removed.
    """
    unlocked = (("overrideUnlockedRetention", "true"),) if override else ()
    return GcsRequest(
        operation="PatchObject",
        method="PATCH",
        place="object",
        key=key,
        query=(*_generation(version_id), *(match(etag) if etag is not None else ()), *unlocked),
        headers=_OF_JSON,
        body=_json(said),
        mutation=True,
    )
