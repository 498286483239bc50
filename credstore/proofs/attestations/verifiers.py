"""Whose attestations count: those of given keys, or of Fulcio identities (extra `sigstore`).

Rules of this file: a key id in an envelope is an alias for whoever wrote it, and decides nothing here; what
fits is tried. A certificate counts only through the `sigstore` package with a root of trust that the caller
gave or that is the public one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra
from credstore.proofs.attestations.bundles import ForeignBundle
from credstore.proofs.format.errors import (
    ProofAlgorithmError,
    ProofError,
    ProofSignatureError,
    ProofUntrustedKeyError,
)
from credstore.proofs.format.signing import keyid_of

if TYPE_CHECKING:
    from sigstore.verify import Verifier

MOST_KEYS = 100
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


class AttestationVerifier(Protocol):
    """Whoever decides which attestations count; any object with this method is one."""

    def verify(self, bundle: ForeignBundle, /) -> tuple[str, ...]:
        """Who has signed, as key ids or identities, at least one; called in a thread.

        Raises:
            ProofError: It does not count.
        """
        ...


@typed_class
class TrustedKeys:
    """Accepts what these keys have signed: Ed25519, or ECDSA on P-256, P-384 or P-521 with its own hash.

    Attributes:
        threshold: How many of them must have signed.
    """

    __slots__ = ("_keys", "threshold")

    def __init__(self, pems: Iterable[bytes], *, threshold: int = 1) -> None:
        """Take public keys in PEM, 1 to 100.

        Raises:
            StorageConfigurationError: None, too many, one twice, or a threshold that cannot be reached.
            ProofAlgorithmError: A key of another kind.
        """
        self._keys = dict(_load(each) for each in pems)
        if not 1 <= threshold <= len(self._keys) <= MOST_KEYS:
            raise StorageConfigurationError(
                f"1 to {MOST_KEYS} different keys are trusted, and a threshold is at most their number"
            )
        self.threshold = threshold

    def verify(self, bundle: ForeignBundle, /) -> tuple[str, ...]:
        """Ids of the keys that have signed.

        Raises:
            ProofSignatureError: Fewer signatures of these keys fit than have to.
        """
        message = bundle.pae
        found: dict[str, None] = {}
        for signature in bundle.signatures:
            for keyid, key in self._keys.items():
                if keyid not in found and _fits(key, signature.sig, message):
                    found[keyid] = None
                    break
        if len(found) < self.threshold:
            raise ProofSignatureError(
                f"signatures of {len(found)} trusted keys fit, but {self.threshold} must: something was "
                "changed, or other keys signed"
            )
        return tuple(found)


def _load(pem: bytes) -> tuple[str, Ed25519PublicKey | ec.EllipticCurvePublicKey]:
    key = None
    with suppress(ValueError, UnsupportedAlgorithm):
        key = serialization.load_pem_public_key(pem)
    ours = isinstance(key, Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES
    )
    if not ours:
        raise ProofAlgorithmError(
            "attestations are verified with Ed25519, P-256, P-384 and P-521 keys in PEM"
        )
    known = cast("Ed25519PublicKey | ec.EllipticCurvePublicKey", key)
    spki = known.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return keyid_of(spki), known


def _fits(key: Ed25519PublicKey | ec.EllipticCurvePublicKey, sig: bytes, message: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(sig, message)
        else:
            key.verify(sig, message, ec.ECDSA(_HASHES[key.curve.name]()))
    except (InvalidSignature, ValueError):
        return False
    return True


@typed_class
@dataclass(frozen=True, slots=True)
class FulcioIdentity:
    """Who may have signed, as Fulcio certifies it.

    Attributes:
        identity: Of the certificate: an e-mail address or a URI, such as that of a workflow; compared as it
            is.
        issuer: The OIDC issuer that confirmed it, such as `https://token.actions.githubusercontent.com`.
    """

    identity: str
    issuer: str


@typed_class
class FulcioIdentities:
    """Accepts Sigstore bundles signed by any of these identities; `sigstore` verifies them offline."""

    __slots__ = ("_identities", "_verifier")

    def __init__(self, identities: Iterable[FulcioIdentity], *, trusted_root: bytes | None = None) -> None:
        """Name whose attestations count.

        Args:
            identities: At least one.
            trusted_root: A Sigstore trusted root in JSON; None for that of the public instance, as it came
                with the package or was last updated by it.

        Raises:
            StorageConfigurationError: No identity, not a trusted root, or the extra `sigstore` is missing.
        """
        require_extra("sigstore", "identities of Fulcio need")
        self._identities = tuple(identities)
        if not self._identities:
            raise StorageConfigurationError("name at least one identity")
        self._verifier: Verifier | None = None
        if trusted_root is not None:
            self._verifier = sigstore_verifier(trusted_root)

    def verify(self, bundle: ForeignBundle, /) -> tuple[str, ...]:
        """The identity of the certificate.

        Raises:
            ProofUntrustedKeyError: It is not a bundle with a certificate.
            ProofSignatureError: It does not verify: certificate, its transparency, log, time, or signature.
        """
        from sigstore.models import Bundle
        from sigstore.verify.policy import Identity

        if bundle.form != "sigstore":
            raise ProofUntrustedKeyError("a bare envelope has no certificate with an identity")
        verifier = self._verifier or sigstore_verifier()
        self._verifier = verifier
        failure: Exception | None = None
        for each in self._identities:
            try:
                parsed = Bundle.from_json(bundle.data)
                kind, payload = verifier.verify_dsse(
                    parsed, Identity(identity=each.identity, issuer=each.issuer)
                )
            except Exception as error:  # noqa: BLE001 - whatever a planted bundle makes a parser raise
                failure = failure or error
                continue
            if (kind, payload) == (bundle.payload_type, bundle.payload):
                return (each.identity,)
        raise ProofSignatureError(
            f"the bundle does not verify for any identity that counts: {type(failure).__name__}"
        ) from failure


@lru_cache(maxsize=8)
def sigstore_verifier(trusted_root: bytes | None = None) -> Verifier:
    """The verifier of the package `sigstore` for an instance; it makes no request.

    Args:
        trusted_root: In JSON; None for that of the public instance, as it came with the package or was last
            updated by it.

    Raises:
        StorageConfigurationError: It is not a trusted root.
        ImportError: The package is missing.
    """
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot import v1

    if trusted_root is None:
        return Verifier.production(offline=True)
    try:
        return Verifier(trusted_root=TrustedRoot(v1.TrustedRoot.from_json(trusted_root)))
    except Exception as error:  # noqa: BLE001 - of many kinds, by its parsers
        raise StorageConfigurationError(f"not a trusted root of Sigstore: {type(error).__name__}") from None


@typed_class
class AnyVerifier:
    """Accepts what at least one of its verifiers accepts."""

    __slots__ = ("_verifiers",)

    def __init__(self, verifiers: Iterable[AttestationVerifier]) -> None:
        """Take at least one.

        Raises:
            StorageConfigurationError: There are none.
        """
        self._verifiers = tuple(verifiers)
        if not self._verifiers:
            raise StorageConfigurationError("name at least one verifier; with none it would decide nothing")

    def verify(self, bundle: ForeignBundle, /) -> tuple[str, ...]:
        """Ask them until one accepts.

        Raises:
            ProofError: The refusal of the first.
        """
        refusal: ProofError | None = None
        for each in self._verifiers:
            try:
                return each.verify(bundle)
            except ProofError as error:
                refusal = refusal or error
        raise cast("ProofError", refusal)
