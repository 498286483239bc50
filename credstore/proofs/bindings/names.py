"""Names that lead from a soft binding, or a manifest's label, to proofs. Pure.

Rules of this file: names are hints, made of digests of what they lead from; a body is constant, so that
repeats and races are harmless on every cloud. A fingerprint has one name for each band of 16 bits: of two
that differ in less than 16 bits, one band at least is the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from credstore.errors import StorageInvalidRequestError

ISCC = "io.iscc.v0"
"""The fingerprints of ISO 24138, number 3 in C2PA's list of soft binding algorithms."""
BODY = b'{"v":1}'
_BAND = 2
_HEADER, _DIGEST = 2, 32
# ISO 24138: main type content, sub type image, version 0, 256 bits.
_IMAGE = b"\x21\x07"
_ALG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_VALUE = 4096


@dataclass(frozen=True, slots=True)
class BindingNames:
    """The names below one prefix.

    Attributes:
        prefix: Ends in a slash.
    """

    prefix: str

    def exact(self, alg: str, value: bytes) -> str:
        """The prefix of the proofs with exactly this value."""
        digest = hashlib.sha256(value).hexdigest()
        return f"{self.prefix}w/{alg}/{digest[:2]}/{digest}/"

    def bands(self, alg: str, value: bytes) -> list[str]:
        """The prefixes of proofs whose fingerprint has a part in common; none if it is not a fingerprint."""
        if not is_fingerprint(alg, value):
            return []
        bits = value[_HEADER:]
        parts = (bits[start : start + _BAND] for start in range(0, len(bits), _BAND))
        return [f"{self.prefix}f/{alg}/{band:02d}/{part.hex()}/" for band, part in enumerate(parts)]

    def manifest(self, label: str) -> str:
        """The prefix of the proofs with the manifest of this label."""
        digest = hashlib.sha256(label.encode(errors="replace")).hexdigest()
        return f"{self.prefix}u/{digest[:2]}/{digest}/"


def check_alg(alg: str) -> str:
    """The name of an algorithm, if it can be one.

    Raises:
        StorageInvalidRequestError: Not 1 to 64 letters, digits, dots, hyphens and underscores.
    """
    if not _ALG.fullmatch(alg) or ".." in alg:
        raise StorageInvalidRequestError("alg is the name of an algorithm in C2PA's list, such as io.iscc.v0")
    return alg


def decode_value(value: str) -> bytes:
    """The bytes of a value in base64, with either alphabet and with or without padding.

    Raises:
        StorageInvalidRequestError: Not base64, empty, or longer than 4,096 characters.
    """
    if not 0 < len(value) <= _LONGEST_VALUE or not value.isascii():
        raise StorageInvalidRequestError(f"value is base64 of up to {_LONGEST_VALUE} characters")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise StorageInvalidRequestError("value is not base64") from None


def encode_value(value: bytes) -> str:
    """The one form in which values are signed: standard base64 with padding."""
    return base64.b64encode(value).decode()


def is_fingerprint(alg: str, value: bytes) -> bool:
    """Whether values of this algorithm can be similar, and this is one."""
    return alg == ISCC and len(value) == _HEADER + _DIGEST and value.startswith(_IMAGE)


def distance(one: bytes, other: bytes) -> int:
    """Number of bits in which two fingerprints differ, 0 to 256."""
    pairs = zip(one[_HEADER:], other[_HEADER:], strict=True)
    return sum((left ^ right).bit_count() for left, right in pairs)
