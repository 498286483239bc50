"""What can be wrong with a proof, each cause its own error; all are `StorageError`.

Rules of this file: those of `credstore.errors`. A message names ids, times and digests, which are public;
never claims, keys or bytes that came in. `retryable` is False: the same bytes never verify later, except
`ProofNotYetValidError`.
"""

from __future__ import annotations

from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
)


class ProofError(StorageError):
    """Base of every error about a proof; catch it to refuse whatever does not verify."""

    default_code = ErrorCode.PROOF


class ProofNotFoundError(ProofError, StorageNotFoundError):
    """There is no proof with this id, or none for this asset."""

    default_code = ErrorCode.PROOF_NOT_FOUND


class ProofFormatError(ProofError, StorageIntegrityError):
    """The bytes are not a proof: not strict JSON, not canonical, too large, or a field breaks its rule."""

    default_code = ErrorCode.PROOF_FORMAT


class ProofSignatureError(ProofError, StorageIntegrityError):
    """No signature of a known key fits the bytes: something was changed, or another key signed."""

    default_code = ErrorCode.PROOF_SIGNATURE


class ProofUntrustedKeyError(ProofError):
    """The key is not in the trust store, or not trusted for this issuer or this use."""

    default_code = ErrorCode.PROOF_UNTRUSTED_KEY


class ProofAlgorithmError(ProofError):
    """The key is of a kind credstore does not sign or verify with."""

    default_code = ErrorCode.PROOF_ALGORITHM


class ProofKeyExpiredError(ProofError):
    """The key was not, or no longer, valid at the time of signing."""

    default_code = ErrorCode.PROOF_KEY_EXPIRED


class ProofKeyRevokedError(ProofKeyExpiredError):
    """The key was compromised, and no trusted time shows that the signature is older than that."""

    default_code = ErrorCode.PROOF_KEY_REVOKED


class ProofIdMismatchError(ProofError, StorageIntegrityError):
    """A valid proof, but its id is not the one asked for: it was moved or swapped."""

    default_code = ErrorCode.PROOF_ID_MISMATCH


class ProofAssetMismatchError(ProofError, StorageIntegrityError):
    """A valid proof, but of bytes other than the given asset."""

    default_code = ErrorCode.PROOF_ASSET_MISMATCH


class ProofExpiredError(ProofError):
    """The proof was valid until its `expires_at`, which has passed."""

    default_code = ErrorCode.PROOF_EXPIRED


class ProofNotYetValidError(ProofError):
    """The proof says it was issued in the future, by more than the five minutes clocks may differ."""

    default_code = ErrorCode.PROOF_NOT_YET_VALID
    default_retryable = True


class ProofRevokedError(ProofError):
    """The issuer has revoked the proof; `reason` is in the message."""

    default_code = ErrorCode.PROOF_REVOKED


class ProofErasedError(ProofError):
    """The issuer has erased the proof; only its tombstone is left."""

    default_code = ErrorCode.PROOF_ERASED


class ProofConflictError(ProofError, StorageConflictError):
    """The idempotency key was used for a proof that says something else."""

    default_code = ErrorCode.PROOF_CONFLICT


class ProofUnsignedError(ProofError):
    """A record of the original service: no one signed it, so nothing about it is proved."""

    default_code = ErrorCode.PROOF_UNSIGNED


class ProofPolicyError(ProofError):
    """A valid proof that the reader's policy does not accept."""

    default_code = ErrorCode.PROOF_POLICY


class ProofTimestampError(ProofError):
    """An RFC 3161 token is not for this signature, not from a pinned authority, or contradicts the proof."""

    default_code = ErrorCode.PROOF_TIMESTAMP


class ProofManifestError(ProofError, StorageIntegrityError):
    """The C2PA manifest does not verify, or is not the one that the proof names."""

    default_code = ErrorCode.PROOF_MANIFEST
