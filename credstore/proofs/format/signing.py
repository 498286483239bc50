"""Signature schemes: public keys that verify, signers that sign. The only importer of `cryptography`'s keys.

Rules of this file: the scheme belongs to the key, never to a message, so no sender of a proof can choose an
algorithm. A key has exactly one encoding (DER SubjectPublicKeyInfo), hence one id. Schemes: Ed25519 (RFC 8032
section 5.1), ECDSA on P-256 with SHA-256 (FIPS 186-5) with DER signatures, and the same with raw r and s as
in IEEE P1363, which is verified but never written.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Literal, NoReturn, Protocol, cast, get_args, runtime_checkable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.errors import ProofAlgorithmError

Scheme = Literal["ed25519", "ecdsa-p256-sha256", "ecdsa-p256-sha256-p1363"]
SIGNING_SCHEMES: tuple[Scheme, ...] = ("ed25519", "ecdsa-p256-sha256")
LARGEST_SPKI = 1024
_COORDINATE = 32
_PRIME = 2**255 - 19
# The y coordinates of the eight points of small order (RFC 7748 section 7, RFC 8032 section 5.1): orders
# 1, 2, 4 and, last, 8. With such a key a signature fits many messages.
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER = frozenset({1, _PRIME - 1, 0, _Y8, _PRIME - _Y8})
_ECDSA = ec.ECDSA(hashes.SHA256())


def keyid_of(spki: bytes) -> str:
    """The id of a public key: a hint that narrows the search, and decides nothing."""
    return "sha256:" + hashlib.sha256(spki).hexdigest()


@typed_class
class PublicKey:
    """A public key with its scheme, checked when made; equal when both are.

    Attributes:
        scheme: How it verifies.
        spki: DER SubjectPublicKeyInfo, the one encoding of this key.
        keyid: `sha256:` and the digest of `spki` in hex.
    """

    __slots__ = ("_key", "keyid", "scheme", "spki")

    def __init__(self, scheme: str, spki: bytes) -> None:
        """Load a key.

        Raises:
            ProofAlgorithmError: An unknown scheme, a key of another kind, or one that must not be used: not
                in its one encoding, not on the curve, of small order.
        """
        if scheme not in get_args(Scheme):
            raise ProofAlgorithmError(
                f"scheme {scheme[:64]!r} is unknown; known are {', '.join(get_args(Scheme))}"
            )
        self.scheme = cast("Scheme", scheme)
        self.spki = bytes(spki)
        self.keyid = keyid_of(self.spki)
        self._key = _load(self.scheme, self.spki)

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is a signature of this key over `message`."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(self._der(signature), message, _ECDSA)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _der(self, signature: bytes) -> bytes:
        if self.scheme == "ecdsa-p256-sha256":
            return signature
        if len(signature) != 2 * _COORDINATE:
            raise ValueError("a raw signature has 64 bytes")
        r, s = signature[:_COORDINATE], signature[_COORDINATE:]
        return utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return (self.scheme, self.spki) == (other.scheme, other.spki)

    def __hash__(self) -> int:
        return hash((self.scheme, self.spki))

    def __repr__(self) -> str:
        return f"PublicKey({self.scheme!r}, keyid={self.keyid!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return PublicKey, (self.scheme, self.spki)


def _load(scheme: Scheme, spki: bytes) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(spki) if len(spki) <= LARGEST_SPKI else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if scheme == "ed25519" and isinstance(key, Ed25519PublicKey):
        _check_point(key.public_bytes_raw())
    elif not (
        scheme != "ed25519"
        and isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1)
    ):
        raise ProofAlgorithmError(f"the public key is not of the kind that {scheme} takes")
    if _spki(key) != spki:
        # A compressed point, or BER: the same key under a second id would count twice.
        raise ProofAlgorithmError("the public key is not in its one encoding, DER with an uncompressed point")
    return key


def _check_point(raw: bytes) -> None:
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _PRIME or y in _SMALL_ORDER:
        raise ProofAlgorithmError("the Ed25519 public key is of small order or not in its one encoding")


def _spki(key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@runtime_checkable
class Signer(Protocol):
    """Whoever can sign with a private key: a local one, a KMS, an HSM.

    `sign` gets the whole message (DSSE's PAE), hashes it as its scheme requires, and may be slow; what it
    raises reaches the caller as it is. credstore checks every signature with `public_key` before it writes
    anything.
    """

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` returns."""
        ...

    async def sign(self, pae: bytes) -> bytes:
        """Sign: 64 raw bytes for `ed25519`, DER for `ecdsa-p256-sha256`."""
        ...


class LocalSigner:
    """A private key in this process; never shown, pickled or copied."""

    __slots__ = ("_key", "_public_key")

    def __init__(self, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        """Take a key of `cryptography`; see `generate` and `from_pem`.

        Raises:
            ProofAlgorithmError: Neither Ed25519 nor on P-256.
        """
        given = cast("object", key)
        if not isinstance(given, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise ProofAlgorithmError(
                f"`key` of LocalSigner is an Ed25519 or ECDSA P-256 private key, not {type(given).__name__}"
            )
        scheme = "ed25519" if isinstance(given, Ed25519PrivateKey) else "ecdsa-p256-sha256"
        self._key = given
        self._public_key = PublicKey(scheme, _spki(given.public_key()))

    @classmethod
    def generate(cls, scheme: str = "ed25519") -> LocalSigner:
        """A new key from the system's randomness.

        Raises:
            ProofAlgorithmError: Not a scheme that credstore signs with.
        """
        if scheme == "ed25519":
            return cls(Ed25519PrivateKey.generate())
        if scheme == "ecdsa-p256-sha256":
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise ProofAlgorithmError(f"keys are made for {' or '.join(SIGNING_SCHEMES)}, not {scheme[:64]!r}")

    @classmethod
    def from_pem(cls, pem: bytes, password: Secret | None = None) -> LocalSigner:
        """Read PKCS #8 in PEM, as `to_pem` and OpenSSL write it.

        Raises:
            StorageConfigurationError: Not such a key, or a missing, unneeded or wrong password.
            ProofAlgorithmError: Neither Ed25519 nor on P-256.
        """
        key = None
        # Their message may quote what was in the file, and so may their traceback.
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = serialization.load_pem_private_key(pem, password.reveal().encode() if password else None)
        del pem
        if key is None:
            raise StorageConfigurationError("this is not a private key in PEM, or the password is wrong")
        return cls(cast("Ed25519PrivateKey", key))

    def to_pem(self, password: Secret | None = None) -> bytes:
        """Write PKCS #8 in PEM, encrypted where a password is given. Keep it secret."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.reveal().encode())
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` returns."""
        return self._public_key

    async def sign(self, pae: bytes) -> bytes:
        """Sign immediately; nothing is awaited."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(pae)
        return self._key.sign(pae, _ECDSA)

    def __repr__(self) -> str:
        return f"LocalSigner({self._public_key!r})"

    def __reduce__(self) -> NoReturn:
        message = "a private key is never pickled or copied"
        raise TypeError(message)
