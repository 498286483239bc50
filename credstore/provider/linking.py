"""Temporary links: never one that cannot work.

A link bypasses the pipeline: whoever opens it gets the stored bytes with the stored headers. So a
GET link to an object stored opaque is refused, gzip stored without Content-Encoding (as the original
design did) gets it imposed by the link, and a PUT link is refused where the pipeline would have
changed the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, get_args
from urllib.parse import quote

from credstore.config.clouds import CommonConfig
from credstore.driver import Driver, ReadOptions, SignRequest
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.model import CustomerKey, Method, SignedUrl
from credstore.provider.checks import check_flag, check_header, check_token, is_number
from credstore.provider.read import recipe_of
from credstore.provider.write import chosen_codec

LONGEST = 7 * 24 * 3600
"""Seconds; the limit of every S3-family provider (SigV4 query authentication)."""


_METHODS: tuple[Method, ...] = get_args(Method)
_FETCHING = frozenset({"download_name", "content_disposition", "content_type", "cache_control", "version_id"})
_ALWAYS = frozenset({"check", "timeout"})
_MEANT_FOR: Mapping[str, frozenset[str]] = {
    "GET": _FETCHING | _ALWAYS,
    "HEAD": _FETCHING | _ALWAYS,
    "PUT": frozenset({"content_type", "headers"}) | _ALWAYS,
    "DELETE": frozenset({"version_id"}) | _ALWAYS,
}
"""The options that change something, by method."""


class LinkOptions(TypedDict, total=False):
    """Options of `StorageProvider.get_signed_url`.

    Keys:
        download_name: Save as a file of this name; any Unicode, RFC 6266.
        content_disposition: Response header, verbatim, in place of `download_name`.
        content_type: GET: response header to impose. PUT: header the holder must send.
        cache_control: Response header to impose.
        headers: PUT: further headers the holder must send, by name.
        version_id: A kept version.
        check: False skips looking at the object first; the link may then not work.
        timeout: Seconds, in place of the configured.
    """

    download_name: str
    content_disposition: str
    content_type: str
    cache_control: str
    headers: Mapping[str, str]
    version_id: str
    check: bool
    timeout: float


async def make_link(
    driver: Driver,
    config: CommonConfig,
    key: str,
    *,
    method: Method,
    expires_in: float,
    options: LinkOptions,
    deadline: float | None,
) -> SignedUrl:
    """Check that the link will work, and make it.

    Raises:
        StorageNotFoundError: A GET or HEAD link to nothing.
        StorageUnsupportedError: It could not work; the message says what to change.
        StorageInvalidRequestError: A wrong option or duration.
    """
    if not is_number(expires_in) or not 1 <= expires_in <= LONGEST:
        raise StorageInvalidRequestError(f"expires_in is 1 to {LONGEST} seconds (7 days), not {expires_in!r}")
    _check_options(method, options)
    if method not in driver.capabilities.presign:
        able = ", ".join(sorted(driver.capabilities.presign))
        raise StorageUnsupportedError(
            f"{driver.name} makes links for {able}, not for {method}"
            if able
            else f"{driver.name} makes no temporary links; the local store and every cloud do"
        )
    overrides: dict[str, str] = {}
    if isinstance(config.encryption, CustomerKey):
        raise _needs_key()
    if method in {"GET", "HEAD"}:
        overrides = _overrides(options)
        if options.get("check", True):
            overrides = {**await _needed(driver, key, options, deadline), **overrides}
        if overrides and not driver.capabilities.response_overrides:
            raise StorageUnsupportedError(f"links of {driver.name} cannot impose response headers")
    elif method == "PUT" and chosen_codec(config.compress) is not None:
        raise StorageUnsupportedError(
            "a PUT link stores what its holder sends, past the compression configured for this provider; "
            "use a provider with compress=False for it"
        )
    signed = await driver.sign(
        SignRequest(
            key=key,
            method=method,
            expires_in=expires_in,
            overrides=overrides,
            version_id=options.get("version_id"),
            headers=_put_headers(options) if method == "PUT" else {},
            deadline=deadline,
        )
    )
    return SignedUrl(signed.url, method=signed.method, headers=signed.headers, expires_at=signed.expires_at)


def _check_options(method: str, options: LinkOptions) -> None:
    if method not in _METHODS:
        raise StorageInvalidRequestError(f"method is one of {', '.join(_METHODS)}, not {method!r}")
    unknown = set(options) - LinkOptions.__optional_keys__
    if unknown:
        raise StorageInvalidRequestError(f"get_signed_url has no option {min(unknown)!r}")
    without = set(options) - _MEANT_FOR[method]
    if without:
        raise StorageInvalidRequestError(f"{min(without)} changes nothing about a {method} link")
    check_flag("check", options.get("check", True))
    if options.get("version_id") is not None:
        check_header("version_id", options.get("version_id"))


def disposition(name: str) -> str:
    """`Content-Disposition` that saves under `name`, in RFC 6266 form for any Unicode name."""
    check_header("download_name", name)
    fallback = "".join(char if " " <= char <= "~" and char not in '"\\%/' else "_" for char in name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe='')}"


def _overrides(options: LinkOptions) -> dict[str, str]:
    overrides: dict[str, str] = {}
    if "download_name" in options:
        overrides["content-disposition"] = disposition(options["download_name"])
    for name in ("content_disposition", "content_type", "cache_control"):
        value = options.get(name)
        if value is not None:
            check_header(name, value)
            overrides[name.replace("_", "-")] = str(value)
    return overrides


async def _needed(driver: Driver, key: str, options: LinkOptions, deadline: float | None) -> dict[str, str]:
    reading = ReadOptions(version_id=options.get("version_id"), deadline=deadline)
    info = await driver.head(key, reading)
    found = recipe_of(info)
    if found.opaque:
        raise StorageUnsupportedError(
            f"the object is stored as opaque {found.codec}, which browsers cannot be relied on to decode; "
            "store it with compress='gzip' or compress=False to link to it"
        )
    if info.encryption == "SSE-C":
        raise _needs_key()
    encoding = info.headers.content_encoding if info.headers else None
    return {"content-encoding": "gzip"} if found.codec == "gzip" and encoding != "gzip" else {}


def _needs_key() -> StorageUnsupportedError:
    return StorageUnsupportedError(
        "objects encrypted with a customer-provided key (SSE-C) have no links: whoever opens one would have "
        "to send the key"
    )


def _put_headers(options: LinkOptions) -> dict[str, str]:
    given = options.get("headers", {})
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidRequestError(
            f"headers is a mapping of names to texts, not {type(given).__name__}"
        )
    named = dict(given)
    if "content_type" in options:
        named["content-type"] = options["content_type"]
    for name, value in named.items():
        check_token(f"header name {name!r}", name)
        check_header(f"header {name!r}", value)
    return {name.lower(): value for name, value in named.items()}
