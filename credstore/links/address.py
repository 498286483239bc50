"""The address about to be signed: its parts, and a refusal of whatever an edge would read differently. Pure.

An address is accepted only in the form that every edge sees unchanged: absolute, ASCII, properly
percent-encoded, without dot segments. So quotes, backslashes and control characters never reach a
policy or a string to sign.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.wire.urls import steady_origin, steady_path, steady_query

_ESCAPE = "%[0-9A-Fa-f]{2}"
_CHARACTERS = r"A-Za-z0-9\-._~!$&'()*+,;=:@/"
_ADDRESS = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?:(?P<name>[^\x00-,/:-@\[-^`{-\x9f]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{0,5}))?"
    rf"(?P<path>/(?:[{_CHARACTERS}]|{_ESCAPE})*)"
    rf"(?:\?(?P<query>(?:[{_CHARACTERS}?]|{_ESCAPE})+))?"
)
"""RFC 3986 sections 2 and 3, absolute http(s) without user information and fragment."""
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Address:
    """One address in parts; `origin + path + ("?" + query if query)` is the whole.

    Attributes:
        url: The whole address.
        origin: Scheme and authority.
        path: Percent-encoded, starts with a slash.
        query: Percent-encoded, without the question mark; empty if there is none.
    """

    url: str
    origin: str
    path: str
    query: str

    def with_query(self, addition: str) -> str:
        """The address with `addition`, already encoded, at the end of its query."""
        return f"{self.url}{'&' if self.query else '?'}{addition}"

    def decoded_path(self) -> bytes:
        """The path's bytes, as a server sees them after decoding."""
        return unquote_to_bytes(self.path)


def parse_address(url: str, *, cdn: str, reserved: AbstractSet[str], signed: bool = False) -> Address:
    """Take an address apart, in the form that no client changes, so that a link to it is opened as it is.

    Args:
        url: To be signed.
        cdn: Its name, for messages.
        reserved: Names of query parameters that the CDN adds itself.
        signed: Whether it is a link already, whose path and query stay as they are.

    Raises:
        StorageInvalidRequestError: It is not an absolute percent-encoded http(s) address, or it has one of
            the reserved parameters. The message does not repeat it.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise StorageInvalidRequestError(
            f"{cdn} signs an absolute http(s) URL, percent-encoded, with a path and without user name, "
            "fragment, quotes, spaces or control characters; this resource is not one, set cdn_url to one"
        )
    try:
        origin = steady_origin(
            found["scheme"], found["name"] or found["address"], int(found["port"]) if found["port"] else None
        )
    except ValueError as reason:
        raise StorageInvalidRequestError(f"the address that {cdn} is to sign {reason}") from None
    path, query = found["path"], found["query"] or ""
    if not signed:
        path, query = steady_path(path), steady_query(query)
        if "'" in query or "%27" in query:
            raise StorageInvalidRequestError(
                f"an apostrophe in a query is sent in different forms, so {cdn} could not check the link"
            )
    parts = Address(f"{origin}{path}{'?' if query else ''}{query}", origin, path, query)
    if any(segment in {b".", b".."} for segment in parts.decoded_path().split(b"/")):
        raise StorageInvalidRequestError(
            f"{cdn} would resolve a path with a segment '.' or '..'; use a name without one"
        )
    if _CONTROL.search(unquote_to_bytes(parts.path + parts.query)):
        raise StorageInvalidRequestError("an address must not have control characters, encoded or not")
    names = {unquote(part.partition("=")[0]) for part in parts.query.split("&")}
    if taken := names & reserved:
        raise StorageInvalidRequestError(
            f"{cdn} adds the query parameter {min(taken)!r} itself; leave it out"
        )
    return parts


def check_slashes(address: Address, *, cdn: str, cure: str) -> None:
    """Refuse a path that the edge shortens before it checks the token.

    Args:
        address: To be signed.
        cdn: Its name.
        cure: End of the sentence "rename the object, or ...".

    Raises:
        StorageUnsupportedError: The path has two slashes in a row.
    """
    if b"//" in address.decoded_path():
        raise StorageUnsupportedError(
            f"{cdn} merges '//' in a path before it checks the token; rename the object, or {cure}"
        )


def is_covered(text: str, pattern: str) -> bool:
    """Whether `pattern` matches all of `text`: `*` stands for any characters, `?` for exactly one."""
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(char) or re.escape(char) for char in pattern), text) is not None
