"""Akamai: EdgeAuth tokens of the behaviour "Auth Token 2.0 Verification". Pure.

Source: providers.md §4.5; akamai/EdgeAuth-Token-Python (order of the fields, what is hashed and not
shown, escapes in lower case).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote_plus

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.links.address import is_covered, parse_address
from credstore.links.settings import (
    check_choice,
    check_count,
    check_flag,
    check_ip,
    check_word,
    check_words,
    decode_hex,
    reveal,
)
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

Digest = Literal["sha256", "sha1", "md5"]

_KEY_SIZES = range(16, 129)
_ACL = re.compile(r"/(?:[A-Za-z0-9\-._/*?]|%[0-9A-F]{2})*")
_ACL_IS = "must be a tuple of paths, with * and ? as wildcards, without ! and ~"
_PLAIN = re.compile(r"[A-Za-z0-9._:@/-]{1,512}")
"""Characters that are not escaped in `~`-separated fields of a query."""
_ESCAPE = re.compile("%..")


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class AkamaiSigner:
    """Links of an Akamai property that verifies tokens in the query.

    Attributes:
        key: The property's encryption key, hexadecimal.
        acl: A link opens every path that one of these matches, `/images/*`; empty for only the linked path.
        parameter: Name of the token in the query: `__token__`, or `hdnts` where the property says so.
        ip: The one client that may use a link.
        session_id: Text the token carries as `id`: letters, digits and `._:@/-`.
        payload: Text the token carries as `data`, with the same characters.
        salt: The property's transition key or salt: hashed, not shown.
        active_from: Epoch seconds before which a link does not work.
        digest: The same as at the property.
        escape_early: Whether the property has "escape token input".
    """

    name: str = field(default="Akamai", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    key: Secret
    acl: tuple[str, ...] = ()
    parameter: str = "__token__"
    ip: str | None = None
    session_id: str | None = None
    payload: str | None = None
    salt: Secret | None = None
    active_from: int | None = None
    digest: Digest = "sha256"
    escape_early: bool = False

    def __post_init__(self) -> None:
        decode_hex(self.name, "key", self.key, sizes=_KEY_SIZES)
        check_words(self.name, "acl", self.acl, pattern=_ACL, why=_ACL_IS)
        check_word(self.name, "parameter", self.parameter)
        check_ip(self.name, "ip", self.ip)
        for setting in ("session_id", "payload"):
            if getattr(self, setting) is not None:
                check_word(self.name, setting, getattr(self, setting), pattern=_PLAIN)
        if self.salt is not None:
            reveal(self.name, "salt", self.salt)
        check_count(self.name, "active_from", self.active_from)
        check_choice(self.name, "digest", self.digest, Digest)
        check_flag(self.name, "escape_early", self.escape_early)

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=frozenset({self.parameter}))
        check_times(self.name, now=now, expires_at=expires_at)
        if self.active_from is not None and self.active_from >= expires_at:
            raise StorageInvalidRequestError("active_from must be before the link's expiration")
        if self.acl and not any(is_covered(address.path, pattern) for pattern in self.acl):
            raise StorageUnsupportedError(
                "none of the signer's `acl` covers this object, so the link would not open it; "
                "add one or leave them out"
            )
        if not self.acl and "~" in address.path:
            raise StorageUnsupportedError(
                "'~' separates the fields of a token; rename the object or set `acl`"
            )
        if not self.acl and self.escape_early and "%" in address.path:
            raise StorageUnsupportedError(
                "Akamai does not say how it escapes a path that is escaped already; set `acl`, "
                "or turn off escape_early here and at the property"
            )
        return address.with_query(f"{self.parameter}={self._token(address.path, expires_at)}")

    def _token(self, path: str, expires_at: int) -> str:
        fields = {
            "ip": self._escaped(self.ip),
            "st": self.active_from,
            "exp": expires_at,
            "acl": "!".join(self.acl) or None,
            "id": self._escaped(self.session_id),
            "data": self._escaped(self.payload),
        }
        shown = [f"{name}={value}" for name, value in fields.items() if value is not None]
        hashed = list(shown)
        if not self.acl:
            hashed.append(f"url={self._escaped(path)}")
        if self.salt is not None:
            hashed.append(f"salt={self.salt.reveal()}")
        key = decode_hex(self.name, "key", self.key, sizes=_KEY_SIZES)
        mac = hmac.digest(key, "~".join(hashed).encode(), self.digest).hex()
        return "~".join([*shown, f"hmac={mac}"])

    def _escaped(self, text: str | None) -> str | None:
        if text is None or not self.escape_early:
            return text
        return _ESCAPE.sub(lambda escape: escape[0].lower(), quote_plus(text))
