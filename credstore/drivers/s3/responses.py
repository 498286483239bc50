"""What an S3 response says: its headers as values, its errors as `StorageError`. Pure.

Rules of this file: no text of a response reaches a message, since it may repeat what was sent; a
missing header is None or a typed error, never a KeyError. XML is read by `xml.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from credstore.driver.header_text import decode_text, read_etag, readable
from credstore.driver.location import BucketLocation
from credstore.driver.meaning import Meaning
from credstore.driver.values import ObjectInfo, parse_digest
from credstore.drivers.s3.errors import DENIED, NO_VERSION, ON_THE_WAY, REGION, meaning_of
from credstore.drivers.s3.headers import (
    SHA256,
    format_sha256,
    layout_of,
    read_content_headers,
    read_encryption,
    read_extras,
    read_metadata,
)
from credstore.drivers.s3.xml import NULL_VERSION, ErrorReply, parse_error_fields, parse_size
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
)
from credstore.quick import made
from credstore.times import parse_time
from credstore.wire.exchange import Reply

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_LOCATION_TYPE = re.compile(r"[A-Za-z]{1,32}")
_DECLARATION = re.compile(rb"<\?xml[^>]{0,200}\?>")
_ERROR_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,40}:)?Error(?:Response)?[\s>/]")
_ROOT = re.compile(
    rb"<(?:[A-Za-z_][\w.-]{0,40}:)?(?:"
    rb"ListBucketResult|ListVersionsResult|ListMultipartUploadsResult|ListPartsResult|DeleteResult|"
    rb"InitiateMultipartUpload(?:Result)?|CompleteMultipartUploadResult|CopyObjectResult|CopyPartResult|"
    rb"VersioningConfiguration|GetBucketVersioning\w{1,20}|Tagging|Retention|LegalHold"
    rb")[\s>/]"
)
"""Of documents that only S3 has."""
_BARE = frozenset(
    {
        "UploadPart",
        "DeleteObject",
        "AbortMultipartUpload",
        "PutObjectTagging",
        "DeleteObjectTagging",
        "PutObjectRetention",
        "PutObjectLegalHold",
    }
)
"""Changes whose success has no body."""
_ASKED = frozenset({"GetObjectRetention", "GetObjectLegalHold", "GetBucketVersioning"})
"""Questions that a server may not know, which then sends the object or a listing."""
_OF_BARE = frozenset({200, 204})
_COMMENT = re.compile(rb"<!--.{0,4000}?-->\s*", re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_NOT_OF_S3 = ("x-amz-cf-", "x-amz-apigw-")
"""Headers of AWS's edge and gateways, behind which any web server may be."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


_NOT_OF_STORES = frozenset({300, 302, 303, 305, 306, 511})
"""Statuses that only web servers, and networks that want a login first (RFC 6585 §6), send."""
_SILENT = frozenset({301, 307, 308, 501})
_CLEAR = frozenset({408, 412, 413, 414, 416, 429, 431})
"""Client errors whose status says all there is to say."""


class WrongRegionError(StorageConfigurationError):
    """The bucket is elsewhere; `region` says where, or is None. Never leaves this package."""

    default_code = ErrorCode.WRONG_REGION
    region: str | None = None


def _is_error(body: bytes) -> bool:
    """Whether a body that came with success is an `<Error>` anyway (N15).

    Any number of blanks may come first, and after the XML declaration: S3 sends them while it is at work.
    """
    return _ERROR_ROOT.match(_start_of(body)) is not None


def _start_of(body: bytes) -> bytes:
    """A document from its root on."""
    start = body.removeprefix(_BOM).lstrip()
    declaration = _DECLARATION.match(start)
    if declaration is not None:
        start = start[declaration.end() :].lstrip()
    while (comment := _COMMENT.match(start)) is not None:
        start = start[comment.end() :]
    return start


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a body is a web page: a proxy's or a console's, never S3's."""
    start = body.lstrip()[:256].lower()
    declared = headers.get("content-type", "").lower().startswith("text/html")
    return start.startswith((b"<!doctype html", b"<html")) or (declared and bool(start) and start[:1] != b"<")


def is_of_s3(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a failure that arrived through a proxy is S3's own, with one of S3's headers or an `<Error>`.

    Otherwise a proxy's own bare 404 would pass for an absent object.
    """
    return _is_error(body) or has_header_of_s3(headers)


def has_header_of_s3(headers: Mapping[str, str]) -> bool:
    """Whether there is a header that only a server that speaks S3 sends."""
    if "x-amz-request-id" in headers:
        return True  # As nearly always.
    return any(name.startswith("x-amz-") and not name.startswith(_NOT_OF_S3) for name in headers)


def speaks_s3(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a response shows that it comes from a store: by a header of S3's, or by a document."""
    return is_of_s3(headers, body) or (bool(body) and _document_of_s3(body))


def _document_of_s3(body: bytes) -> bool:
    return _ROOT.match(_start_of(body)) is not None


def as_of_head(status: int, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a GET of one byte as a HEAD would have had them: with the length of the whole object."""
    found = parse_content_range(headers.get("content-range"))
    told = {name: value for name, value in headers.items() if name != "content-range"}
    if found is not None:
        told["content-length"] = str(found[2])
    elif status == 206:  # noqa: PLR2004 - a part of something, and not said of what
        told.pop("content-length", None)
    return told


def location_of(headers: Mapping[str, str]) -> BucketLocation:
    """Where a bucket is, by the headers of HeadBucket; a directory bucket has a type and a name there.

    Source: S3 API HeadBucket, response elements.
    """
    kind = _matching(_LOCATION_TYPE, headers.get("x-amz-bucket-location-type"))
    name = _matching(_REGION, headers.get("x-amz-bucket-location-name"))
    return BucketLocation(region=name or _matching(_REGION, headers.get("x-amz-bucket-region")), type=kind)


def parse_error(headers: Mapping[str, str], body: bytes) -> ErrorReply:
    """The fields of an error response; what is missing or malformed is None."""
    region = _matching(_REGION, headers.get("x-amz-bucket-region"))
    request_id = _matching(_REQUEST_ID, headers.get("x-amz-request-id"))
    if not body.strip():
        return ErrorReply(region=region, request_id=request_id)
    try:
        found = parse_error_fields(body)
    except StorageIntegrityError:
        return ErrorReply(region=region, request_id=request_id)
    return replace(
        found,
        region=region or _matching(_REGION, found.region),
        request_id=request_id or _matching(_REQUEST_ID, found.request_id),
    )


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    return text if text is not None and pattern.fullmatch(text) else None


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    hint: str = "",
    anybody: bool = True,
) -> StorageError | None:
    """The error that a response means, or None for success.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: As much as was read; empty for HEAD and for a body left open.
        region: The region the request was signed for.
        hint: A sentence about this cloud for a refused access, or empty.
        anybody: Whether something else than the cloud may have answered, since the host is not its own.

    Returns:
        The error; a `WrongRegionError` if the bucket is elsewhere. The caller sets `applied`.
    """
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's class of success
        if not body:
            return None
        if is_html(headers, body):
            return not_s3(status)
        if not _is_error(body):
            return None
    reply = parse_error(headers, body)
    if 300 <= status < 500 and reply.code is None and _is_foreign(status, headers, body, anybody=anybody):  # noqa: PLR2004
        return (
            build_error(ON_THE_WAY[status], reply, status=status) if status in ON_THE_WAY else not_s3(status)
        )
    if status in _NOT_OF_STORES and reply.code is None:
        return not_s3(status)
    meaning = meaning_of(status, reply.code, reply.message)
    if status == 405 and headers.get("x-amz-delete-marker", "").lower() == "true":  # noqa: PLR2004
        meaning = NO_VERSION  # That version is a delete marker, which stands for nothing that could be read.
    if reply.code is None and status == 400 and reply.region not in {None, region}:  # noqa: PLR2004 - HEAD
        meaning = REGION
    return build_error(meaning, reply, status=status, hint=hint)


def _is_foreign(status: int, headers: Mapping[str, str], body: bytes, *, anybody: bool) -> bool:
    """Whether a refusal without a code of S3's is of something else: a web server, proxy or login page."""
    if is_html(headers, body):
        return True
    if status == 404:  # noqa: PLR2004 - "absent" is said only by a response that can say so
        return not _is_error(body) if body.strip() else anybody and not is_of_s3(headers, body)
    return status in ON_THE_WAY and not is_of_s3(headers, body)


def says_nothing(error: StorageError) -> bool:
    """Whether a refusal came without the code that gives its reason, as those of a HEAD do."""
    status = error.status_code
    if error.provider_code is not None or status is None or error.code == ErrorCode.VERSION_NOT_FOUND:
        return False
    return status in _SILENT or (400 <= status < 500 and status not in _CLEAR)  # noqa: PLR2004


def build_error(meaning: Meaning, reply: ErrorReply, *, status: int | None, hint: str = "") -> StorageError:
    """The error for one row of the table and the facts of one response."""
    is_region = meaning.code == ErrorCode.WRONG_REGION
    error_class = WrongRegionError if is_region else meaning.error
    message = f"{meaning.message}; {hint}" if hint and meaning is DENIED else meaning.message
    error = error_class(
        message,
        code=meaning.code or meaning.error.default_code,
        provider_code=reply.code,
        status_code=status,
        request_id=reply.request_id,
        retryable=meaning.error.default_retryable if meaning.retryable is None else meaning.retryable,
    )
    if isinstance(error, WrongRegionError):
        error.region = reply.region
    return error


def not_s3(status: int, applied: Applied = "no") -> StorageConfigurationError:
    """The error of a response that S3 cannot have sent."""
    return StorageConfigurationError(
        "a web page came back instead of an S3 response; check `endpoint`, and whether a proxy or login page "
        "is in between",
        code=ErrorCode.NOT_S3,
        status_code=status,
        applied=applied,
    )


def check_is_s3(status: int, headers: Mapping[str, str], applied: Applied = "no") -> None:
    """Refuse a success that S3 cannot have given, such as a login page with status 200.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        applied: What is then known about the request's effect.

    Raises:
        StorageConfigurationError: The response has neither an entity tag nor any of S3's headers.
    """
    if "etag" not in headers and not has_header_of_s3(headers):
        raise not_s3(status, applied)


def check_answers(operation: str, reply: Reply, *, anybody: bool) -> None:
    """Refuse a success that S3 does not give to an operation, where no header shows that it is S3's.

    Args:
        operation: S3's name of what was asked.
        reply: As received.
        anybody: Whether the host is not the cloud's own: then an object may come without one.

    Raises:
        StorageConfigurationError: It comes from something in between; `applied` is "maybe" for a change.
    """
    status, headers, body = reply.status, reply.headers, reply.body
    if operation in _BARE:
        if (body.strip() or status not in _OF_BARE) and not has_header_of_s3(headers):
            raise not_s3(status, "maybe")
    elif operation in _ASKED and not (speaks_s3(headers, body) or (anybody and "etag" in headers)):
        raise not_s3(status)


def check_is_version(version_id: str | None, status: int, headers: Mapping[str, str]) -> None:
    """Refuse an object that is not the version that was asked for: some servers ignore the question.

    Args:
        version_id: What was asked for, or None.
        status: HTTP status.
        headers: With lower-case names.

    Raises:
        StorageNotFoundError: The response names another version or none (code "VERSION_NOT_FOUND").
    """
    # Where no versions are kept, what is there is what S3 calls "null".
    if version_id is not None and (headers.get("x-amz-version-id") or NULL_VERSION) != version_id:
        raise StorageNotFoundError(
            "the server gave another version than was asked for, as servers do that keep none; leave "
            "version_id out, or set the flavor that the server has",
            code=ErrorCode.VERSION_NOT_FOUND,
            status_code=status,
        )


def check_checksum(headers: Mapping[str, str], digest: bytes | None) -> bool:
    """Compare what a provider says it stored with what was sent, where it says so (L02).

    An entity tag is never taken for an MD5, since those of objects in parts or encrypted are not.

    Args:
        headers: Of the response to a write, with lower-case names.
        digest: SHA-256 of what was sent, or None.

    Returns:
        Whether it has said so, and it is the same.

    Raises:
        StorageIntegrityError: It stored other bytes (code "CHECKSUM_MISMATCH", `applied` "maybe").
    """
    told = headers.get(SHA256)
    if told is None or digest is None or "-" in told:  # "-" and a number of parts: a different kind.
        return False
    if told.strip() != format_sha256(digest):
        raise StorageIntegrityError(
            "the provider's checksum is not that of the bytes that were sent; the object should not be used",
            code=ErrorCode.CHECKSUM_MISMATCH,
            applied="maybe",
        )
    return True


def parse_info(key: str, headers: Mapping[str, str], *, size: int, served_by: str) -> ObjectInfo:
    """What the headers of a GET or HEAD say about an object.

    Args:
        key: The object's key.
        headers: With lower-case names.
        size: Stored bytes of the whole object.
        served_by: The provider's label.
    """
    headers = readable(headers)
    layout = layout_of(tuple(headers))
    digest = layout.digest
    fields: dict[str, Any] = {
        "key": key,
        "size": size,
        "etag": read_etag(headers.get("etag")),
        "last_modified": parse_time(headers.get("last-modified")),
        "storage_class": headers.get("x-amz-storage-class", "STANDARD"),
        "headers": read_content_headers(headers),
        "metadata": read_metadata(layout.metadata, headers) if layout.metadata else {},
        "system": read_metadata(layout.system, headers) if layout.system else {},
        "write_id": None if layout.write_id is None else decode_text(headers[layout.write_id]),
        "digest": None if digest is None else parse_digest(decode_text(headers[digest])),
        "served_by": served_by,
    }
    if layout.rare:
        fields["version_id"] = version_of(headers)
        fields["encryption"], fields["kms_key_id"] = read_encryption(headers)
        fields["tag_count"] = parse_size(headers.get("x-amz-tagging-count"))
        fields["extras"] = read_extras(headers)
    return made(ObjectInfo, fields)


def version_of(headers: Mapping[str, str]) -> str | None:
    """The version that a response names; "null" is S3's word for none."""
    found = headers.get("x-amz-version-id")
    return None if found in {None, "", "null"} else found


def parse_content_range(text: str | None) -> tuple[int, int, int] | None:
    """First byte, one past the last, and total size in a 206; None if it does not say."""
    found = _CONTENT_RANGE.fullmatch(text or "")
    if found is None:
        return None
    first, last, total = (int(number) for number in found.groups())
    return (first, last + 1, total) if first <= last < total else None
