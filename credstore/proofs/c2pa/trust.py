"""Whom a verifier trusts: lists of certificates for claim signers, for time stamps and for identities.

Rules of this file: a list serves one purpose. Its address, date and digest go with it into every verdict.
A list is read as its publisher writes it: certificates in PEM with text between them. What of it does not
load is counted and never trusted. Sources: C2PA 2.x "Trust Lists"; CAWG Identity 1.x, "Trust model".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from credstore.errors import StorageConfigurationError

Purpose: TypeAlias = Literal["signers", "timestamps", "identities"]
LARGEST_LIST = 16 * 1024 * 1024
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
# What a certificate must be for: emailProtection and documentSigning (RFC 5280, RFC 9336), or C2PA's own
# claim signing. C2PA's lists have a file of such identifiers, `store.cfg`, with comments after `//`.
CLAIM_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
_IDENTIFIER = re.compile(r"[0-2](?:\.\d{1,20}){1,30}")


@dataclass(frozen=True, slots=True)
class ListUse:
    """Which list a verdict used.

    Attributes:
        purpose: What it is trusted for.
        name: Of the list.
        sha256: Of its file as it was read, lower-case hex.
        date: When its publisher dated it or when it was fetched, as text; None where that is not known.
        source: Address or path it came from, or None.
        certificates: Number of certificates in it.
        confirmed: False for an address that was configured but never fetched or checked.
    """

    purpose: Purpose
    name: str
    sha256: str
    date: str | None
    source: str | None
    certificates: int
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class TrustList:
    """Certificates trusted for one purpose.

    Attributes:
        anchors: Certificates of authorities, PEM without text.
        allowed: Certificates trusted themselves, without a chain, PEM without text.
        name: What verdicts call it.
        sha256: Of the file as it was read.
        date: See `ListUse`.
        source: See `ListUse`.
        purposes: Extended key usages that a certificate may have, dotted.
        skipped: Certificates in the file that do not load, which are not trusted.
        confirmed: See `ListUse`.
    """

    anchors: bytes = field(repr=False)
    allowed: bytes = field(default=b"", repr=False)
    name: str = "unnamed list"
    sha256: str = ""
    date: str | None = None
    source: str | None = None
    purposes: tuple[str, ...] = CLAIM_PURPOSES
    skipped: int = 0
    confirmed: bool = True

    @classmethod
    def from_pem(
        cls,
        anchors: bytes,
        *,
        allowed: bytes = b"",
        name: str = "unnamed list",
        date: str | None = None,
        source: str | None = None,
        purposes: str | None = None,
        confirmed: bool = True,
    ) -> TrustList:
        """Read a list.

        Args:
            anchors: The file: certificates in PEM, with any text between them. May be empty if `allowed` is
                not.
            allowed: The file of certificates trusted themselves, or empty.
            name: What verdicts call it.
            date: When it was published or fetched.
            source: Where it came from.
            purposes: Text of a `store.cfg`: one identifier of an extended key usage per line, comments after
                `//`.
            confirmed: See `ListUse`.

        Raises:
            StorageConfigurationError: No certificate loads, more than 16 MiB, or `purposes` has none.
        """
        if len(anchors) + len(allowed) > LARGEST_LIST:
            raise StorageConfigurationError(f"a trust list has at most {LARGEST_LIST} bytes")
        good, bad = _load(anchors)
        direct, worse = _load(allowed)
        if not good and not direct:
            raise StorageConfigurationError(f"there are no certificates in PEM in the trust list {name!r}")
        return cls(
            _pem(good),
            _pem(direct),
            name,
            hashlib.sha256(anchors + allowed).hexdigest(),
            date,
            source,
            CLAIM_PURPOSES if purposes is None else _read_purposes(purposes),
            bad + worse,
            confirmed,
        )

    def certificates(self) -> list[x509.Certificate]:
        """The authorities' certificates."""
        return _load(self.anchors)[0]

    def without(self, other: TrustList) -> TrustList | None:
        """The authorities that are not in another list; None if there are none."""
        shared = {each.fingerprint(hashes.SHA256()) for each in other.certificates()}
        left = [each for each in self.certificates() if each.fingerprint(hashes.SHA256()) not in shared]
        return TrustList(_pem(left), name=self.name, purposes=self.purposes) if left else None

    def used_as(self, purpose: Purpose) -> ListUse:
        """What a verdict says about it."""
        count = self.anchors.count(b"BEGIN") + self.allowed.count(b"BEGIN")
        return ListUse(purpose, self.name, self.sha256, self.date, self.source, count, self.confirmed)


@dataclass(frozen=True, slots=True)
class C2paTrust:
    """The lists of a verifier, one or more for each purpose; an empty purpose trusts no one for it.

    Attributes:
        signers: For those who sign claims.
        timestamps: For authorities whose time stamps count.
        identities: For CAWG identity assertions.
    """

    signers: tuple[TrustList, ...] = ()
    timestamps: tuple[TrustList, ...] = ()
    identities: tuple[TrustList, ...] = ()

    def uses(self) -> tuple[ListUse, ...]:
        """Every list, for verdicts."""
        return (
            *(each.used_as("signers") for each in self.signers),
            *(each.used_as("timestamps") for each in self.timestamps),
            *(each.used_as("identities") for each in self.identities),
        )


def merge(lists: Iterable[TrustList]) -> TrustList | None:
    """One list with the certificates of several for the same purpose; None for no list."""
    every = list(lists)
    if not every:
        return None
    purposes = dict.fromkeys(purpose for each in every for purpose in each.purposes)
    return TrustList(
        b"".join(each.anchors for each in every),
        b"".join(each.allowed for each in every),
        " and ".join(each.name for each in every),
        purposes=tuple(purposes),
    )


def _load(pem: bytes) -> tuple[list[x509.Certificate], int]:
    found: list[x509.Certificate] = []
    skipped = 0
    for block in _BLOCK.findall(pem):
        try:
            certificate = x509.load_pem_x509_certificate(block)
            certificate.public_key()
        except Exception:  # noqa: BLE001 - cryptography raises many kinds for odd certificates; none is trusted
            skipped += 1
            continue
        found.append(certificate)
    return found, skipped


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _read_purposes(text: str) -> tuple[str, ...]:
    lines = (line.partition("//")[0].partition("#")[0].strip() for line in text.splitlines())
    found = tuple(line for line in lines if _IDENTIFIER.fullmatch(line))
    if not found:
        raise StorageConfigurationError("there are no identifiers of extended key usages in the file")
    return found
