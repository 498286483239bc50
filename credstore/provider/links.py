"""Temporary links: never one that cannot work.

A cloud's link bypasses the pipeline: whoever opens it gets the stored bytes with the stored headers.
So a GET link to an object stored opaque is refused, gzip stored without Content-Encoding (as the original
design did) gets it imposed by the link, and a PUT link is refused where the pipeline would have changed
the bytes. Links that our own edge serves (`Capabilities.links_decode`) need neither, since it decodes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple, TypedDict, cast, get_args
from urllib.parse import quote

from credstore.config.units import parse_duration
from credstore.driver.contract import VerifiesLinks, WantsChecksums
from credstore.driver.internal import is_internal
from credstore.driver.refusals import OVERRIDES, no_link
from credstore.driver.signed_links import invalid_link
from credstore.driver.values import ReadOptions, SignedRequest, SignRequest
from credstore.encryption import ClientSide, CustomerKey
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.links.signer import LinkSigner
from credstore.model import LinkGrant, Method, SignedUrl
from credstore.pipeline.pipeline import coding_of
from credstore.provider.call import Call, chain_of
from credstore.provider.read import recipe_of
from credstore.provider.session import Session
from credstore.provider.terms import chosen_codec
from credstore.provider.validation import check_flag, check_header, check_token, checked_version, is_number

DAY = 24 * 3600
LONGEST = 7 * DAY
"""Seconds; the limit of every S3-family provider (SigV4 query authentication)."""
LONGEST_ANYWHERE = 3650 * DAY
"""Seconds; the limit for links of a CDN that has no limit of its own."""


_PUT = "a PUT link"
_WITH_MD5 = (
    'give headers={"content-md5": MD5} with the MD5 of the body in base64, which the holder has to send, or '
    "check=False for a holder who sends that header of their own"
)
_METHODS: tuple[Method, ...] = get_args(Method)
_WRITING = frozenset({"PUT", "DELETE"})
_FETCHING = frozenset({"download_name", "content_disposition", "content_type", "cache_control", "version_id"})
_ALWAYS = frozenset({"check", "timeout"})
_MEANT_FOR: Mapping[str, frozenset[str]] = {
    "GET": _FETCHING | _ALWAYS,
    "HEAD": _FETCHING | _ALWAYS,
    "PUT": frozenset({"content_type", "headers"}) | _ALWAYS,
    "DELETE": frozenset({"version_id"}) | _ALWAYS,
}
"""The options that have an effect, by method."""


class LinkOptions(TypedDict, total=False):
    """Options of `StorageProvider.get_signed_url`.

    Keys:
        download_name: Save as a file with this name; any Unicode, RFC 6266.
        content_disposition: Response header, verbatim, instead of `download_name`.
        content_type: GET: response header to impose. PUT: header the holder must send.
        cache_control: Response header to impose.
        headers: PUT: further headers the holder must send, by name.
        version_id: A kept version.
        check: False skips looking at the object first; the link may then not work.
        timeout: Seconds, instead of the configured number.
    """

    download_name: str
    content_disposition: str
    content_type: str
    cache_control: str
    headers: Mapping[str, str]
    version_id: str
    check: bool
    timeout: float


class LinkRequest(NamedTuple):
    """A link that was asked for.

    Attributes:
        key: Of the object.
        method: The HTTP method it should work for.
        expires_in: Seconds.
        options: As given.
        deadline: Instant of `time.monotonic()`, or None.
    """

    key: str
    method: Method
    expires_in: float
    options: LinkOptions
    deadline: float | None


async def temporary_link(
    session: Session,
    key: str,
    expires_in: float | timedelta | str,
    method: Method,
    options: LinkOptions,
    *,
    call: Call,
) -> SignedUrl:
    """Make a link by the signer that there is, or by the store; see `StorageProvider.get_signed_url`.

    Args:
        session: Of the store.
        key: Of the object.
        expires_in: Seconds, or a duration.
        method: That it is for.
        options: As given.
        call: Records what a user's own signer raises.

    Raises:
        StorageError: As the verb says.
    """
    session.check_key(key)
    request = LinkRequest(
        key, method, seconds_of(expires_in), options, session.deadline(options.get("timeout"))
    )
    if isinstance(cast("object", method), str) and method in _WRITING:  # Any other type is refused below.
        session.lifetime.check_writable("get_signed_url", key)
    if session.policy is not None:
        _check_not_sealed(session.policy, method)
    signer = session.link_signer
    if signer is not None and method in signer.methods:
        return await _make_cdn_link(session, request, signer=signer, call=call)
    return await _make_link(session, request)


def check_unchanged(session: Session, what: str) -> None:
    """Refuse to let somebody store bytes that the pipeline would have changed.

    Args:
        session: Of the store.
        what: What would let them: "a PUT link".

    Raises:
        StorageUnsupportedError: The store compresses or encrypts.
    """
    if session.policy is not None:
        raise _past_encryption(what)
    if isinstance(session.config.encryption, CustomerKey):
        raise _needs_key()
    if chosen_codec(session.config.compress) is not None:
        raise StorageUnsupportedError(
            f"{what} stores what its holder sends, bypassing the compression configured for this provider; "
            "use a provider with compress=False for it"
        )


def _past_encryption(what: str) -> StorageUnsupportedError:
    return StorageUnsupportedError(
        f"{what} stores what its holder sends, bypassing the encryption of this provider; use a provider "
        "without it"
    )


def _check_not_sealed(policy: ClientSide, method: str) -> None:
    """Refuse links that would bypass the encryption of a store.

    Raises:
        StorageUnsupportedError: The holder of the link would store plain bytes, or get encrypted ones.
    """
    if method == "PUT":
        raise _past_encryption(_PUT)
    if policy.required and method in {"GET", "HEAD"}:
        raise StorageUnsupportedError(
            "the objects of this provider are encrypted, and whoever opens a link has no key; to link to an "
            "object, store it through a provider without encryption"
        )


def granted(session: Session, method: str, path: str, query: Mapping[str, str]) -> LinkGrant:
    """What the link in a request grants; see `StorageProvider.verify_link`.

    Raises:
        StorageAccessDeniedError: It grants nothing; the text is the same for all causes.
        StorageUnsupportedError: Links of this store are checked by the provider itself.
    """
    driver = session.driver
    if not isinstance(driver, VerifiesLinks):
        raise StorageUnsupportedError(f"links of {driver.name} are checked by the provider, not here")
    grant = driver.verify_link(method, path, query, time.time())
    if is_internal(grant.key):  # Nothing here signs such a link, but anyone with the secret could.
        raise invalid_link()
    return grant


def public_address(session: Session, key: str) -> str:
    """See `StorageProvider.get_url`.

    Raises:
        StorageInvalidKeyError: The key cannot name an object.
    """
    try:
        session.check_key(key)
    except StorageError as error:
        raise error.at(provider=session.name, operation="get_url", key=None) from None
    return session.url_of(key)


async def _make_link(session: Session, request: LinkRequest) -> SignedUrl:
    """Check that a link presigned by the store will work, and make it.

    Raises:
        StorageNotFoundError: A GET or HEAD link to a missing object.
        StorageUnsupportedError: It could not work; the message says what to change.
        StorageInvalidRequestError: A wrong option or duration.
    """
    signed = await _presigned(session, request)
    return SignedUrl(signed.url, method=signed.method, headers=signed.headers, expires_at=signed.expires_at)


async def _make_cdn_link(
    session: Session, request: LinkRequest, *, signer: LinkSigner, call: Call
) -> SignedUrl:
    """Check that a link of a CDN's signer will work, and make it.

    Args:
        session: Of the store.
        request: What was asked for.
        signer: Of the CDN.
        call: Records what a user's own signer raises.

    Raises:
        StorageConfigurationError: No CDN is configured.
        StorageUnsupportedError: It could not work; the message says what to change.
        StorageError: As for `_make_link`.
    """
    now = int(time.time())
    if signer.source == "presigned":
        presigned = await _presigned(session, request)
        url, expires_at = presigned.url, int(presigned.expires_at.timestamp())
    else:
        _check_options(request.method, request.options)
        longest = LONGEST_ANYWHERE if signer.max_expires_in is None else signer.max_expires_in
        check_duration(request.expires_in, longest, f"links of {signer.name} last")
        await _check_public(session, request, signer)
        url, expires_at = session.url_of(request.key), now + ceil(request.expires_in)
    try:
        signed = signer.sign(url, now=now, expires_at=expires_at)
        link = await signed if isinstance(signed, Awaitable) else signed
    except StorageError:
        raise
    except Exception as error:
        call.blame(error, chain_of(error))
        raise
    return SignedUrl(link, method=request.method, expires_at=datetime.fromtimestamp(expires_at, UTC))


async def _check_public(session: Session, request: LinkRequest, signer: LinkSigner) -> None:
    """Refuse what a link to the object's public address cannot provide."""
    if not session.config.has_public_address:
        raise StorageConfigurationError(
            f"links of {signer.name} lead to a CDN, and none is configured; set cdn_url to its address"
        )
    given = sorted(set(request.options) - _ALWAYS)
    if given:
        raise StorageUnsupportedError(
            f"{given[0]} cannot be part of a link of {signer.name}: its edge serves the current object with "
            "the headers it was stored with; store it with these headers"
        )
    if isinstance(session.config.encryption, CustomerKey):
        raise _needs_key()
    if request.options.get("check", True) and await _needed(
        session, request.key, request.options, request.deadline, decoded=False
    ):
        raise StorageUnsupportedError(
            f"the object is gzip without Content-Encoding, and a link of {signer.name} cannot add it; store "
            "it again with compress='gzip'"
        )


def seconds_of(duration: float | timedelta | str) -> float:
    """A duration in seconds.

    Args:
        duration: Seconds, a timedelta, or text such as "1h".

    Raises:
        StorageInvalidRequestError: It is a text, and not of a duration.
    """
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    return parse_duration(duration) if isinstance(duration, str) else duration


def check_duration(expires_in: object, longest: float, what: str) -> None:
    """Refuse a duration that no link has.

    Raises:
        StorageInvalidRequestError: It is less than 1 second or more than `longest`; `what` begins the text.
    """
    if not is_number(expires_in) or not 1 <= cast("float", expires_in) <= longest:
        days = f" ({longest / DAY:g} days)" if longest >= DAY else ""
        given = repr(expires_in)
        if is_number(expires_in) and cast("float", expires_in) >= DAY:
            given = f"{cast('float', expires_in):.10g} ({cast('float', expires_in) / DAY:.4g} days)"
        raise StorageInvalidRequestError(f"{what} 1 to {longest:g} seconds{days}, not {given}")


async def _presigned(session: Session, request: LinkRequest) -> SignedRequest:
    driver = session.driver
    method, options = request.method, request.options
    check_duration(request.expires_in, LONGEST, "expires_in is")
    _check_options(method, options)
    if method not in driver.capabilities.presign:
        raise no_link(method, driver.capabilities.presign).of(driver.name)
    overrides: dict[str, str] = {}
    if isinstance(session.config.encryption, CustomerKey):
        raise _needs_key()
    if method in {"GET", "HEAD"}:
        overrides = _overrides(options)
        if options.get("check", True):
            decoded = driver.capabilities.links_decode
            needed = await _needed(session, request.key, options, request.deadline, decoded=decoded)
            overrides = {**needed, **overrides}
        if overrides and not driver.capabilities.response_overrides:
            raise OVERRIDES.of(driver.name)
    elif method == "PUT":
        check_unchanged(session, _PUT)
        if options.get("check", True) and not _has_checksum(_put_headers(options)):
            await check_unsummed(session, _PUT, _WITH_MD5, request.deadline)
    return await driver.sign(
        SignRequest(
            key=request.key,
            method=method,
            expires_in=request.expires_in,
            overrides=overrides,
            version_id=options.get("version_id"),
            headers=_put_headers(options) if method == "PUT" else {},
            deadline=request.deadline,
        )
    )


def _has_checksum(headers: Mapping[str, str]) -> bool:
    return any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in headers)


async def check_unsummed(session: Session, what: str, how: str, deadline: float | None) -> None:
    """Refuse what uploads without a checksum where the store takes no such body.

    Args:
        session: Of the store.
        what: "a PUT link", for the message.
        how: What to do instead.
        deadline: Instant of `time.monotonic()`, or None.

    Raises:
        StorageInvalidRequestError: It takes none (code "CHECKSUM_REQUIRED").
    """
    driver = session.driver
    if isinstance(driver, WantsChecksums) and await driver.wants_checksums(deadline=deadline):
        raise StorageInvalidRequestError(
            "the bucket has a default retention (Object Lock) and takes a body only with its checksum, so "
            f"what {what} without one uploads would be refused; {how}",
            code=ErrorCode.CHECKSUM_REQUIRED,
        )


def _check_options(method: str, options: LinkOptions) -> None:
    if method not in _METHODS:
        raise StorageInvalidRequestError(f"method is one of {', '.join(_METHODS)}, not {method!r}")
    if not options:
        return
    unknown = set(options) - LinkOptions.__optional_keys__
    if unknown:
        raise StorageInvalidRequestError(f"get_signed_url has no option {min(unknown)!r}")
    without = set(options) - _MEANT_FOR[method]
    if without:
        raise StorageInvalidRequestError(f"{min(without)} changes nothing about a {method} link")
    check_flag("check", options.get("check", True))
    if method == "DELETE" and "version_id" in options:
        checked_version(options["version_id"])  # None would make a link that removes whatever is there.
    elif options.get("version_id") is not None:
        check_header("version_id", options.get("version_id"))


def disposition(name: str) -> str:
    """A `Content-Disposition` that saves under `name`, in RFC 6266 form for any Unicode name."""
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


async def _needed(
    session: Session, key: str, options: LinkOptions, deadline: float | None, *, decoded: bool
) -> dict[str, str]:
    """Response headers that the link has to impose, after checking that it can lead to the object."""
    reading = ReadOptions(version_id=options.get("version_id"), deadline=deadline)
    info = await session.driver.head(key, reading)
    found = recipe_of(info)
    if found.sealed:
        raise StorageUnsupportedError(
            "the object is encrypted before it is stored, and whoever opens a link has no key; store it "
            "through a provider without client-side encryption to link to it"
        )
    if found.opaque and not decoded:
        raise StorageUnsupportedError(
            f"the object is stored as opaque {found.codec}, which browsers cannot be relied on to decode; "
            "store it with compress='gzip' or compress=False to link to it"
        )
    if info.encryption == "SSE-C":
        raise _needs_key()
    if decoded:
        return {}
    encoding = info.headers.content_encoding if info.headers else None
    return {"content-encoding": "gzip"} if found.codec == "gzip" and coding_of(encoding) != "gzip" else {}


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
