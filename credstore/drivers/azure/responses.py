"""What a response of Azure says: its headers as values, its errors as `StorageError`. Pure.

Rules of this file: no text of a response reaches a message, since it may repeat what was sent; a missing
header is None or a typed error, never a KeyError. XML is read by `xml.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from credstore.driver.header_text import read_etag, readable
from credstore.driver.meaning import Meaning
from credstore.driver.values import ObjectInfo, split_metadata
from credstore.drivers.azure.encryption import SCOPE, read_encryption
from credstore.drivers.azure.errors import meaning_of
from credstore.drivers.azure.headers import (
    LEGAL_HOLD,
    POLICY_END,
    POLICY_MODE,
    TIER,
    read_content_headers,
    read_metadata,
)
from credstore.drivers.azure.xml import parse_error, parse_size
from credstore.errors import (
    Applied,
    ErrorCode,
    RetentionMode,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
)
from credstore.model import NOTHING, Retention
from credstore.quick import made
from credstore.times import parse_time

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
INFERRED = "x-ms-access-tier-inferred"
"""Says that a blob's tier is only the account's default; kept in `ObjectInfo.extras`."""
_ENDED_EARLY = frozenset({"unlocked", "mutable"})
"""Modes of immutability policies that can be shortened and removed."""


def is_of_azure(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a failure that arrived through a proxy is Azure's own."""
    return has_header_of_azure(headers) or code_of(headers, body)[0] is not None


def has_header_of_azure(headers: Mapping[str, str]) -> bool:
    """Whether there is a header that only Azure's storage sends."""
    return "x-ms-request-id" in headers or "x-ms-error-code" in headers or "x-ms-version" in headers


def code_of(headers: Mapping[str, str], body: bytes) -> tuple[str | None, str]:
    """Azure's code and text, as far as there are any; a HEAD has the code only."""
    named = headers.get("x-ms-error-code")
    code = named if named is not None and _CODE.fullmatch(named) else None
    if not body.strip():
        return code, ""
    try:
        found, text = parse_error(body)
    except StorageIntegrityError:
        return code, ""
    return code or found, text


def classify(status: int, headers: Mapping[str, str], body: bytes) -> StorageError | None:
    """The error that a response means, or None for success; the caller sets `applied`."""
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's class of success
        return None
    code, text = code_of(headers, body)
    if code is None and 300 <= status < 500 and not has_header_of_azure(headers) and status not in {408, 429}:  # noqa: PLR2004
        return not_azure(status)
    return build_error(meaning_of(status, code, text), code, headers, status)


def build_error(
    meaning: Meaning, code: str | None, headers: Mapping[str, str], status: int | None
) -> StorageError:
    """The error for one row of the table and the facts of one response."""
    request_id = headers.get("x-ms-request-id", "")
    return meaning.built(code, status, request_id if _REQUEST_ID.fullmatch(request_id) else None)


def not_azure(status: int, applied: Applied = "no") -> StorageConfigurationError:
    """The error of a response that Azure cannot have sent."""
    return StorageConfigurationError(
        "something other than Azure Blob Storage responded; check `account` and `endpoint`, and whether a "
        "proxy or login page is in between",
        code=ErrorCode.NOT_S3,
        status_code=status,
        applied=applied,
    )


def check_is_azure(status: int, headers: Mapping[str, str], applied: Applied = "no") -> None:
    """Refuse a success that Azure cannot have given, such as a login page with status 200.

    Raises:
        StorageConfigurationError: The response has none of Azure's headers.
    """
    if not has_header_of_azure(headers):
        raise not_azure(status, applied)


def parse_info(key: str, headers: Mapping[str, str], *, size: int, served_by: str) -> ObjectInfo:
    """What the headers of a GET or HEAD say about an object.

    Args:
        key: The object's key.
        headers: With lower-case names.
        size: Stored bytes of the whole object.
        served_by: The provider's label.
    """
    headers = readable(headers)
    kept = split_metadata(read_metadata(headers))
    inferred = headers.get(INFERRED, "").lower() == "true"
    return made(
        ObjectInfo,
        {
            "key": key,
            "size": size,
            "etag": read_etag(headers.get("etag")),
            "last_modified": parse_time(headers.get("last-modified")),
            "storage_class": headers.get(TIER),
            "version_id": version_of(headers),
            "headers": read_content_headers(headers),
            "metadata": kept.metadata,
            "system": kept.system,
            "write_id": kept.write_id,
            "digest": kept.digest,
            "encryption": read_encryption(headers),
            "kms_key_id": headers.get(SCOPE),
            "tag_count": parse_size(headers.get("x-ms-tag-count")),
            "extras": {INFERRED: "true"} if inferred else NOTHING,
            "served_by": served_by,
        },
    )


def read_retention(headers: Mapping[str, str]) -> Retention:
    """What keeps the version that a response is about.

    A mode that is unknown counts as the one that cannot be ended early.
    """
    word = headers.get(POLICY_MODE, "").lower()
    mode: RetentionMode | None = None
    if word:
        mode = "governance" if word in _ENDED_EARLY else "compliance"
    return Retention(
        mode=mode,
        retain_until=parse_time(headers.get(POLICY_END)),
        legal_hold=headers.get(LEGAL_HOLD, "").lower() == "true",
    )


def version_of(headers: Mapping[str, str]) -> str | None:
    """The version that a response names."""
    return headers.get("x-ms-version-id") or None


def parse_content_range(text: str | None) -> tuple[int, int, int] | None:
    """First byte, one past the last, and total size in a 206; None if it does not say."""
    found = _CONTENT_RANGE.fullmatch(text or "")
    if found is None:
        return None
    first, last, total = (int(number) for number in found.groups())
    return (first, last + 1, total) if first <= last < total else None
