"""The requests of a multipart upload. Pure; the rules of `requests.py` apply here too."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from credstore.driver.refusals import IN_PARTS
from credstore.driver.values import CopyRequest, Precondition
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.headers import condition_headers, customer_headers, format_sha256
from credstore.drivers.s3.requests import (
    XML_NAMESPACE,
    S3Request,
    copied_encryption,
    copy_source,
    format_xml,
)
from credstore.encryption import ServerEncryption
from credstore.wire.transport import StreamBody

NO_DIGESTS: Mapping[int, bytes] = MappingProxyType({})
"""Of an upload without checksums."""


def create_upload(key: str, headers: Mapping[str, str]) -> S3Request:
    """CreateMultipartUpload."""
    return S3Request(
        operation="CreateMultipartUpload",
        method="POST",
        key=key,
        query=(("uploads", ""),),
        headers=headers,
        mutation=True,
    )


def _part_query(upload_id: str, number: int) -> tuple[tuple[str, str], ...]:
    return (("partNumber", str(number)), ("uploadId", upload_id))


def upload_part(
    key: str,
    upload_id: str,
    number: int,
    body: StreamBody,
    *,
    sha256: str,
    headers: Mapping[str, str],
    checked: bool,
) -> S3Request:
    """UploadPart; `headers` carry a customer key and a checksum, and that of a locked object is `checked`."""
    return S3Request(
        operation="UploadPart",
        method="PUT",
        key=key,
        query=_part_query(upload_id, number),
        headers=headers,
        body=body,
        body_sha256=sha256,
        mutation=True,
        checked=checked,
    )


def upload_part_copy(
    bucket: str,
    request: CopyRequest,
    dialect: S3Dialect,
    *,
    upload_id: str,
    number: int,
    span: tuple[int, int],
) -> S3Request:
    """UploadPartCopy of the source's bytes from `span[0]` up to, but not including, `span[1]`."""
    return S3Request(
        operation="UploadPartCopy",
        method="PUT",
        key=request.destination,
        query=_part_query(upload_id, number),
        headers={
            **copy_source(bucket, request.source, request.source_customer_key, dialect),
            "x-amz-copy-source-range": f"bytes={span[0]}-{span[1] - 1}",
            **customer_headers(copied_encryption(request, dialect), dialect),
        },
        mutation=True,
    )


def completion_headers(
    precondition: Precondition, encryption: ServerEncryption | None, dialect: S3Dialect
) -> dict[str, str]:
    """What CompleteMultipartUpload has to carry besides the parts.

    Raises:
        StorageUnsupportedError: The cloud honours the condition only on a single put.
    """
    headers = condition_headers(precondition, dialect) | customer_headers(encryption, dialect)
    if (precondition.mode == "create" and not dialect.create_by_multipart) or (
        precondition.mode == "replace" and not dialect.replace_by_multipart
    ):
        raise IN_PARTS.of(dialect.name)
    return headers


def complete_upload(
    key: str,
    upload_id: str,
    etags: Sequence[str],
    headers: Mapping[str, str],
    digests: Mapping[int, bytes] = NO_DIGESTS,
) -> S3Request:
    """CompleteMultipartUpload with the parts 1, 2, ... whose entity tags are given without quotes.

    Args:
        key: Of the object.
        upload_id: Of the upload.
        etags: Of the parts.
        headers: Of the request.
        digests: SHA-256 by number, of an upload that was started with that checksum.
    """
    root = ET.Element("CompleteMultipartUpload", {"xmlns": XML_NAMESPACE})
    for number, etag in enumerate(etags, 1):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = f'"{etag}"'
        if number in digests:
            ET.SubElement(part, "ChecksumSHA256").text = format_sha256(digests[number])
    return S3Request(
        operation="CompleteMultipartUpload",
        method="POST",
        key=key,
        query=(("uploadId", upload_id),),
        headers={"content-type": "application/xml", **headers},
        body=format_xml(root),
        mutation=True,
    )


def list_parts(key: str, upload_id: str, after: int) -> S3Request:
    """ListParts, for those numbered above `after`."""
    query = [("uploadId", upload_id)]
    if after:
        query.append(("part-number-marker", str(after)))
    return S3Request(operation="ListParts", method="GET", key=key, query=tuple(query))


def abort_upload(key: str, upload_id: str) -> S3Request:
    """AbortMultipartUpload."""
    return S3Request(
        operation="AbortMultipartUpload",
        method="DELETE",
        key=key,
        query=(("uploadId", upload_id),),
        mutation=True,
    )


def list_uploads(prefix: str, markers: tuple[str, str] | None, dialect: S3Dialect) -> S3Request:
    """ListMultipartUploads after the (key, upload id) of `markers`."""
    query = [("uploads", "")]
    if dialect.url_encoded_list:
        query.append(("encoding-type", "url"))
    if prefix:
        query.append(("prefix", prefix))
    if markers is not None:
        query += [("key-marker", markers[0]), ("upload-id-marker", markers[1])]
    return S3Request(operation="ListMultipartUploads", method="GET", query=tuple(query))
