"""How a config checks itself; each failure names the field and the variables of it. Pure.

A message never repeats the value, since a secret may be in the wrong field, or inside a URL.
"""

from __future__ import annotations

import ipaddress
import math
import re
from datetime import datetime
from urllib.parse import urlsplit

from credstore.config import registry
from credstore.config.traceless import traceless
from credstore.config.variables import spoken, variables_of
from credstore.driver.internal import SEGMENT, is_internal_prefix
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.times import checked_instant
from credstore.wire.proxy import has_password, parse_proxy
from credstore.wire.proxy import is_word as is_proxy_word
from credstore.wire.urls import has_dots, steady_origin, steady_path

_DNS_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# What MinIO, Ceph, B2 and AWS's buckets from before 2018 permit, only in a path.
_PATH_BUCKET = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?")
_LONGEST_HOST, _LONGEST_LABEL = 253, 63  # RFC 1035 section 2.3.4.
_NUMBER_LABEL = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\.?")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f]")

FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
"""What keys never contain: control characters, non-characters and lone surrogates."""
LONGEST_PREFIX = 512
"""Bytes of UTF-8; with the shortest limit of a key (1,024), the same number remains for the keys
themselves."""


def wrong(owner: str, field: str, why: str) -> StorageConfigurationError:
    """The error of one field.

    Args:
        owner: Name of the cloud's row, whose variables to name.
        field: Of the config.
        why: The end of a sentence that starts with the field, without a value.
    """
    return StorageConfigurationError(
        f"`{field}` of {owner or 'this store'} {why}; it is set by {spoken(variables_of(owner, field))}"
    )


def check_range(owner: str, field: str, value: float, least: float, most: float = math.inf) -> None:
    """Check that a number is finite and within bounds."""
    if not (math.isfinite(value) and least <= value <= most):
        bounds = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise wrong(owner, field, f"must be {bounds}")


def check_instant(owner: str, field: str, value: datetime) -> None:
    """Check that a time has a zone, and can be converted to any other zone."""
    if value.tzinfo is None:
        raise wrong(owner, field, "must have a time zone")
    try:
        checked_instant(field, value)
    except StorageInvalidRequestError:
        raise wrong(owner, field, "must be within the years 1 to 9999 in UTC") from None


def check_word(owner: str, field: str, value: str | None) -> None:
    """Check a one-line value for a header, a file or a signature; spaces around it are a mistake."""
    if value is not None and not is_word(value):
        raise no_word(owner, field)


def is_word(value: str) -> bool:
    """Whether `check_word` accepts a value."""
    return bool(value) and value == value.strip() and value.isprintable()


def no_word(owner: str, field: str) -> StorageConfigurationError:
    """The error for a value that `check_word` refuses."""
    return wrong(owner, field, "is empty, or has spaces around it or control characters; paste it again")


def check_header(owner: str, field: str, value: str) -> None:
    """Check a value that goes into a header unchanged."""
    check_word(owner, field, value)
    if not value.isascii():
        raise wrong(owner, field, "must be plain ASCII")


def check_bucket(owner: str, bucket: str, *, dns: bool) -> None:
    """Check that a bucket is named, and that its name can be used in a host (`dns`) or in a path."""
    if not bucket:
        raise wrong(owner, "bucket", "is missing")
    if "://" in bucket:
        raise wrong(owner, "bucket", "is the bucket's name alone; a URL of a store goes to credstore.connect")
    if dns and not _DNS_BUCKET.fullmatch(bucket):
        raise wrong(owner, "bucket", "must be 3 to 63 lower-case letters, digits, dots and hyphens")
    if not _PATH_BUCKET.fullmatch(bucket):
        raise wrong(owner, "bucket", "must be 3 to 255 letters, digits, dots, hyphens and underscores")


def is_label(bucket: str) -> bool:
    """Whether a bucket's name can be one label of a host's."""
    return "." not in bucket and _DNS_BUCKET.fullmatch(bucket) is not None


def check_region(owner: str, region: str) -> None:
    """A region is named where there is no default, and is a plain word."""
    if not region:
        raise wrong(owner, "region", "is missing")
    if not _REGION.fullmatch(region):
        raise wrong(owner, "region", "must be a word of letters, digits and hyphens, such as eu-west-1")


def checked_url(owner: str, field: str, url: str, *, allow_http: bool | None, path: bool) -> str:
    """A base URL that is safe: https (http only on this machine), no user, query or fragment.

    Args:
        owner: Name of the cloud's row.
        field: Of the config.
        url: Its value.
        allow_http: Also accept `http://` to another machine; None where that is not a setting.
        path: Whether a path may follow the host.

    Returns:
        The URL as every client writes it: what is signed for it is what is sent.

    Raises:
        StorageConfigurationError: The URL is not safe, leads to a link-local address, or clients would write
            it in different ways.
    """
    form = "https://host[:port][/path]" if path else "https://host[:port]"
    if _UNPRINTABLE.search(url) or "\\" in url:
        raise wrong(owner, field, f"must be {form} without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong(owner, field, f"must be {form}, with a port up to 65535") from None
    if "@" in parts.netloc:
        raise wrong(owner, field, "must not have a user or password in it; keys have fields of their own")
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise wrong(owner, field, f"must be {form}")
    if "?" in url or "#" in url:
        raise wrong(owner, field, f"must be {form}, without query or fragment")
    if not path and parts.path not in {"", "/"}:
        raise wrong(owner, field, f"must be {form}, without bucket or path")
    if not parts.path.isascii():
        raise wrong(owner, field, "has a path that is not plain ASCII; percent-encode it")
    if has_dots(parts.path):
        raise wrong(owner, field, "has a segment '.' or '..' in its path, which clients would resolve")
    try:
        origin = steady_origin(parts.scheme, host, port)
    except ValueError as reason:
        if host.isascii():
            _check_host(owner, field, host)
        raise wrong(owner, field, str(reason)) from None
    loopback = _check_host(owner, field, urlsplit(origin).hostname or "")
    if parts.scheme == "http" and not (allow_http or loopback):
        otherwise = (
            "" if allow_http is None else f" or `allow_http` ({spoken(variables_of(owner, 'allow_http'))})"
        )
        raise wrong(owner, field, f"is http, so everything could be read in transit; use https{otherwise}")
    return origin + (steady_path(parts.path) if path else "")


def is_loopback(url: str | None) -> bool:
    """Whether a URL leads to this machine."""
    host = (urlsplit(url).hostname or "") if url else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_bare(url: str | None) -> bool:
    """Whether a URL's host is an address, or this machine, and so has no hosts below it."""
    host = (urlsplit(url).hostname or "") if url else ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _check_host(owner: str, field: str, host: str) -> bool:
    """Whether a valid host is this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A resolver reads `2852039166` and `0xa9.254.1` as IPv4, which the check below would miss.
        labels = host.rstrip(".").split(".")
        too_long = len(host) > _LONGEST_HOST or not all(0 < len(each) <= _LONGEST_LABEL for each in labels)
        if (
            too_long
            or not _HOST.fullmatch(host)
            or _NUMBER_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2])
        ):
            raise wrong(owner, field, "has a host that is neither a name nor an address") from None
        return host == "localhost" or host.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if (mapped or address).is_link_local:
        raise wrong(owner, field, "is a link-local address, where clouds keep their machine credentials")
    return (mapped or address).is_loopback


def check_own_cloud(owner: str, provider: str, field: str, host: str) -> None:
    """Check that an endpoint is not another cloud's, as the keys of this one would be sent there."""
    for cloud in registry.CLOUDS:
        theirs = any(host == domain or host.endswith(f".{domain}") for domain in cloud.hosts)
        if theirs and cloud.label != provider:
            name = cloud.name
            raise wrong(owner, field, f"belongs to {name}; use provider {name} with the keys of that cloud")


def checked_prefix(owner: str, prefix: str) -> str:
    """The prefix with one slash at its end, or "" if there is none.

    Args:
        owner: Name of the cloud's row.
        prefix: As given.

    Raises:
        StorageConfigurationError: Keys below it would be ambiguous, would be rewritten by browsers, or are
            credstore's own.
    """
    if not prefix:
        return ""
    if FORBIDDEN.search(prefix):
        raise wrong(owner, "prefix", "has control characters, surrogates or non-characters")
    if prefix != prefix.strip():
        raise wrong(owner, "prefix", "has spaces around it; paste it again")
    if prefix.startswith("/"):
        raise wrong(
            owner, "prefix", "starts with a slash; leave it out, as keys do not start with one either"
        )
    whole = prefix if prefix.endswith("/") else f"{prefix}/"
    segments = whole[:-1].split("/")
    if "" in segments:
        raise wrong(owner, "prefix", "has two slashes in a row; keep one of them")
    if not {".", ".."}.isdisjoint(segments):
        raise wrong(owner, "prefix", "has a segment '.' or '..', which browsers and proxies would rewrite")
    if is_internal_prefix(whole):
        raise wrong(owner, "prefix", f"has the segment {SEGMENT}, which credstore keeps for itself")
    if len(whole.encode()) > LONGEST_PREFIX:
        raise wrong(owner, "prefix", f"has more than {LONGEST_PREFIX} bytes of UTF-8")
    return whole


@traceless
def checked_proxy(owner: str, proxy: str | Secret | None) -> str | Secret | None:
    """A word or URL as text, so that equal proxies have equal configs; one with a password stays hidden.

    Raises:
        StorageConfigurationError: It is neither a word that is known nor the URL of a proxy.
    """
    if proxy is None:
        return None
    hidden = proxy if isinstance(proxy, Secret) else Secret(proxy)
    word = is_proxy_word(hidden)
    if not word:
        parse_proxy(hidden, f"`proxy` of {owner} ({spoken(variables_of(owner, 'proxy'))})")
    return word or (hidden if has_password(hidden) else hidden.reveal())
