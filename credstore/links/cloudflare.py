"""Cloudflare: timed HMAC tokens for a WAF custom rule with `is_timed_hmac_valid_v0`. Pure.

The rule, for a signer with the defaults and `ttl=10800`:
`(http.host eq "cdn.example.com" and not is_timed_hmac_valid_v0("<secret>", http.request.uri, 10800,
http.request.timestamp.sec, 8))` with the action Block; 8 is the length of `?verify=`.

Source: providers.md §4.2; Cloudflare docs, "Configure token authentication", "Rules language
functions: HMAC validation", "URL normalization: how it works".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.address import check_slashes, parse_address
from credstore.links.settings import check_choice, check_count, check_word, reveal
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

Encoding = Literal["base64", "base64url"]

_CHANGED = re.compile("%(?:.?[a-f]|3[0-9]|[46][1-9A-F]|[57][0-9A]|2[DE]|5F|7E)")
_EARLIEST, _LATEST = 10**9, 10**10 - 1
"""The rule reads exactly ten digits of time."""


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflareSigner:
    """Links that a Cloudflare custom rule permits; the one native way for R2's custom domains.

    The token contains the time of issue, and the rule says how long it lasts: a shorter link is one that was
    issued earlier, and one longer than `ttl` cannot be made.

    Attributes:
        secret: The first argument of the rule.
        ttl: Seconds; the third argument of the rule.
        parameter: Name of the token in the query. The rule's last argument is the length of this name plus 2.
        encoding: "base64", or "base64url" for a rule with the flag 's'.
    """

    name: str = field(default="Cloudflare", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    secret: Secret
    ttl: int
    parameter: str = "verify"
    encoding: Encoding = "base64"

    def __post_init__(self) -> None:
        reveal(self.name, "secret", self.secret)
        check_count(self.name, "ttl", self.ttl, optional=False)
        check_word(self.name, "parameter", self.parameter)
        check_choice(self.name, "encoding", self.encoding, Encoding)

    @property
    def max_expires_in(self) -> float | None:
        """Seconds a link may last, as set in the rule."""
        return self.ttl

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=frozenset({self.parameter}))
        # The rule sees the address after "normalize incoming URLs", which is on by default.
        if _CHANGED.search(address.url):
            raise StorageUnsupportedError(
                "Cloudflare rewrites escapes in lower case and of letters, digits and -._~ before it checks "
                "the token; write them as RFC 3986 section 6.2.2 says"
            )
        check_slashes(address, cdn=self.name, cure="use a signer of your own")
        check_times(self.name, now=now, expires_at=expires_at, longest=self.ttl)
        issued = expires_at - self.ttl
        if not _EARLIEST <= issued <= _LATEST:
            raise StorageUnsupportedError("Cloudflare reads a time of ten digits; ask for another expires_in")
        message = address.url.removeprefix(address.origin)
        mac = hmac.digest(self.secret.reveal().encode(), f"{message}{issued}".encode(), hashlib.sha256)
        if self.encoding == "base64url":
            written = base64.urlsafe_b64encode(mac).decode().rstrip("=")
        else:
            written = quote(base64.b64encode(mac), safe="")
        return address.with_query(f"{self.parameter}={issued}-{written}")
