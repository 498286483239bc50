"""Reading more of an object that was looked at: of the very same version, or not at all.

Rules of this file: only a strong entity tag goes into a condition (RFC 9110 §13.1.1); where an object has
none, its version does instead, and where it has neither, what the response says is compared.
"""

from __future__ import annotations

from dataclasses import replace

from credstore.driver.contract import Driver
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader
from credstore.errors import ErrorCode, StorageIntegrityError
from credstore.model import strong_etag


def pinned(options: ReadOptions, info: ObjectInfo, *, versions: bool) -> ReadOptions | None:
    """Options that read the version `info` is of and no other; None where nothing names it exactly.

    Args:
        options: Of the read.
        info: Of the object.
        versions: Whether the store can keep versions, so that one may be asked for.
    """
    etag = strong_etag(info.etag)
    if etag is not None:
        return replace(options, if_match=etag)
    if options.version_id is not None:
        return options
    if versions and info.version_id is not None:
        return replace(options, version_id=info.version_id)
    return None


def is_same(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Whether two responses can be about one version of an object, by everything that they say.

    Replicas of one write differ in what each store says of its own: etag, time, version.
    """
    if one.served_by != other.served_by and one.write_id is not None:
        return _written(one) == _written(other)
    return _identity(one) == _identity(other)


def _written(info: ObjectInfo) -> tuple[object, ...]:
    return info.size, info.write_id, info.digest


def _identity(info: ObjectInfo) -> tuple[object, ...]:
    return info.etag, info.size, info.last_modified, info.version_id, info.write_id, info.digest


async def get_same(driver: Driver, key: str, options: ReadOptions, info: ObjectInfo) -> StoredReader:
    """`Driver.get` of the version `info` is of.

    Raises:
        StorageIntegrityError: It was replaced meanwhile, and nothing pins it (code "REPLACED").
        StorageError: As `Driver.get`.
    """
    exact = pinned(options, info, versions=driver.capabilities.versions)
    stored = await driver.get(key, exact or options)
    if exact is None and not is_same(info, stored.info):
        await stored.aclose()
        raise replaced()
    return stored


def replaced() -> StorageIntegrityError:
    """The error of a read that met another version on its way."""
    return StorageIntegrityError(
        "the object was replaced while it was read; nothing read so far should be used",
        code=ErrorCode.REPLACED,
        retryable=True,
    )
