"""The XML documents in S3's responses, as values. Pure.

Rules of this file: documents are read by `records.py` alone, which bounds them; a missing field is None or a
typed error, never a KeyError.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from urllib.parse import unquote_plus, unquote_to_bytes

from credstore.driver.header_text import read_etag
from credstore.driver.values import ObjectInfo
from credstore.drivers.s3.headers import opaque_tag
from credstore.drivers.s3.records import Document, Fields, Shape, needed, read, repeated, unreadable
from credstore.errors import RetentionMode, StorageIntegrityError
from credstore.model import NOTHING
from credstore.times import parse_time

NULL_VERSION = "null"
"""Names what was stored while versions were off."""
_BYTES = re.compile("[^\ud800-\udc7f\udd00-\udfff]*")
"""Names whose surrogates stand for bytes."""
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The fields of an `<Error>`; `region` is the hint of a wrong-region response."""

    code: str | None = None
    message: str = ""
    region: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListReply:
    """One page of ListObjectsV2.

    Attributes:
        entries: The objects.
        prefixes: The common prefixes.
        cursor: Token of the next page, or None.
        unreadable: Of the objects and prefixes whose names cannot be decoded, what can be shown of them.
        unsized: Places in `entries` of the objects whose size is not a number; there it is 0.
    """

    entries: list[ObjectInfo]
    prefixes: Sequence[str]
    cursor: str | None
    unreadable: Sequence[str] = field(default_factory=list[str])
    unsized: Sequence[int] = field(default_factory=list[int])


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


def parse_size(text: str | None) -> int | None:
    """A size in bytes, or None if it is not a plain number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - digits of 2**63


_ERROR_FIELDS = frozenset({"Code", "Message", "Region", "RequestId"})
_ERROR = Shape(
    fields=_ERROR_FIELDS, records=frozenset({"Error"}), parts=_ERROR_FIELDS, needs=("Code", "Error")
)


def parse_error_fields(body: bytes) -> ErrorReply:
    """The fields of an `<Error>` document; what is missing or malformed is None.

    Raises:
        StorageIntegrityError: It is not such a document.
    """
    document = read(body, _ERROR)
    if not document.is_error:
        raise unreadable("is not an error")
    return _error_of(next(iter(document.all("Error")), document.fields))


def _error_of(fields: Fields) -> ErrorReply:
    code = fields.get("Code")
    return ErrorReply(
        code=code if code is not None and _CODE.fullmatch(code) else None,
        message=fields.get("Message", "")[:500],
        region=fields.get("Region"),
        request_id=fields.get("RequestId"),
    )


def _key(fields: Fields, *, encoded: bool) -> str:
    return _decoded(needed(fields, "Key"), encoded=encoded)


def _decoded(found: str, *, encoded: bool) -> str:
    try:
        if encoded and ("%" in found or "+" in found):
            return unquote_plus(found, errors="strict")
        if not found.isascii():
            found.encode()
    except UnicodeError:
        raise unreadable(f"has a key that is not UTF-8 ({_shown(found, encoded=encoded)})") from None
    return found


def _shown(found: str, *, encoded: bool) -> str:
    """What can be shown of a name that is not UTF-8."""
    raw = found.encode("utf-8", "surrogateescape" if _BYTES.fullmatch(found) else "backslashreplace")
    return (unquote_to_bytes(raw) if encoded else raw).decode("utf-8", "backslashreplace")


def _readable(found: str | None, odd: list[str], *, encoded: bool) -> str | None:
    """A name, or None with what can be shown of it in `odd`."""
    try:
        if found:
            return _decoded(found, encoded=encoded)
    except StorageIntegrityError:
        odd.append(_shown(found or "", encoded=encoded))
    else:
        odd.append("")
    return None


_LIST = Shape(
    fields=frozenset({"EncodingType", "IsTruncated", "NextContinuationToken"}),
    records=frozenset({"Contents", "CommonPrefixes"}),
    parts=frozenset({"Key", "Size", "ETag", "LastModified", "StorageClass", "Prefix"}),
    needs=("IsTruncated",),
)


def parse_list(body: bytes, label: str = "") -> ListReply:
    """One page of ListObjectsV2.

    Args:
        body: As received.
        label: Of the store, for `served_by` of the objects.

    Raises:
        StorageIntegrityError: It is not such a page, or is truncated without a token.
    """
    page = read(body, _LIST)
    encoded = page.fields.get("EncodingType") == "url"
    entries: list[ObjectInfo] = []
    prefixes: list[str] = []
    odd: list[str] = []
    unsized: list[int] = []
    for name, each in page.records:
        if name != "Contents":
            _add_prefix(name, each, prefixes, odd, encoded=encoded)
            continue
        key = each.get("Key")
        if not key or page.odd or (encoded and ("%" in key or "+" in key)):
            key = _readable(key, odd, encoded=encoded)
            if key is None:
                continue
        size = parse_size(each.get("Size"))
        if size is None:
            unsized.append(len(entries))
        entries.append(
            ObjectInfo.listed(
                key=key,
                size=size or 0,
                etag=read_etag(each.get("ETag")),
                last_modified=parse_time(each.get("LastModified")),
                storage_class=each.get("StorageClass") or None,
                served_by=label,
            )
        )
    cursor = page.needed("NextContinuationToken") if _is_truncated(page) else None
    return ListReply(entries, prefixes, cursor, odd, unsized)


def _add_prefix(name: str, fields: Fields, prefixes: list[str], odd: list[str], *, encoded: bool) -> None:
    """The prefix of `<CommonPrefixes>`, which has several at some servers."""
    found = fields.get("Prefix")
    if found is not None and name in _PREFIXES:
        # An empty one stands for nothing, which is found out above.
        shown = _readable(found, odd, encoded=encoded) if found else ""
        if shown is not None:
            prefixes.append(shown)


_PREFIXES = frozenset({"CommonPrefixes", repeated("CommonPrefixes")})


def _is_truncated(page: Document) -> bool:
    """Whether there is more.

    Raises:
        StorageIntegrityError: The page does not say.
    """
    truncated = page.fields.get("IsTruncated", "").strip().lower()  # Some servers write it as they please.
    if truncated not in {"true", "false", "1", "0"}:  # The forms of a boolean in XML.
        raise unreadable("does not say whether there is more")
    return truncated in {"true", "1"}


_DELETED = Shape(
    records=frozenset({"Deleted", "Error"}),
    parts=_ERROR_FIELDS | {"Key", "VersionId", "DeleteMarker", "DeleteMarkerVersionId"},
)


def parse_deleted(body: bytes) -> DeleteReply:
    """The outcome of each key of DeleteObjects."""
    deleted: dict[str, str | None] = {}
    failed: dict[str, ErrorReply] = {}
    for name, each in read(body, _DELETED).records:
        if name == "Deleted":
            deleted[_key(each, encoded=False)] = each.get("DeleteMarkerVersionId")
        elif name == "Error":
            failed[_key(each, encoded=False)] = _error_of(each)
    return DeleteReply(deleted, failed)


_STATUS = Shape(fields=frozenset({"Status"}))


def parse_versioning(body: bytes) -> bool:
    """Whether a bucket keeps versions, or kept some before versioning was suspended.

    A server that ignores the question sends something else, without such a status: it keeps none.
    """
    return read(body, _STATUS).fields.get("Status", "").strip() in {"Enabled", "Suspended"}


_VERSIONS = Shape(
    fields=frozenset({"EncodingType", "IsTruncated", "NextKeyMarker", "NextVersionIdMarker"}),
    records=frozenset({"Version", "DeleteMarker", "Contents"}),
    parts=frozenset({"Key", "VersionId", "IsLatest", "Size", "LastModified", "ETag", "StorageClass"}),
    needs=("IsTruncated", "Version", "DeleteMarker", "Contents"),
)


def parse_versions(body: bytes) -> VersionsReply:
    """One page of ListObjectVersions, by key, the latest first and the others in the order received.

    Raises:
        StorageIntegrityError: It is not such a page, or is truncated without a marker.
    """
    page = read(body, _VERSIONS)
    if page.all("Contents"):
        raise unreadable("lists objects where their versions were asked for")
    encoded = page.fields.get("EncodingType") == "url"
    entries = [
        _version(each, encoded=encoded, is_marker=name == "DeleteMarker")
        for name, each in page.records
        if name in _VERSIONS.records
    ]
    # Some servers list all delete markers at the end.
    entries.sort(key=lambda each: (each.key.encode(), not each.is_latest))
    if not _is_truncated(page):
        return VersionsReply(entries, None)
    marker = page.needed("NextKeyMarker")
    return VersionsReply(
        entries,
        (unquote_plus(marker) if encoded else marker, page.fields.get("NextVersionIdMarker") or None),
    )


def _version(fields: Fields, *, encoded: bool, is_marker: bool) -> VersionEntry:
    return VersionEntry(
        key=_key(fields, encoded=encoded),
        version_id=fields.get("VersionId") or NULL_VERSION,
        is_latest=fields.get("IsLatest") == "true",
        is_delete_marker=is_marker,
        size=(None if is_marker else parse_size(fields.get("Size"))) or 0,
        last_modified=parse_time(fields.get("LastModified")),
        etag=read_etag(fields.get("ETag")),
        storage_class=fields.get("StorageClass") or None,
    )


def parse_deleted_versions(body: bytes) -> DeletedVersionsReply:
    """The outcome of each version in DeleteObjects."""
    document = read(body, _DELETED)
    deleted = [
        DeletedVersion(
            _key(each, encoded=False),
            each.get("VersionId") or None,
            # A server that ignores the version adds a delete marker instead.
            is_marked="VersionId" not in each
            and (each.get("DeleteMarker", "").strip().lower() == "true" or "DeleteMarkerVersionId" in each),
        )
        for each in document.all("Deleted")
    ]
    failed = [
        (_key(each, encoded=False), each.get("VersionId") or None, _error_of(each))
        for each in document.all("Error")
    ]
    return DeletedVersionsReply(deleted, failed)


_RETENTION = Shape(fields=frozenset({"Mode", "RetainUntilDate"}))


def parse_retention(body: bytes) -> tuple[RetentionMode | None, datetime | None]:
    """Mode and end of a retention; None for both if the server ignored the question."""
    found = _answer(body, _RETENTION)
    return retention_mode(found.get("Mode")), parse_time(found.get("RetainUntilDate"))


def retention_mode(word: str | None) -> RetentionMode | None:
    """The mode of a retention; a word that is unknown counts as the one that cannot be ended early."""
    if not word:
        return None
    return "governance" if word.upper() == "GOVERNANCE" else "compliance"


def parse_legal_hold(body: bytes) -> bool:
    """Whether a legal hold is on; False if the server ignored the question."""
    return _answer(body, _STATUS).get("Status", "").upper() == "ON"


def _answer(body: bytes, shape: Shape) -> Fields:
    """A document about an object, or none: servers that do not know the question send the object itself."""
    try:
        return read(body, shape).fields
    except StorageIntegrityError:
        return {}


_LOCK_RULES = Shape(
    fields=frozenset({"ObjectLockEnabled"}),
    records=frozenset({"DefaultRetention"}),
    parts=frozenset({"Mode"}),
    nested=True,
    needs=("ObjectLockEnabled",),
)


def parse_lock_rules(body: bytes) -> bool:
    """Whether a bucket puts everything that is stored in it under retention."""
    return any(True for _ in read(body, _LOCK_RULES).all("DefaultRetention"))


_ATTRIBUTES = Shape(
    fields=frozenset({"ETag", "ObjectSize"}),
    records=frozenset({"Checksum"}),
    parts=frozenset({"ChecksumSHA256", "ChecksumType"}),
    needs=("ETag",),
)
_WHOLE = frozenset({"", "FULL_OBJECT"})


@dataclass(frozen=True, slots=True)
class AttributesReply:
    """What GetObjectAttributes says: entity tag, size, and the SHA-256 of the full object, or None."""

    etag: str | None
    size: int | None
    digest: bytes | None


def parse_attributes(body: bytes) -> AttributesReply:
    """What identifies an object, and its SHA-256; one of its parts' digests counts for none."""
    found = read(body, _ATTRIBUTES)
    told: Mapping[str, str] = next(iter(found.all("Checksum")), NOTHING)
    whole = told.get("ChecksumType", "") in _WHOLE
    return AttributesReply(
        etag=read_etag(found.fields.get("ETag")),
        size=parse_size(found.fields.get("ObjectSize")),
        digest=_digest(told.get("ChecksumSHA256", "")) if whole else None,
    )


def _digest(text: str) -> bytes | None:
    """A SHA-256 in base64; None for one with a number of parts behind it, which is of their digests."""
    try:
        found = b64decode(text, validate=True)
    except ValueError:
        return None
    return found if len(found) == sha256().digest_size else None


_ETAG = frozenset({"ETag"})
_COPIED = Shape(fields=_ETAG | {"ChecksumSHA256"}, needs=("ETag",))
_COMPLETED = Shape(fields=_ETAG | {"ChecksumSHA256"})
_STARTED = Shape(fields=frozenset({"UploadId"}), needs=("UploadId",))


def parse_copied(body: bytes) -> tuple[str | None, str | None]:
    """Entity tag and SHA-256, in base 64, of CopyObject's or UploadPartCopy's result, or None for each."""
    fields = read(body, _COPIED).fields
    return read_etag(fields.get("ETag")), fields.get("ChecksumSHA256")


def parse_upload_id(body: bytes) -> str:
    """Id of a new multipart upload."""
    return read(body, _STARTED).needed("UploadId")


def parse_completed(body: bytes) -> tuple[str | None, str | None]:
    """Entity tag of a completed upload and its SHA-256, as it is written, or None for each."""
    fields = read(body, _COMPLETED).fields
    return read_etag(fields.get("ETag")), fields.get("ChecksumSHA256")


_UPLOADS = Shape(
    fields=frozenset({"EncodingType", "IsTruncated", "NextKeyMarker", "NextUploadIdMarker"}),
    records=frozenset({"Upload"}),
    parts=frozenset({"Key", "UploadId", "Initiated"}),
    needs=("IsTruncated", "Upload", "MaxUploads"),
)


def parse_uploads(body: bytes) -> UploadsReply:
    """One page of ListMultipartUploads."""
    page = read(body, _UPLOADS)
    encoded = page.fields.get("EncodingType") == "url"
    uploads = [
        UploadInfo(_key(each, encoded=encoded), needed(each, "UploadId"), parse_time(each.get("Initiated")))
        for each in page.all("Upload")
        if each.get("Key") and each.get("UploadId")  # Nothing could be done about it without them.
    ]
    if page.fields.get("IsTruncated") != "true":
        return UploadsReply(uploads, None)
    marker = page.needed("NextKeyMarker")
    return UploadsReply(
        uploads, (unquote_plus(marker) if encoded else marker, page.needed("NextUploadIdMarker"))
    )


_PARTS = Shape(
    fields=frozenset({"IsTruncated", "NextPartNumberMarker"}),
    records=frozenset({"Part"}),
    parts=frozenset({"PartNumber", "Size", "ETag"}),
    needs=("UploadId", "IsTruncated", "Part"),
)


def parse_parts(body: bytes) -> PartsReply:
    """One page of ListParts.

    Raises:
        StorageIntegrityError: It is not such a page, or has a part without number, size or entity tag.
    """
    page = read(body, _PARTS)
    parts: list[PartInfo] = []
    for each in page.all("Part"):
        number, size = parse_size(each.get("PartNumber")), parse_size(each.get("Size"))
        etag = read_etag(each.get("ETag"))
        if not number or size is None or etag is None:
            raise unreadable("has a part without number, size or etag")
        parts.append(PartInfo(number, opaque_tag(etag), size))
    if page.fields.get("IsTruncated") != "true":
        return PartsReply(parts, None)
    after = parse_size(page.needed("NextPartNumberMarker"))
    if after is None:
        raise unreadable("does not say where it continues")
    return PartsReply(parts, after)


_TAGS = Shape(records=frozenset({"Tag"}), parts=frozenset({"Key", "Value"}), nested=True, needs=("TagSet",))


def parse_tags(body: bytes) -> dict[str, str]:
    """The tags of an object."""
    return {needed(tag, "Key"): tag.get("Value", "") for tag in read(body, _TAGS).all("Tag")}
