"""Uploads in parts that another process continues.

Rules of this file: an upload is continued only for the same bytes at the same place with the same options;
the server says which parts it has, and the token alone is never trusted. An upload that is gone may have
become the object, which is checked before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from credstore.driver.resume_tokens import check_token, options_digest, token_of
from credstore.driver.values import WRITE_ID, Journal, ObjectInfo, PutRequest, ReadOptions, ResumeToken
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.headers import META, SSE_C
from credstore.drivers.s3.reading import head
from credstore.drivers.s3.uploads import list_parts
from credstore.drivers.s3.xml import PartInfo, parse_parts
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
)

PAGES = 10_000


@dataclass(frozen=True, slots=True)
class Begun:
    """An existing upload.

    Attributes:
        upload_id: The provider's name for it.
        part_size: Bytes of each part but the last.
        etags: Entity tags of the parts it has, by number.
    """

    upload_id: str
    part_size: int
    etags: Mapping[int, str]


def new_token(
    bucket: Bucket, request: PutRequest, headers: Mapping[str, str], *, part_size: int, upload_id: str
) -> ResumeToken:
    """The token of an upload that has just started."""
    return token_of(
        request, place=_place(bucket), options=_options(headers), part_size=part_size, upload_id=upload_id
    )


def _place(bucket: Bucket) -> str:
    return f"{bucket.place.origin}{bucket.place.base}"


def _options(headers: Mapping[str, str]) -> str:
    """A digest of what the object is stored with, without the write's id and secret keys."""
    return options_digest(
        (name, value)
        for name, value in headers.items()
        if name != META + WRITE_ID and not name.startswith(SSE_C)
    )


async def begun_before(
    bucket: Bucket, request: PutRequest, headers: Mapping[str, str], journal: Journal
) -> tuple[PutRequest, Begun | ObjectInfo | None]:
    """What exists of the write that the journal describes, and the request to continue with.

    Returns:
        The request (with the original write-id, if there is one), and: the upload to continue; the object, if
        the upload was completed; None to start again.

    Raises:
        StorageInvalidRequestError: The journal is for another object or other options (code
            "RESUME_MISMATCH"), or the source has changed since (code "SOURCE_CHANGED").
    """
    token = await journal.load()
    if token is None:
        return request, None
    await bucket.located(request.deadline)
    check_token(token, request, place=_place(bucket), options=_options(headers))
    resumed = replace(request, write_id=token.write_id)
    try:
        parts = await _parts(bucket, resumed, token.upload_id)
    except StorageNotFoundError as error:
        if error.code != ErrorCode.UPLOAD_NOT_FOUND:
            raise
        found = await _object(bucket, resumed)
        if found is None:
            await journal.clear()
            return request, None
        return resumed, found
    etags = {part.number: part.etag for part in parts if part.size == _size(token, part.number)}
    return resumed, Begun(token.upload_id, token.part_size, etags)


def _size(token: ResumeToken, number: int) -> int:
    """Bytes that a part must have; 0 for one that does not belong to this upload."""
    return max(0, min(token.part_size, token.size - (number - 1) * token.part_size))


async def _parts(bucket: Bucket, request: PutRequest, upload_id: str) -> list[PartInfo]:
    parts: list[PartInfo] = []
    after = 0
    for _ in range(PAGES):
        wire = list_parts(request.key, upload_id, after)
        page = await parsed(parse_parts, (await bucket.call(wire, deadline=request.deadline)).body)
        parts += page.parts
        if page.after is None:
            return parts
        if page.after <= after:
            break
        after = page.after
    raise StorageIntegrityError(
        "the provider's listing of parts goes round in circles", code=ErrorCode.LISTING
    )


async def _object(bucket: Bucket, request: PutRequest) -> ObjectInfo | None:
    """The object, if it was made by exactly this write."""
    options = ReadOptions(customer_key=request.encryption, deadline=request.deadline)
    try:
        found = await head(bucket, request.key, options)
    except StorageObjectNotFoundError:
        return None
    return found if found.write_id == request.write_id else None
