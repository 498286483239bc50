"""Where a bucket is, by its resource.

Source: JSON API, "Buckets", `location` and `locationType`.
"""

from __future__ import annotations

from credstore.driver.location import BucketLocation
from credstore.drivers.gcs.bucket import Bucket, parsed
from credstore.drivers.gcs.requests import get_bucket
from credstore.drivers.gcs.responses import parse_json


async def locate(bucket: Bucket, *, deadline: float | None) -> BucketLocation:
    """Cost: 1 request, for which one needs to be allowed to look at the bucket."""
    reply = await bucket.call(get_bucket("location,locationType"), deadline=deadline)
    resource = await parsed(parse_json, reply.body)
    return BucketLocation(region=_text(resource.get("location")), type=_text(resource.get("locationType")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
