"""Links that credstore signs and checks itself, since no cloud serves them: for `serve_links`. Pure.

    {link_url}/{key}?expires=<unix seconds>&method=GET[&response-<header>=...]&signature=<base64url>

The signature is HMAC-SHA256 over a JSON list of version, method, key, expiry and sorted overrides,
which no two links share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes, urlencode, urlsplit

from credstore.errors import ErrorCode, StorageAccessDeniedError, StorageUnsupportedError
from credstore.model import LinkGrant, Method

METHODS: frozenset[Method] = frozenset({"GET", "HEAD"})
OVERRIDES = frozenset(
    {
        "content-type",
        "content-disposition",
        "content-encoding",
        "content-language",
        "cache-control",
        "expires",
    }
)
_VERSION = 1
_RESPONSE = "response-"


def sign_link(
    base: str, secret: bytes, *, method: str, key: str, expires: int, overrides: Mapping[str, str]
) -> str:
    """The link's URL.

    Raises:
        StorageUnsupportedError: An override or the key is not allowed in a link.
    """
    unknown = sorted(set(overrides) - OVERRIDES)
    if unknown:
        raise StorageUnsupportedError(f"a link cannot impose the header {unknown[0]!r}")
    if key in {".", ".."}:
        raise StorageUnsupportedError("browsers change the path of this key, so it cannot have a link")
    # Where a segment is "." or "..", the slashes are encoded too, so that no client resolves it.
    dotted = not {".", ".."}.isdisjoint(key.split("/"))
    query = {"expires": str(expires), "method": method}
    query.update((_RESPONSE + name, overrides[name]) for name in sorted(overrides))
    query["signature"] = _signature(secret, method, key, expires, overrides)
    path = quote(key, safe="" if dotted else "/")
    return f"{base.rstrip('/')}/{path}?{urlencode(query, quote_via=quote)}"


def check_link(
    base: str, secret: bytes, *, method: str, path: str, query: Mapping[str, str], now: float
) -> LinkGrant:
    """What the link in a request grants.

    Args:
        base: As for `sign_link`.
        secret: As for `sign_link`.
        method: Of the request.
        path: Of the request, percent-encoded as received.
        query: Of the request, decoded.
        now: Unix seconds.

    Raises:
        StorageAccessDeniedError: Code "LINK_EXPIRED", or "LINK_INVALID" for every other cause.
    """
    start = urlsplit(base).path.rstrip("/") + "/"
    fields = dict(query)
    try:
        signature = fields.pop("signature").encode()
        expires = _instant(fields.pop("expires"))
        signed_method = fields.pop("method")
        key = unquote_to_bytes(path[len(start) :]).decode()
    except (KeyError, ValueError):
        raise invalid_link() from None
    overrides = {name.removeprefix(_RESPONSE): value for name, value in fields.items()}
    expected = _signature(secret, method, key, expires, overrides).encode()
    sound = (
        path.startswith(start)
        and all(name.startswith(_RESPONSE) for name in fields)
        and signed_method == method
    )
    if not (hmac.compare_digest(signature, expected) and sound):
        raise invalid_link()
    if now >= expires:
        raise StorageAccessDeniedError(
            "this link has expired; ask for a new one", code=ErrorCode.LINK_EXPIRED
        )
    return LinkGrant(key, overrides, datetime.fromtimestamp(expires, UTC))


def _instant(text: str) -> int:
    """Unix seconds exactly as `sign_link` writes them, so that each link has one form only."""
    if not re.fullmatch("[1-9][0-9]{0,10}", text):
        raise ValueError(text)
    return int(text)


def _signature(secret: bytes, method: str, key: str, expires: int, overrides: Mapping[str, str]) -> str:
    signed = json.dumps([_VERSION, method, key, expires, sorted(overrides.items())]).encode()
    code = hmac.new(secret, signed, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


def invalid_link() -> StorageAccessDeniedError:
    """The one error for links that grant nothing."""
    return StorageAccessDeniedError(
        "this link is not one of this store, or was changed", code=ErrorCode.LINK_INVALID
    )
