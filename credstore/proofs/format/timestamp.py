"""Trusted time by RFC 3161: tokens of timestamping authorities over a signature. Needs extra `timestamp`.

A token counts only if it is over exactly this signature, granted, signed by a certificate for timestamping
that chains to a pinned root, and made within that certificate's window. Certificates in the token are never
anchors. Asking an authority is one HTTP POST, which is not done here. The imprint is the SHA-256 of the raw
signature, as in sigstore.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cryptography import x509

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra
from credstore.proofs.format.errors import ProofTimestampError

_NEEDING = "timestamps need"
LARGEST_RESPONSE = 64 * 1024


def make_timestamp_request(sig: bytes) -> tuple[bytes, int]:
    """What to POST to an authority as `application/timestamp-query`, and its nonce for `check`.

    Args:
        sig: The raw first signature of an envelope.

    Raises:
        ProofTimestampError: The signature is empty.
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


@typed_class
class TimestampAuthorities:
    """The root certificates of the timestamping authorities a verifier trusts."""

    __slots__ = ("_roots",)

    def __init__(self, roots: bytes) -> None:
        """Take certificates in PEM, one or more.

        Raises:
            StorageConfigurationError: There is none, one does not load, or the extra `timestamp` is
                missing.
        """
        require_extra("timestamp", _NEEDING)
        try:
            self._roots = x509.load_pem_x509_certificates(roots)
        except ValueError:
            raise StorageConfigurationError("these are not certificates in PEM") from None

    def check(self, response: bytes, sig: bytes, *, nonce: int | None = None) -> datetime:
        """Verify a response and return the time it attests.

        Args:
            response: DER TimeStampResp.
            sig: The raw signature it must be over.
            nonce: That of the request, if the response is fresh; None for a stored one.

        Raises:
            ProofTimestampError: It does not verify, whatever is wrong with it.
        """
        from rfc3161_client import VerifierBuilder, decode_timestamp_response

        if len(response) > LARGEST_RESPONSE:
            raise ProofTimestampError(f"a timestamp has at most {LARGEST_RESPONSE} bytes")
        builder = VerifierBuilder(roots=list(self._roots), nonce=nonce)
        try:
            decoded = decode_timestamp_response(response)
            # By digest, not by message: the imprint must be SHA-256, whatever the token names.
            if builder.build().verify(decoded, hashlib.sha256(sig).digest()) is not True:
                raise ProofTimestampError("the timestamp does not verify")
            time = decoded.tst_info.gen_time
        except ProofTimestampError:
            raise
        except Exception as error:
            # The parser and OpenSSL raise many kinds; none of them may become a time.
            raise ProofTimestampError(f"the timestamp does not verify: {type(error).__name__}") from error
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
