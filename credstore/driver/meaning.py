"""`Meaning`: what one error code or status of a cloud stands for, as a row of its table. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one code stands for.

    Attributes:
        error: Class to raise.
        message: One sentence for people to read.
        code: credstore's code; None for the class's own.
        retryable: Whether the same request may succeed later; None for the class's default.
    """

    error: type[StorageError]
    message: str
    code: ErrorCode | None = None
    retryable: bool | None = None

    def built(
        self, provider_code: str | None, status: int | None, request_id: str | None = None
    ) -> StorageError:
        """The error, with the facts of one response; whoever knows sets `applied`."""
        return self.error(
            self.message,
            code=self.code or self.error.default_code,
            provider_code=provider_code,
            status_code=status,
            request_id=request_id,
            retryable=self.error.default_retryable if self.retryable is None else self.retryable,
        )


WRONG_KEY = Meaning(
    StorageInvalidRequestError,
    "the customer-provided key (SSE-C) that was given is not the one the object is encrypted with",
    ErrorCode.CUSTOMER_KEY,
)
NEEDS_KEY = Meaning(
    StorageInvalidRequestError,
    "the object is encrypted with a customer-provided key (SSE-C): give that key, as `encryption` to a read "
    "or as `source_encryption` to copy or move",
    ErrorCode.CUSTOMER_KEY,
)
NEEDS_NO_KEY = Meaning(
    StorageInvalidRequestError,
    "a customer-provided key (SSE-C) was given, but the object is not encrypted with one and can be read "
    "without; leave the key out",
    ErrorCode.CUSTOMER_KEY,
)
