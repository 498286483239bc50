"""Upload forms: what a browser may store in the bucket without credentials, and never past the pipeline."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, TypedDict, cast, get_args

from credstore.driver.contract import MakesUploadForms
from credstore.driver.internal import SEGMENT
from credstore.driver.refusals import UPLOAD_FORMS
from credstore.driver.upload_forms import FormRequest
from credstore.errors import ErrorCode, StorageInvalidKeyError, StorageInvalidRequestError
from credstore.model import UploadForm
from credstore.provider.links import LONGEST, check_duration, check_unchanged, check_unsummed, seconds_of
from credstore.provider.session import Session
from credstore.provider.validation import check_count, check_header, check_prefix

SuccessStatus = Literal[200, 201, 204]
LARGEST = 5 * 1024**4
"""Bytes of the largest object of S3 and Google; a number that they cannot read would end every upload."""
_STATUSES: tuple[int, ...] = get_args(SuccessStatus)


_MD5 = 16
_WITH_MD5 = "give content_md5, which binds the form to one body"


class UploadFormOptions(TypedDict, total=False):
    """Options of `StorageProvider.get_upload_form`.

    Keys:
        min_size: Minimum number of bytes of an upload; 0 if left out.
        content_md5: MD5 (16 bytes) of the one body that may be uploaded, which the store checks; S3's only. A
            bucket with a default retention (Object Lock) takes no body without it.
        content_type: That the object is stored with; the holder of the form cannot choose another. Left out,
            the store's own default.
        success_status: Status of the response to an upload: 200, 201 (with an XML body) or 204, the default.
        expires_in: Seconds, a timedelta or text such as "1h": 1 second to 7 days; an hour if left out.
        timeout: Seconds to wait for credentials, instead of the configured number.
    """

    min_size: int
    content_md5: bytes
    content_type: str
    success_status: SuccessStatus
    expires_in: float | timedelta | str
    timeout: float


async def make_upload_form(
    session: Session, key: str | None, prefix: str | None, max_size: int, options: UploadFormOptions
) -> UploadForm:
    """Check that a form is for users' objects only and can work, and make it.

    Args:
        session: Of the store.
        key: Of the object, or None.
        prefix: Of its key, or None.
        max_size: Bytes.
        options: As given.

    Raises:
        StorageError: See `StorageProvider.get_upload_form`.
    """
    session.lifetime.check_writable("get_upload_form", key)
    start = _checked_start(session, key, prefix)
    expires_in = seconds_of(options.get("expires_in", 3600.0))
    _check(max_size, options)
    check_duration(expires_in, LONGEST, "expires_in is")
    driver = session.driver
    if not (driver.capabilities.upload_forms and isinstance(driver, MakesUploadForms)):
        raise UPLOAD_FORMS.of(driver.name)
    check_unchanged(session, "a form")
    deadline, md5 = session.deadline(options.get("timeout")), options.get("content_md5")
    if md5 is None:
        await check_unsummed(session, "a form", _WITH_MD5, deadline)
    return await driver.upload_form(
        FormRequest(
            key=start,
            below=prefix is not None,
            max_size=max_size,
            min_size=options.get("min_size", 0),
            content_type=options.get("content_type"),
            success_status=options.get("success_status", 204),
            encryption=session.at_rest(),
            expires_in=expires_in,
            content_md5=md5,
            deadline=deadline,
        )
    )


def _checked_start(session: Session, key: str | None, prefix: str | None) -> str:
    """The key, or what it starts with."""
    if key is not None:
        if prefix is not None:
            raise StorageInvalidRequestError("a form is for a key or for a prefix, not for both")
        session.check_key(key)
        return key
    if prefix is None:
        raise StorageInvalidRequestError("a form needs a key, or a prefix of what may be stored with it")
    check_prefix(prefix, session.capabilities.max_key_size)
    begun = prefix.rpartition("/")[2]
    if (begun or not prefix) and SEGMENT.startswith(begun):
        raise StorageInvalidKeyError(
            f"with the prefix {prefix!r} a form could replace what credstore keeps for itself; give a longer "
            "one, such as 'inbox/'",
            code=ErrorCode.RESERVED_KEY,
            key=prefix,
        )
    session.check_key(f"{prefix}x")  # What is uploaded has to be readable.
    return prefix


def _check(max_size: int, options: UploadFormOptions) -> None:
    unknown = set(options) - UploadFormOptions.__optional_keys__
    if unknown:
        raise StorageInvalidRequestError(f"get_upload_form has no option {min(unknown)!r}")
    check_count("max_size", max_size)
    min_size = options.get("min_size", 0)
    check_count("min_size", min_size)
    if max_size > LARGEST:
        raise StorageInvalidRequestError(
            f"max_size is at most {LARGEST} (5 TiB), the largest object of any store, not {max_size}"
        )
    if not max(1, min_size) <= max_size:
        raise StorageInvalidRequestError(
            f"max_size is 1 or more and not below min_size ({min_size}), not {max_size}"
        )
    status = cast("object", options.get("success_status", 204))
    if isinstance(status, bool) or status not in _STATUSES:
        raise StorageInvalidRequestError(f"success_status is 200, 201 or 204, not {status!r}")
    md5 = cast("object", options.get("content_md5"))
    if "content_md5" in options and not (isinstance(md5, bytes) and len(md5) == _MD5):
        raise StorageInvalidRequestError(
            "content_md5 is the 16 bytes of an MD5, as hashlib.md5(...).digest() gives"
        )
    if "content_type" in options:
        check_header("content_type", options["content_type"])
