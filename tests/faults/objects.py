"""S3's objects of one bucket: put, get, head, delete, copy, tags. No I/O; each call is one instant."""

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote

from tests.faults.documents import parse_keys, parse_tags
from tests.faults.messages import Answer, Request, S3Error, element, xml

LARGEST_PUT = 5 * 1024**3
_KEPT = {
    "content-type",
    "content-encoding",
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
}
_SSE_C = "x-amz-server-side-encryption-customer-"
_COPY_SSE_C = "x-amz-copy-source-server-side-encryption-customer-"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Stored:
    """One object as it is kept; `attributes` are the headers that come back with it."""

    body: bytes
    etag: str
    modified: float
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    customer_key: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[int, ...] = ()
    """Bytes of each part of an object that was uploaded in parts."""

    @property
    def quoted(self) -> str:
        return f'"{self.etag}"'


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def check_body(request: Request) -> dict[str, str]:
    """Compare the body with what the headers say of it; the checksums given, to be kept."""
    headers, body = request.headers, request.body
    claimed = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    if claimed.startswith("STREAMING-"):
        raise S3Error(501, "NotImplemented", "signed chunks are not taken here")
    if claimed not in {"UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
        raise S3Error(400, "XAmzContentSHA256Mismatch")
    if "content-md5" in headers:
        try:
            given = base64.b64decode(headers["content-md5"], validate=True)
        except binascii.Error:
            raise S3Error(400, "InvalidDigest") from None
        if len(given) != 16:
            raise S3Error(400, "InvalidDigest")
        if given != md5(body):
            raise S3Error(400, "BadDigest")
    actual = {
        "x-amz-checksum-sha256": lambda: hashlib.sha256(body).digest(),
        "x-amz-checksum-sha1": lambda: hashlib.sha1(body, usedforsecurity=False).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(body).to_bytes(4, "big"),
    }
    found = {name: headers[name] for name in actual if name in headers}
    for name, value in found.items():
        if base64.b64encode(actual[name]()).decode() != value:
            raise S3Error(400, "BadDigest")
    return found


def check_has_checksum(request: Request) -> None:
    """Refuse a body without a checksum, in AWS's words."""
    if any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in request.headers):
        return
    what = "Put Part" if request.operation == "UploadPart" else "Put Object"
    wanted = "Content-MD5 OR x-amz-checksum- HTTP header"
    raise S3Error(
        400, "InvalidRequest", f"{wanted} is required for {what} requests with Object Lock parameters"
    )


def customer_key(headers: Mapping[str, str], prefix: str = _SSE_C) -> str | None:
    """The MD5 of the customer's key that a request carries, or None."""
    if prefix + "key" not in headers:
        return None
    key = base64.b64decode(headers[prefix + "key"])
    told = headers.get(prefix + "key-md5", "")
    if headers.get(prefix + "algorithm") != "AES256" or len(key) != 32 or base64.b64decode(told) != md5(key):
        raise S3Error(400, "InvalidArgument")
    return told


def check_customer_key(stored: Stored, given: str | None) -> None:
    """Refuse whoever has not the key the object was stored with."""
    if stored.customer_key is None and given is not None:
        raise S3Error(400, "InvalidRequest")
    if stored.customer_key is not None and given is None:
        raise S3Error(400, "InvalidRequest")
    if stored.customer_key != given:
        raise S3Error(403, "AccessDenied")


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request that come back with the object."""
    meta = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    if sum(len(name) - 11 + len(value) for name, value in meta.items()) > 2048:
        raise S3Error(400, "MetadataTooLarge")
    found = {name: value for name, value in headers.items() if name in _KEPT}
    found.setdefault("content-type", "binary/octet-stream")
    for name in ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"):
        if name in headers:
            found[name] = headers[name]
    if headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        found["x-amz-storage-class"] = headers["x-amz-storage-class"]
    return found | meta


def check_write(there: Stored | None, headers: Mapping[str, str]) -> None:
    """The conditions of a write against what is there."""
    if "if-none-match" in headers:
        if headers["if-none-match"] != "*":
            raise S3Error(501, "NotImplemented")
        if there is not None:
            raise S3Error(412, "PreconditionFailed", Condition="If-None-Match")
    if "if-match" in headers:
        if there is None:
            raise S3Error(404, "NoSuchKey")
        if headers["if-match"].strip('"') not in {there.etag, "*"}:
            raise S3Error(412, "PreconditionFailed", Condition="If-Match")


def check_key(key: str) -> None:
    if len(key.encode()) > 1024:
        raise S3Error(400, "KeyTooLongError")


def put_object(objects: dict[str, Stored], request: Request, now: float) -> Answer:
    check_key(request.key)
    checksums = check_body(request)
    headers = request.headers
    key = customer_key(headers)
    check_write(objects.get(request.key), headers)
    tags = dict(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))
    attributes = attributes_of(headers)
    etag = _etag(request.body, attributes, key)
    stored = Stored(request.body, etag, now, attributes, tags, key, checksums)
    objects[request.key] = stored
    told = encryption_told(stored.attributes, key)
    return Answer(headers={"etag": stored.quoted, **checksums, **told})


def is_plain(attributes: Mapping[str, str], key: str | None) -> bool:
    """Whether an entity tag is the MD5 of the content: not under a key of a customer or of a key service."""
    return key is None and attributes.get("x-amz-server-side-encryption", "AES256") == "AES256"


def _etag(body: bytes, attributes: Mapping[str, str], key: str | None) -> str:
    return md5(body if is_plain(attributes, key) else secrets.token_bytes(16)).hex()


def encryption_told(attributes: Mapping[str, str], customer: str | None) -> dict[str, str]:
    """What an answer about an object says of its encryption at rest."""
    if customer is not None:
        return {_SSE_C + "algorithm": "AES256", _SSE_C + "key-md5": customer}
    return {
        name: value for name, value in attributes.items() if name.startswith("x-amz-server-side-encryption")
    }


def get_object(objects: dict[str, Stored], request: Request) -> Answer:
    """GetObject and HeadObject; who sends the answer leaves the body of a HEAD out."""
    stored = objects.get(request.key)
    if stored is None:
        raise S3Error(404, "NoSuchKey")
    headers = request.headers
    check_customer_key(stored, customer_key(headers))
    if "if-match" in headers and headers["if-match"].strip('"') not in {stored.etag, "*"}:
        raise S3Error(412, "PreconditionFailed", Condition="If-Match")
    shown = {
        **stored.attributes,
        **encryption_told(stored.attributes, stored.customer_key),
        "etag": stored.quoted,
        "last-modified": formatdate(stored.modified, usegmt=True),
        "accept-ranges": "bytes",
    }
    if headers.get("if-none-match", "").strip('"') == stored.etag:
        return Answer(304, b"", {"etag": stored.quoted, "content-length": "0"})
    if stored.tags:
        shown["x-amz-tagging-count"] = str(len(stored.tags))
    for name, value in request.query.items():
        if name.startswith("response-"):
            shown[name.removeprefix("response-")] = value
    span = _span(headers.get("range"), len(stored.body))
    if "partNumber" in request.query:
        span = _part(stored, int(request.query["partNumber"]))
        shown |= {"x-amz-mp-parts-count": str(len(stored.parts))} if stored.parts else {}
    if span is None:
        if headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            shown.update(stored.checksums)  # A range has no checksum.
        return Answer(200, stored.body, shown)
    start, end = span
    shown["content-range"] = f"bytes {start}-{end - 1}/{len(stored.body)}"
    return Answer(206, stored.body[start:end], shown)


def _part(stored: Stored, number: int) -> tuple[int, int]:
    """Where a part of an object is, that was uploaded in parts; an object that was not is one."""
    sizes = stored.parts or (len(stored.body),)
    if not 1 <= number <= len(sizes):
        raise S3Error(416, "InvalidPartNumber")
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1]


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    found = _RANGE.fullmatch(header or "")
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or start >= end:
        raise S3Error(416, "InvalidRange", ActualObjectSize=str(size))
    return start, end


def delete_object(objects: dict[str, Stored], request: Request) -> Answer:
    if "if-match" in request.headers:
        check_write(objects.get(request.key), {"if-match": request.headers["if-match"]})
    objects.pop(request.key, None)
    return Answer(204)


def delete_objects(objects: dict[str, Stored], request: Request) -> Answer:
    check_body(request)
    if not {"content-md5", "x-amz-checksum-sha256", "x-amz-checksum-crc32"} & request.headers.keys():
        raise S3Error(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
    keys, quiet = parse_keys(request.body)
    if len(keys) > 1000:
        raise S3Error(400, "MalformedXML")
    for key in keys:
        objects.pop(key, None)
    shown = "" if quiet else "".join(element_of("Deleted", Key=key) for key in keys)
    return xml("DeleteResult", shown)


def element_of(name: str, **fields: object) -> str:
    """An element of elements."""
    return f"<{name}>{''.join(element(inner, text) for inner, text in fields.items())}</{name}>"


def copy_source(buckets: Mapping[str, dict[str, Stored]], request: Request) -> Stored:
    """The object a copy is of, if its conditions hold."""
    headers = request.headers
    bucket, _, key = unquote(headers["x-amz-copy-source"]).removeprefix("/").partition("/")
    source = buckets.get(bucket, {}).get(key)
    if source is None:
        raise S3Error(404, "NoSuchKey")
    if headers.get("x-amz-copy-source-if-match", source.etag).strip('"') != source.etag:
        raise S3Error(412, "PreconditionFailed", Condition="x-amz-copy-source-if-match")
    check_customer_key(source, customer_key(headers, _COPY_SSE_C))
    return source


def copy_object(buckets: Mapping[str, dict[str, Stored]], request: Request, now: float) -> Answer:
    headers, objects = request.headers, buckets[request.bucket]
    check_key(request.key)
    source = copy_source(buckets, request)
    key = customer_key(headers)
    check_write(objects.get(request.key), headers)
    replaced = headers.get("x-amz-metadata-directive", "COPY") == "REPLACE"
    if source is objects.get(request.key) and not replaced and key == source.customer_key:
        raise S3Error(400, "InvalidRequest", "This copy request is illegal")
    tags = dict(source.tags)
    if headers.get("x-amz-tagging-directive", "COPY") == "REPLACE":
        tags = dict(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))
    attributes = attributes_of(headers) if replaced else source.attributes
    stored = replace(
        source,
        etag=_etag(source.body, attributes, key),
        modified=now,
        attributes=attributes,
        tags=tags,
        customer_key=key,
        parts=(),
    )
    checksum = ""
    if headers.get("x-amz-checksum-algorithm") == "SHA256":
        value = base64.b64encode(hashlib.sha256(stored.body).digest()).decode()
        stored = replace(stored, checksums={"x-amz-checksum-sha256": value})
        checksum = element("ChecksumSHA256", value)
    objects[request.key] = stored
    answer = xml("CopyObjectResult", element("ETag", stored.quoted) + checksum)
    told = encryption_told(stored.attributes, key)
    return replace(answer, headers={**answer.headers, **told})


def tagging(objects: dict[str, Stored], request: Request) -> Answer:
    stored = objects.get(request.key)
    if stored is None:
        raise S3Error(404, "NoSuchKey")
    if request.method == "GET":
        shown = "".join(element_of("Tag", Key=name, Value=value) for name, value in stored.tags.items())
        return xml("Tagging", f"<TagSet>{shown}</TagSet>")
    tags = {} if request.method == "DELETE" else parse_tags(request.body)
    objects[request.key] = replace(stored, tags=tags)
    return Answer(204 if request.method == "DELETE" else 200)
