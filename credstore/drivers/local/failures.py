"""What the operating system refused, as errors a person can act on."""

from __future__ import annotations

import errno
import os

from credstore.errors import (
    Applied,
    ErrorCode,
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidKeyError,
    StorageQuotaExceededError,
    StorageUnavailableError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EINTR, errno.ENOLCK})


class MovedError(Exception):
    """The directories changed under an operation, which starts over; never leaves the driver."""


def translate(error: OSError, *, applied: Applied = "no") -> StorageError:
    """The `StorageError` that says what `error` means here; `provider_code` is the errno's name."""
    number = error.errno or 0
    name = errno.errorcode.get(number)
    reason = os.strerror(number) if number else "unknown reason"
    if number in _FULL:
        text = f"the disk or its quota is full ({reason}); make room and store again"
        return StorageQuotaExceededError(text, provider_code=name, applied=applied)
    if number in _DENIED:
        text = (
            f"the local store may not be changed or read by this user ({reason}); check owner, mode and mount"
        )
        return StorageAccessDeniedError(text, provider_code=name, applied=applied)
    if number == errno.ENAMETOOLONG:
        text = "the key is too long for this file system"
        return StorageInvalidKeyError(text, provider_code=name, applied=applied)
    if number in _BUSY:
        text = f"this process or machine lacks a resource for now ({reason})"
        return StorageUnavailableError(text, provider_code=name, applied=applied)
    return StorageError(
        f"the disk failed ({reason})", code=ErrorCode.IO_ERROR, provider_code=name, applied=applied
    )


def unusable_root(path: str, error: OSError) -> StorageError:
    """Why the directory `path` cannot be a store, with what to do about it."""
    name = errno.errorcode.get(error.errno or 0)
    if error.errno in _DENIED:
        text = f"the directory {path!r} may not be used by this user; change its owner or mode, or the path"
        return StorageAccessDeniedError(text, provider_code=name)
    if error.errno == errno.ENOENT:
        text = f"the directory {path!r} is missing; create it, or allow that with create=True"
    elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
        text = f"{path!r} is not a directory; set path to one"
    else:
        return translate(error)
    return StorageConfigurationError(text, provider_code=name)
