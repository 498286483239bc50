"""Paths, query strings and hosts as they appear in a request and in what is signed. Pure.

Source: RFC 3986 (unreserved characters); RFC 9110 section 7.2 (Host).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.~/-]*", re.ASCII).fullmatch


def encode_path(key: str) -> str:
    """A path with all but the unreserved characters of RFC 3986 and "/" percent-encoded.

    Args:
        key: Valid Unicode; dots and repeated slashes are kept.
    """
    return key if _PLAIN_PATH(key) else quote(key, safe="/")


def encode(text: str) -> str:
    """A name or value of a query with all but the unreserved characters percent-encoded."""
    if _PLAIN_PATH(text):
        return text.replace("/", "%2F")
    return quote(text, safe="")


def encode_query(pairs: Sequence[tuple[str, str]]) -> str:
    """The query string of decoded pairs, in the order of the encoded names and values."""
    if not pairs:
        return ""
    return join_query([(encode(name), encode(value)) for name, value in pairs])


def join_query(encoded: list[tuple[str, str]]) -> str:
    """The same for pairs that are encoded already."""
    return "&".join([f"{name}={value}" for name, value in sorted(encoded)])


@lru_cache(maxsize=256)
def host_of(origin: str) -> str:
    """The Host header of an origin: clients leave out a scheme's own port."""
    scheme, _, host = origin.partition("://")
    return host.removesuffix(":443" if scheme == "https" else ":80")
