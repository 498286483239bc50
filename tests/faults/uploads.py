"""S3's multipart uploads: begun, filled with parts, completed or aborted."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from tests.faults.documents import parse_parts
from tests.faults.messages import Answer, Request, S3Error, element, xml
from tests.faults.objects import (
    Stored,
    attributes_of,
    check_body,
    check_key,
    check_write,
    copy_source,
    customer_key,
    element_of,
    encryption_told,
    is_plain,
    md5,
)

_SPAN = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Upload:
    """One upload that has not ended."""

    bucket: str
    key: str
    upload_id: str
    initiated: float
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    customer_key: str | None
    digested: bool = False
    """Each part has a SHA-256, as the real S3 demands it then of the parts and of the completion."""
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, str]:
        """What the answers say of its encryption at rest."""
        return encryption_told(self.attributes, self.customer_key)

    def tag(self, data: bytes) -> str:
        """Entity tag of a part; see `is_plain`."""
        plain = is_plain(self.attributes, self.customer_key)
        return md5(data if plain else data + self.upload_id.encode()).hex()


class Uploads:
    """All uploads of one store; `least` is the smallest part that may not be the last."""

    def __init__(self, least: int) -> None:
        self.open: dict[str, Upload] = {}
        self._least = least
        self._begun = 0

    def begin(self, request: Request, now: float) -> Answer:
        check_key(request.key)
        self._begun += 1
        upload = Upload(
            request.bucket,
            request.key,
            f"upload-{self._begun}",
            now,
            attributes_of(request.headers),
            dict(parse_qsl(request.headers.get("x-amz-tagging", ""), keep_blank_values=True)),
            customer_key(request.headers),
            request.headers.get("x-amz-checksum-algorithm") == "SHA256",
        )
        self.open[upload.upload_id] = upload
        inner = element("Bucket", request.bucket) + element("Key", request.key)
        answer = xml("InitiateMultipartUploadResult", inner + element("UploadId", upload.upload_id))
        return replace(answer, headers={**answer.headers, **upload.told})

    def _of(self, request: Request) -> Upload:
        upload = self.open.get(request.query["uploadId"])
        if upload is None or (upload.bucket, upload.key) != (request.bucket, request.key):
            raise S3Error(404, "NoSuchUpload")
        return upload

    def _number(self, request: Request) -> int:
        number = request.query.get("partNumber", "")
        if not number.isdigit() or not 1 <= int(number) <= 10_000:
            raise S3Error(400, "InvalidArgument")
        return int(number)

    def part(self, request: Request) -> Answer:
        upload, number = self._of(request), self._number(request)
        checksums = check_body(request)
        if upload.digested and "x-amz-checksum-sha256" not in checksums:
            raise S3Error(400, "InvalidRequest", "Checksum Type mismatch occurred, expected sha256")
        if customer_key(request.headers) != upload.customer_key:
            raise S3Error(400, "InvalidRequest")
        upload.parts[number] = request.body
        tag = upload.tag(request.body)
        return Answer(headers={"etag": f'"{tag}"', **checksums, **upload.told})

    def part_copy(self, buckets: Mapping[str, dict[str, Stored]], request: Request) -> Answer:
        upload, number = self._of(request), self._number(request)
        source = copy_source(buckets, request)
        data = source.body
        if "x-amz-copy-source-range" in request.headers:
            found = _SPAN.fullmatch(request.headers["x-amz-copy-source-range"])
            if found is None or not int(found[1]) <= int(found[2]) < len(data):
                raise S3Error(416, "InvalidRange")
            data = data[int(found[1]) : int(found[2]) + 1]
        upload.parts[number] = data
        answer = xml("CopyPartResult", element("ETag", f'"{upload.tag(data)}"'))
        return replace(answer, headers={**answer.headers, **upload.told})

    def complete(self, objects: dict[str, Stored], request: Request, now: float) -> Answer:
        upload = self._of(request)
        check_body(request)
        named = parse_parts(request.body)
        numbers = [number for number, *_ in named]
        if numbers != sorted(set(numbers)):
            raise S3Error(400, "InvalidPartOrder")
        digests = b""
        for number, etag, digest in named:
            if number not in upload.parts or upload.tag(upload.parts[number]) != etag:
                raise S3Error(400, "InvalidPart")
            if upload.digested:
                if digest is None:
                    raise S3Error(400, "InvalidRequest", "The upload was created using a sha256 checksum.")
                computed = hashlib.sha256(upload.parts[number]).digest()
                if digest != base64.b64encode(computed).decode():
                    raise S3Error(400, "InvalidPart")
                digests += computed
        if any(len(upload.parts[number]) < self._least for number in numbers[:-1]):
            raise S3Error(400, "EntityTooSmall")
        check_write(objects.get(upload.key), request.headers)
        etag = md5(b"".join(bytes.fromhex(etag) for _, etag, _ in named)).hex() + f"-{len(named)}"
        checksums = {}
        if digests:
            composite = base64.b64encode(hashlib.sha256(digests).digest()).decode()
            checksums["x-amz-checksum-sha256"] = f"{composite}-{len(named)}"
        stored = Stored(
            b"".join(upload.parts[number] for number in numbers),
            etag,
            now,
            upload.attributes,
            upload.tags,
            upload.customer_key,
            checksums,
            parts=tuple(len(upload.parts[number]) for number in numbers),
        )
        objects[upload.key] = stored
        del self.open[upload.upload_id]
        inner = element("Bucket", upload.bucket) + element("Key", upload.key)
        inner += element("ETag", stored.quoted)
        for composite in checksums.values():
            inner += element("ChecksumSHA256", composite) + element("ChecksumType", "COMPOSITE")
        answer = xml("CompleteMultipartUploadResult", inner)
        told = {} if upload.customer_key is not None else upload.told  # S3 has no word for SSE-C here.
        return replace(answer, headers={**answer.headers, **told})

    def abort(self, request: Request) -> Answer:
        del self.open[self._of(request).upload_id]
        return Answer(204)

    def list_parts(self, request: Request) -> Answer:
        upload = self._of(request)
        parts = "".join(
            element_of("Part", PartNumber=number, ETag=f'"{upload.tag(data)}"', Size=len(data))
            for number, data in sorted(upload.parts.items())
        )
        inner = element("Key", upload.key) + element("UploadId", upload.upload_id)
        return xml("ListPartsResult", inner + element("IsTruncated", "false") + parts)
