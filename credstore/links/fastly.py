"""Fastly: the token of the published VCL, `<expiry>_<hex HMAC of path and expiry>`. Pure.

Nothing separates the path from the expiry in what is signed. A link to `/a9` that expires at 1700000000
therefore has the same signature as one to `/a` that expires at 91700000000: give objects that differ only in
digits at their end a different ending, or make the VCL refuse expiries of more than ten digits.

Source: providers.md §4.5; fastly/token-functions, README and `hmac` examples.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Literal

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.links.address import parse_address
from credstore.links.settings import check_choice, check_word, decode_base64
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

Digest = Literal["sha1", "sha256"]

_LATEST = 10**10 - 1
"""The published VCL accepts ten or eleven digits."""


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class FastlySigner:
    """Links of a Fastly service whose VCL validates tokens.

    The path is signed as in the URL (`req.url.path`), percent-encoded; a query is not signed.

    Attributes:
        key: The VCL's key, in base64.
        digest: "sha1" as published, or "sha256" where the VCL says `digest.hmac_sha256`.
        parameter: Name of the token in the query.
    """

    name: str = field(default="Fastly", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    key: Secret
    digest: Digest = "sha1"
    parameter: str = "token"

    def __post_init__(self) -> None:
        decode_base64(self.name, "key", self.key, url_safe=False, sizes=range(16, 129))
        check_choice(self.name, "digest", self.digest, Digest)
        check_word(self.name, "parameter", self.parameter)

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=frozenset({self.parameter}))
        check_times(self.name, now=now, expires_at=expires_at, latest=_LATEST)
        key = decode_base64(self.name, "key", self.key, url_safe=False, sizes=range(16, 129))
        mac = hmac.digest(key, f"{address.path}{expires_at}".encode(), self.digest).hex()
        return address.with_query(f"{self.parameter}={expires_at}_{mac}")
