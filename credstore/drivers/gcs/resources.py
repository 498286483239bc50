"""Objects as Google's JSON has them, and back: properties, metadata, generations, checksums. Pure.

Rules of this file: what is put in comes out exactly the same. The entity tag of an object is here its
generation and metageneration, since conditions go by these; its version id is the generation. Values of
metadata are as on S3 (`header_text.py`), so that they are the same through the XML API.

Source: "Objects" (resource representations) of the JSON API; "Object metadata" of cloud.google.com/storage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from operator import methodcaller
from typing import Any, cast

from credstore.driver.header_text import PLAIN, decode_text, encode_text, readable
from credstore.driver.values import ContentHeaders, ObjectInfo, Precondition, shared_headers, split_metadata
from credstore.errors import ErrorCode, RetentionMode, StorageIntegrityError, StorageInvalidRequestError
from credstore.model import NOTHING, Retention
from credstore.quick import made
from credstore.times import parse_time

Resource = Mapping[str, Any]
Query = tuple[tuple[str, str], ...]
PROPERTIES = {
    "content_type": "contentType",
    "content_encoding": "contentEncoding",
    "cache_control": "cacheControl",
    "content_disposition": "contentDisposition",
    "content_language": "contentLanguage",
}
"""Field of `ContentHeaders` to the property of an object."""
GENERATION = "x-goog-generation"
_META = "x-goog-meta-"
_IS_META = methodcaller("startswith", _META)
LISTED = "name,size,generation,metageneration,timeCreated,timeDeleted,storageClass"
"""Properties that a listing is asked for."""
CRC32C, MD5 = "crc32c", "md5Hash"
RETENTION, HOLD, EVENT_HOLD = "retention", "temporaryHold", "eventBasedHold"
_ETAG = re.compile(r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})")
_DIGITS = 19
_MODES: Mapping[RetentionMode, str] = {"compliance": "Locked", "governance": "Unlocked"}
"""Modes of `Retention` to those of objects here; whoever has a permission for it can end "Unlocked" early."""


def properties(headers: ContentHeaders) -> dict[str, str]:
    """What is stored with the bytes for whoever fetches them.

    Raises:
        StorageInvalidRequestError: A value cannot be sent over HTTP.
    """
    found: dict[str, str] = {}
    for field, name in PROPERTIES.items():
        value: str | None = getattr(headers, field)
        if value is None:
            continue
        if not PLAIN.fullmatch(value):
            raise StorageInvalidRequestError(
                f"{field} must be printable ASCII; for other characters in a file name use the form "
                "filename*=UTF-8''... of RFC 6266"
            )
        found[name] = value
    return found


def metadata(joined: Mapping[str, str]) -> dict[str, str]:
    """The flat metadata of an object as JSON has it."""
    return {name: encode_text(value) for name, value in joined.items()}


def parse_resource(said: object) -> Resource:
    """An object's representation.

    Raises:
        StorageIntegrityError: It is not one (code "NOT_S3").
    """
    if not isinstance(said, dict):
        raise unreadable("an object")
    return cast("Resource", said)


def listed_info(resource: Resource, *, served_by: str) -> ObjectInfo:
    """What a listing says about one object.

    Raises:
        StorageIntegrityError: It has no name or size.
    """
    name, size = _named(resource)
    return ObjectInfo.listed(
        key=name,
        size=size,
        etag=etag_of(resource),
        last_modified=instant(resource.get("timeCreated")),
        storage_class=text(resource.get("storageClass")),
        served_by=served_by,
    )


def info_of(resource: Resource, *, served_by: str, versioned: bool) -> ObjectInfo:
    """What an object's representation says.

    Args:
        resource: As parsed.
        served_by: The provider's label.
        versioned: Whether its generation is a version.

    Raises:
        StorageIntegrityError: It has no name or size.
    """
    name, size = _named(resource)
    own = {field: text(resource.get(each)) for field, each in PROPERTIES.items()}
    return _described(
        name,
        size,
        generation=version_of(resource),
        metageneration=resource.get("metageneration"),
        created=instant(resource.get("timeCreated")),
        storage_class=text(resource.get("storageClass")),
        headers=shared_headers(**own),
        metadata=_metadata(resource.get("metadata")),
        customer=bool(resource.get("customerEncryption")),
        key_id=text(resource.get("kmsKeyName")),
        served_by=served_by,
        versioned=versioned,
    )


def info_in(
    key: str, headers: Mapping[str, str], size: int, *, served_by: str, versioned: bool
) -> ObjectInfo:
    """What the headers of the XML API say about an object; arguments as for `info_of`.

    Source: "HTTP headers and common query string parameters for XML" of cloud.google.com/storage.
    """
    headers = readable(headers)
    said = headers.get
    stored = said("x-goog-stored-content-encoding", "identity")
    return _described(
        key,
        size,
        generation=_generation(said(GENERATION)),
        metageneration=said("x-goog-metageneration"),
        created=parse_time(said("last-modified")),
        storage_class=said("x-goog-storage-class") or None,
        headers=shared_headers(
            said("content-type") or None,
            (said("content-encoding") if stored == "identity" else stored) or None,
            said("cache-control") or None,
            said("content-disposition") or None,
            said("content-language") or None,
        ),
        metadata={name[len(_META) :]: decode_text(headers[name]) for name in filter(_IS_META, headers)},
        customer=bool(said("x-goog-encryption-key-sha256")),
        key_id=said("x-goog-encryption-kms-key-name") or None,
        served_by=served_by,
        versioned=versioned,
    )


def _described(
    name: str,
    size: int,
    *,
    generation: str | None,
    metageneration: object,
    created: datetime | None,
    storage_class: str | None,
    headers: ContentHeaders,
    metadata: Mapping[str, str],
    customer: bool,
    key_id: str | None,
    served_by: str,
    versioned: bool,
) -> ObjectInfo:
    kept = split_metadata(metadata)
    return made(
        ObjectInfo,
        {
            "key": name,
            "size": size,
            "etag": _etag(generation, metageneration),
            "last_modified": created,
            "storage_class": storage_class,
            "version_id": generation if versioned else None,
            "headers": headers,
            "metadata": kept.metadata,
            "system": kept.system,
            "write_id": kept.write_id,
            "digest": kept.digest,
            "encryption": _encryption(customer=customer, key_id=key_id),
            # A copy names the key without the version of it.
            "kms_key_id": None if key_id is None else key_id.partition("/cryptoKeyVersions/")[0],
            "served_by": served_by,
        },
    )


def written_info(resource: Resource, *, served_by: str, versioned: bool) -> ObjectInfo:
    """What is wanted of an object that was written just now; arguments as for `info_of`.

    Raises:
        StorageIntegrityError: It has no name or size.
    """
    name, size = _named(resource)
    return made(
        ObjectInfo,
        {
            "key": name,
            "size": size,
            "etag": etag_of(resource),
            "version_id": version_of(resource) if versioned else None,
            "encryption": _encryption(
                customer=bool(resource.get("customerEncryption")), key_id=text(resource.get("kmsKeyName"))
            ),
            "served_by": served_by,
        },
    )


def _named(resource: Resource) -> tuple[str, int]:
    name, size = resource.get("name"), number(resource.get("size"))
    if not isinstance(name, str) or size is None:
        raise unreadable("an object")
    return name, size


def version_of(resource: Resource) -> str | None:
    """The generation that an object's representation is of."""
    return _generation(resource.get("generation"))


def _generation(found: object) -> str | None:
    if isinstance(found, str) and len(found) <= _DIGITS and found.isascii() and found.isdigit():
        return found.lstrip("0") or "0"
    found = number(found)
    return None if found is None else str(found)


def etag_of(resource: Resource) -> str | None:
    """The entity tag of an object here; None where the server has no generations."""
    return _etag(version_of(resource), resource.get("metageneration"))


def _etag(generation: str | None, metageneration: object) -> str | None:
    return None if generation is None else f"{generation}-{number(metageneration) or 1}"


def _encryption(*, customer: bool, key_id: str | None) -> str:
    if customer:
        return "SSE-C"
    return "AES256" if key_id is None else "aws:kms"


def _metadata(said: object) -> dict[str, str]:
    if not isinstance(said, dict):
        return {}
    pairs = cast("dict[object, object]", said)
    return {str(name): decode_text(value) for name, value in pairs.items() if isinstance(value, str)}


def checksums_of(resource: Resource) -> Mapping[str, str]:
    """The checksums that the service has, by name."""
    found = {name: text(resource.get(name)) for name in (CRC32C, MD5)}
    return {name: value for name, value in found.items() if value}


def checksums_in(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The same from the headers of the XML API: `crc32c=...,md5=...`."""
    pairs = (each.strip().partition("=") for each in headers.get("x-goog-hash", "").split(","))
    names = {"crc32c": CRC32C, "md5": MD5}
    return {names[name]: value for name, _, value in pairs if name in names and value}


def retention_of(resource: Resource) -> Retention:
    """What keeps an object from being removed: its own retention, the bucket's policy, and holds."""
    own = own_retention(resource)
    of_bucket = instant(resource.get("retentionExpirationTime"))
    if of_bucket is not None and (own.retain_until is None or of_bucket > own.retain_until):
        return Retention(mode="compliance", retain_until=of_bucket, legal_hold=own.legal_hold)
    return own


def own_retention(resource: Resource) -> Retention:
    """The same without the bucket's policy; a mode that is unknown counts as the stricter one."""
    own = resource.get(RETENTION)
    told = cast("Mapping[str, object]", own) if isinstance(own, dict) else NOTHING
    until = instant(told.get("retainUntilTime"))
    hold = resource.get(HOLD) is True or resource.get(EVENT_HOLD) is True
    if until is None:
        return Retention(legal_hold=hold)
    unlocked = told.get("mode") == _MODES["governance"]
    mode: RetentionMode = "governance" if unlocked else "compliance"
    return Retention(mode=mode, retain_until=until, legal_hold=hold)


def lock_properties(retention: Retention | None) -> dict[str, Any]:
    """What a new object is put under; empty for nothing."""
    found: dict[str, Any] = {}
    if retention is None:
        return found
    if retention.mode is not None:
        found[RETENTION] = retention_property(retention.retain_until, retention.mode)
    if retention.legal_hold:
        found[HOLD] = True
    return found


def retention_property(retain_until: datetime | None, mode: RetentionMode) -> dict[str, str | None]:
    """A retention as JSON has it, or the absence of one; the date is in UTC."""
    if retain_until is None:
        return {"mode": None, "retainUntilTime": None}
    return {"mode": _MODES[mode], "retainUntilTime": f"{retain_until:%Y-%m-%dT%H:%M:%SZ}"}


def generation_of(etag: str) -> tuple[str, str] | None:
    """Generation and metageneration that one of our entity tags stands for; None if it is not one."""
    found = _ETAG.fullmatch(etag)
    return None if found is None else (found[1], found[2])


def conditions(precondition: Precondition) -> Query:
    """What makes a write conditional on the current state of its key.

    Raises:
        StorageInvalidRequestError: The etag is not one that Google's objects have here.
    """
    if precondition.mode == "create":
        return (("ifGenerationMatch", "0"),)
    return match(precondition.etag) if precondition.etag is not None else ()


def wanted(etag: str) -> tuple[str, str]:
    """Generation and metageneration of an entity tag; of one of another store, what no object here has."""
    return generation_of(etag) or (str(2**63 - 1), "1")


def match(etag: str, prefix: str = "if") -> Query:
    """The condition that an object is of this entity tag.

    Args:
        etag: As in `ObjectInfo`.
        prefix: "if", or "ifSource" for the source of a copy.
    """
    generation, metageneration = wanted(etag)
    return ((f"{prefix}GenerationMatch", generation), (f"{prefix}MetagenerationMatch", metageneration))


def number(said: object) -> int | None:
    """A count, which JSON has as text or as a number."""
    if isinstance(said, str):
        return int(said) if said.isdigit() and len(said) <= _DIGITS and said.isascii() else None
    if isinstance(said, bool) or not isinstance(said, int):
        return None
    return said if said >= 0 else None


def text(said: object) -> str | None:
    """A text that is not empty."""
    return said if isinstance(said, str) and said else None


def instant(said: object) -> datetime | None:
    """A time of RFC 3339, or of a header, as UTC."""
    return parse_time(said) if isinstance(said, str) else None


def unreadable(what: str) -> StorageIntegrityError:
    """The error of a response that is not what it should be."""
    return StorageIntegrityError(
        f"the provider's response is not {what}; check the endpoint, and that no proxy responds in its place",
        code=ErrorCode.NOT_S3,
    )
