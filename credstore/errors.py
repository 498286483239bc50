"""The error tree: everything that can go wrong below a user's call, in one leaf module.

Rules of this file: it imports nothing from credstore but the codes; every error can be pickled and copied;
facts are fields and the text is built from them, never from a request, a header or a URL, so no secret can
reach it. Drivers fill what they know (`provider_code`, `status_code`, `request_id`, `applied`); the provider
fills `provider`, `operation` and `key` in one place (`StorageError.at`).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, Self, TypedDict, Unpack

from credstore.error_codes import ErrorCode as ErrorCode  # noqa: PLC0414 - whoever raises finds both here

Applied = Literal["yes", "no", "maybe"]
"""Whether the effect of a failed operation happened; "no" only where that is proved (P0)."""
RetentionMode = Literal["governance", "compliance"]
"""Whether those with a permission for it can end a retention early ("governance"), or no one
("compliance")."""


class ErrorFacts(TypedDict, total=False):
    """The keyword arguments of every `StorageError`; each is the field of the same name.

    `remaining` is a field of `StorageVersionsRemainError` alone, `outcomes` of `StorageQuorumError`;
    `retain_until`, `mode` and `legal_hold` are those of `StorageRetainedError`.
    """

    code: ErrorCode | str
    provider_code: str | None
    provider: str | None
    operation: str | None
    key: str | None
    bucket: str | None
    status_code: int | None
    request_id: str | None
    retryable: bool
    applied: Applied
    retry_after: float | None
    remaining: tuple[RemainingVersion, ...]
    outcomes: tuple[ReplicaOutcome, ...]
    retain_until: datetime | None
    mode: RetentionMode | None
    legal_hold: bool


class StorageError(Exception):
    """Base of every error credstore raises; catch it to catch all of them.

    Attributes:
        message: What happened and what to do about it, in one sentence, without the facts below.
        code: An `ErrorCode`; a driver from another package may have codes of its own.
        provider_code: The provider's own code (``"NoSuchKey"``), verbatim, or None.
        provider: Label of the provider (``"r2"``), or None if none was involved yet.
        operation: The user's verb (``"store"``), or None.
        key: The object's key, or None where the failure is not about one object.
        bucket: The bucket or root it happened in, or None.
        status_code: HTTP status of the response that decided the outcome, or None.
        request_id: The provider's id of the request, for its support, or None.
        retryable: Whether the same call may succeed later without any change.
        applied: Whether the effect happened: "yes", "no" (proved) or "maybe".
        retry_after: Seconds the provider asked to wait, or None.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.STORAGE_ERROR
    default_retryable: ClassVar[bool] = False

    # What most errors lack, so that one without facts, such as each object that is not there, costs little.
    provider_code: str | None = None
    provider: str | None = None
    operation: str | None = None
    key: str | None = None
    bucket: str | None = None
    status_code: int | None = None
    request_id: str | None = None
    applied: Applied = "no"
    retry_after: float | None = None

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message)
        self.message = message
        self.code: ErrorCode | str = self.default_code
        self.retryable: bool = self.default_retryable
        if not facts:
            return
        self.code = facts.get("code") or self.default_code
        self.provider_code = facts.get("provider_code")
        self.provider = facts.get("provider")
        self.operation = facts.get("operation")
        self.key = facts.get("key")
        self.bucket = facts.get("bucket")
        self.status_code = facts.get("status_code")
        self.request_id = facts.get("request_id")
        self.retryable = facts.get("retryable", self.default_retryable)
        self.applied = facts.get("applied", "no")
        self.retry_after = facts.get("retry_after")

    def at(self, *, provider: str, operation: str, key: str | None) -> Self:
        """Fill in the facts that only the provider knows, keeping those already there; returns itself."""
        self.provider = self.provider or provider
        self.operation = operation
        self.key = self.key if self.key is not None else key
        return self

    def facts(self) -> ErrorFacts:
        """All fields but the message, as the keyword arguments that rebuild this error."""
        return {
            "code": self.code,
            "provider_code": self.provider_code,
            "provider": self.provider,
            "operation": self.operation,
            "key": self.key,
            "bucket": self.bucket,
            "status_code": self.status_code,
            "request_id": self.request_id,
            "retryable": self.retryable,
            "applied": self.applied,
            "retry_after": self.retry_after,
        }

    def __str__(self) -> str:
        what = str(self.operation or "request")  # Whoever makes one may not use type checking.
        if self.key is not None:
            what += f" of {self.key!r}"
        if self.bucket is not None:
            what += f" in {self.bucket!r}"
        parts = [str(self.code), f"{what} at {self.provider}" if self.provider else what]
        answer = " ".join(str(fact) for fact in (self.status_code, self.provider_code) if fact is not None)
        if answer:
            parts.append(f"answer: {answer}")
        if self.request_id:
            parts.append(f"request id: {self.request_id}")
        parts.append("retry may help" if self.retryable else "retrying does not help")
        if self.applied != "no":
            parts.append("the effect happened" if self.applied == "yes" else "the effect may have happened")
        return f"{self.message} [{'; '.join(parts)}]"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.facts()), {"__notes__": self._notes()}

    def _notes(self) -> list[str]:
        return list(getattr(self, "__notes__", ()))


def _rebuild(cls: type[StorageError], message: str, facts: ErrorFacts) -> StorageError:
    return cls(message, **facts)


class StorageNotFoundError(StorageError):
    """What was asked for does not exist; the two cases that matter most have subclasses."""

    default_code = ErrorCode.NOT_FOUND


class StorageObjectNotFoundError(StorageNotFoundError, FileNotFoundError):
    """There is no such object."""

    errno = errno.ENOENT


class StorageBucketNotFoundError(StorageNotFoundError):
    """There is no such bucket, so nothing is known about objects."""

    default_code = ErrorCode.BUCKET_NOT_FOUND


class StorageAccessDeniedError(StorageError, PermissionError):
    """The credentials are valid but may not do this, or a lock or retention forbids it."""

    default_code = ErrorCode.ACCESS_DENIED
    errno = errno.EACCES


class StorageReadOnlyError(StorageAccessDeniedError):
    """The store, or the member that would be changed, was opened with `read_only=True`; nothing was sent."""

    default_code = ErrorCode.READ_ONLY
    errno = errno.EROFS


class StorageRetainedError(StorageAccessDeniedError):
    """A retention, legal hold or lock of the store forbids this; nothing was changed.

    Attributes:
        retain_until: When the retention ends, UTC; None where only a hold forbids it, or no date is known.
        mode: "governance" or "compliance", where a retention forbids it, else None.
        legal_hold: Whether a legal hold forbids it, which has no end date.
    """

    default_code = ErrorCode.LOCKED

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message, **facts)
        self.retain_until: datetime | None = facts.get("retain_until")
        self.mode: RetentionMode | None = facts.get("mode")
        self.legal_hold: bool = facts.get("legal_hold", False)

    def facts(self) -> ErrorFacts:
        """As `StorageError.facts`, with what forbids it."""
        found = super().facts()
        found["retain_until"], found["mode"] = self.retain_until, self.mode
        found["legal_hold"] = self.legal_hold
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingVersion:
    """A version that could not be removed, and what keeps it, as far as the store says.

    Attributes:
        key: The object's key.
        version_id: Its version; None for an object that could not be deleted at all.
        retain_until: When its retention ends, UTC; None where no date is known.
        mode: "governance" or "compliance", where a retention keeps it, else None.
        legal_hold: Whether a legal hold keeps it, which has no end date.
        error: Why it could not be removed.
    """

    key: str
    version_id: str | None
    error: StorageError
    retain_until: datetime | None = None
    mode: RetentionMode | None = None
    legal_hold: bool = False


class StorageVersionsRemainError(StorageAccessDeniedError):
    """Readers no longer find it, but versions remain in the store, or may remain; `remaining` lists them.

    Attributes:
        remaining: The versions that remain, at most 1,000 of them; empty where the store did not permit
            listing them, so that they are unknown.
    """

    default_code = ErrorCode.VERSIONS_REMAIN

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message, **facts)
        self.remaining: tuple[RemainingVersion, ...] = facts.get("remaining", ())

    def facts(self) -> ErrorFacts:
        """As `StorageError.facts`, with `remaining`."""
        found = super().facts()
        found["remaining"] = self.remaining
        return found


class StorageAuthenticationError(StorageError):
    """The provider did not accept the credentials: unknown, wrong, expired or missing."""

    default_code = ErrorCode.AUTHENTICATION_FAILED


class StorageQuotaExceededError(StorageError):
    """A quota, spending cap or disk is full; nothing was stored."""

    default_code = ErrorCode.QUOTA_EXCEEDED


class StorageConflictError(StorageError):
    """Another writer or the object's present state stood in the way."""

    default_code = ErrorCode.CONFLICT


class StorageAlreadyExistsError(StorageConflictError, FileExistsError):
    """`if_absent` was given, and another writer's object is there."""

    default_code = ErrorCode.ALREADY_EXISTS
    errno = errno.EEXIST


class StoragePreconditionFailedError(StorageConflictError):
    """`if_match` was given, and the object is not, or is no longer, that version."""

    default_code = ErrorCode.PRECONDITION_FAILED


class StorageRateLimitedError(StorageError):
    """The provider asked to slow down; `retry_after` says for how long, where known."""

    default_code = ErrorCode.RATE_LIMITED
    default_retryable = True


class StorageUnavailableError(StorageError):
    """The provider responded that it cannot serve the request now (5xx), or the object is archived."""

    default_code = ErrorCode.UNAVAILABLE
    default_retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOutcome:
    """What became of one call at one member of a store with replicas.

    Attributes:
        replica: The member's label.
        applied: "yes" where it was done, "no" where that is proved, else "maybe".
        error: Why it was not done; None where it was, or has not ended yet.
    """

    replica: str
    applied: Applied
    error: StorageError | None = None


class StorageQuorumError(StorageUnavailableError):
    """Fewer members than the quorum responded; `outcomes` lists what became of the call at each.

    Nothing is rolled back: where `applied` is "maybe", what was written may surface later.

    Attributes:
        outcomes: One for each member, in their order.
    """

    default_code = ErrorCode.QUORUM_NOT_MET

    def __init__(self, message: str, **facts: Unpack[ErrorFacts]) -> None:
        super().__init__(message, **facts)
        self.outcomes: tuple[ReplicaOutcome, ...] = facts.get("outcomes", ())

    def facts(self) -> ErrorFacts:
        """As `StorageError.facts`, with `outcomes`."""
        found = super().facts()
        found["outcomes"] = self.outcomes
        return found


class StorageTimeoutError(StorageError):
    """A time limit was reached before a definite result."""

    default_code = ErrorCode.TIMEOUT
    default_retryable = True


class StorageConnectionError(StorageError):
    """The connection could not be made, or broke before a definite response."""

    default_code = ErrorCode.CONNECTION_FAILED
    default_retryable = True


class StorageIntegrityError(StorageError):
    """What came back is not what was stored: wrong length, digest, header or response."""

    default_code = ErrorCode.INTEGRITY


class StorageDecryptionError(StorageIntegrityError):
    """The object does not decrypt; one text for every cause, by design (P22)."""

    default_code = ErrorCode.DECRYPTION_FAILED


class StorageCodecError(StorageIntegrityError):
    """The compressed form is truncated, of another codec, too large, or has trailing bytes."""

    default_code = ErrorCode.CODEC


class StorageInvalidRequestError(StorageError, ValueError):
    """An argument or option is wrong, or the provider called the request malformed."""

    default_code = ErrorCode.INVALID_REQUEST


class StorageInvalidKeyError(StorageInvalidRequestError):
    """The key or prefix cannot name an object; found before anything was sent."""

    default_code = ErrorCode.INVALID_KEY


class StorageConfigurationError(StorageError, ValueError):
    """A setting is missing, contradictory or unknown; the message names it."""

    default_code = ErrorCode.CONFIGURATION


class StorageUnsupportedError(StorageError):
    """The provider cannot do this; nothing was sent."""

    default_code = ErrorCode.UNSUPPORTED
