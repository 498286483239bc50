"""Values as Azure's headers and back: metadata, content headers, conditions, tags. Pure.

Rules of this file: what is put in comes out exactly the same. Azure's metadata names are C# identifiers
whose case does not count; ours are lower-case tokens of HTTP. So a character that no identifier has is `_`
and two hex digits, and `_` itself stays unless what follows looks like that: names of others' objects are
the same read and written. Values are as on S3 (`header_text.py`).

Source: "Setting and retrieving properties and metadata for Blob service resources".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from operator import methodcaller
from urllib.parse import quote

from credstore.driver.header_text import PLAIN, decode_text, encode_text
from credstore.driver.refusals import check_condition, check_storage_class, check_tags
from credstore.driver.values import Capabilities, ContentHeaders, Precondition, shared_headers
from credstore.errors import RetentionMode, StorageInvalidRequestError
from credstore.model import Retention

META = "x-ms-meta-"
_IS_META = methodcaller("startswith", META)
TIER = "x-ms-access-tier"
TAGS = "x-ms-tags"
POLICY_END = "x-ms-immutability-policy-until-date"
POLICY_MODE = "x-ms-immutability-policy-mode"
LEGAL_HOLD = "x-ms-legal-hold"
_MODES: Mapping[RetentionMode, str] = {"governance": "Unlocked", "compliance": "Locked"}
"""Modes of `Retention` to those of immutability policies; "Unlocked" ones can be shortened and removed."""
MAX_TAGS = 10
CONTENT_NAMES = {
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_language": "content-language",
}
"""Field of `ContentHeaders` to the header of a response; a request has `x-ms-blob-` before it."""
_EMPTY = "=?UTF-8?B??="
"""An empty value, which not every proxy and version of the service leaves alone."""
_ODD = "".join(f"{ord(each):02x}|" for each in "!#$%&'*+-.^_`|~").rstrip("|")
_ESCAPE = re.compile(rf"_({_ODD})")
_FIRST_ESCAPE = re.compile(rf"\A_({_ODD}|3[0-9])")
_TO_ESCAPE = re.compile(rf"[^a-z0-9_]|_(?={_ODD})|\A[0-9]|\A_(?=3[0-9])")
_TAG_ESCAPE = re.compile(rb"=([0-9A-F]{2})")
_TAG_TO_ESCAPE = re.compile(r"[^A-Za-z0-9 +./:=_-]|=(?=[0-9A-F]{2})")


@lru_cache(maxsize=1024)
def encode_name(name: str) -> str:
    """A lower-case token as an identifier.

    >>> [encode_name(each) for each in ("author", "x-compression", "my_name", "a_2db", "2nd")]
    ['author', 'x_2dcompression', 'my_name', 'a_5f2db', '_32nd']
    """
    return _TO_ESCAPE.sub(lambda found: f"_{ord(found[0]):02x}", name)


@lru_cache(maxsize=128)
def decode_name(name: str) -> str:
    """The inverse of `encode_name`; other identifiers stay as they are, in lower case."""
    name = name.lower()
    first = _FIRST_ESCAPE.match(name)
    if first is None:
        return _ESCAPE.sub(_character, name)
    return _character(first) + _ESCAPE.sub(_character, name[first.end() :])


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def metadata_headers(joined: Mapping[str, str]) -> dict[str, str]:
    """The flat metadata of an object as headers."""
    return {META + encode_name(name): encode_text(value) or _EMPTY for name, value in joined.items()}


def read_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """The flat metadata found in a response's headers (lower-case names)."""
    start = len(META)
    return {decode_name(name[start:]): decode_text(headers[name]) for name in filter(_IS_META, headers)}


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
        if not PLAIN.fullmatch(value):
            raise StorageInvalidRequestError(
                f"{name} must be printable ASCII; for other characters in a file name use the form "
                "filename*=UTF-8''... of RFC 6266"
            )
        found[f"x-ms-blob-{name}"] = value
    return found


def read_content_headers(headers: Mapping[str, str]) -> ContentHeaders:
    """The content headers of a response."""
    return shared_headers(**{field: headers.get(name) for field, name in CONTENT_NAMES.items()})


def condition_headers(precondition: Precondition, able: Capabilities, who: str) -> dict[str, str]:
    """What makes a write conditional on the current state of its key.

    Raises:
        StorageUnsupportedError: The account would ignore the condition.
    """
    check_condition(precondition, able, who)
    if precondition.mode == "create":
        return {"if-none-match": "*"}
    if precondition.etag is not None:
        return {"if-match": format_etag(precondition.etag)}
    return {}


def format_etag(etag: str) -> str:
    """An entity tag as it goes into a condition."""
    return f'"{etag}"'


def storage_headers(
    storage_class: str | None, tags: Mapping[str, str], able: Capabilities, who: str
) -> dict[str, str]:
    """Tier and tags.

    Raises:
        StorageUnsupportedError: There is no such tier, or there are no tags.
        StorageInvalidRequestError: There are more than 10 tags.
    """
    found: dict[str, str] = {}
    if storage_class is not None:
        check_storage_class(storage_class, able, who)
        found[TIER] = storage_class
    if tags:
        check_tags(tags, able, who)
        found |= tag_headers(tags)
    return found


def encode_tag(text: str) -> str:
    """A tag's name or value in the characters that Azure allows: others are `=` and two hex digits a byte.

    >>> [encode_tag(each) for each in ("x = y+z", "größe", "a=2D")]
    ['x = y+z', 'gr=C3=B6=C3=9Fe', 'a=3D2D']

    Source: "Set Blob Tags": letters, digits, space and + - . / : = _.
    """
    return _TAG_TO_ESCAPE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "".join([f"={octet:02X}" for octet in found[0].encode()])


def decode_tag(text: str) -> str:
    """The inverse of `encode_tag`; what it cannot have written stays as it is."""
    if "=" not in text:
        return text
    octets = _TAG_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text.encode())
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:
        return text
    return decoded if encode_tag(decoded) == text else text


def tag_headers(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a new object; empty if there are none."""
    if len(tags) > MAX_TAGS:
        raise StorageInvalidRequestError(f"Azure keeps at most {MAX_TAGS} tags of a blob, not {len(tags)}")
    pairs = (
        f"{quote(encode_tag(name), safe='')}={quote(encode_tag(value), safe='')}"
        for name, value in tags.items()
    )
    return {TAGS: "&".join(pairs)} if tags else {}


def policy_headers(retain_until: datetime, mode: RetentionMode) -> dict[str, str]:
    """An immutability policy; the date is in UTC."""
    return {POLICY_END: format_datetime(retain_until, usegmt=True), POLICY_MODE: _MODES[mode]}


def lock_headers(retention: Retention | None) -> dict[str, str]:
    """What a new object is put under; empty for nothing.

    Source: "Put Blob", "Put Block List" and "Copy Blob".
    """
    found: dict[str, str] = {}
    if retention is None:
        return found
    if retention.mode is not None and retention.retain_until is not None:
        found |= policy_headers(retention.retain_until, retention.mode)
    if retention.legal_hold:
        found[LEGAL_HOLD] = "true"
    return found
