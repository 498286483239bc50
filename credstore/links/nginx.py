"""nginx `ngx_http_secure_link_module`, and CDNs that use its scheme (Gcore). Pure.

For a signer with the defaults:
`secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri <secret>";` and a
refusal where `$secure_link` is "" (403) or "0" (410).

Source: providers.md §4.5; nginx.org/en/docs/http/ngx_http_secure_link_module.html.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.links.address import check_slashes, parse_address
from credstore.links.settings import check_flag, check_ip, check_word, reveal, wrong
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_KNOWN = frozenset({"secure_link_expires", "uri", "remote_addr", "secret"})
_NEEDED = frozenset({"secure_link_expires", "uri", "secret"})


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class NginxSigner:
    """Links of an nginx location with `secure_link` and `secure_link_md5`.

    Attributes:
        secret: What the configured expression has in place of `$secret`.
        expression: The text of `secure_link_md5` with `$secret` for the secret; it may contain
            `$secure_link_expires`, `$uri` and `$remote_addr`. `$uri` is the path as nginx decodes it.
        remote_addr: The one client that may use a link, where the expression has `$remote_addr`.
        parameter: Name of the digest in the query.
        expires_parameter: Name of the expiry in the query.
        merge_slashes: Whether nginx merges `//` in paths, as it does by default.
    """

    name: str = field(default="nginx", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    secret: Secret
    expression: str = "$secure_link_expires$uri $secret"
    remote_addr: str | None = None
    parameter: str = "md5"
    expires_parameter: str = "expires"
    merge_slashes: bool = True

    def __post_init__(self) -> None:
        reveal(self.name, "secret", self.secret)
        check_ip(self.name, "remote_addr", self.remote_addr)
        check_word(self.name, "parameter", self.parameter)
        check_word(self.name, "expires_parameter", self.expires_parameter)
        check_flag(self.name, "merge_slashes", self.merge_slashes)
        if self.parameter == self.expires_parameter:
            raise wrong(self.name, "expires_parameter", "must differ from `parameter`")
        used = _variables(self.expression)
        if used is None or not used <= _KNOWN or not used >= _NEEDED:
            raise wrong(
                self.name, "expression",
                "must be the text of secure_link_md5 with $secure_link_expires, $uri, $secret and, if it has "
                "it, $remote_addr; no other variable",
            )  # fmt: skip
        if ("remote_addr" in used) != (self.remote_addr is not None):
            raise wrong(self.name, "remote_addr", "must be set exactly where `expression` has $remote_addr")

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        reserved = frozenset({self.parameter, self.expires_parameter})
        address = parse_address(url, cdn=self.name, reserved=reserved)
        if self.merge_slashes:
            check_slashes(address, cdn=self.name, cure="set merge_slashes off at nginx and False here")
        check_times(self.name, now=now, expires_at=expires_at)
        values = {
            "secure_link_expires": str(expires_at).encode(),
            "uri": address.decoded_path(),
            "remote_addr": (self.remote_addr or "").encode(),
            "secret": self.secret.reveal().encode(),
        }
        pieces = _VARIABLE.split(self.expression)
        # Each match leaves three pieces: the text before it, its plain name, its name in braces.
        text = b"".join(
            piece.encode() if place % 3 == 0 else values[piece]
            for place, piece in enumerate(pieces)
            if piece is not None  # pyright: ignore[reportUnnecessaryComparison] - the form that did not match
        )
        digest = (
            base64.urlsafe_b64encode(hashlib.md5(text, usedforsecurity=False).digest()).decode().rstrip("=")
        )
        return address.with_query(f"{self.parameter}={digest}&{self.expires_parameter}={expires_at}")


def _variables(expression: object) -> frozenset[str] | None:
    """Names of the variables in an expression; None if a `$` does not start one."""
    if not isinstance(expression, str) or "$" in _VARIABLE.sub("", expression):
        return None
    return frozenset(plain or braced for plain, braced in _VARIABLE.findall(expression))
