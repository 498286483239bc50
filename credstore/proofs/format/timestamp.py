"""Trusted time by RFC 3161: tokens of timestamping authorities. Needs the extra `timestamp`. Pure.

A token counts only if it is over exactly what it is said to be over, granted, signed by a certificate for
timestamping that chains to a root of a pinned authority, and made within that certificate's and that
authority's window. Certificates in the token are never anchors. Asking an authority is one HTTP POST, which
is not done here. The imprint is SHA-256, SHA-384 or SHA-512 of the raw signature, as in sigstore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra
from credstore.proofs.format.errors import ProofTimestampError
from credstore.proofs.format.fields import format_time
from credstore.times import checked_instant

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

_NEEDING = "timestamps need"
LARGEST_RESPONSE = 64 * 1024
# RFC 8017 appendix B.1; SHA-1 is not among them, since collisions are made for it.
_HASHES: Mapping[str, str] = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def make_timestamp_request(sig: bytes) -> tuple[bytes, int]:
    """What to POST to an authority as `application/timestamp-query`, and its nonce for `check`.

    Args:
        sig: What to timestamp, such as the raw first signature of an envelope.

    Raises:
        ProofTimestampError: It is empty.
        StorageConfigurationError: The extra `timestamp` is missing.
    """
    require_extra("timestamp", _NEEDING)
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    if not sig:
        raise ProofTimestampError("there is no signature to timestamp")
    request = TimestampRequestBuilder().data(sig).hash_algorithm(HashAlgorithm.SHA256).build()
    nonce = request.nonce
    if nonce is None:
        raise ProofTimestampError("the request has no nonce")
    return request.as_bytes(), nonce


@dataclass(frozen=True, slots=True)
class Token:
    """A timestamp as received; nothing about it is verified.

    Attributes:
        time: What it says.
        nonce: What it says, or None.
        response: Parsed, for `TimestampAuthorities`.
    """

    time: datetime
    nonce: int | None
    response: TimeStampResponse = field(repr=False)

    def is_over(self, message: bytes) -> bool:
        """Whether its imprint is that of `message`, by SHA-256, SHA-384 or SHA-512."""
        imprint = self.response.tst_info.message_imprint
        name = _HASHES.get(imprint.hash_algorithm.dotted_string)
        return name is not None and hashlib.new(name, message).digest() == imprint.message


def parse_token(response: bytes) -> Token:
    """Read a TimeStampResp (RFC 3161 section 2.4.2) without verifying anything.

    OpenSSL writes its set of certificates in the order it was given; DER wants them sorted, so a token that
    is refused for that is read with them sorted. They are not among what is signed.

    Raises:
        ProofTimestampError: Not a granted response with a token, or over 64 KiB.
        StorageConfigurationError: The extra `timestamp` is missing.
    """
    require_extra("timestamp", _NEEDING)
    from rfc3161_client import decode_timestamp_response

    if len(response) > LARGEST_RESPONSE:
        raise ProofTimestampError(f"a timestamp has at most {LARGEST_RESPONSE} bytes")
    try:
        try:
            decoded = decode_timestamp_response(response)
        except ValueError:
            decoded = decode_timestamp_response(_sorted(response))
        info = decoded.tst_info
        time, nonce = info.gen_time, info.nonce
    except Exception as error:
        # The parsers raise many kinds; none of them may become a time.
        raise ProofTimestampError(f"not a timestamp: {type(error).__name__}") from error
    return Token(time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC), nonce, decoded)


def _sorted(response: bytes) -> bytes:
    from asn1crypto import cms, tsp

    parsed = tsp.TimeStampResp.load(response, strict=True)
    signed = parsed["time_stamp_token"]["content"]
    signed["certificates"] = cms.CertificateSet(list(signed["certificates"]))
    return parsed.dump()


@typed_class
@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """A timestamping authority that a verifier trusts, and when.

    Attributes:
        roots: Certificates in PEM, one or more, that its signers' certificates chain to.
        intermediates: Certificates in PEM that tokens may leave out.
        certificates: Those of its signers in PEM, for tokens that carry none (RFC 3161 section 2.4.1).
        valid_from: Tokens of an earlier time do not count; None for no such limit.
        valid_until: Tokens of a later time do not count; None for no such limit.
        invalid_since: Since when others may have its keys, or None. With these a token can say any time, so
            one counts only where another authority has stamped it before.
    """

    roots: bytes
    intermediates: bytes = b""
    certificates: bytes = b""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    invalid_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Pinned:
    """An authority with its certificates loaded."""

    authority: TimestampAuthority
    roots: list[x509.Certificate]
    intermediates: list[x509.Certificate]
    certificates: list[x509.Certificate]

    @property
    def names(self) -> set[x509.Name]:
        """Who has issued a certificate of its signers."""
        issuers = {each.subject for each in (*self.roots, *self.intermediates)}
        return issuers | {each.issuer for each in self.certificates}


@dataclass(frozen=True, slots=True)
class Attested:
    """A token that verified.

    Attributes:
        time: When.
        authority: Who said so.
        ends: When the certificate of the signer ends; a token is renewed before.
    """

    time: datetime
    authority: TimestampAuthority
    ends: datetime


@typed_class
class TimestampAuthorities:
    """The timestamping authorities a verifier trusts."""

    __slots__ = ("_pinned",)

    def __init__(self, authorities: bytes | Iterable[TimestampAuthority]) -> None:
        """Take authorities, or the roots of one in PEM.

        Raises:
            StorageConfigurationError: One has no root, a certificate does not load, a time has no time zone,
                or the extra `timestamp` is missing.
        """
        require_extra("timestamp", _NEEDING)
        given = [TimestampAuthority(authorities)] if isinstance(authorities, bytes) else list(authorities)
        if not given:
            raise StorageConfigurationError("there is no timestamping authority to trust")
        self._pinned = tuple(_load(each) for each in given)

    def check(self, response: bytes, sig: bytes, *, nonce: int | None = None) -> datetime:
        """Verify a response and return the time it attests.

        Args:
            response: DER TimeStampResp.
            sig: The raw signature it must be over.
            nonce: That of the request, if the response is fresh; None for a stored one.

        Raises:
            ProofTimestampError: It does not verify, whatever is wrong with it.
        """
        found = self.attest(parse_token(response), sig, nonce=nonce)
        if found is None:
            raise ProofTimestampError("the timestamp is of an authority that is not pinned")
        return found.time

    def attest(self, token: Token, message: bytes, *, nonce: int | None = None) -> Attested | None:
        """What a pinned authority attests with a token, or None where it is not of one.

        Args:
            token: From `parse_token`.
            message: What it must be over.
            nonce: That of the request, or None.

        Raises:
            ProofTimestampError: It is of a pinned authority, by its certificates' names, and does not verify.
        """
        candidates = self._candidates(token)
        refused: ProofTimestampError | None = None
        for pinned in candidates:
            try:
                return _attested(pinned, token, message, nonce)
            except ProofTimestampError as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return None

    def _candidates(self, token: Token) -> list[_Pinned]:
        """Authorities that the token says it is of: by the names in the chain of its signer."""
        names: set[x509.Name] = set()
        try:
            signed = token.response.signed_data
            certificates = [x509.load_der_x509_certificate(each) for each in signed.certificates]
            issuers = {each.subject: each.issuer for each in certificates}
            for signer in signed.signer_infos:
                name: x509.Name | None = signer.issuer
                while name is not None and name not in names:
                    names.add(name)
                    name = issuers.get(name)
        except Exception as error:  # As of the parser, for what only looks like a token.
            raise ProofTimestampError(f"the timestamp does not verify: {type(error).__name__}") from error
        return [each for each in self._pinned if names & each.names]


def _load(authority: TimestampAuthority) -> _Pinned:
    def certificates(pem: bytes) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(pem) if pem.strip() else []
        except ValueError:
            raise StorageConfigurationError("these are not certificates in PEM") from None

    roots = certificates(authority.roots)
    if not roots:
        raise StorageConfigurationError("a timestamping authority has one or more root certificates in PEM")
    for name in ("valid_from", "valid_until", "invalid_since"):
        time: datetime | None = getattr(authority, name)
        if time is not None:
            checked_instant(name, time, StorageConfigurationError)
    return _Pinned(
        authority, roots, certificates(authority.intermediates), certificates(authority.certificates)
    )


def _attested(pinned: _Pinned, token: Token, message: bytes, nonce: int | None) -> Attested:
    from rfc3161_client import VerifierBuilder

    if not token.is_over(message):
        raise ProofTimestampError("the timestamp is not over this, or not by SHA-256, SHA-384 or SHA-512")
    signed = token.response.signed_data
    # One in the token has to be that of the signer; where there is none, one of the pinned ones is.
    signers: list[x509.Certificate | None] = [None] if signed.certificates else [*pinned.certificates]
    failure: Exception | None = None
    for signer in signers:
        builder = VerifierBuilder(
            roots=list(pinned.roots),
            intermediates=list(pinned.intermediates),
            tsa_certificate=signer,
            nonce=nonce,
        )
        try:
            if builder.build().verify(token.response, token.response.tst_info.message_imprint.message):
                return _within(pinned.authority, token, _end_of(token, signer))
        except ProofTimestampError:
            raise
        except Exception as error:  # noqa: BLE001 - of many kinds, by parser and OpenSSL; raised below
            failure = error
    if failure is None:
        raise ProofTimestampError("the timestamp has no certificate, and none of its signer is pinned")
    raise ProofTimestampError(f"the timestamp does not verify: {type(failure).__name__}") from failure


def _end_of(token: Token, signer: x509.Certificate | None) -> datetime:
    """When the certificate of a verified token's signer ends."""
    if signer is not None:
        return signer.not_valid_after_utc
    signed = token.response.signed_data
    (info,) = signed.signer_infos
    certificates = (x509.load_der_x509_certificate(each) for each in signed.certificates)
    return next(
        each.not_valid_after_utc
        for each in certificates
        if (each.issuer, each.serial_number) == (info.issuer, info.serial_number)
    )


def _within(authority: TimestampAuthority, token: Token, ends: datetime) -> Attested:
    early = authority.valid_from is not None and token.time < authority.valid_from
    if early or (authority.valid_until is not None and token.time > authority.valid_until):
        raise ProofTimestampError(
            f"the timestamp is of {format_time(token.time)}, when its authority does not count"
        )
    return Attested(token.time, authority, ends)
