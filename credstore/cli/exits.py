"""Exit codes, and the one table that says which failure has which."""

from __future__ import annotations

from enum import IntEnum

from credstore.errors import (
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
)


class Exit(IntEnum):
    """What the process tells the shell; stable, so scripts can branch on it."""

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
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class Terminated(Exception):  # noqa: N818 - no error: the end that SIGTERM asks for
    """SIGTERM came; everything was cleaned up."""


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILURE: "any other failure",
    Exit.USAGE: "wrong arguments: option, key, or a local file that cannot be read",
    Exit.NOT_FOUND: "no such object, bucket or version",
    Exit.DENIED: "access denied, or credentials not accepted",
    Exit.CONFLICT: "something is there already, or was changed by another writer",
    Exit.UNAVAILABLE: "unavailable, timeout, connection or rate limit; a retry may help",
    Exit.INTEGRITY: "the bytes are not those that were stored",
    Exit.CONFIGURATION: "the store's settings are missing or wrong",
    Exit.PARTIAL: "only a part was done (rm of several objects)",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.BROKEN_PIPE: "the reader of the output went away (head, less)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}
"""Shown by `credstore --help`."""

_CODES: tuple[tuple[type[StorageError], Exit], ...] = (
    (StorageNotFoundError, Exit.NOT_FOUND),
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
)


def exit_of(error: Exception) -> Exit:
    """The exit code of a failure."""
    if isinstance(error, FileExistsError):
        return Exit.CONFLICT
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.FAILURE
