"""The XML documents of Azure Blob Storage, as values and back. Pure.

Rules of this file: a document is considered hostile until it is read (P20): at most `MAX_XML` bytes, no
DTD, no entities; a missing field is None or a typed error, never a KeyError.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from credstore.driver.header_text import read_etag
from credstore.drivers.azure.headers import decode_tag, encode_tag
from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageIntegrityError
from credstore.times import parse_time
from credstore.wire.azure.sas import DelegationKey, instant

MAX_XML = 32 * 1024 * 1024
"""Bytes of the largest response: 50,000 block ids, or 1,000 names of 1,024 characters, are far below."""
MAX_DEPTH = 16
"""Elements inside each other; Azure has at most 5."""
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One blob, or version of one, of a listing; time in UTC, size None if it is not a number.

    `is_deleted` if only blob soft delete keeps it.
    """

    name: str
    size: int | None
    etag: str | None
    last_modified: datetime | None
    tier: str | None
    version_id: str | None
    is_current: bool
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class ListReply:
    """One page of List Blobs.

    Attributes:
        entries: The blobs.
        prefixes: What the delimiter cuts off.
        marker: Of the next page, or None.
        unreadable: Of the names that cannot be decoded, what can be shown of them.
    """

    entries: Sequence[ListEntry]
    prefixes: Sequence[str]
    marker: str | None
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """A block: its id in base64, and bytes."""

    block_id: str
    size: int


def parse_xml(body: bytes, *names: str) -> ET.Element:
    """The root of a reply with one of these names.

    Raises:
        StorageIntegrityError: It is too large, has a DTD or entities, is not XML, or is another document.
    """
    if len(body) > MAX_XML:
        raise _unreadable(f"is larger than {MAX_XML} bytes")
    root = _tree(body.removeprefix(b"\xef\xbb\xbf"))
    if _local(root) not in names:
        raise _unreadable("is not what was asked for")
    return root


def _tree(body: bytes) -> ET.Element:
    """The root of a document, whose DTD is refused before anything in it is read."""
    builder = ET.TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise _unreadable("is nested too deeply")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise _unreadable("is not the XML that Azure speaks") from None
    return builder.close()


def _refuse(*_: object) -> None:
    raise _unreadable("is not the XML that Azure speaks")


def _unreadable(what: str) -> StorageIntegrityError:
    return StorageIntegrityError(
        f"the provider's response {what}; check the endpoint, and that no proxy responds in its place",
        code=ErrorCode.NOT_S3,
    )


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element | None, name: str) -> Iterator[ET.Element]:
    return (child for child in (() if element is None else element) if _local(child) == name)


def _child(element: ET.Element | None, name: str) -> ET.Element | None:
    return next(_children(element, name), None)


def _text(element: ET.Element | None, name: str) -> str | None:
    found = _child(element, name)
    return None if found is None else found.text or ""


def _needed(element: ET.Element, name: str) -> str:
    found = _text(element, name)
    if not found:
        raise _unreadable(f"has no {name}")
    return found


def parse_size(text: str | None) -> int | None:
    """A size in bytes, or None if it is not a plain number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - digits of 2**63


def parse_error(body: bytes) -> tuple[str | None, str]:
    """Azure's code and what its text says, of an `<Error>` document.

    Raises:
        StorageIntegrityError: It is not such a document.
    """
    root = parse_xml(body, "Error")
    code = _text(root, "Code")
    texts = (
        _text(root, name) or "" for name in ("AuthenticationErrorDetail", "Message", "QueryParameterName")
    )
    return code if code is not None and _CODE.fullmatch(code) else None, " ".join(texts)[:2000]


def parse_list(body: bytes) -> ListReply:
    """One page of List Blobs.

    Raises:
        StorageIntegrityError: It is not such a page.
    """
    root = parse_xml(body, "EnumerationResults")
    blobs = _child(root, "Blobs")
    if blobs is None:
        raise _unreadable("has no Blobs")
    unreadable: list[str] = []
    entries: list[ListEntry] = []
    for each in _children(blobs, "Blob"):
        name = _name(each, unreadable)
        if name is None:
            continue
        facts = _child(each, "Properties")
        size = parse_size(_text(facts, "Content-Length"))
        version_id = _text(each, "VersionId") or None
        deleted = _is(each, "Deleted")
        entries.append(
            ListEntry(
                name,
                size,
                read_etag(_text(facts, "Etag")),
                parse_time(_text(facts, "Last-Modified")),
                _text(facts, "AccessTier") or None,
                version_id,
                not deleted and (version_id is None or _is(each, "IsCurrentVersion")),
                deleted,
            )
        )
    names = (_name(each, unreadable) for each in _children(blobs, "BlobPrefix"))
    return ListReply(
        entries, [name for name in names if name is not None], _text(root, "NextMarker") or None, unreadable
    )


def _is(element: ET.Element, name: str) -> bool:
    return (_text(element, name) or "").lower() == "true"


def _name(element: ET.Element, unreadable: list[str]) -> str | None:
    """A name, or None with what can be shown of it in `unreadable`."""
    found = _child(element, "Name")
    text = "" if found is None else found.text or ""
    if found is not None and found.get("Encoded", "").lower() == "true":
        try:
            text = unquote_to_bytes(text).decode()
        except UnicodeDecodeError:
            unreadable.append(unquote_to_bytes(text).decode("utf-8", "backslashreplace"))
            return None
    if not text:
        unreadable.append("")
        return None
    return text


def parse_blocks(body: bytes) -> list[BlockInfo]:
    """The uncommitted blocks of Get Block List.

    Raises:
        StorageIntegrityError: It is not such a list.
    """
    root = parse_xml(body, "BlockList")
    found = _children(_child(root, "UncommittedBlocks"), "Block")
    return [BlockInfo(_needed(each, "Name"), parse_size(_text(each, "Size")) or 0) for each in found]


def format_blocks(block_ids: Sequence[str]) -> bytes:
    """The body of Put Block List: these blocks, of those that are not committed yet."""
    root = ET.Element("BlockList")
    for block_id in block_ids:
        ET.SubElement(root, "Uncommitted").text = block_id
    return _format(root)


def parse_tags(body: bytes) -> dict[str, str]:
    """The tags of Get Blob Tags.

    Raises:
        StorageIntegrityError: It is not such a document.
    """
    tag_set = _child(parse_xml(body, "Tags"), "TagSet")
    return {
        decode_tag(_needed(each, "Key")): decode_tag(_text(each, "Value") or "")
        for each in _children(tag_set, "Tag")
    }


def format_tags(tags: Mapping[str, str]) -> bytes:
    """The body of Set Blob Tags."""
    root = ET.Element("Tags")
    tag_set = ET.SubElement(root, "TagSet")
    for name, value in tags.items():
        tag = ET.SubElement(tag_set, "Tag")
        ET.SubElement(tag, "Key").text = encode_tag(name)
        ET.SubElement(tag, "Value").text = encode_tag(value)
    return _format(root)


def format_key_info(start: datetime, expiry: datetime) -> bytes:
    """The body of Get User Delegation Key."""
    root = ET.Element("KeyInfo")
    ET.SubElement(root, "Start").text = instant(start)
    ET.SubElement(root, "Expiry").text = instant(expiry)
    return _format(root)


def parse_delegation_key(body: bytes) -> DelegationKey:
    """The key of Get User Delegation Key.

    Raises:
        StorageIntegrityError: It is not such a document.
    """
    root = parse_xml(body, "UserDelegationKey")
    expiry = _needed(root, "SignedExpiry")
    ends = parse_time(expiry)
    if ends is None:
        raise _unreadable("has no end that is a time")
    return DelegationKey(
        oid=_needed(root, "SignedOid"),
        tid=_needed(root, "SignedTid"),
        start=_needed(root, "SignedStart"),
        expiry=expiry,
        service=_needed(root, "SignedService"),
        version=_needed(root, "SignedVersion"),
        value=Secret(_needed(root, "Value")),
        ends=ends,
    )


def _format(root: ET.Element) -> bytes:
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
