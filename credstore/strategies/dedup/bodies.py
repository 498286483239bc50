"""Bodies on their way to where they are shared, and what can be wrong with them."""

from __future__ import annotations

import hashlib
from secrets import token_hex

from credstore.driver.values import Body, PutRequest
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageConflictError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.hashing import hash_into
from credstore.strategies.dedup import plan


def body_request(request: PutRequest, chosen: plan.Body, body: Body) -> PutRequest:
    """The write of a body, for the write of an object that refers to it."""
    return PutRequest(
        key=chosen.key,
        body=body,
        write_id=token_hex(16),
        digest=bytes.fromhex(chosen.digest),
        encryption=request.encryption,
        encryption_by_default=request.encryption_by_default,
        deadline=request.deadline,
        progress=request.progress,
    )


async def read_through(request: PutRequest, body: Body, digest: bytes, size: int) -> None:
    """Check a body that need not be sent.

    Raises:
        StorageInvalidRequestError: It has another length (code "BODY_LENGTH").
        StorageIntegrityError: It is not the one that the digest names.
    """
    seen, done = hashlib.sha256(), 0
    async for chunk in body.open():
        await hash_into(seen, chunk)
        done += len(chunk)
        if done > size:
            break
        if request.progress is not None:
            request.progress(done, size)
    if done != size:
        raise StorageInvalidRequestError(
            f"the body has {'more than ' if done > size else ''}{min(done, size)} bytes, not the {size} that "
            "were announced; nothing was stored",
            code=ErrorCode.BODY_LENGTH,
        )
    if seen.digest() != digest:
        raise mismatch()


def mismatch() -> StorageIntegrityError:
    """The error of a body that is not what its digest names."""
    return StorageIntegrityError(
        "the body is not the one that its digest names; nothing was stored", code=ErrorCode.DIGEST_MISMATCH
    )


def body_missing(body: plan.Body) -> StorageIntegrityError:
    """The error of an object without its body."""
    return StorageIntegrityError(
        f"this object refers to the body {body.key}, which is not there", code=ErrorCode.BODY_MISSING
    )


def collected_meanwhile(*, applied: Applied) -> StorageConflictError:
    """The error of a write that a collection was faster than, again and again."""
    return StorageConflictError(
        "the body was collected while a reference to it was made; store the object again",
        retryable=True,
        applied=applied,
    )
