"""What a refused read has to do with a customer-provided key (SSE-C): none was given, or the wrong one. Pure.

Rules of this file: servers use one code for several mistakes, and some the same as for a refused access, so
the response to the same request without the key shows which refusal it is.
"""

from __future__ import annotations

from dataclasses import replace

from credstore.drivers.s3.headers import SSE_C
from credstore.drivers.s3.requests import S3Request, asking
from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError

_READS = frozenset({"GetObject", "HeadObject"})
_WITHOUT = frozenset({None, "InvalidRequest"})
"""Codes of a read without a key that may want one."""
_WITH = _WITHOUT | {"InvalidArgument", "AccessDenied"}
"""Codes of a read whose key may be the wrong one."""
_MALFORMED = 400
_DENIED = 403


def has_key(request: S3Request) -> bool:
    """Whether a request carries a customer-provided key."""
    return SSE_C + "key" in request.headers


def may_be_about_key(request: S3Request, error: StorageError) -> bool:
    """Whether a refusal can be about the key that a read has, or has not."""
    if request.operation not in _READS:
        return False
    if has_key(request):
        return error.status_code in {_MALFORMED, _DENIED} and error.provider_code in _WITH
    general = error.code == StorageInvalidRequestError.default_code
    return error.status_code == _MALFORMED and error.provider_code in _WITHOUT and general


def without_key(request: S3Request) -> S3Request:
    """A read of one byte that shows whether the object can be read without the key."""
    bare = {name: value for name, value in request.headers.items() if not name.startswith(SSE_C)}
    return asking(replace(request, headers=bare))


def needs_key(error: StorageError) -> StorageError:
    """The error of a read without a key."""
    return _about(
        error,
        "the provider refuses to read the object without a key: if it is encrypted with a customer-provided "
        "key (SSE-C), give that key, as `encryption` to a read or as `source_encryption` to copy or move",
    )


def needs_no_key(error: StorageError) -> StorageError:
    """The error of a read with a key of an object that is read without one."""
    return _about(
        error,
        "a customer-provided key (SSE-C) was given, but the object is not encrypted with one and can be read "
        "without; leave the key out",
    )


def wrong_key(error: StorageError, other: StorageError) -> StorageError:
    """The error of a read that is refused with a key, and as `other` without it."""
    if other.status_code == _MALFORMED:
        return _about(
            error,
            "the customer-provided key (SSE-C) that was given is not the one the object is encrypted with",
        )
    if error.status_code == _DENIED and other.status_code == _DENIED:
        error.message += (
            "; or the customer-provided key (SSE-C) that was given is not the object's; this provider gives "
            "the same response in both cases"
        )
    return error


def _about(error: StorageError, message: str) -> StorageError:
    facts = error.facts()
    facts["code"] = ErrorCode.CUSTOMER_KEY
    return StorageInvalidRequestError(message, **facts)
