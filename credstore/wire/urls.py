"""Paths, query strings and hosts as they appear in a request and in what is signed. Pure.

Others open what is signed here, and each client rewrites addresses in its own way. So an address is brought
into the one form that none of them changes, before it is signed: curl, httpx, aiohttp (yarl), urllib,
requests, and whatever follows the URL standard, as browsers and Node do.

Source: RFC 3986 (unreserved characters; section 6.2, normalization); RFC 9110 section 7.2 (Host); WHATWG URL
sections 3.5 (hosts) and 4.4; UTS 46 (international hosts).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

PORTS = {"http": 80, "https": 443}
"""A scheme's own port, which clients leave out."""
STEADY = "!$&'()*,:;=@"
"""What aiohttp decodes in a path, besides the unreserved; others leave it as it is, so it is not encoded."""
_STEADY_QUERY = frozenset(b"!$()*,/:?@-._~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
"""What aiohttp decodes in a query and no other client encodes."""
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_COMPATIBLE = ipaddress.ip_network("::/96")
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


def steady_path(path: str) -> str:
    """A percent-encoded path in the form that no client changes; the bytes it stands for are the same.

    >>> steady_path("/a%2fb/%41%3A(%7e)/%c3%a9 ")
    '/a%2Fb/A:(~)/%C3%A9%20'
    """
    return "/".join([quote(unquote_to_bytes(part), safe=STEADY) for part in path.split("/")])


def steady_query(query: str) -> str:
    """The same for a query; what separates its parts stays encoded where it was.

    >>> steady_query("a=%2f%41%26%c3%a9&b=%3D")
    'a=/A%26%C3%A9&b=%3D'
    """

    def one(found: re.Match[str]) -> str:
        octet = int(found[1], 16)
        return chr(octet) if octet in _STEADY_QUERY else found[0].upper()

    return _ESCAPE.sub(one, query)


def has_dots(path: str) -> bool:
    """Whether clients would resolve a segment of a percent-encoded path, `.` or `..` in any spelling."""
    return any(unquote_to_bytes(part) in {b".", b".."} for part in path.split("/"))


def steady_origin(scheme: str, host: str, port: int | None) -> str:
    """Scheme, host and port as clients write them in `Host`.

    Args:
        scheme: "http" or "https", in any case.
        host: A name or an address, without brackets, in any case; an international one in its own letters
            or as xn--.
        port: Or None for the scheme's own.

    Raises:
        ValueError: Clients write this host in different ways; the text says what to do.
    """
    scheme = scheme.lower()
    own = port is None or port == PORTS[scheme]
    return f"{scheme}://{steady_host(host)}{'' if own else f':{port}'}"


@lru_cache(maxsize=256)
def steady_host(host: str) -> str:
    """A host as clients write it: lower case, in ASCII, an IPv6 address in brackets and compressed.

    >>> [steady_host(host) for host in ("S3.Example.COM.", "bücher.example", "0:0:0:0:0:0:0:1", "127.0.0.1")]
    ['s3.example.com', 'xn--bcher-kva.example', '[::1]', '127.0.0.1']

    Raises:
        ValueError: See `steady_origin`.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _steady_name(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.scope_id is not None:
        raise ValueError("has an IPv6 address with a zone, which means something on one machine only")
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)  # The same place, which clients write in different ways.
    if address in _COMPATIBLE and int(address) > 1:
        raise ValueError(
            "has an IPv4 address in an IPv6 one, which clients write differently; give the IPv4 one"
        )
    return f"[{address.compressed}]"


def _steady_name(host: str) -> str:
    name = host
    if not name.isascii():
        import idna  # Few hosts need its tables.

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise ValueError("has an international host that is not valid; give it as xn--") from None
    # A dot at the end says that the name is complete; some clients send it on, and others do not.
    name = name.lower().removesuffix(".")
    if not all(_is_label(label) for label in name.split(".") if label.startswith("xn--")):
        raise ValueError("has a host with xn-- that stands for no name")
    return name


def _is_label(label: str) -> bool:
    """Whether a label that begins with xn-- stands for letters that a host can have, as browsers check."""
    import idna

    try:
        letters = label[4:].encode("ascii").decode("punycode")
        return not letters.isascii() and idna.uts46_remap(letters, std3_rules=False) == letters
    except (idna.IDNAError, UnicodeError):
        return False
