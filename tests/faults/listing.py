"""ListObjectsV2 and ListMultipartUploads of one bucket, strongly consistent."""

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice, takewhile
from urllib.parse import quote

from tests.faults.messages import Answer, Request, S3Error, element, xml
from tests.faults.objects import Stored, element_of
from tests.faults.uploads import Upload

MOST = 1000


def iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Fixed(dict[str, Stored]):
    """Objects of a bucket that never changes, in their order from the start: a page costs only what is on it."""

    def __init__(self, objects: Mapping[str, Stored]) -> None:
        self.names = sorted(objects, key=str.encode)
        super().__init__(objects)


def _names(objects: Mapping[str, Stored], prefix: str, after: str) -> Iterator[str]:
    """The keys that can be on a page; text sorts as its UTF-8 bytes do."""
    names = objects.names if isinstance(objects, Fixed) else sorted(objects, key=str.encode)
    start = max(bisect_left(names, prefix), bisect_right(names, after))
    return takewhile(lambda key: key.startswith(prefix), islice(names, start, None))


def _limit(request: Request, name: str) -> int:
    given = request.query.get(name, str(MOST))
    if not given.isdigit():
        raise S3Error(400, "InvalidArgument")
    return min(int(given), MOST)


def list_objects(objects: Mapping[str, Stored], request: Request) -> Answer:
    """One page, in the order of the keys' UTF-8 bytes."""
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = _limit(request, "max-keys")
    after = query.get("start-after", "")
    if "continuation-token" in query:
        try:
            after = base64.urlsafe_b64decode(query["continuation-token"]).decode()
        except ValueError:
            raise S3Error(400, "InvalidArgument") from None
    encoded = query.get("encoding-type") == "url"
    shown, last, truncated = _page(objects, prefix, delimiter, after, limit, encoded=encoded)
    inner = [
        element("Name", request.bucket),
        element("Prefix", _text(prefix, encoded=encoded)),
        element("KeyCount", len(shown)),
        element("MaxKeys", limit),
        element("IsTruncated", "true" if truncated else "false"),
    ]
    if encoded:
        inner.append(element("EncodingType", "url"))
    if truncated:
        inner.append(element("NextContinuationToken", base64.urlsafe_b64encode(last.encode()).decode()))
    return xml("ListBucketResult", "".join(inner + shown))


def _page(
    objects: Mapping[str, Stored], prefix: str, delimiter: str, after: str, limit: int, *, encoded: bool
) -> tuple[list[str], str, bool]:
    shown: list[str] = []
    last = ""
    group: str | None = None
    for key in _names(objects, prefix, after):
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key[: cut + len(delimiter)] if cut >= 0 else None
        if common is not None and common in {group, after if after.endswith(delimiter) else None}:
            continue
        if common is not None and after.startswith(common):
            continue
        if len(shown) == limit:
            return shown, last, limit > 0
        group = common
        if common is not None:
            shown.append(element_of("CommonPrefixes", Prefix=_text(common, encoded=encoded)))
            last = common
            continue
        stored = objects[key]
        shown.append(
            element_of(
                "Contents",
                Key=_text(key, encoded=encoded),
                LastModified=iso(stored.modified),
                ETag=stored.quoted,
                Size=len(stored.body),
                StorageClass=stored.attributes.get("x-amz-storage-class", "STANDARD"),
            )
        )
        last = key
    return shown, last, False


def _text(text: str, *, encoded: bool) -> str:
    return quote(text, safe="/-_.~*") if encoded else text


def list_uploads(uploads: Mapping[str, Upload], request: Request) -> Answer:
    query = request.query
    prefix, limit = query.get("prefix", ""), _limit(request, "max-uploads")
    after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    encoded = query.get("encoding-type") == "url"
    here = sorted(
        (each for each in uploads.values() if each.bucket == request.bucket and each.key.startswith(prefix)),
        key=lambda each: (each.key.encode(), each.upload_id),
    )
    if after[0]:
        here = [each for each in here if (each.key, each.upload_id) > after]
    page = here[:limit]
    inner = [element("Bucket", request.bucket), element("IsTruncated", str(len(here) > len(page)).lower())]
    if encoded:
        inner.append(element("EncodingType", "url"))
    if len(here) > len(page):
        inner += [
            element("NextKeyMarker", _text(page[-1].key, encoded=encoded)),
            element("NextUploadIdMarker", page[-1].upload_id),
        ]
    inner += [
        element_of(
            "Upload",
            Key=_text(each.key, encoded=encoded),
            UploadId=each.upload_id,
            Initiated=iso(each.initiated),
        )
        for each in page
    ]
    return xml("ListMultipartUploadsResult", "".join(inner))
