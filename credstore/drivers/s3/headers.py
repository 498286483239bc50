"""Values as S3 headers and back: metadata, content headers, encryption, conditions, tags. Pure.

Rules of this file: what is put in comes out exactly the same (`decode(encode(x)) == x`), and nothing can
escape from its header: text that is not plain ASCII travels as RFC 2047 encoded words, other values are
refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from credstore.driver.header_text import PLAIN, decode_text, encode_text
from credstore.driver.refusals import (
    check_condition,
    check_encryption,
    check_retention,
    check_storage_class,
    check_tags,
)
from credstore.driver.values import (
    DIGEST,
    ContentHeaders,
    Precondition,
    shared_headers,
    split_metadata,
)
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.options import S3PutOptions
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.model import NOTHING, Retention, strong_etag
from credstore.wire.transport import REMEMBERED

META = "x-amz-meta-"
SHA256 = "x-amz-checksum-sha256"
SSE = "x-amz-server-side-encryption"
SSE_C = SSE + "-customer-"
COPY_SSE_C = "x-amz-copy-source-server-side-encryption-customer-"
CONTENT_NAMES = {
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_language": "content-language",
}
"""Field of `ContentHeaders` to header."""
MISSING_META = "x-amz-missing-meta"
"""How many names of an object's metadata a response leaves out."""
REDIRECT = "x-amz-website-redirect-location"
"""Where a bucket that serves a website redirects requests for the object."""
_EXTRAS = ("expires", REDIRECT, MISSING_META)
_RARE = frozenset({"x-amz-version-id", "x-amz-tagging-count", *_EXTRAS})


def metadata_headers(joined: Mapping[str, str]) -> dict[str, str]:
    """The flat metadata of an object as headers."""
    return {META + name: encode_text(value) for name, value in joined.items()}


class Layout(NamedTuple):
    """Where in the headers of a response is what it says about an object.

    Attributes:
        metadata: Names of the user's metadata, and the header of each.
        system: Those of credstore's own, without write-id and digest.
        write_id: The header of the write-id, or None.
        digest: The header of the digest, or None.
        rare: Whether there is anything about its version, encryption or tags, or for `read_extras`.
    """

    metadata: Mapping[str, str]
    system: Mapping[str, str]
    write_id: str | None
    digest: str | None
    rare: bool


def layout_of(names: tuple[str, ...]) -> Layout:
    """That of a response with these headers (lower-case names), which most of a store's have in common."""
    return _layout_of(names) if len(names) <= REMEMBERED else _layout_of.__wrapped__(names)


@lru_cache(maxsize=64)
def _layout_of(names: tuple[str, ...]) -> Layout:
    kept = split_metadata({name.removeprefix(META): name for name in names if name.startswith(META)})
    digest = META + DIGEST
    return Layout(
        kept.metadata,
        kept.system,
        kept.write_id,
        digest if digest in names else None,
        rare=any(name in _RARE or name.startswith(SSE) for name in names),
    )


def read_metadata(named: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Metadata from the headers that have it, by its own names."""
    return {name: decode_text(headers[header]) for name, header in named.items()}


def content_headers(headers: ContentHeaders) -> dict[str, str]:
    """What is stored with the bytes for whoever fetches them.

    Raises:
        StorageInvalidRequestError: A value cannot be sent over HTTP.
    """
    found: dict[str, str] = {}
    for field, name in CONTENT_NAMES.items():
        value: str | None = getattr(headers, field)
        if value is None:
            continue
        found[name] = value
        if not PLAIN.fullmatch(value):
            raise StorageInvalidRequestError(
                f"{name} must be printable ASCII; for other characters in a file name use the form "
                "filename*=UTF-8''... of RFC 6266"
            )
    return found


def read_content_headers(headers: Mapping[str, str]) -> ContentHeaders:
    """The content headers of a response, without what only the transfer added.

    Some stores keep the transfer's own `aws-chunked` token as if it were part of the object's
    encoding (boto3 #4435, Ceph before 07/2025).
    """
    encoding = headers.get("content-encoding")
    if encoding is not None:
        tokens = [token.strip() for token in encoding.split(",")]
        encoding = ", ".join(token for token in tokens if token and token.lower() != "aws-chunked") or None
    return shared_headers(
        headers.get("content-type"),
        encoding,
        headers.get("cache-control"),
        headers.get("content-disposition"),
        headers.get("content-language"),
    )


def read_extras(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Which other headers of a response a copy with its own metadata has to carry (`ObjectInfo.extras`).

    Source: S3 API CopyObject: under the directive REPLACE nothing of the source is copied, and a website's
    redirect never is.
    """
    if not ("expires" in headers or REDIRECT in headers or MISSING_META in headers):
        return NOTHING  # As is nearly always the case.
    return {name: headers[name] for name in _EXTRAS if name in headers}


def extra_headers(extras: Mapping[str, str]) -> dict[str, str]:
    """The same for the copy.

    Raises:
        StorageUnsupportedError: The source has metadata that S3 does not show, so that it would be lost.
    """
    if extras.get(MISSING_META, "0") != "0":
        raise StorageUnsupportedError(
            "the source has metadata that cannot be read as headers and would be lost; nothing was sent"
        )
    return {name: value for name, value in extras.items() if name in _EXTRAS and name != MISSING_META}


def encryption_headers(encryption: ServerEncryption | None, dialect: S3Dialect) -> dict[str, str]:
    """Headers that request encryption at rest.

    Raises:
        StorageUnsupportedError: The cloud does not have this kind.
    """
    if encryption is None:
        return {}
    check_encryption(encryption, dialect.capabilities, dialect.name)
    if isinstance(encryption, CustomerKey):
        return customer_headers(encryption, dialect)
    if isinstance(encryption, KmsKey):
        named = {SSE + "-aws-kms-key-id": encryption.key_id} if encryption.key_id is not None else {}
        return {SSE: "aws:kms", **named}
    return {SSE: encryption} if dialect.capabilities.sse_s3 else {}


def to_confirm(encryption: ServerEncryption | None, dialect: S3Dialect) -> ServerEncryption | None:
    """Which part of a requested encryption has to be confirmed: all of it, unless it is not sent at all."""
    implied = encryption == "AES256" and not dialect.capabilities.sse_s3
    return None if implied else encryption


def customer_headers(
    key: ServerEncryption | None, dialect: S3Dialect, *, prefix: str = SSE_C
) -> dict[str, str]:
    """The customer-provided key (SSE-C) that every request about such an object carries.

    Args:
        key: A `CustomerKey`, or anything else for none.
        dialect: Of the cloud.
        prefix: `COPY_SSE_C` for the source of a copy.

    Raises:
        StorageUnsupportedError: The cloud does not accept such keys.
    """
    if not isinstance(key, CustomerKey):
        return {}
    check_encryption(key, dialect.capabilities, dialect.name)
    return {
        prefix + "algorithm": "AES256",
        prefix + "key": base64.b64encode(key.key).decode("ascii"),
        prefix + "key-md5": content_md5(key.key),
    }


@dataclass(frozen=True, slots=True)
class Told:
    """What a response says about encryption at rest.

    Attributes:
        kind: "AES256", "aws:kms", "SSE-C", another word of the provider's, or None.
        kms_key_id: Key of the key service, where reported.
        key_md5: Of the customer's key, in base64, where reported.
    """

    kind: str | None
    kms_key_id: str | None = None
    key_md5: str | None = None


def told_by(headers: Mapping[str, str]) -> Told:
    """What a response's headers (lower-case names) say about encryption at rest."""
    if SSE_C + "algorithm" in headers:
        return Told("SSE-C", None, headers.get(SSE_C + "key-md5"))
    return Told(*read_encryption(headers))


def read_encryption(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The kind of encryption at rest that a response reports, and the id of the key service's key."""
    if SSE_C + "algorithm" in headers:
        return "SSE-C", None
    kind = headers.get(SSE)
    return kind, headers.get(SSE + "-aws-kms-key-id") if kind is not None and kind != "AES256" else None


def unconfirmed(asked: ServerEncryption | None, told: Told) -> str | None:
    """Why a response does not confirm the encryption that was asked for; None if it does.

    Source: S3 API PutObject, CopyObject, CreateMultipartUpload: each response repeats the encryption used.
    """
    if asked is None:
        return None
    if isinstance(asked, CustomerKey):
        if told.kind != "SSE-C":
            return "the provider did not confirm the customer-provided key (SSE-C)"
        if told.key_md5 is not None and told.key_md5.strip() != content_md5(asked.key):
            return (
                "the provider confirmed a different customer-provided key (SSE-C) from the one that was sent"
            )
        return None
    if isinstance(asked, KmsKey):
        if told.kind != "aws:kms":
            return "the provider did not confirm the encryption with its key service (SSE-KMS)"
        if not _is_key(asked.key_id, told.kms_key_id):
            return "the provider did not confirm the key of its key service (SSE-KMS) that was asked for"
        return None
    return None if told.kind == asked else f"the provider did not confirm the encryption at rest ({asked})"


def kind_of(encryption: ServerEncryption) -> str:
    """The name that responses and results use for an encryption."""
    if isinstance(encryption, CustomerKey):
        return "SSE-C"
    return "aws:kms" if isinstance(encryption, KmsKey) else encryption


def _is_key(asked: str | None, told: str | None) -> bool:
    """Whether a reported key can be the one asked for by id, by ARN, or by alias, which is resolved."""
    if asked is None:
        return True
    if told is None:
        return False
    if "alias/" in asked and "alias/" not in told:
        return True
    short, long = sorted((asked, told), key=len)
    return short == long or long.endswith(("/" + short, ":" + short))


def condition_headers(precondition: Precondition, dialect: S3Dialect) -> dict[str, str]:
    """What makes a write conditional on the current state of its key.

    Raises:
        StorageUnsupportedError: The cloud would ignore the condition.
    """
    check_condition(precondition, dialect.capabilities, dialect.name)
    if precondition.mode == "create":
        return {"if-none-match": "*"}
    if precondition.etag is not None:
        return {"if-match": dialect.format_if_match(precondition.etag)}
    return {}


def option_headers(options: S3PutOptions) -> dict[str, str]:
    """The ACL; for retention and legal hold see `lock_headers`."""
    return {} if options.acl is None else {"x-amz-acl": options.acl}


def lock_headers(retention: Retention | None, dialect: S3Dialect) -> dict[str, str]:
    """Retention and legal hold of a new object.

    Raises:
        StorageUnsupportedError: The cloud does not have them.
    """
    found: dict[str, str] = {}
    if retention is None:
        return found
    check_retention(retention, dialect.capabilities, dialect.name)
    if retention.mode is not None and retention.retain_until is not None:
        found["x-amz-object-lock-mode"] = retention.mode.upper()
        found["x-amz-object-lock-retain-until-date"] = format_time(retention.retain_until)
    if retention.legal_hold:
        found["x-amz-object-lock-legal-hold"] = "ON"
    return found


def format_time(time: datetime) -> str:
    """An instant in UTC as S3 takes it, in whole seconds (ISO 8601)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def storage_headers(storage_class: str | None, tags: Mapping[str, str], dialect: S3Dialect) -> dict[str, str]:
    """Storage class and tags.

    Raises:
        StorageUnsupportedError: The cloud has no such class, or no tags.
    """
    found: dict[str, str] = {}
    if storage_class is not None:
        check_storage_class(storage_class, dialect.capabilities, dialect.name)
        found["x-amz-storage-class"] = storage_class
    if tags:
        check_tags(tags, dialect.capabilities, dialect.name)
        found |= tag_headers(tags)
    return found


def tag_headers(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a new object; empty if there are none."""
    pairs = (f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in tags.items())
    return {"x-amz-tagging": "&".join(pairs)} if tags else {}


def content_md5(data: bytes) -> str:
    """`Content-MD5` of a body: protection in transit, not security."""
    return format_md5(hashlib.md5(data, usedforsecurity=False).digest())


def format_md5(digest: bytes) -> str:
    """`Content-MD5` of a digest."""
    return base64.b64encode(digest).decode("ascii")


def format_sha256(digest: bytes) -> str:
    """`x-amz-checksum-sha256` of a digest."""
    return base64.b64encode(digest).decode("ascii")


def opaque_tag(etag: str) -> str:
    """What is in the quotes of an entity tag, also of a weak one: it names a part to its upload."""
    return etag[3:-1] if strong_etag(etag) is None else etag
