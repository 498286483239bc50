"""Ids of proofs: UUIDs that sort by time, or that the same request always gets again. Pure."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import LONGEST_ISSUER, read_id, read_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ID_BYTES = 16
_FREE = (1 << 128) - 1 ^ 0xF << 76 ^ 3 << 62
"""The bits that are neither the four of the version nor the two of the variant."""
_SHA256 = 32


def new_proof_id(now: datetime, randomness: bytes) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): ids sort by time.

    Args:
        now: Its first 48 bits are these milliseconds.
        randomness: 10 unpredictable bytes, such as `os.urandom(10)`.

    Raises:
        StorageInvalidRequestError: Not 10 bytes, or a time without a time zone or before 1970.
    """
    if len(randomness) != _ID_BYTES - 6:
        raise StorageInvalidRequestError(f"an id takes 10 random bytes, not {len(randomness)}")
    if now.tzinfo is None or now < _EPOCH:
        raise StorageInvalidRequestError("an id takes a time with a time zone, 1970 or later")
    milliseconds = (now - _EPOCH) // _MILLISECOND
    return _uuid(milliseconds.to_bytes(6, "big") + randomness, version=7)


def derive_proof_id(issuer: str, sha256: bytes, idempotency_key: str) -> str:
    """The UUIDv8 (RFC 9562 section 5.8) that issuer, asset and idempotency key always lead to.

    Args:
        issuer: The record's issuer.
        sha256: Digest of the asset, 32 bytes.
        idempotency_key: The caller's name for this request, 1 to 255 characters.

    Raises:
        StorageInvalidRequestError: An argument is empty, too long or malformed.
    """
    try:
        read_text(idempotency_key, "idempotency_key", longest=LONGEST_ISSUER)
        parts = (issuer.encode(), sha256, idempotency_key.encode())
    except (ProofFormatError, UnicodeEncodeError):
        raise StorageInvalidRequestError(
            "an idempotency key has 1 to 255 characters, without control characters"
        ) from None
    if len(sha256) != _SHA256:
        raise StorageInvalidRequestError("a SHA-256 digest has 32 bytes")
    body = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return _uuid(hashlib.sha256(b"credstore/proof-id/v1\0" + body).digest()[:_ID_BYTES], version=8)


def _uuid(raw: bytes, *, version: int) -> str:
    text = f"{int.from_bytes(raw, 'big') & _FREE | version << 76 | 2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_proof_id(text: str) -> bool:
    """Whether a text is a UUID in lower case."""
    try:
        read_id(text, "proofId")
    except ProofFormatError:
        return False
    return True
