"""Generations of objects, where the bucket keeps those that are not current: listed, and removed for good.

Source: "Object Versioning", "Object Retention Lock" and "Object holds" of cloud.google.com/storage/docs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from credstore.driver.refusals import LIST_VERSIONS
from credstore.driver.values import DeleteOutcome, VersionPage
from credstore.driver.version_pages import DELETED, OldestFirst, Versions, newest_first
from credstore.drivers.gcs.bucket import Bucket, parsed
from credstore.drivers.gcs.capabilities import NAME
from credstore.drivers.gcs.deleting import delete_each
from credstore.drivers.gcs.requests import get_bucket, list_objects
from credstore.drivers.gcs.resources import Resource, listed_info, text, version_of
from credstore.drivers.gcs.responses import parse_json, parse_list
from credstore.errors import StorageAccessDeniedError, StorageError
from credstore.model import StorageVersion

_PAGE = 1000


async def keeps_versions(bucket: Bucket, *, deadline: float | None) -> bool:
    """Whether a deletion may leave versions; see `VersionedDriver.keeps_versions`.

    Versions from before versioning was switched off stay, so a bucket without it is looked through for one.
    """
    if not bucket.able.versions:
        return False
    try:
        reply = await bucket.call(get_bucket("versioning"), deadline=deadline)
    except StorageAccessDeniedError:
        return True  # Not everybody who may write objects may look at the bucket.
    versioning: Any = (await parsed(parse_json, reply.body)).get("versioning")
    if versioning == {"enabled": True}:
        bucket.versioned = True
        return True
    page = await _page(bucket, "", None, deadline)
    return page.marker is not None or any(not each.is_latest for each in page.entries)


async def list_versions(
    bucket: Bucket, prefix: str, cursor: str | None, *, exact: bool, limit: int, deadline: float | None
) -> VersionPage:
    """One page of versions; see `VersionedDriver.list_versions`.

    Cost: 1 request, and 1 for each further 1,000 versions of one key.
    """
    if not bucket.able.versions:
        raise LIST_VERSIONS.of(NAME)
    versions = Versions(
        page=lambda marker: _page(bucket, prefix, marker, deadline),
        age=_age,
        label=bucket.label,
        exact=prefix if exact else None,
    )
    return await newest_first(versions, cursor, limit)


def _age(version_id: str) -> tuple[int, str]:
    return (int(version_id) if version_id.isdecimal() else 0), ""


async def _page(bucket: Bucket, prefix: str, marker: str | None, deadline: float | None) -> OldestFirst:
    request = list_objects(prefix, marker, _PAGE, versions=True)
    page = await parsed(parse_list, (await bucket.call(request, deadline=deadline)).body)
    return OldestFirst([_version(bucket, each) for each in page.items], page.token)


def _version(bucket: Bucket, item: Resource) -> StorageVersion:
    info = listed_info(item, served_by=bucket.label)
    return StorageVersion(
        key=info.key,
        version_id=version_of(item) or "",
        is_latest=text(item.get("timeDeleted")) is None,
        size=info.size,
        last_modified=info.last_modified,
        etag=info.etag,
        storage_class=info.storage_class,
        served_by=bucket.label,
    )


async def delete_versions(
    bucket: Bucket, versions: Sequence[tuple[str, str]], *, deadline: float | None
) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
    """Remove versions in one request; see `VersionedDriver.delete_versions`."""
    if not bucket.able.versions:
        raise LIST_VERSIONS.of(NAME)
    outcomes: dict[tuple[str, str], DeleteOutcome | StorageError] = {
        each: DeleteOutcome(existed=None) for each in versions if each[1] == DELETED
    }
    named: dict[tuple[str, str], tuple[str, str | None]] = {
        each: each for each in versions if each[1] != DELETED
    }
    return outcomes | await delete_each(bucket, named, deadline)
