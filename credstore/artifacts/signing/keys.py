"""Keys that sign models: elliptic curves, as `model-signing` takes them; see `bundle` for what they sign.

Rules of this file: the hash function belongs to the curve (P-256 with SHA-256, P-384 with SHA-384, P-521 with
SHA-512), never to a message; signatures are DER. A key's hint is SHA-256 of its PEM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Literal, NoReturn, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.errors import ProofAlgorithmError, ProofSignatureError
from credstore.proofs.format.signing import PublicKey, Signer

Curve = Literal["P-256", "P-384", "P-521"]
_CURVES: Mapping[str, tuple[Callable[[], ec.EllipticCurve], Callable[[], hashes.HashAlgorithm]]] = (
    MappingProxyType(
        {
            "P-256": (ec.SECP256R1, hashes.SHA256),
            "P-384": (ec.SECP384R1, hashes.SHA384),
            "P-521": (ec.SECP521R1, hashes.SHA512),
        }
    )
)
_HASHES = MappingProxyType({curve().name: made for curve, made in _CURVES.values()})


@typed_class
class ModelKey:
    """The public key of whoever signs models, of the curve P-256, P-384 or P-521.

    Attributes:
        hint: SHA-256 of its PEM in hex, by which bundles name it.
    """

    __slots__ = ("_hash", "_key", "_pem", "hint")

    def __init__(self, pem: bytes) -> None:
        """Read SubjectPublicKeyInfo in PEM.

        Raises:
            ProofAlgorithmError: Not a key of one of these curves.
        """
        key = None
        with suppress(ValueError, UnsupportedAlgorithm):
            key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise ProofAlgorithmError(f"models are signed by keys of the curves {', '.join(_CURVES)}")
        self._key = key
        self._hash = _HASHES[key.curve.name]
        self._pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.hint = hashlib.sha256(self._pem).hexdigest()

    @classmethod
    def of(cls, key: PublicKey) -> ModelKey:
        """A proof key of the scheme `ecdsa-p256-sha256`.

        Raises:
            ProofAlgorithmError: It has another scheme.
        """
        if key.scheme != "ecdsa-p256-sha256":
            raise ProofAlgorithmError(f"models are signed by ecdsa-p256-sha256, not by {key.scheme}")
        loaded = serialization.load_der_public_key(key.spki)
        return cls(
            loaded.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def to_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM, as `model-signing verify key --public_key` takes it."""
        return self._pem

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is one of this key over `message`."""
        try:
            self._key.verify(signature, message, ec.ECDSA(self._hash()))
        except (InvalidSignature, ValueError):
            return False
        return True

    def __repr__(self) -> str:
        return f"ModelKey({self._key.curve.name!r}, hint={self.hint!r})"


@typed_class
class ModelSigner:
    """A private key in this process that signs models; never shown, pickled or copied."""

    __slots__ = ("_key", "_public_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Take a key of `cryptography`; see `generate` and `from_pem`.

        Raises:
            ProofAlgorithmError: Not on one of the curves.
        """
        self._key = key
        self._public_key = ModelKey(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @classmethod
    def generate(cls, curve: Curve = "P-256") -> ModelSigner:
        """A new key from the system's randomness.

        Raises:
            ProofAlgorithmError: Another curve.
        """
        if curve not in _CURVES:
            raise ProofAlgorithmError(f"models are signed by keys of the curves {', '.join(_CURVES)}")
        return cls(ec.generate_private_key(_CURVES[curve][0]()))

    @classmethod
    def from_pem(cls, pem: bytes, password: Secret | None = None) -> ModelSigner:
        """Read PKCS #8 or SEC 1 in PEM, as OpenSSL writes it.

        Raises:
            StorageConfigurationError: Not such a key, or a missing, unneeded or wrong password.
            ProofAlgorithmError: Not on one of the curves.
        """
        key = None
        # Their message may quote what was in the file, and so may their traceback.
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = serialization.load_pem_private_key(pem, password.reveal().encode() if password else None)
        del pem
        if key is None:
            raise StorageConfigurationError("this is not a private key in PEM, or the password is wrong")
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ProofAlgorithmError(f"models are signed by keys of the curves {', '.join(_CURVES)}")
        return cls(key)

    @property
    def public_key(self) -> ModelKey:
        """The key that verifies what this signs."""
        return self._public_key

    async def sign(self, pae: bytes) -> bytes:
        """Sign; nothing is awaited."""
        return self._key.sign(pae, ec.ECDSA(_HASHES[self._key.curve.name]()))

    def __repr__(self) -> str:
        return f"ModelSigner({self._public_key!r})"

    def __reduce__(self) -> NoReturn:
        message = "a private key is never pickled or copied"
        raise TypeError(message)


async def signed_by(signer: Signer | ModelSigner, message: bytes) -> tuple[bytes, str]:
    """A signature, checked with its own key before anyone sees it, and the hint of that key.

    Raises:
        ProofAlgorithmError: A proof key of a scheme that is not for models.
        ProofSignatureError: What the signer returned does not verify.
        Exception: What the signer raised.
    """
    key = signer.public_key if isinstance(signer, ModelSigner) else ModelKey.of(signer.public_key)
    sig = bytes(await cast("Signer", signer).sign(message))
    if not key.is_signature(sig, message):
        raise ProofSignatureError("the signer's signature does not verify with its own key")
    return sig, key.hint
