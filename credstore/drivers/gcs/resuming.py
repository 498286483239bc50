"""Uploads that another process continues.

Rules of this file: an upload is continued only for the same bytes at the same place with the same options;
the service says how much it has, and the token alone is never trusted. An upload that is gone may have become
the object, which is checked before anything is sent again. The token lets whoever has it send the bytes of
this one object for a week, so a resume file is as private as the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from credstore.driver.resume_tokens import check_token, options_digest, token_of
from credstore.driver.unclear import Write
from credstore.driver.values import WRITE_ID, Journal, ObjectInfo, PutRequest, ReadOptions, ResumeToken
from credstore.drivers.gcs.bucket import Bucket
from credstore.drivers.gcs.encryption import told_apart
from credstore.drivers.gcs.reading import head
from credstore.drivers.gcs.sessions import Session, status
from credstore.errors import ErrorCode, StorageNotFoundError, StorageObjectNotFoundError


@dataclass(frozen=True, slots=True)
class Begun:
    """An existing upload: where it is, and how many bytes it has."""

    target: str = field(repr=False)
    at: int


def new_token(bucket: Bucket, request: PutRequest, said: Mapping[str, Any], target: str) -> ResumeToken:
    """The token of an upload that starts now."""
    return token_of(
        request,
        place=_place(bucket),
        options=_options(said, request),
        part_size=bucket.config.part_size,
        upload_id=target,
    )


def _place(bucket: Bucket) -> str:
    return f"{bucket.origin}/{bucket.name}"


def _options(said: Mapping[str, Any], request: PutRequest) -> str:
    """A digest of what the object is stored with, without the write's id."""
    kept = {name: value for name, value in said.items() if name != "metadata"}
    metadata = {name: value for name, value in said["metadata"].items() if name != WRITE_ID}
    key = told_apart(request.encryption)
    sealed = [("encryption", key)] if key else []
    return options_digest([*metadata.items(), *sealed, ("", json.dumps(kept, sort_keys=True))])


async def begun_before(
    bucket: Bucket, request: PutRequest, said: Mapping[str, Any], journal: Journal
) -> tuple[PutRequest, Begun | ObjectInfo | None]:
    """What exists of the write that the journal describes, and the request to continue with.

    Returns:
        The request (with the original write-id, if there is one), and: the upload to continue; the object, if
        the upload was finished; None to start again.

    Raises:
        StorageInvalidRequestError: The journal is for another object or other options (code
            "RESUME_MISMATCH"), or the source has changed since (code "SOURCE_CHANGED").
    """
    token = await journal.load()
    if token is None:
        return request, None
    check_token(token, request, place=_place(bucket), options=_options(said, request))
    resumed = replace(request, write_id=token.write_id)
    write = Write(key=request.key, write_id=token.write_id, deadline=request.deadline)
    session = Session(write=write, target=token.upload_id, total=token.size, progress=None)
    try:
        made = await status(bucket, session)
    except StorageNotFoundError as error:
        if error.code != ErrorCode.UPLOAD_NOT_FOUND:
            raise
        return resumed, await _object(bucket, resumed)
    if made is not None:
        return resumed, bucket.info(made)
    return resumed, Begun(token.upload_id, session.at)


async def _object(bucket: Bucket, request: PutRequest) -> ObjectInfo | None:
    """The object, if it was made by exactly this write."""
    try:
        found = await head(bucket, request.key, ReadOptions(deadline=request.deadline))
    except StorageObjectNotFoundError:
        return None
    return found if found.write_id == request.write_id else None
