"""Whether an upload that was started before is the one that is wanted now. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from credstore.driver.values import PutRequest, ResumeToken
from credstore.errors import ErrorCode, StorageInvalidRequestError


def token_of(request: PutRequest, *, place: str, options: str, part_size: int, upload_id: str) -> ResumeToken:
    """The token of an upload that starts now.

    Args:
        request: The write; its body has a length, and it a digest.
        place: Endpoint and bucket.
        options: See `options_digest`.
        part_size: Bytes of each part but the last.
        upload_id: The provider's name of the upload.
    """
    return ResumeToken(
        place=place,
        key=request.key,
        size=request.body.length or 0,
        digest=(request.digest or b"").hex(),
        part_size=part_size,
        upload_id=upload_id,
        write_id=request.write_id,
        options=options,
    )


def options_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """A digest of what an object is stored with; leave out the write's id."""
    kept = sorted(f"{name}:{value}" for name, value in pairs)
    return hashlib.sha256("\n".join(kept).encode("utf-8", "surrogateescape")).hexdigest()


def check_token(token: ResumeToken, request: PutRequest, *, place: str, options: str) -> None:
    """Refuse to continue an upload for other bytes, another place, or other options.

    Raises:
        StorageInvalidRequestError: The journal is for another object or other options (code
            "RESUME_MISMATCH"), or the source has changed since (code "SOURCE_CHANGED").
    """
    if (token.place, token.key) != (place, request.key):
        raise StorageInvalidRequestError(
            f"the resume file belongs to the upload of {token.key!r} to {token.place}; give each upload its "
            "own",
            code=ErrorCode.RESUME_MISMATCH,
        )
    if (token.size, token.digest) != (request.body.length, (request.digest or b"").hex()):
        raise StorageInvalidRequestError(
            "the source has changed since the upload was started; delete the resume file to start again",
            code=ErrorCode.SOURCE_CHANGED,
        )
    if token.options != options:
        raise StorageInvalidRequestError(
            "the options are not those the upload was started with; pass the same ones, or delete the resume "
            "file to start again",
            code=ErrorCode.RESUME_MISMATCH,
        )
