"""bunny.net: token authentication of pull zones, HMAC-SHA256 and the older SHA-256. Pure.

Nothing separates the path from the expiry in what is signed, as with Fastly: a link to `/a9` that expires at
1700000000 has the same signature as one to `/a` that expires at 91700000000. Give objects that differ only in
digits at their end a different ending.

Source: providers.md §4.3; BunnyWay/BunnyCDN.TokenAuthentication (e2e/vectors.json; the order of the message
is that of the code, not of its README); bunny.net docs, "Token authentication, advanced".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.address import Address, parse_address
from credstore.links.settings import (
    check_choice,
    check_count,
    check_flag,
    check_ip,
    check_word,
    check_words,
    reveal,
    wrong,
)
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

Algorithm = Literal["HS256", "SHA256"]
Form = Literal["query", "directory"]

_RESERVED = frozenset(
    {"token", "bcdn_token", "expires", "limit", "token_path", "token_ignore_params"}
    | {"token_countries", "token_countries_blocked"}
)
_TOKEN_PATH = re.compile(r"/[A-Za-z0-9/._~-]*")
_COUNTRY = re.compile(r"[A-Z]{2}")


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class BunnySigner:
    """Links of a bunny.net pull zone with token authentication.

    Attributes:
        key: The pull zone's token authentication key.
        algorithm: "HS256", or "SHA256" for the tokens from before 2026, which zones still accept.
        form: "query", or "directory": the token is in the path, so that relative links keep it.
        token_path: A link opens everything below this path, `/videos/`; letters, digits and `/._~-`.
        ip: The one client that may use a link, IPv4, or IPv6, of which only the first 64 bits count; the zone
            needs "token IP validation".
        countries: The only countries that may use it, ISO 3166-1 alpha-2.
        countries_blocked: Countries that may not use it.
        speed_limit: kB per second.
        ignore_parameters: Whether other query parameters may be added to a link or changed.
    """

    name: str = field(default="Bunny", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    key: Secret
    algorithm: Algorithm = "HS256"
    form: Form = "query"
    token_path: str | None = None
    ip: str | None = None
    countries: tuple[str, ...] = ()
    countries_blocked: tuple[str, ...] = ()
    speed_limit: int | None = None
    ignore_parameters: bool = False

    def __post_init__(self) -> None:
        reveal(self.name, "key", self.key)
        check_choice(self.name, "algorithm", self.algorithm, Algorithm)
        check_choice(self.name, "form", self.form, Form)
        if self.token_path is not None:
            check_word(self.name, "token_path", self.token_path, pattern=_TOKEN_PATH)
        check_ip(self.name, "ip", self.ip)
        for setting in ("countries", "countries_blocked"):
            given: object = getattr(self, setting)
            check_words(
                self.name, setting, given, pattern=_COUNTRY, why="must be a tuple of codes such as 'CA'"
            )
        check_count(self.name, "speed_limit", self.speed_limit, unit="kB per second")
        check_flag(self.name, "ignore_parameters", self.ignore_parameters)
        if self.ignore_parameters and (self.countries or self.countries_blocked or self.speed_limit):
            raise wrong(
                self.name, "ignore_parameters",
                "makes the edge ignore countries and speed limits too; leave it out or leave those out",
            )  # fmt: skip

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        check_times(self.name, now=now, expires_at=expires_at)
        if self.token_path is not None and not address.path.startswith(self.token_path):
            raise StorageUnsupportedError(
                "the signer's `token_path` does not cover this object, so the link would not open it; "
                "shorten `token_path` or leave it out"
            )
        if self.form == "directory" and address.query:
            raise StorageUnsupportedError("a link with its token in the path has no query; use form='query'")
        signed = dict(sorted(self._parameters(address).items()))
        data = "&".join(f"{name}={value}" for name, value in signed.items())
        token = self._token(self.token_path or address.path, expires_at, data)
        parts = [f"{name}={quote(value, safe='')}" for name, value in signed.items()]
        shown = "&".join([token, *parts, f"expires={expires_at}"])
        if self.form == "directory":
            return f"{address.origin}/bcdn_token={shown}{address.path}"
        rest = f"&{address.query}" if self.ignore_parameters and address.query else ""
        return f"{address.origin}{address.path}?token={shown}{rest}"

    def _parameters(self, address: Address) -> dict[str, str]:
        parameters = {} if self.ignore_parameters or not address.query else _own(address.query)
        if self.ignore_parameters:
            parameters |= {"token_ignore_params": "true"}
        if self.token_path is not None:
            parameters["token_path"] = self.token_path
        if self.countries:
            parameters["token_countries"] = ",".join(self.countries)
        if self.countries_blocked:
            parameters["token_countries_blocked"] = ",".join(self.countries_blocked)
        if self.speed_limit is not None:
            parameters["limit"] = str(self.speed_limit)
        return parameters

    def _token(self, path: str, expires_at: int, data: str) -> str:
        key, start = self.key.reveal().encode(), f"{path}{expires_at}".encode()
        if self.algorithm == "SHA256":
            digest = hashlib.sha256(key + start + data.encode() + (self.ip or "").encode()).digest()
            return _encode(digest)
        prefix = "HS256-" if self.ip is None else "HS256-1-"
        return prefix + _encode(hmac.digest(key, start + _pack(self.ip) + data.encode(), "sha256"))


def _pack(ip: str | None) -> bytes:
    """An address as the edge signs it: all of IPv4, but only the network half of IPv6."""
    if ip is None:
        return b""
    packed = ipaddress.ip_address(ip).packed
    return packed if len(packed) == 4 else packed[:8] + bytes(8)  # noqa: PLR2004 - bytes of IPv4


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _own(query: str) -> dict[str, str]:
    """The address's own parameters, decoded; ambiguous ones are refused."""
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = (unquote(piece) for piece in part.partition("="))
        # Signed as name=value&name=value without escapes: an & in a value would pass for a parameter.
        if "+" in part or "&" in name + value or "=" in name or not name[:1].isalpha() or name in parameters:
            raise StorageUnsupportedError(
                "Bunny signs query parameters unescaped: each has one value, a name that starts with a "
                "letter, and no '&' or '+' in it; take those out, or set ignore_parameters=True"
            )
        parameters[name] = value
    return parameters
