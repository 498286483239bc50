"""Exit codes, and the one table that says which failure has which."""

from __future__ import annotations

import errno
from enum import IntEnum

from credstore.cli.streams import OUTPUT
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConflictError,
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageVersionsRemainError,
)
from credstore.proofs import (
    LogError,
    ProofAlgorithmError,
    ProofAssetMismatchError,
    ProofErasedError,
    ProofError,
    ProofExpiredError,
    ProofFormatError,
    ProofIdMismatchError,
    ProofKeyExpiredError,
    ProofManifestError,
    ProofNotYetValidError,
    ProofRevokedError,
    ProofSignatureError,
    ProofTimestampError,
    ProofUnsignedError,
    ProofUntrustedKeyError,
)


class Exit(IntEnum):
    """What the process reports to the shell; stable, so that scripts can branch on it."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    INTEGRITY = 7
    CONFIGURATION = 8
    PARTIAL = 9
    NOT_HONOURED = 10
    PROOF_FORMAT = 20
    PROOF_SIGNATURE = 21
    PROOF_MISMATCH = 22
    PROOF_UNTRUSTED = 23
    PROOF_EXPIRED = 24
    PROOF_REVOKED = 25
    PROOF_OTHER = 26
    LOG = 27
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class Terminated(Exception):  # noqa: N818 - not an error: the end that SIGTERM asks for
    """SIGTERM came; everything was cleaned up."""


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILURE: "any other failure",
    Exit.USAGE: "wrong arguments: option, key, or a local file that cannot be used",
    Exit.NOT_FOUND: "no such object, bucket or version",
    Exit.DENIED: "access denied, or credentials not accepted",
    Exit.CONFLICT: "something is already there, or was changed by another writer",
    Exit.UNAVAILABLE: "unavailable, timeout, connection or rate limit; a retry may help",
    Exit.INTEGRITY: "the bytes are not those that were stored",
    Exit.CONFIGURATION: "the store's settings are missing or wrong",
    Exit.PARTIAL: "only a part was done (rm, cp, sync, migrate; proof issue, timestamp, delete, sweep, …)",
    Exit.NOT_HONOURED: "the store does not do what is granted to it (check-provider)",
    Exit.PROOF_FORMAT: "what should be a proof is not one",
    Exit.PROOF_SIGNATURE: "no signature fits: the proof was changed, or never signed",
    Exit.PROOF_MISMATCH: "a proof of another asset, id or manifest",
    Exit.PROOF_UNTRUSTED: "the key is not trusted for it, not at that time, or no longer",
    Exit.PROOF_EXPIRED: "the proof has expired, or is dated in the future",
    Exit.PROOF_REVOKED: "the proof was revoked or erased",
    Exit.PROOF_OTHER: "anything else that is wrong with a proof",
    Exit.LOG: "a transparency log forked, went back or stalls, or lacks tiles, witnesses or an entry",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.BROKEN_PIPE: "the reader of the output went away (head, less)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}
"""Shown by `credstore --help`."""

_CODES: tuple[tuple[type[StorageError], Exit], ...] = (
    (LogError, Exit.LOG),
    (ProofFormatError, Exit.PROOF_FORMAT),
    (ProofSignatureError, Exit.PROOF_SIGNATURE),
    (ProofUnsignedError, Exit.PROOF_SIGNATURE),
    (ProofAssetMismatchError, Exit.PROOF_MISMATCH),
    (ProofIdMismatchError, Exit.PROOF_MISMATCH),
    (ProofManifestError, Exit.PROOF_MISMATCH),
    (ProofUntrustedKeyError, Exit.PROOF_UNTRUSTED),
    (ProofKeyExpiredError, Exit.PROOF_UNTRUSTED),
    (ProofAlgorithmError, Exit.PROOF_UNTRUSTED),
    (ProofExpiredError, Exit.PROOF_EXPIRED),
    (ProofNotYetValidError, Exit.PROOF_EXPIRED),
    (ProofRevokedError, Exit.PROOF_REVOKED),
    (ProofErasedError, Exit.PROOF_REVOKED),
    (ProofTimestampError, Exit.PROOF_OTHER),
    (StorageNotFoundError, Exit.NOT_FOUND),
    (StorageVersionsRemainError, Exit.PARTIAL),
    (StorageAccessDeniedError, Exit.DENIED),
    (StorageAuthenticationError, Exit.DENIED),
    (StorageConflictError, Exit.CONFLICT),
    (StorageRateLimitedError, Exit.UNAVAILABLE),
    (StorageUnavailableError, Exit.UNAVAILABLE),
    (StorageTimeoutError, Exit.UNAVAILABLE),
    (StorageConnectionError, Exit.UNAVAILABLE),
    (StorageIntegrityError, Exit.INTEGRITY),
    (StorageInvalidRequestError, Exit.USAGE),
    (StorageConfigurationError, Exit.CONFIGURATION),
    (ProofError, Exit.PROOF_OTHER),
)

_WRONG_FILE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EROFS,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EBADF,
    }
)
"""What the system says of a file or folder that was named, or of standard input, and cannot be used."""


def exit_of(error: Exception) -> Exit:
    """The exit code of a failure."""
    if isinstance(error, StorageError) and error.code == ErrorCode.IO_ERROR:
        error = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, FileExistsError) or (isinstance(error, OSError) and error.errno == errno.ENOTEMPTY):
        return Exit.CONFLICT
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) and error.errno in _WRONG_FILE and error.filename != OUTPUT:
        return Exit.USAGE
    return Exit.FAILURE
