"""Amazon CloudFront: signed URLs and signed cookies, with canned and custom policies. Pure.

Source: providers.md §4.1; CloudFront Developer Guide, "Create a signed URL using a canned policy",
"... using a custom policy", "Use signed cookies", "Code examples for creating a signature".
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from credstore.links.address import is_covered, parse_address
from credstore.links.settings import check_choice, check_count, check_word, reveal, wrong
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

HashAlgorithm = Literal["SHA256", "SHA1"]

_CDN = "CloudFront"
RSA_BITS = 2048
"""The one RSA size of a CloudFront public key; ECDSA P-256 is the alternative."""
_LATEST = 2_147_483_647
_RESERVED = frozenset({"Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"})
_KEY_PAIR_ID = re.compile(r"[A-Za-z0-9]{4,64}")
_RESOURCE = re.compile(r"http(?:s|\*)?://[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]+")
_RESOURCE_IS = (
    "must be an http(s) URL, where * and ? are wildcards, without quotes, backslashes, spaces or control "
    "characters"
)
_RANGE = re.compile(r"[0-9.]{7,15}/[0-9]{1,2}")
_ALPHABET = str.maketrans("+=/", "-_~")


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFrontSigner:
    """Links of a CloudFront distribution whose behaviour has a trusted key group.

    Without `resource`, `ip_range` and `active_from` the policy is canned: only the expiry is in the
    link. Any of them makes it a custom policy, which the link carries.

    Attributes:
        key_pair_id: Id of the public key in the key group, `K...`.
        private_key: Its private half in PEM, RSA with 2048 bits or ECDSA P-256.
        passphrase: Of an encrypted PEM.
        hash_algorithm: "SHA256", or "SHA1" as for links before 2026; ECDSA only has SHA256.
        resource: Pattern of all addresses that one link opens, `https://host/images/*`; `*` stands
            for any characters, `?` for exactly one. None for only the linked address.
        ip_range: IPv4 addresses that may use a link, `192.0.2.0/24`.
        active_from: Epoch seconds before which a link does not work.
    """

    name: str = field(default=_CDN, init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    key_pair_id: str
    private_key: Secret
    passphrase: Secret | None = None
    hash_algorithm: HashAlgorithm = "SHA256"
    resource: str | None = None
    ip_range: str | None = None
    active_from: int | None = None
    _sign: Callable[[bytes], bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_word(self.name, "key_pair_id", self.key_pair_id, pattern=_KEY_PAIR_ID)
        check_choice(self.name, "hash_algorithm", self.hash_algorithm, HashAlgorithm)
        check_count(self.name, "active_from", self.active_from)
        if self.resource is not None:
            check_word(self.name, "resource", self.resource, pattern=_RESOURCE, why=_RESOURCE_IS)
        if self.ip_range is not None and not _is_range(self.ip_range):
            raise wrong(self.name, "ip_range", "must be one IPv4 range, such as 192.0.2.0/24 (--ip-address)")
        object.__setattr__(self, "_sign", self._load())

    def _load(self) -> Callable[[bytes], bytes]:
        pem = reveal(self.name, "private_key", self.private_key, lines=True)
        phrase = None if self.passphrase is None else reveal(self.name, "passphrase", self.passphrase)
        return _load_key(pem, phrase, self.hash_algorithm)

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        return address.with_query(
            "&".join(f"{name}={value}" for name, value in self._grant(address.url, now, expires_at))
        )

    def sign_cookies(self, url: str, *, now: int, expires_at: int) -> Mapping[str, str]:
        """Cookies that open `url`, or everything that `resource` covers.

        Set each with `Secure`, `HttpOnly`, `Path` and `Domain` of the distribution, without an expiry of
        their own.

        Args:
            url: The object's address, without CloudFront's parameters.
            now: Epoch seconds.
            expires_at: Epoch seconds.

        Returns:
            Values by cookie name. They grant access: never log them.

        Raises:
            StorageInvalidRequestError: See `sign`.
            StorageUnsupportedError: See `sign`.
        """
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        return {f"CloudFront-{name}": value for name, value in self._grant(address.url, now, expires_at)}

    def _grant(self, url: str, now: int, expires_at: int) -> list[tuple[str, str]]:
        check_times(self.name, now=now, expires_at=expires_at, latest=_LATEST)
        custom = (self.resource, self.ip_range, self.active_from) != (None, None, None)
        if self.active_from is not None and self.active_from >= expires_at:
            raise StorageInvalidRequestError("active_from must be before the link's expiration")
        self._check_resource(url, custom=custom)
        policy = format_policy(
            self.resource or url, expires_at, ip_range=self.ip_range, active_from=self.active_from
        ).encode()
        first = ("Policy", encode_base64(policy)) if custom else ("Expires", str(expires_at))
        grant = [first, ("Signature", encode_base64(self._sign(policy))), ("Key-Pair-Id", self.key_pair_id)]
        return [*grant, ("Hash-Algorithm", "SHA256")] if self.hash_algorithm == "SHA256" else grant

    def _check_resource(self, url: str, *, custom: bool) -> None:
        if self.resource is not None:
            if not is_covered(url, self.resource):
                raise StorageUnsupportedError(
                    "the signer's `resource` does not cover this object, so the link would not open it; "
                    "widen `resource` or leave it out"
                )
            return
        if "*" in url:
            raise StorageUnsupportedError(
                "CloudFront reads '*' as a wildcard, and not every client keeps it as %2A; set `resource`, "
                "or rename the object"
            )
        if custom and "?" in url:
            raise StorageUnsupportedError(
                "a custom policy reads the '?' before a query as any one character; set `resource` to say "
                "so, or leave the query out"
            )


def format_policy(resource: str, expires_at: int, *, ip_range: str | None, active_from: int | None) -> str:
    """The policy statement, byte for byte as CloudFront rebuilds it from a canned link.

    Args:
        resource: Checked by the caller; a quote or backslash in it would change the statement.
        expires_at: Epoch seconds.
        ip_range: Checked by the caller.
        active_from: Epoch seconds.
    """
    conditions = [f'"DateLessThan":{{"AWS:EpochTime":{expires_at}}}']
    if ip_range is not None:
        conditions.append(f'"IpAddress":{{"AWS:SourceIp":"{ip_range}"}}')
    if active_from is not None:
        conditions.append(f'"DateGreaterThan":{{"AWS:EpochTime":{active_from}}}')
    return f'{{"Statement":[{{"Resource":"{resource}","Condition":{{{",".join(conditions)}}}}}]}}'


def encode_base64(data: bytes) -> str:
    """Base64 with CloudFront's own replacements: `-` for `+`, `_` for `=`, `~` for `/`."""
    return base64.b64encode(data).decode().translate(_ALPHABET)


def _is_range(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(
            _RANGE.fullmatch(text) and ipaddress.IPv4Network(text, strict=False)
        )
    except ValueError:
        return False


def _load_key(pem: str, passphrase: str | None, hash_algorithm: HashAlgorithm) -> Callable[[bytes], bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None if passphrase is None else passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise wrong(
            _CDN, "private_key", "is not a private key in PEM, or its `passphrase` is wrong"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size == RSA_BITS:
        digest = hashes.SHA256() if hash_algorithm == "SHA256" else hashes.SHA1()  # noqa: S303 - CloudFront's
        return lambda data: key.sign(data, padding.PKCS1v15(), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        if hash_algorithm != "SHA256":
            raise wrong(_CDN, "hash_algorithm", "must be 'SHA256' for an ECDSA key")
        return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))
    raise wrong(
        _CDN, "private_key",
        f"must be a key that CloudFront knows: RSA with {RSA_BITS} bits or ECDSA P-256",
    )  # fmt: skip
