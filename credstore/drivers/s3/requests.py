"""One S3 operation as the parts of one request. Pure.

Rules of this file: no endpoint, region or credential (those are the bucket's, see `bucket.py`); XML is made
by a library or, for many keys, around texts that `escaped` made safe; a builder refuses what the cloud would
ignore, so refusing costs no request.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from credstore.driver.refusals import (
    COPY_IF_ABSENT,
    COPY_IF_MATCH,
    check_delete,
    check_read,
    no_encryption_of_source,
)
from credstore.driver.values import (
    CopyRequest,
    ObjectInfo,
    Precondition,
    PutRequest,
    ReadOptions,
    join_metadata,
)
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import (
    COPY_SSE_C,
    content_headers,
    content_md5,
    customer_headers,
    encryption_headers,
    extra_headers,
    lock_headers,
    metadata_headers,
    option_headers,
    storage_headers,
)
from credstore.drivers.s3.options import OPTIONS_NAME, checked_options, locked_with
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption
from credstore.model import NOTHING, strong_etag
from credstore.quick import made
from credstore.wire.transport import StreamBody
from credstore.wire.urls import encode_path

XML_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))
USUAL_CLASS = "STANDARD"
"""Storage class of objects for which none is given."""


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """One request, apart from where it goes and who signs it.

    Attributes:
        operation: S3's name of the operation.
        method: HTTP method.
        key: The object's key, or None for the bucket.
        query: Decoded pairs.
        headers: With lower-case names; may hold a customer key, so they are left out of the repr.
        body: What is sent.
        body_sha256: Hex SHA-256 of the body where it is known.
        mutation: Whether it changes the store.
        replayable: Whether the body can be sent again.
        probe: Whether it is sent even to an endpoint whose circuit is open.
        checked: Whether it has to carry the `Content-MD5` of its body; see `checksums.py`.
    """

    operation: str
    method: str
    key: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)
    body_sha256: str | None = None
    mutation: bool = False
    replayable: bool = True
    probe: bool = False
    checked: bool = False


def object_headers(request: PutRequest, dialect: S3Dialect, digest: bytes | None) -> dict[str, str]:
    """All headers that describe a new object, for both PutObject and CreateMultipartUpload.

    Args:
        request: The write.
        dialect: Of the cloud.
        digest: SHA-256 of the body to record, or None.

    Raises:
        StorageUnsupportedError: The cloud cannot do what is requested.
        StorageInvalidRequestError: A header cannot be sent over HTTP.
    """
    options = checked_options(request.driver_options.get(OPTIONS_NAME), dialect)
    joined = join_metadata(request.metadata, request.system, request.write_id, digest)
    found = {
        **content_headers(request.headers),
        **metadata_headers(joined),
        **encryption_headers(request.encryption, dialect),
        **storage_headers(request.storage_class, request.tags, dialect),
        **option_headers(options),
        **lock_headers(locked_with(request, dialect), dialect),
    }
    return found | extra_headers(request.extras) if request.extras else found


def put_object(
    request: PutRequest,
    headers: dict[str, str],
    *,
    body: bytes | StreamBody,
    digest: bytes | None,
    checked: bool = False,
) -> S3Request:
    """PutObject.

    Args:
        request: The write.
        headers: What describes the object, and the condition.
        body: The bytes.
        digest: Their SHA-256, signed where it is known.
        checked: Whether it carries their `Content-MD5`, which S3 requires for a locked object.
    """
    return made(
        S3Request,
        {
            "operation": "PutObject",
            "method": "PUT",
            "key": request.key,
            "headers": headers,
            "body": body,
            "body_sha256": digest.hex() if digest is not None else None,
            "mutation": True,
            "replayable": isinstance(body, bytes) or request.body.replayable,
            "checked": checked,
        },
    )


_PLAIN: Mapping[str, str] = {"accept-encoding": "identity"}


def _read(operation: str, method: str, key: str, options: ReadOptions, dialect: S3Dialect) -> S3Request:
    if options.customer_key is None and options.if_match is None and options.version_id is None:
        plain = {"operation": operation, "method": method, "key": key, "headers": _PLAIN}
        return made(S3Request, plain)
    check_read(options, dialect.capabilities, dialect.name)
    headers = {"accept-encoding": "identity", **customer_headers(options.customer_key, dialect)}
    if options.if_match is not None:
        headers["if-match"] = dialect.format_if_match(options.if_match)
    return S3Request(
        operation=operation, method=method, key=key, query=version_query(options.version_id), headers=headers
    )


def version_query(version_id: str | None) -> tuple[tuple[str, str], ...]:
    """What names a version of an object, or nothing for the current one."""
    return (("versionId", version_id),) if version_id is not None else ()


def get_object(key: str, options: ReadOptions, dialect: S3Dialect, *, ranged: bool) -> S3Request:
    """GetObject.

    Args:
        key: The object's key.
        options: Range, version, condition and customer key.
        dialect: Of the cloud.
        ranged: Whether to request only the range; otherwise the whole object is sent.
    """
    request = _read("GetObject", "GET", key, options, dialect)
    if not ranged:
        return request
    return replace(request, headers={**request.headers, "range": _range(options)})


def _range(options: ReadOptions) -> str:
    """The range of an object's bytes in the form of RFC 9110 §14.1.2."""
    if options.suffix is not None:
        return f"bytes=-{options.suffix}"
    return f"bytes={options.start}-{'' if options.end is None else options.end - 1}"


def head_object(key: str, options: ReadOptions, dialect: S3Dialect) -> S3Request:
    """HeadObject."""
    return _read("HeadObject", "HEAD", key, options, dialect)


def head_bucket() -> S3Request:
    """HeadBucket, whose response says in headers where the bucket is."""
    return S3Request(operation="HeadBucket", method="HEAD")


def asking(request: S3Request) -> S3Request:
    """A request whose refusal has a body that says why, in place of a HEAD whose refusal has none."""
    query = tuple(pair for pair in request.query if pair[0] != "partNumber")
    headers = {**request.headers, "range": "bytes=0-0"}
    return replace(request, operation="GetObject", method="GET", query=query, headers=headers)


def without_range(request: S3Request) -> S3Request:
    """The same for all of an object."""
    headers = {name: value for name, value in request.headers.items() if name != "range"}
    return replace(request, headers=headers)


def is_of_part(request: S3Request) -> bool:
    """Whether a request is about one part of an object."""
    return any(name == "partNumber" for name, _ in request.query)


def head_part(key: str, number: int, options: ReadOptions, dialect: S3Dialect) -> S3Request:
    """HeadObject for one part, as it was uploaded."""
    request = _read("HeadObject", "HEAD", key, options, dialect)
    return replace(request, query=(*request.query, ("partNumber", str(number))))


def delete_object(key: str, dialect: S3Dialect, *, if_match: str | None, version_id: str | None) -> S3Request:
    """DeleteObject.

    Raises:
        StorageUnsupportedError: The cloud would ignore the condition, or keeps no versions.
    """
    check_delete(if_match, version_id, dialect.capabilities, dialect.name)
    headers = {"if-match": dialect.format_if_match(if_match)} if if_match is not None else {}
    return S3Request(
        operation="DeleteObject",
        method="DELETE",
        key=key,
        query=version_query(version_id),
        headers=headers,
        mutation=True,
    )


def delete_objects(targets: Sequence[str] | Sequence[tuple[str, str]]) -> S3Request:
    """DeleteObjects for keys, or for versions (key, version id); older stores insist on the `Content-MD5`."""
    keys = [target if isinstance(target, str) else target[0] for target in targets]
    versions = [target[1] for target in targets if not isinstance(target, str)]
    if versions:
        pairs = zip(escaped(keys), escaped(versions), strict=True)
        objects = "</VersionId></Object><Object><Key>".join(
            [f"{key}</Key><VersionId>{version}" for key, version in pairs]
        )
        objects = f"<Object><Key>{objects}</VersionId></Object>"
    else:
        objects = "</Key></Object><Object><Key>".join(escaped(keys))
        objects = f"<Object><Key>{objects}</Key></Object>"
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Delete xmlns="{XML_NAMESPACE}">{objects}'
        "<Quiet>false</Quiet></Delete>"
    ).encode("utf-8", "xmlcharrefreplace")
    return S3Request(
        operation="DeleteObjects",
        method="POST",
        query=(("delete", ""),),
        headers={"content-type": "application/xml", "content-md5": content_md5(body)},
        body=body,
        mutation=True,
    )


def list_objects(
    prefix: str,
    cursor: str | None,
    limit: int,
    dialect: S3Dialect,
    *,
    delimiter: str | None = None,
    start_after: str | None = None,
) -> S3Request:
    """ListObjectsV2. With a cursor, S3 ignores `start-after`, so only the first page is requested with it."""
    query = [("list-type", "2"), ("max-keys", str(limit))]
    if dialect.url_encoded_list:
        query.append(("encoding-type", "url"))
    if prefix:
        query.append(("prefix", prefix))
    if delimiter:
        query.append(("delimiter", delimiter))
    if cursor is not None:
        query.append(("continuation-token", cursor))
    elif start_after:
        query.append(("start-after", start_after))
    return S3Request(operation="ListObjectsV2", method="GET", query=tuple(query))


def copy_source(
    bucket: str, source: ObjectInfo, key: ServerEncryption | None, dialect: S3Dialect
) -> dict[str, str]:
    """What to copy, pinned to the version that `source` describes (P8) if it has something to pin it to."""
    etag = strong_etag(source.etag)
    place = encode_path(f"/{bucket}/{source.key}")
    if source.version_id is not None:
        place += f"?versionId={encode_path(source.version_id)}"
    return {
        "x-amz-copy-source": place,
        **({} if etag is None else {"x-amz-copy-source-if-match": f'"{etag}"'}),
        **customer_headers(key, dialect, prefix=COPY_SSE_C),
    }


def copied_object_headers(request: CopyRequest, dialect: S3Dialect) -> dict[str, str]:
    """All headers that describe the copy: everything from the source, with a new write-id.

    A storage class is kept even if users cannot choose it, since the cloud has named it itself.

    Raises:
        StorageUnsupportedError: The cloud cannot encrypt as requested, or something would be lost.
    """
    source = request.source
    system = (source.system or {}) if request.system is None else request.system
    joined = join_metadata(source.metadata or {}, system, request.write_id, source.digest)
    headers = metadata_headers(joined)
    if source.headers is not None:
        headers.update(content_headers(source.headers))
    headers.update(extra_headers(source.extras))
    chosen = source.storage_class in dialect.capabilities.storage_classes
    if source.storage_class is not None and (chosen or source.storage_class != USUAL_CLASS):
        headers["x-amz-storage-class"] = source.storage_class
    headers.update(lock_headers(request.retention, dialect))
    return headers | encryption_headers(copied_encryption(request, dialect), dialect)


def copied_encryption(request: CopyRequest, dialect: S3Dialect) -> ServerEncryption | None:
    """Encryption of a copy: as requested, else the source's own kind and key.

    Raises:
        StorageUnsupportedError: The source has a kind that cannot be requested here.
    """
    if request.encryption is not None:
        return request.encryption
    source = request.source
    if isinstance(request.source_customer_key, CustomerKey):
        return request.source_customer_key
    if source.encryption == "aws:kms":
        return KmsKey(source.kms_key_id)
    if source.encryption == "AES256":
        return "AES256" if dialect.capabilities.sse_s3 else None
    if source.encryption is not None:
        raise no_encryption_of_source(source.encryption).of(dialect.name)
    return None


def copy_object(bucket: str, request: CopyRequest, dialect: S3Dialect) -> S3Request:
    """CopyObject, pinned to the source; tags are kept by S3's own default, if the cloud has it.

    Raises:
        StorageUnsupportedError: The cloud would ignore the destination's condition.
    """
    checked = request.provable and dialect.checks_sha256 and request.source.digest
    return S3Request(
        operation="CopyObject",
        method="PUT",
        key=request.destination,
        headers={
            **copy_source(bucket, request.source, request.source_customer_key, dialect),
            "x-amz-metadata-directive": "REPLACE",
            **copied_object_headers(request, dialect),
            **_copy_condition(request.precondition, dialect),
            **({"x-amz-checksum-algorithm": "SHA256"} if checked else {}),
        },
        mutation=True,
        # As for any locked object, some servers insist on a checksum of the body, which is empty here.
        checked=request.retention is not None,
    )


def _copy_condition(precondition: Precondition, dialect: S3Dialect) -> dict[str, str]:
    if precondition.mode == "create":
        if dialect.create_by_copy is None:
            raise COPY_IF_ABSENT.of(dialect.name)
        return {dialect.create_by_copy: "*"}
    if precondition.etag is not None:
        if not dialect.replace_by_copy:
            raise COPY_IF_MATCH.of(dialect.name)
        return {"if-match": dialect.format_if_match(precondition.etag)}
    return {}


def get_tagging(key: str, version_id: str | None) -> S3Request:
    """GetObjectTagging."""
    return S3Request(
        operation="GetObjectTagging",
        method="GET",
        key=key,
        query=(("tagging", ""), *version_query(version_id)),
    )


def put_tagging(key: str, version_id: str | None, tags: Mapping[str, str]) -> S3Request:
    """PutObjectTagging, to replace all tags by these; DeleteObjectTagging if there are none."""
    query = (("tagging", ""), *version_query(version_id))
    if not tags:  # Some servers fail on an empty set.
        return S3Request(
            operation="DeleteObjectTagging", method="DELETE", key=key, query=query, mutation=True
        )
    root = ET.Element("Tagging", {"xmlns": XML_NAMESPACE})
    tag_set = ET.SubElement(root, "TagSet")
    for name, value in tags.items():
        tag = ET.SubElement(tag_set, "Tag")
        ET.SubElement(tag, "Key").text = name
        ET.SubElement(tag, "Value").text = value
    return put_document("PutObjectTagging", key, query, root)


def put_document(
    operation: str,
    key: str,
    query: tuple[tuple[str, str], ...],
    root: ET.Element,
    headers: Mapping[str, str] = NOTHING,
) -> S3Request:
    """A document about an object, which replaces the one that is there.

    Args:
        operation: S3's name of the operation.
        key: The object's key.
        query: What it is about.
        root: The document.
        headers: Besides those of the document.
    """
    body = format_xml(root)
    return S3Request(
        operation=operation,
        method="PUT",
        key=key,
        query=query,
        headers={"content-type": "application/xml", "content-md5": content_md5(body), **headers},
        body=body,
        mutation=True,
    )


def escaped(texts: Sequence[str]) -> list[str]:
    """The texts as XML's character data (XML 1.0 section 2.4), escaped all at once, since there are many.

    A carriage return is written as a reference, since parsers read it as a line feed.
    """
    found = _escape("\0".join(texts)).split("\0")  # No XML document can contain this character.
    return found if len(found) == len(texts) else [_escape(text) for text in texts]


def _escape(text: str) -> str:
    for character, reference in _REFERENCES:
        text = text.replace(character, reference)
    return text


def format_xml(root: ET.Element) -> bytes:
    """A document as UTF-8 bytes."""
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
