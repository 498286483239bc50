"""What can be wrong with a proof, each cause its own error; all are `StorageError`.

Rules of this file: those of `credstore.errors`. A message names ids, times and digests, which are public;
never claims, keys or bytes that came in. `retryable` is False: the same bytes never verify later, except
`ProofNotYetValidError`.
"""

from __future__ import annotations

from typing import Unpack

from credstore.errors import (
    ErrorCode,
    ErrorFacts,
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


class LogError(ProofError):
    """Base of every error about a transparency log."""

    default_code = ErrorCode.LOG


class LogInclusionError(LogError, StorageIntegrityError):
    """The inclusion proof does not show that the entry is in the log."""

    default_code = ErrorCode.LOG_INCLUSION


class LogConsistencyError(LogError, StorageIntegrityError):
    """The consistency proof does not show that the log only grew."""

    default_code = ErrorCode.LOG_CONSISTENCY


class LogForkError(LogConsistencyError):
    """The log has signed two states that do not continue each other: evidence that it cheats.

    Attributes:
        note_a: The signed checkpoint that was known, as received.
        note_b: The signed checkpoint that contradicts it, as received.
    """

    default_code = ErrorCode.LOG_FORK

    def __init__(
        self, message: str, note_a: bytes = b"", note_b: bytes = b"", **facts: Unpack[ErrorFacts]
    ) -> None:
        super().__init__(message, **facts)
        self.note_a = note_a
        self.note_b = note_b

    def __reduce__(self) -> tuple[object, ...]:
        state = {"__notes__": self._notes()}
        return _rebuild_fork, (type(self), self.message, self.note_a, self.note_b, self.facts()), state


def _rebuild_fork(
    cls: type[LogForkError], message: str, note_a: bytes, note_b: bytes, facts: ErrorFacts
) -> LogForkError:
    return cls(message, note_a, note_b, **facts)


class LogTileError(LogError, StorageIntegrityError):
    """A tile of the log is missing, or is not what the checkpoint says; `key` is its path."""

    default_code = ErrorCode.LOG_TILE


class LogRollbackError(LogError, StorageConflictError):
    """The store shows an older or another state of the log than is known; nothing may be signed over it."""

    default_code = ErrorCode.LOG_ROLLBACK


class LogBusyError(LogError, StorageConflictError):
    """Another sequencer was faster, again and again; the entries of this call may be in the log or not."""

    default_code = ErrorCode.LOG_BUSY
    default_retryable = True


class LogPendingError(LogError):
    """A statement took effect, but could not be logged yet, so its log shows nothing of it for now."""

    default_code = ErrorCode.LOG_PENDING
    default_retryable = True


class LogEntryError(LogError):
    """The log does not accept this entry, or what is at this index is not an entry of this version."""

    default_code = ErrorCode.LOG_ENTRY


class CheckpointError(LogError, StorageIntegrityError):
    """The bytes are not a checkpoint of this log, or the log has not signed them."""

    default_code = ErrorCode.CHECKPOINT


class WitnessError(LogError):
    """The witness refused the checkpoint, or its response is not valid."""

    default_code = ErrorCode.WITNESS


class WitnessQuorumError(WitnessError):
    """Fewer witnesses have cosigned the checkpoint than the policy requires."""

    default_code = ErrorCode.WITNESS_QUORUM
    default_retryable = True
