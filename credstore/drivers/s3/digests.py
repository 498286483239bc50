"""The SHA-256 that the store itself computed over all bytes of an object, as it says afterwards.

Rules of this file: it counts only for the very object that was looked at; whoever may not ask for it, or asks
a server that does not know the question, is not made to ask again. One that is derived from the digests of
parts counts for none.

Source: S3 API GetObjectAttributes; "Checking object integrity in Amazon S3": of a copy that CopyObject made,
the checksum that was asked for is of the full object.
"""

from __future__ import annotations

from credstore.driver.values import ObjectInfo, ReadOptions
from credstore.drivers.s3.bucket import Bucket, parsed
from credstore.drivers.s3.proving import pinned_version
from credstore.drivers.s3.requests import get_object_attributes
from credstore.drivers.s3.xml import parse_attributes
from credstore.errors import (
    StorageAccessDeniedError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.model import strong_etag

_UNANSWERED = (
    StorageAccessDeniedError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)


async def stored_digest(bucket: Bucket, info: ObjectInfo, options: ReadOptions) -> bytes | None:
    """The digest of an object; see `ReportsDigests.stored_digest`.

    Cost: 1 request, none where the row does not grant it (`Capabilities.copy_digests`).
    """
    bucket.check_usable(options.deadline)
    etag = strong_etag(info.etag)
    if not bucket.reports_digests or etag is None:
        return None
    of_version = ReadOptions(
        version_id=pinned_version(bucket, info),
        customer_key=options.customer_key,
        deadline=options.deadline,
    )
    request = get_object_attributes(info.key, of_version, bucket.dialect)
    try:
        reply = await bucket.call(request, deadline=options.deadline)
        found = await parsed(parse_attributes, reply.body)
    except _UNANSWERED:
        bucket.reports_digests = False
        return None
    same = strong_etag(found.etag) == etag and found.size in {None, info.size}
    return found.digest if same else None
