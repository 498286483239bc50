"""The XML documents in S3's responses, as values. Pure.

Rules of this file: a document is considered hostile until it is read (P20, L18): at most `MAX_XML` bytes, no
DTD, no entities; a missing field is None or a typed error, never a KeyError.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus, unquote_to_bytes

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from credstore.driver.header_text import read_etag
from credstore.drivers.s3.headers import opaque_tag
from credstore.errors import ErrorCode, StorageIntegrityError

MAX_XML = 16 * 1024 * 1024
"""Bytes of the largest response; 1,000 keys of 1,024 encoded bytes are under 5 MiB."""
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_ISO_TIME = re.compile(r"\d{4}(-?)\d\d\1\d\d[Tt ]\d\d", re.ASCII)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_ERRORS = frozenset({"error", "errorresponse"})
NULL_VERSION = "null"
"""Names what was stored while versions were off."""
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The fields of an `<Error>`; `region` is the hint of a wrong-region response."""

    code: str | None = None
    message: str = ""
    region: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One object of a listing; etag as in `ObjectInfo`, time in UTC, size None if it is not a number."""

    key: str
    size: int | None
    etag: str | None
    last_modified: datetime | None
    storage_class: str | None


@dataclass(frozen=True, slots=True)
class ListReply:
    """One page of ListObjectsV2.

    Attributes:
        entries: The objects.
        prefixes: The common prefixes.
        cursor: Token of the next page, or None.
        unreadable: Of the objects and prefixes whose names cannot be decoded, what can be shown of them.
    """

    entries: Sequence[ListEntry]
    prefixes: Sequence[str]
    cursor: str | None
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DeleteReply:
    """Outcome of each key in DeleteObjects: the delete marker's version, or the error's fields."""

    deleted: Mapping[str, str | None]
    failed: Mapping[str, ErrorReply]


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """One version or delete marker of a listing; etag without quotes, time in UTC."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    last_modified: datetime | None
    etag: str | None
    storage_class: str | None


@dataclass(frozen=True, slots=True)
class VersionsReply:
    """One page of ListObjectVersions; key and version to continue after, or None. The version may be None."""

    entries: Sequence[VersionEntry]
    markers: tuple[str, str | None] | None


@dataclass(frozen=True, slots=True)
class DeletedVersion:
    """A version that DeleteObjects says is gone; `is_marked` if a delete marker was put in its place."""

    key: str
    version_id: str | None
    is_marked: bool


@dataclass(frozen=True, slots=True)
class DeletedVersionsReply:
    """Outcomes of versions: those gone; for the others the key, the version or None, the error's fields."""

    deleted: Sequence[DeletedVersion]
    failed: Sequence[tuple[str, str | None, ErrorReply]]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part that an upload has: its number from 1, entity tag without quotes, and bytes."""

    number: int
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class PartsReply:
    """One page of ListParts; `after` is the number to continue after, or None at the end."""

    parts: list[PartInfo]
    after: int | None


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """A multipart upload that has not ended.

    Attributes:
        key: The object's key.
        upload_id: The id to abort it with.
        initiated: When it started, or None.
    """

    key: str
    upload_id: str
    initiated: datetime | None


@dataclass(frozen=True, slots=True)
class UploadsReply:
    """One page of ListMultipartUploads and the markers of the next, or None."""

    uploads: Sequence[UploadInfo]
    markers: tuple[str, str] | None


def parse_xml(body: bytes, *fields: str) -> ET.Element:
    """The root of a reply, whatever its name: servers differ in it (moto and rclone do), not in the fields.

    Args:
        body: As received; leading blanks are S3's way of keeping a slow answer alive (N15).
        fields: Names of children of which it has at least one; none where it may have none.

    Raises:
        StorageIntegrityError: It is too large, has a DTD or entities, is not XML, or is a different document.
    """
    if len(body) > MAX_XML:
        raise _unreadable(f"is larger than {MAX_XML} bytes")
    try:
        root: ET.Element = defusedxml.ElementTree.fromstring(body.lstrip(), forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException, ValueError, LookupError, RecursionError):
        raise _unreadable("is not the XML that S3 speaks") from None
    name = _local(root).lower()
    if name == "html" or (name in _ERRORS and "Code" not in fields):
        raise _unreadable("is not what was asked for")
    if fields and not any(_local(child) in fields for child in root):
        raise _unreadable(f"has no {' or '.join(fields)}")
    return root


def _unreadable(what: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's response {what}; check that the endpoint speaks S3 and that no proxy responds in "
        f"its place",
        code=ErrorCode.NOT_S3,
    )


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element if _local(child) == name)


def _text(element: ET.Element, name: str) -> str | None:
    return next((child.text or "" for child in _children(element, name)), None)


def _needed(element: ET.Element, name: str) -> str:
    found = _text(element, name)
    if not found:
        raise _unreadable(f"has no {name}")
    return found


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 (XML) or HTTP (header) date as UTC, or None if `datetime` cannot hold it."""
    if not text:
        return None
    try:
        if not text[:1].isdigit():
            found = _parse_http_date(text)
        elif _ISO_TIME.match(text):
            found = datetime.fromisoformat(text)
        else:
            return None  # Seconds since 1970, say, some of which would pass for a date.
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (
        ValueError,
        OverflowError,
        TypeError,
        IndexError,
    ):  # In UTC it may be before year 1 or after 9999.
        return None


def _parse_http_date(text: str) -> datetime:
    """An HTTP date; parses the form that servers send (RFC 9110 §5.6.7) in a tenth of the library's time."""
    match = _IMF_FIXDATE.fullmatch(text)
    month = _MONTHS.find(match[2]) if match else -1
    if match is None or month < 0:
        return parsedate_to_datetime(text)
    day, _, year, hour, minute, second = match.groups()
    return datetime(int(year), month // 3 + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)


def parse_size(text: str | None) -> int | None:
    """A size in bytes, or None if it is not a plain number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - digits of 2**63


def parse_error_fields(body: bytes) -> ErrorReply:
    """The fields of an `<Error>` document; what is missing or malformed is None.

    Raises:
        StorageIntegrityError: It is not such a document.
    """
    root = parse_xml(body, "Code", "Error")
    if _local(root).lower() not in _ERRORS:
        raise _unreadable("is not an error")
    return _error_of(next(_children(root, "Error"), root))


def _error_of(element: ET.Element) -> ErrorReply:
    code = _text(element, "Code")
    return ErrorReply(
        code=code if code is not None and _CODE.fullmatch(code) else None,
        message=(_text(element, "Message") or "")[:500],
        region=_text(element, "Region"),
        request_id=_text(element, "RequestId"),
    )


def _key(element: ET.Element, *, encoded: bool) -> str:
    return _decoded(_needed(element, "Key"), encoded=encoded)


def _decoded(found: str, *, encoded: bool) -> str:
    if not encoded:
        return found
    try:
        return unquote_plus(found, errors="strict")
    except UnicodeDecodeError:
        shown = unquote_to_bytes(found).decode("utf-8", "backslashreplace")
        raise _unreadable(f"has a key that is not UTF-8 ({shown})") from None


def _readable(found: str | None, unreadable: list[str], *, encoded: bool) -> str | None:
    """A name, or None with what can be shown of it in `unreadable`."""
    try:
        if found:
            return _decoded(found, encoded=encoded)
    except StorageIntegrityError:
        unreadable.append(unquote_to_bytes(found or "").decode("utf-8", "backslashreplace"))
    else:
        unreadable.append("")
    return None


def parse_list(body: bytes) -> ListReply:
    """One page of ListObjectsV2.

    Raises:
        StorageIntegrityError: It is not such a page, or is truncated without a token.
    """
    root = parse_xml(body, "IsTruncated")
    encoded = _text(root, "EncodingType") == "url"
    entries: list[ListEntry] = []
    unreadable: list[str] = []
    for each in _children(root, "Contents"):
        key = _readable(_text(each, "Key"), unreadable, encoded=encoded)
        if key is None:
            continue
        entries.append(
            ListEntry(
                key,
                parse_size(_text(each, "Size")),
                read_etag(_text(each, "ETag")),
                parse_time(_text(each, "LastModified")),
                _text(each, "StorageClass") or None,
            )
        )
    truncated = _text(root, "IsTruncated")
    if truncated not in {"true", "false"}:
        raise _unreadable("does not say whether there is more")
    prefixes: list[str] = []
    for group in _children(root, "CommonPrefixes"):
        for child in _children(group, "Prefix"):
            # An empty one stands for nothing, which is found out above.
            name = _readable(child.text, unreadable, encoded=encoded) if child.text else ""
            if name is not None:
                prefixes.append(name)
    cursor = _needed(root, "NextContinuationToken") if truncated == "true" else None
    return ListReply(entries, prefixes, cursor, unreadable)


def parse_deleted(body: bytes) -> DeleteReply:
    """The outcome of each key of DeleteObjects."""
    root = parse_xml(body)
    deleted = {
        _key(each, encoded=False): _text(each, "DeleteMarkerVersionId") for each in _children(root, "Deleted")
    }
    failed = {_key(each, encoded=False): _error_of(each) for each in _children(root, "Error")}
    return DeleteReply(deleted, failed)


def parse_versioning(body: bytes) -> bool:
    """Whether a bucket keeps versions, or kept some before versioning was suspended.

    A server that ignores the question sends something else, without such a status: it keeps none.
    """
    return (_text(parse_xml(body), "Status") or "").strip() in {"Enabled", "Suspended"}


def parse_versions(body: bytes) -> VersionsReply:
    """One page of ListObjectVersions, by key, the latest first and the others in the order received.

    Raises:
        StorageIntegrityError: It is not such a page, or is truncated without a marker.
    """
    root = parse_xml(body)
    if next(_children(root, "Contents"), None) is not None:
        raise _unreadable("lists objects where their versions were asked for")
    encoded = _text(root, "EncodingType") == "url"
    entries = [
        _version(each, encoded=encoded) for each in root if _local(each) in {"Version", "DeleteMarker"}
    ]
    # Some servers list all delete markers at the end.
    entries.sort(key=lambda each: (each.key.encode(), not each.is_latest))
    truncated = _text(root, "IsTruncated")
    if truncated not in {"true", "false"}:
        raise _unreadable("does not say whether there is more")
    if truncated == "false":
        return VersionsReply(entries, None)
    marker = _needed(root, "NextKeyMarker")
    return VersionsReply(
        entries,
        (unquote_plus(marker) if encoded else marker, _text(root, "NextVersionIdMarker") or None),
    )


def _version(element: ET.Element, *, encoded: bool) -> VersionEntry:
    is_marker = _local(element) == "DeleteMarker"
    return VersionEntry(
        key=_key(element, encoded=encoded),
        version_id=_text(element, "VersionId") or NULL_VERSION,
        is_latest=_text(element, "IsLatest") == "true",
        is_delete_marker=is_marker,
        size=(None if is_marker else parse_size(_text(element, "Size"))) or 0,
        last_modified=parse_time(_text(element, "LastModified")),
        etag=read_etag(_text(element, "ETag")),
        storage_class=_text(element, "StorageClass") or None,
    )


def parse_deleted_versions(body: bytes) -> DeletedVersionsReply:
    """The outcome of each version in DeleteObjects."""
    root = parse_xml(body)
    deleted = [
        DeletedVersion(
            _key(each, encoded=False),
            _text(each, "VersionId") or None,
            # A server that ignores the version adds a delete marker instead.
            is_marked=_text(each, "VersionId") is None
            and (
                (_text(each, "DeleteMarker") or "").strip().lower() == "true"
                or _text(each, "DeleteMarkerVersionId") is not None
            ),
        )
        for each in _children(root, "Deleted")
    ]
    failed = [
        (_key(each, encoded=False), _text(each, "VersionId") or None, _error_of(each))
        for each in _children(root, "Error")
    ]
    return DeletedVersionsReply(deleted, failed)


def parse_retention(body: bytes) -> tuple[str | None, datetime | None]:
    """Mode and end of a retention; None for both if the server ignored the question."""
    root = _answer(body)
    if root is None:
        return None, None
    return _text(root, "Mode") or None, parse_time(_text(root, "RetainUntilDate"))


def parse_legal_hold(body: bytes) -> bool:
    """Whether a legal hold is on; False if the server ignored the question."""
    root = _answer(body)
    return root is not None and (_text(root, "Status") or "").upper() == "ON"


def _answer(body: bytes) -> ET.Element | None:
    """A document about an object, or None: servers that do not know the question send the object itself."""
    try:
        return parse_xml(body)
    except StorageIntegrityError:
        return None


def parse_copied(body: bytes) -> str | None:
    """Entity tag of CopyObject's or UploadPartCopy's result, or None."""
    return read_etag(_text(parse_xml(body, "ETag"), "ETag"))


def parse_upload_id(body: bytes) -> str:
    """Id of a new multipart upload."""
    return _needed(parse_xml(body, "UploadId"), "UploadId")


def parse_completed(body: bytes) -> str | None:
    """Entity tag of a completed upload, or None."""
    return read_etag(_text(parse_xml(body), "ETag"))


def parse_uploads(body: bytes) -> UploadsReply:
    """One page of ListMultipartUploads."""
    root = parse_xml(body, "IsTruncated", "Upload", "MaxUploads")
    encoded = _text(root, "EncodingType") == "url"
    uploads = [
        UploadInfo(
            _key(each, encoded=encoded), _needed(each, "UploadId"), parse_time(_text(each, "Initiated"))
        )
        for each in _children(root, "Upload")
        if _text(each, "Key") and _text(each, "UploadId")  # Nothing could be done about it without them.
    ]
    if _text(root, "IsTruncated") != "true":
        return UploadsReply(uploads, None)
    marker = _needed(root, "NextKeyMarker")
    return UploadsReply(
        uploads, (unquote_plus(marker) if encoded else marker, _needed(root, "NextUploadIdMarker"))
    )


def parse_parts(body: bytes) -> PartsReply:
    """One page of ListParts.

    Raises:
        StorageIntegrityError: It is not such a page, or has a part without number, size or entity tag.
    """
    root = parse_xml(body, "UploadId", "IsTruncated", "Part")
    parts: list[PartInfo] = []
    for each in _children(root, "Part"):
        number, size = parse_size(_text(each, "PartNumber")), parse_size(_text(each, "Size"))
        etag = read_etag(_text(each, "ETag"))
        if not number or size is None or etag is None:
            raise _unreadable("has a part without number, size or etag")
        parts.append(PartInfo(number, opaque_tag(etag), size))
    if _text(root, "IsTruncated") != "true":
        return PartsReply(parts, None)
    after = parse_size(_needed(root, "NextPartNumberMarker"))
    if after is None:
        raise _unreadable("does not say where it continues")
    return PartsReply(parts, after)


def parse_tags(body: bytes) -> dict[str, str]:
    """The tags of an object."""
    root = parse_xml(body, "TagSet")
    return {
        _needed(tag, "Key"): _text(tag, "Value") or ""
        for tag_set in _children(root, "TagSet")
        for tag in _children(tag_set, "Tag")
    }
