"""The response headers of the edge. Pure.

Sources: RFC 9110, RFC 9111 §5.2.2 (Cache-Control); Fetch standard, "CORS protocol".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from credstore.edge.conditions import Span
from credstore.edge.negotiation import IDENTITY
from credstore.model import StorageItem

METHODS = ("GET", "HEAD", "OPTIONS")
GUARDS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    # What an object contains neither runs nor loads anything, and has no origin to act in.
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    ),
    "Referrer-Policy": "no-referrer",  # The address is the secret.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
    "X-Robots-Tag": "noindex, nofollow",
}
"""On every response. A link carries its whole permission, so any page that has one may use it."""
EXPOSED: Mapping[str, str] = {
    "Access-Control-Expose-Headers": (
        "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Range, ETag"
    )
}
PREFLIGHT: Mapping[str, str] = {
    "Allow": ", ".join(METHODS),
    "Access-Control-Allow-Methods": ", ".join(METHODS),
    "Access-Control-Allow-Headers": (
        "If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range"
    ),
    "Access-Control-Max-Age": "600",
    "Cache-Control": "no-store",
}
_MAX_AGE = re.compile(r'max-age="?([0-9]{1,18})"?')
_KEPT = ("no-cache", "must-revalidate", "no-transform")


def private_for(asked: str | None, left: int) -> str:
    """Cache-Control for only the holder of a link, and for no longer than the link lives.

    Args:
        asked: From the link, or as stored.
        left: Seconds until the link expires.
    """
    directives = [each.strip().lower() for each in (asked or "").split(",")]
    if "no-store" in directives:
        return "no-store"
    ages = [int(match[1]) for each in directives if (match := _MAX_AGE.fullmatch(each))]
    kept = [each for each in _KEPT if each in directives]
    return ", ".join(["private", f"max-age={max(0, min([left, *ages]))}", *kept])


def object_headers(
    item: StorageItem, imposed: Mapping[str, str], *, coding: str, tag: str | None, left: int, ranged: bool
) -> dict[str, str]:
    """Headers of a response about an object, with or without its bytes.

    Args:
        item: The object.
        imposed: By the link.
        coding: Of the representation.
        tag: Of the representation.
        left: Seconds until the link expires.
        ranged: Whether parts of the representation are available.
    """
    told = {
        "Content-Type": imposed.get("content-type", item.content_type) or "application/octet-stream",
        "Content-Disposition": imposed.get("content-disposition", item.content_disposition),
        "Content-Language": imposed.get("content-language", item.content_language),
        "Content-Encoding": None if coding == IDENTITY else coding,
        "Accept-Ranges": "bytes" if ranged else "none",
        "ETag": tag,
        "Last-Modified": None if item.last_modified is None else http_date(item.last_modified),
        "Cache-Control": private_for(imposed.get("cache-control", item.cache_control), left),
        "Vary": "Accept-Encoding",
    }
    return {**{name: value for name, value in told.items() if value}, **GUARDS, **EXPOSED}


def unchanged_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a 304, out of those of the corresponding 200 (RFC 9110 §15.4.5)."""
    return {
        name: value for name, value in headers.items() if not name.startswith("Content-") or name in GUARDS
    }


def content_range(span: Span, size: int) -> str:
    """Content-Range of a part, or of a refusal where the span is empty."""
    return f"bytes {span.start}-{span.end - 1}/{size}" if span.start < span.end else f"bytes */{size}"


def http_date(moment: datetime) -> str:
    """A time in UTC in HTTP's form."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)
