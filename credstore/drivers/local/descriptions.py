"""What the driver says about objects, from what their files show and what is kept with them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from credstore.driver.values import CopyRequest, ObjectInfo, PutRequest, PutResult
from credstore.drivers.local.atomic import Token
from credstore.drivers.local.attributes import Attributes

LABEL = "local"
"""Name of the driver, and of whatever it served."""


def info_of(key: str, token: Token, etag: str | None, attributes: Attributes) -> ObjectInfo:
    """An object that was opened."""
    return ObjectInfo(
        key=key,
        size=token.size,
        etag=etag,
        last_modified=_moment(token.mtime),
        headers=attributes.headers,
        metadata=attributes.metadata,
        system=attributes.system,
        write_id=attributes.write_id,
        digest=None if attributes.digest is None else bytes.fromhex(attributes.digest),
        served_by=LABEL,
    )


def listed_info(key: str, token: Token, etag: str | None) -> ObjectInfo:
    """An object in a listing."""
    return ObjectInfo(
        key=key, size=token.size, etag=etag, last_modified=_moment(token.mtime), served_by=LABEL
    )


def result_of(request: PutRequest | CopyRequest, token: Token, digest: str) -> PutResult:
    """What a write stored; `digest` in hex."""
    key = request.key if isinstance(request, PutRequest) else request.destination
    return PutResult(
        key=key,
        size=token.size,
        etag=token.etag(request.write_id),
        digest=bytes.fromhex(digest),
        served_by=LABEL,
        replicas=(LABEL,),
    )


def _moment(nanoseconds: int) -> datetime | None:
    """A file's time; None beyond the years 1 to 9999, which file systems can keep and any program can set."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return None
