"""The kinds of value that records, trust stores and bundles are made of: one reader for each. Pure.

Every `read_` takes a parsed JSON value and the field's name, and returns the Python value or raises
`ProofFormatError` naming the field, never its content.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn, cast

from credstore.proofs.format.canonical import LARGEST_INTEGER, Json
from credstore.proofs.format.errors import ProofFormatError

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# RFC 3986 appendix A, without looking into the parts: a scheme, then its characters and escapes.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_HEX = re.compile(r"[0-9a-f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LONGEST_ISSUER = 255
LONGEST_URI = 2048


def refuse(field: str, rule: str) -> NoReturn:
    """Raise the error of a field that breaks its rule."""
    raise ProofFormatError(f"{field} {rule}")


def read_object(
    value: Json, field: str, *, needs: Collection[str] = (), may: Collection[str] | None = None
) -> dict[str, Json]:
    """An object with the members `needs`; if `may` is given, with no others than these two allow."""
    if not isinstance(value, dict):
        refuse(field, "is not an object")
    for name in needs:
        if name not in value:
            refuse(field, f"has no {name!r}")
    # It has everything it needs: with no more members than these it has no others.
    if may is not None and len(value) > len(needs) and not value.keys() <= {*needs, *may}:
        refuse(field, "has an unknown member")
    return value


def read_list(value: Json, field: str, *, most: int, least: int = 0) -> list[Json]:
    """An array of `least` to `most` values."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        refuse(field, f"is not an array of {least} to {most} values")
    return value


def read_text(value: Json, field: str, *, longest: int) -> str:
    """A string of 1 to `longest` characters, none of them a control character."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or _CONTROL.search(value):
        refuse(field, f"is not a string of 1 to {longest} characters without control characters")
    return value


@lru_cache(maxsize=64)
def is_issuer(text: str) -> bool:
    """Whether a text is what `read_uri` takes for an issuer; there are few, and each is asked about often."""
    return 0 < len(text) <= LONGEST_ISSUER and _URI.fullmatch(text) is not None


def read_issuer(value: Json, field: str) -> str:
    """An absolute URI of at most 255 characters."""
    if type(value) is str and is_issuer(value):
        return value
    return read_uri(value, field, longest=LONGEST_ISSUER)


def read_uri(value: Json, field: str, *, longest: int = LONGEST_URI) -> str:
    """An absolute URI of at most `longest` characters."""
    text = read_text(value, field, longest=longest)
    if not _URI.fullmatch(text):
        refuse(field, "is not an absolute URI")
    return text


def read_size(value: Json, field: str, *, least: int = 0) -> int:
    """A whole number of at least `least`."""
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:
        refuse(field, f"is not a whole number of at least {least}")
    return value


def is_id(value: object) -> bool:
    """Whether a value is what `read_id` takes."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def read_id(value: Json, field: str) -> str:
    """A UUID in lower case: nothing that could lead elsewhere as part of a key."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        refuse(field, "is not a UUID in lower case")
    return value


def read_hex(value: Json, field: str, *, size: int) -> bytes:
    """`size` bytes as hex digits in lower case."""
    if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
        refuse(field, f"is not {2 * size} hex digits in lower case")
    return bytes.fromhex(value)


def read_time(value: Json, field: str) -> datetime:
    """An instant, exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        refuse(field, "is not a time of the form 2026-01-02T03:04:05.678Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        refuse(field, "is not a valid date and time")


def format_time(time: datetime) -> str:
    """The one form of an instant; anything finer than a millisecond is cut off.

    Raises:
        ProofFormatError: The time has no zone, or is not within the years 1 to 9999 in UTC.
    """
    if time.tzinfo is None:
        refuse("a time", "has no zone")
    try:
        utc = time.astimezone(UTC)
    except OverflowError:
        refuse("a time", "is not within the years 1 to 9999 in UTC")
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_base64(value: Json, field: str, *, most: int, url_safe: bool = False) -> bytes:
    """At most `most` bytes in padded standard base64, or also in the URL-safe alphabet.

    One byte string has one text in each alphabet: unused bits, line ends and mixed alphabets are refused.
    """
    if not isinstance(value, str) or not value.isascii() or len(value) > 4 * ((most + 2) // 3):
        refuse(field, f"is not base64 of at most {most} bytes")
    try:
        if url_safe and ("-" in value or "_" in value):
            decoded = base64.urlsafe_b64decode(value)
            exact = base64.urlsafe_b64encode(decoded).decode() == value
        else:
            decoded = binascii.a2b_base64(value, strict_mode=True)
            exact = binascii.b2a_base64(decoded, newline=False).decode() == value
    except ValueError:
        refuse(field, "is not base64")
    if not exact:
        refuse(field, "is not base64 in its one form")
    return decoded


def format_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return binascii.b2a_base64(data, newline=False).decode()


def as_object(value: object) -> Json:
    """A caller's mapping as a JSON value; `encode_json` checks what is inside."""
    return cast("Json", value)
