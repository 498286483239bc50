"""Google Cloud CDN (HMAC-SHA1) and Media CDN (Ed25519, and tokens): URLs, prefixes, cookies. Pure.

Source: providers.md §4.4; cloud.google.com/cdn/docs/using-signed-urls and using-signed-cookies,
cloud.google.com/media-cdn/docs/use-signed-requests and generate-tokens; the samples' tests in
GoogleCloudPlatform/python-docs-samples, `cdn` and `media_cdn`.
"""

from __future__ import annotations

import base64
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.address import is_covered, parse_address
from credstore.links.settings import check_choice, check_count, check_word, check_words, decode_base64
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

TokenAlgorithm = Literal["ed25519", "sha1", "sha256"]

_GLOBS = 5
_RESERVED = frozenset({"Expires", "KeyName", "Signature", "URLPrefix"})
_KEY_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})")
_PREFIX = re.compile(r"https?://[A-Za-z0-9._:-]+/(?:[A-Za-z0-9\-._~!$'()+,;=:@/]|%[0-9A-F]{2})*")
_GLOB = re.compile(r"/(?:[A-Za-z0-9\-._/*?]|%[0-9A-F]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedRequests(ABC):
    """What Cloud CDN and Media CDN have in common: the same texts, signed differently."""

    name: str = field(default="", init=False, repr=False)
    cookie: str = field(default="", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    key_name: str
    key: Secret
    url_prefix: str | None = None
    max_expires_in: int | None = None
    _sign: Callable[[bytes], bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_word(self.name, "key_name", self.key_name, pattern=_KEY_NAME)
        check_count(self.name, "max_expires_in", self.max_expires_in)
        if self.url_prefix is not None:
            check_word(self.name, "url_prefix", self.url_prefix, pattern=_PREFIX)
        object.__setattr__(self, "_sign", self._load())

    @abstractmethod
    def _load(self) -> Callable[[bytes], bytes]:
        """How this CDN signs."""

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        check_times(self.name, now=now, expires_at=expires_at, longest=self.max_expires_in)
        until = f"Expires={expires_at}&KeyName={self.key_name}"
        if self.url_prefix is None:
            unsigned = address.with_query(until)
            return f"{unsigned}&Signature={self._signature(unsigned)}"
        self._check_prefix(address.url, self.url_prefix)
        policy = f"URLPrefix={_encode(self.url_prefix.encode())}&{until}"
        return address.with_query(f"{policy}&Signature={self._signature(policy)}")

    def sign_cookie(self, url: str, *, now: int, expires_at: int) -> Mapping[str, str]:
        """The cookie that opens every address that starts with `url_prefix`, or with `url` if that is None.

        Args:
            url: The object's address.
            now: Epoch seconds.
            expires_at: Epoch seconds.

        Returns:
            The one value by the cookie's name. It grants access: never log it.

        Raises:
            StorageInvalidRequestError: See `sign`.
            StorageUnsupportedError: See `sign`.
        """
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        check_times(self.name, now=now, expires_at=expires_at, longest=self.max_expires_in)
        prefix = self.url_prefix or f"{address.origin}{address.path}"
        self._check_prefix(address.url, prefix)
        policy = f"URLPrefix={_encode(prefix.encode())}:Expires={expires_at}:KeyName={self.key_name}"
        return {self.cookie: f"{policy}:Signature={self._signature(policy)}"}

    def _check_prefix(self, url: str, prefix: str) -> None:
        if not url.startswith(prefix):
            raise StorageUnsupportedError(
                "the signer's `url_prefix` does not cover this object, so the link would not open it; "
                "shorten `url_prefix` or leave it out"
            )

    def _signature(self, text: str) -> str:
        return _encode(self._sign(text.encode()))


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class CloudCdnSigner(_SignedRequests):
    """Links of a Cloud CDN backend with a signed-request key.

    Attributes:
        key_name: Name of the key at the backend.
        key: 16 bytes in URL-safe base64.
        url_prefix: A link opens every address that starts with this; None for only the linked address.
        max_expires_in: Seconds a link may last; None for no limit.
    """

    name: str = field(default="Cloud CDN", init=False, repr=False)
    cookie: str = field(default="Cloud-CDN-Cookie", init=False, repr=False)

    def _load(self) -> Callable[[bytes], bytes]:
        key = decode_base64(self.name, "key", self.key, url_safe=True, sizes=range(16, 17))
        return lambda data: hmac.digest(key, data, "sha1")


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCdnSigner(_SignedRequests):
    """Links of a Media CDN route that requires signed requests.

    Attributes:
        key_name: Of the keyset.
        key: The 32 bytes of an Ed25519 private key in URL-safe base64; the keyset has its public half.
        url_prefix: A link opens every address that starts with this; None for only the linked address.
        max_expires_in: Seconds the route accepts, its `signedRequestMaximumExpirationTtl`; None for
            no limit.
    """

    name: str = field(default="Media CDN", init=False, repr=False)
    cookie: str = field(default="Edge-Cache-Cookie", init=False, repr=False)

    def _load(self) -> Callable[[bytes], bytes]:
        return _load_ed25519(self.name, self.key)


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCdnTokenSigner:
    """Links with a short-duration token, for Media CDN routes with `signedTokenOptions`.

    Attributes:
        key: In URL-safe base64: the 32 bytes of an Ed25519 private key, or the shared secret.
        algorithm: "ed25519", or "sha1" or "sha256" for routes that validate with shared keys.
        path_globs: A link opens every path that one of these matches, `/videos/*`; empty for only the linked
            path.
        parameter: Name of the token in the query: the route's `tokenQueryParameter`.
        max_expires_in: Seconds the edge accepts.
    """

    name: str = field(default="Media CDN token", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    key: Secret
    algorithm: TokenAlgorithm = "ed25519"
    path_globs: tuple[str, ...] = ()
    parameter: str = "edge-cache-token"
    max_expires_in: int | None = None
    _sign: Callable[[bytes], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice(self.name, "algorithm", self.algorithm, TokenAlgorithm)
        check_word(self.name, "parameter", self.parameter)
        check_count(self.name, "max_expires_in", self.max_expires_in)
        check_words(
            self.name, "path_globs", self.path_globs, pattern=_GLOB, most=_GLOBS,
            why="must be a tuple of paths, with * and ? as wildcards",
        )  # fmt: skip
        object.__setattr__(self, "_sign", self._load())

    def _load(self) -> Callable[[bytes], str]:
        if self.algorithm == "ed25519":
            sign = _load_ed25519(self.name, self.key)
            return lambda data: f"Signature={_encode(sign(data)).rstrip('=')}"
        key = decode_base64(self.name, "key", self.key, url_safe=True, sizes=range(16, 129))
        return lambda data: f"hmac={hmac.digest(key, data, self.algorithm).hex()}"

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=frozenset({self.parameter}))
        check_times(self.name, now=now, expires_at=expires_at, longest=self.max_expires_in)
        if self.path_globs and not any(is_covered(address.path, glob) for glob in self.path_globs):
            raise StorageUnsupportedError(
                "none of the signer's `path_globs` covers this object, so the link would not open it; "
                "add one or leave them out"
            )
        if not self.path_globs and "~" in address.path:
            raise StorageUnsupportedError(
                "'~' separates the fields of a Media CDN token; rename the object or set `path_globs`"
            )
        shown = f"PathGlobs={','.join(self.path_globs)}" if self.path_globs else "FullPath"
        signed = shown if self.path_globs else f"FullPath={address.path}"
        signature = self._sign(f"{signed}~Expires={expires_at}".encode())
        return address.with_query(f"{self.parameter}={shown}~Expires={expires_at}~{signature}")


def _load_ed25519(cdn: str, secret: Secret) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = decode_base64(cdn, "key", secret, url_safe=True, sizes=range(32, 33))
    return Ed25519PrivateKey.from_private_bytes(seed).sign


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
