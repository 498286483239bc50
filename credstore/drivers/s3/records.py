"""An S3 document as the fields that are asked for, read in one pass by expat. Pure.

Rules of this file: a document is considered hostile until it is read (P20, L18): at most `MAX_XML` bytes, no
DTD and so no entities of its own, a bounded depth and number of records; only what is asked for is kept.
Names may have characters that XML has not, and many servers send them anyway: one such name must not end a
listing, so they are read in a second pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from xml.parsers import expat

from credstore.errors import ErrorCode, StorageIntegrityError

MAX_XML = 16 * 1024 * 1024
"""Bytes of the largest response; 1,000 keys of 1,024 encoded bytes are under 5 MiB."""
MAX_DEPTH = 16
"""Elements inside each other; S3 has at most 6."""
MAX_RECORDS = 20_000
"""Records of one document; S3 sends 1,000, some servers more than were asked for."""
_BUFFER = 64 * 1024
"""Bytes of text that expat hands over at once; longer texts come in several pieces."""
_ERRORS = frozenset({"error", "errorresponse"})
_REFERENCE = r"&#(?:x(?P<hex>[0-9A-Fa-f]{1,8})|(?P<decimal>[0-9]{1,8}));"
_ILLEGAL = "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
"""Characters that no document has (XML 1.0 section 2.2); surrogates stand for bytes that are not UTF-8."""
_ODD = re.compile(f"{_REFERENCE}|{_ILLEGAL}")
_IS_ILLEGAL = re.compile(_ILLEGAL)
_MAX_ODD = 100_000
"""References and illegal characters of one document; each grows by a few bytes before it is read."""
_LAST = 0x10FFFF
_PRIVATE = range(0xE000, 0xF900)
"""Characters that mean nothing in Unicode."""

Fields: TypeAlias = dict[str, str]
"""Texts by local name; of several elements with one name, the first."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What to keep of a document.

    Attributes:
        fields: Names of the root's children whose text is kept.
        records: Names of the children that have fields of their own; of the grandchildren if `nested`.
        parts: Names of these fields.
        nested: Whether the records are one level further down, as tags are.
        needs: Names of children, of which the root has at least one; none where it may have none.
    """

    fields: frozenset[str] = frozenset()
    records: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    nested: bool = False
    needs: tuple[str, ...] = ()


@dataclass(slots=True)
class Document:
    """What a document says.

    Attributes:
        name: Of the root, in lower case: servers differ in it (moto and rclone do), not in the fields.
        fields: Of the root.
        records: Each with its name, in their order. A field that a record has twice is a further record,
            with the name `repeated`.
        odd: Whether texts have characters that XML has not; surrogates stand for bytes that are not UTF-8.
    """

    name: str = ""
    odd: bool = False
    fields: Fields = field(default_factory=Fields)
    records: list[tuple[str, Fields]] = field(default_factory=list[tuple[str, Fields]])

    @property
    def is_error(self) -> bool:
        """Whether it is called as S3's errors are."""
        return self.name in _ERRORS

    def all(self, name: str) -> list[Fields]:
        """The records with a name."""
        return [fields for each, fields in self.records if each == name]

    def needed(self, name: str) -> str:
        """A field of the root.

        Raises:
            StorageIntegrityError: It is missing or empty.
        """
        return needed(self.fields, name)


def needed(fields: Fields, name: str) -> str:
    """A field that a document has to have.

    Raises:
        StorageIntegrityError: It is missing or empty.
    """
    found = fields.get(name)
    if not found:
        raise unreadable(f"has no {name}")
    return found


def repeated(name: str) -> str:
    """The name of what a record called `name` has twice; no element can have it."""
    return f"{name} again"


def unreadable(what: str) -> StorageIntegrityError:
    """The error for a document that cannot be used."""
    return StorageIntegrityError(
        f"the provider's response {what}; check that the endpoint speaks S3 and that no proxy responds in "
        f"its place",
        code=ErrorCode.NOT_S3,
    )


def read(body: bytes, shape: Shape) -> Document:
    """What is asked for of a document.

    Args:
        body: As received; leading blanks are S3's way of keeping a slow answer alive (N15).
        shape: What to keep.

    Raises:
        StorageIntegrityError: It is too large or too deep, has a DTD or too many records, is not XML, or is a
            different document.
    """
    if len(body) > MAX_XML:
        raise unreadable(f"is larger than {MAX_XML} bytes")
    start = body.lstrip()
    try:
        document, names = _read(start, shape)
    except StorageIntegrityError:
        if (found := _without_odd(start)) is None:
            raise
        mark, better = found
        document, names = _read(better, shape)
        _restore(document, mark)
    if document.name == "html" or (document.is_error and "Code" not in shape.needs):
        raise unreadable("is not what was asked for")
    if shape.needs and names.isdisjoint(shape.needs):
        raise unreadable(f"has no {' or '.join(shape.needs)}")
    return document


def _without_odd(body: bytes) -> tuple[str, bytes] | None:
    """A document with its illegal characters written as numbers between marks, and the mark.

    None if it has none, or is in another encoding or has literal sections, where such are text.
    """
    text = body.decode("utf-8", "surrogateescape")
    if "<![CDATA[" in text or not text.startswith("<") or "\x00<" in text:
        return None
    mark = next((chr(each) for each in _PRIVATE if chr(each) not in text), None)
    if mark is None:
        return None

    def written(found: re.Match[str]) -> str:
        if found["hex"] is None and found["decimal"] is None:
            number = ord(found[0])
        else:
            number = int(found["hex"], 16) if found["hex"] else int(found["decimal"])
            if number > _LAST or not _IS_ILLEGAL.fullmatch(chr(number)):
                return found[0]
        return f"{mark}{number:x}{mark}"

    better, count = _ODD.subn(written, text, _MAX_ODD)
    return None if better == text or count == _MAX_ODD else (mark, better.encode())


def _restore(document: Document, mark: str) -> None:
    """Put the characters that `_without_odd` took out back into the texts."""
    pattern = re.compile(f"{mark}([0-9a-f]+){mark}")
    for fields in (document.fields, *(fields for _, fields in document.records)):
        for name, text in fields.items():
            if mark in text:
                fields[name] = pattern.sub(lambda found: chr(int(found[1], 16)), text)
    document.odd = True


def _read(body: bytes, shape: Shape) -> tuple[Document, set[str]]:
    """The document, and which of the names of interest its root's children have.

    The handlers run some 17 times for each object of a listing, so they hold what they need in cells, and
    text is collected by a list's own method.
    """
    found = Document()
    records, fields = found.records, found.fields
    texts: list[str] = []
    clear = texts.clear
    wanted, parts, needs = shape.fields, shape.parts, frozenset(shape.needs)
    level = 3 if shape.nested else 2
    inside = level + 1
    kept = shape.records | {repeated(name) for name in shape.records}
    names: set[str] = set()
    row: Fields = {}
    name_of_row, depth = "", 0

    def add(name: str, of: Fields) -> None:
        if name not in kept:
            return
        if len(records) >= MAX_RECORDS:
            raise unreadable(f"has more than {MAX_RECORDS} entries")
        records.append((name, of))

    def start(tag: str, _: Sequence[str]) -> None:
        nonlocal depth
        depth += 1
        clear()
        if depth != inside:
            start_other(tag)

    def start_other(tag: str) -> None:
        nonlocal row, name_of_row
        if depth == level:
            name_of_row, row = _local(tag), {}
            add(name_of_row, row)
        elif depth == 1:
            found.name = _local(tag).lower()
        elif depth > MAX_DEPTH:
            raise unreadable("is nested too deeply")

    def end(tag: str) -> None:
        nonlocal depth
        if depth == inside and tag in parts and tag not in row:
            row[tag] = "".join(texts)
        else:
            end_other(_local(tag))
        depth -= 1

    def end_other(tag: str) -> None:
        if depth == inside and tag in row:
            add(repeated(name_of_row), {tag: "".join(texts)})
        elif depth == inside and tag in parts:
            row[tag] = "".join(texts)
        elif depth == 2:  # noqa: PLR2004 - a child of the root
            if tag in wanted and tag not in fields:
                fields[tag] = "".join(texts)
            if tag in needs:
                names.add(tag)

    _parse(body, start, end, texts.append)
    return found, names


def _parse(
    body: bytes,
    start: Callable[[str, Sequence[str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    """Call the handlers for what is in the document, but refuse a DTD before anything in it is read."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = _BUFFER
    parser.ordered_attributes = True  # As a list, which costs less than the mapping; they are not looked at.
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise unreadable("is not the XML that S3 speaks") from None


def _refuse(*_: object) -> None:
    raise unreadable("is not the XML that S3 speaks")


def _local(tag: str) -> str:
    """A name without its prefix; what namespace it stands for does not matter."""
    return tag.rpartition(":")[2] if ":" in tag else tag
