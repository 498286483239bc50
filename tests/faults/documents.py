"""The XML that clients send, read with the parser that trusts nothing."""

from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from tests.faults.messages import S3Error


def _root(body: bytes, name: str) -> Element:
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError):
        raise S3Error(400, "MalformedXML") from None
    if root.tag.rpartition("}")[2] != name:
        raise S3Error(400, "MalformedXML")
    return root


def _texts(root: Element, name: str) -> list[str]:
    return [each.text or "" for each in root.iter() if each.tag.rpartition("}")[2] == name]


def parse_keys(body: bytes) -> tuple[list[str], bool]:
    """Keys of DeleteObjects, and whether only failures are to be told."""
    root = _root(body, "Delete")
    return _texts(root, "Key"), _texts(root, "Quiet") == ["true"]


def parse_tags(body: bytes) -> dict[str, str]:
    root = _root(body, "Tagging")
    return dict(zip(_texts(root, "Key"), _texts(root, "Value"), strict=True))


def parse_parts(body: bytes) -> list[tuple[int, str, str | None]]:
    """Number, entity tag and SHA-256 in base64, if given, of each part of CompleteMultipartUpload."""
    root = _root(body, "CompleteMultipartUpload")
    try:
        numbers = [int(text) for text in _texts(root, "PartNumber")]
    except ValueError:
        raise S3Error(400, "MalformedXML") from None
    etags = [text.strip('"') for text in _texts(root, "ETag")]
    if not numbers or len(numbers) != len(etags):
        raise S3Error(400, "MalformedXML")
    digests = _texts(root, "ChecksumSHA256") or [None] * len(numbers)
    if len(digests) != len(numbers):
        raise S3Error(400, "InvalidRequest", "The complete request must include the checksum for each part.")
    return list(zip(numbers, etags, digests, strict=True))
