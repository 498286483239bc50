"""Who signs manifests: a certificate chain and its key, here or elsewhere.

Rules of this file: the certificate decides the algorithm, and every signature is verified with the
certificate's key before it leaves. COSE (RFC 9053 section 2.1) wants raw r and s where signers return DER.
Sources: C2PA 2.x, "Digital Signatures" and "Certificate Profile".
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Literal, NoReturn, Protocol, TypeAlias, cast, runtime_checkable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.proofs.format.errors import ProofAlgorithmError, ProofSignatureError
from credstore.proofs.format.signing import LocalSigner
from credstore.threads import in_pool

Algorithm: TypeAlias = Literal["ES256", "ES384", "PS256", "Ed25519"]
_PublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_PrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
    "PS256": hashes.SHA256(),
}
# C2PA 2.x, "Certificate Profile": RSA keys have at least 2,048 bits.
_SMALLEST_RSA = 2048
_SALT = 32
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=_SALT)


@runtime_checkable
class ManifestSigner(Protocol):
    """Whoever signs with the private key of a certificate: a local key, a KMS, an HSM.

    `LocalSigner` and every other `Signer` of proofs is one.
    """

    async def sign(self, pae: bytes) -> bytes:
        """Sign the whole message: DER for ECDSA, 64 raw bytes for Ed25519, PSS with a salt of 32 for RSA."""
        ...


class ManifestCredential:
    """Who signs manifests: a certificate chain, and the signer for the key in its first certificate.

    The key is on P-256 (ES256) or P-384 (ES384), RSA of 2,048 bits or more (PS256), or Ed25519. Its
    certificate has key usage digitalSignature, extended key usage emailProtection or C2PA's claim signing,
    key identifiers of subject and authority, and is not a CA's.

    Attributes:
        chain: Certificates in PEM, that of the key first.
        algorithm: Such as "ES256", in COSE's words; the key's, not the caller's choice.
        signer: Who signs.
    """

    __slots__ = ("_key", "algorithm", "chain", "signer")

    def __init__(self, chain: bytes, signer: ManifestSigner) -> None:
        """Take certificates in PEM, that of the key first, and whoever signs.

        Args:
            chain: The key's certificate, then those that lead towards a trust anchor.
            signer: Local, or asynchronous for a key in a KMS; it gets COSE's `Sig_structure`.

        Raises:
            StorageConfigurationError: No certificate, or the first is not for the signer's key.
            StorageInvalidRequestError: A kind of key that manifests are not signed with, or a signer of raw
                ECDSA signatures.
        """
        try:
            key = read_certificates(chain)[0].public_key()
        except (ValueError, UnsupportedAlgorithm):
            raise StorageConfigurationError("the first certificate has no key that can be read") from None
        self.algorithm: Algorithm = _algorithm_of(key)
        public = getattr(signer, "public_key", None)
        if getattr(public, "scheme", "").endswith("p1363"):
            raise StorageInvalidRequestError("the signer of a manifest returns DER, not raw r and s")
        spki = getattr(public, "spki", None)
        if spki is not None and spki != key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
            raise StorageConfigurationError("the first certificate is not that of the signer's key")
        self.chain = bytes(chain)
        self.signer = signer
        self._key = cast("_PublicKey", key)

    @classmethod
    def from_pem(
        cls, chain: bytes, private_key: Secret, *, password: Secret | None = None
    ) -> ManifestCredential:
        """Take certificates and a private key (PKCS #8), all in PEM.

        Raises:
            StorageConfigurationError: One of them does not load, or they do not belong together.
            ProofAlgorithmError: The key is on another curve, of another kind, or RSA below 2,048 bits.
        """
        key = None
        # Their message may quote what was in the file, and so may their traceback.
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = serialization.load_pem_private_key(
                private_key.reveal().encode(), password.reveal().encode() if password else None
            )
        if key is None:
            raise StorageConfigurationError("this is not a private key in PEM, or the password is wrong")
        local = _LocalKey(key)
        made = cls(chain, local)
        if made._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != local.spki:
            raise StorageConfigurationError("the first certificate is not that of the private key")
        return made

    async def sign(self, message: bytes) -> bytes:
        """A signature over `message` in COSE's form, verified with the certificate's key.

        Raises:
            ProofSignatureError: The signer's signature does not verify.
            Exception: What the signer raised.
        """
        sig = bytes(await self.signer.sign(message))
        if not self._is_signature(sig, message):
            raise ProofSignatureError(
                "the signer's signature does not verify with the key of its own certificate"
            )
        if not isinstance(self._key, ec.EllipticCurvePublicKey):
            return sig
        width = (self._key.key_size + 7) // 8
        return b"".join(number.to_bytes(width, "big") for number in utils.decode_dss_signature(sig))

    def _is_signature(self, sig: bytes, message: bytes) -> bool:
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(sig, message)
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(sig, message, _PSS, _HASHES[self.algorithm])
            else:
                self._key.verify(sig, message, ec.ECDSA(_HASHES[self.algorithm]))
        except (InvalidSignature, ValueError):
            return False
        return True

    def __repr__(self) -> str:
        fingerprint = read_certificates(self.chain)[0].fingerprint(hashes.SHA256()).hex()
        return f"ManifestCredential({self.algorithm}, certificate sha256:{fingerprint})"

    def __reduce__(self) -> NoReturn:
        message = "a credential with a private key is never pickled or copied"
        raise TypeError(message)


class _LocalKey:
    """A private key in this process; RSA signs in a thread, since it takes over a millisecond."""

    __slots__ = ("_key", "spki")

    def __init__(self, key: object) -> None:
        if isinstance(key, Ed25519PrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            public = LocalSigner(key).public_key
            self.spki = public.spki
        elif (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)) or (
            isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _SMALLEST_RSA
        ):
            self.spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            raise ProofAlgorithmError(
                "manifests are signed with keys on P-256 or P-384, RSA of 2,048 bits or more, or Ed25519"
            )
        self._key: _PrivateKey = key

    async def sign(self, pae: bytes) -> bytes:
        return await in_pool(self._sign, pae)

    def _sign(self, message: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, _PSS, hashes.SHA256())
        return self._key.sign(message, ec.ECDSA(_HASHES[_algorithm_of(self._key.public_key())]))

    def __repr__(self) -> str:
        return "_LocalKey()"


class Asking:
    """Asks the signer, on its event loop, from the thread of the native code; keeps what goes wrong.

    Attributes:
        failure: What the signer raised, or None.
    """

    def __init__(self, credential: ManifestCredential, loop: asyncio.AbstractEventLoop) -> None:
        self._credential = credential
        self._loop = loop
        self._pending: Future[bytes] | None = None
        self._stopped = False
        self.failure: Exception | None = None

    def __call__(self, message: bytes) -> bytes:
        """The signature; empty, which the native code refuses, when there is none."""
        if self._stopped:
            return b""
        try:
            pending = self._pending = asyncio.run_coroutine_threadsafe(
                self._credential.sign(message), self._loop
            )
            # `stop` sets one and reads the other, this does it the other way round: one of the two sees both.
            if self._stopped:
                pending.cancel()
            return pending.result()
        except Exception as error:  # noqa: BLE001 - the library would log it and forget it; `sign_manifest` raises it
            self.failure = error
            return b""

    def stop(self) -> None:
        """Leave nothing under way when the caller was cancelled."""
        self._stopped = True
        if self._pending is not None:
            self._pending.cancel()


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Certificates in PEM, in order.

    Raises:
        StorageConfigurationError: There is none, or one does not load.
    """
    try:
        pem.decode("ascii")
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise StorageConfigurationError("these are not certificates in PEM") from None


def _algorithm_of(key: Any) -> Algorithm:
    if isinstance(key, Ed25519PublicKey):
        return "Ed25519"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return "PS256"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        if isinstance(key.curve, ec.SECP384R1):
            return "ES384"
    raise StorageInvalidRequestError(
        "manifests are signed with keys on P-256 or P-384, RSA of 2,048 bits or more, or Ed25519"
    )
