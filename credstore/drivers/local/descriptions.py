"""What the driver says about its store and its objects, from settings, files and what is kept with them."""

from __future__ import annotations

from datetime import UTC, datetime

from credstore.config.local import LocalConfig
from credstore.config.reports import said_of
from credstore.driver.retention import NOT_RETAINED
from credstore.driver.signed_links import METHODS
from credstore.driver.stated import MAY_LACK, restated
from credstore.driver.values import Capabilities, CopyRequest, ObjectInfo, PutRequest, PutResult
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


def attributes_of(request: PutRequest, digest: str) -> Attributes:
    """What is kept about what is written, whose SHA-256 is `digest` in hex."""
    return Attributes(
        key=request.key,
        write_id=request.write_id,
        digest=digest,
        headers=request.headers,
        metadata=dict(request.metadata),
        system=dict(request.system),
        tags=dict(request.tags),
        retention=request.retention or NOT_RETAINED,
    )


def copied(request: CopyRequest, source: Attributes, digest: str) -> Attributes:
    """What is kept about a copy, whose SHA-256 is `digest` in hex."""
    return Attributes(
        key=request.destination,
        write_id=request.write_id,
        digest=digest,
        headers=source.headers,
        metadata=source.metadata,
        system=source.system if request.system is None else dict(request.system),
        tags=source.tags,
        retention=request.retention or NOT_RETAINED,
    )


def capabilities_of(config: LocalConfig) -> Capabilities:
    """What a store with these settings can do.

    Raises:
        StorageConfigurationError: `capabilities` has an unknown name, or names a report that does not count.
    """
    able = Capabilities(
        conditional_create=True,
        conditional_replace=True,
        conditional_delete=True,
        delete_tells_existence=True,
        durable=config.fsync,
        multipart=False,
        presign=METHODS,
        response_overrides=True,
        links_decode=True,
        tags=True,
        versions=False,
        retention_modes=frozenset({"governance", "compliance"}),
        legal_holds=True,
        storage_classes=frozenset(),
        sse_s3=False,
        sse_s3_implied=False,
        sse_kms=False,
        sse_c=False,
    )
    return restated(able, said_of(config), MAY_LACK, most=able)
