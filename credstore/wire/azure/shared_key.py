"""Shared Key, the signature of one request with the key of a storage account. Pure.

Source: "Authorize with Shared Key", learn.microsoft.com/rest/api/storageservices, versions from 2015-02-21
(an empty Content-Length stands for 0). The order of the `x-ms-` headers is the service's own, that of the
culture's words and not of ASCII, as azure-storage-blob has it: hyphens do not count, and `_` comes first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache

_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_NOTHING = ("",) * len(_SIGNED)
_LENGTH = _SIGNED.index("content-length")
_ORDER = str.maketrans({"-": None, "_": "!"})


def string_to_sign(
    *,
    method: str,
    account: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    length: int | None,
) -> str:
    """What the signature is made over.

    Args:
        method: HTTP method.
        account: Name of the storage account.
        path: Percent-encoded, exactly as sent.
        query: Decoded pairs; each name once, in lower case.
        headers: All that are sent, by lower-case name, with `x-ms-date`.
        length: Bytes of the body.
    """
    said = [*map(headers.get, _SIGNED, _NOTHING)]
    said[_LENGTH] = str(length or "")
    canonical = "".join([f"{name}:{headers[name]}\n" for name in _ordered(tuple(headers))])
    resource = f"/{account}{path}" + "".join([f"\n{name}:{value}" for name, value in sorted(query)])
    return "\n".join([method, *said]) + f"\n{canonical}{resource}"


@lru_cache(maxsize=256)
def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    """The `x-ms-` names in the order of the service."""
    ours = [name for name in names if name.startswith("x-ms-")]
    return tuple(sorted(ours, key=_place))


@lru_cache(maxsize=1024)
def _place(name: str) -> tuple[str, str]:
    return name.translate(_ORDER), name


def sign(key: bytes, text: str) -> str:
    """HMAC-SHA256 of a text in base64, which is every signature of Azure Storage."""
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode("ascii")
