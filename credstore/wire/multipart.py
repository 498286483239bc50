"""Requests and responses inside of others: `multipart/mixed` with one `application/http` for each. Pure.

Rules of this file: a response is matched with its request by the number in `Content-ID`; silence about one
does not count as success.

Source: RFC 2046 section 5.1; "Blob Batch" of Azure; "Batch requests" of Google Cloud Storage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from credstore.errors import ErrorCode, StorageIntegrityError
from credstore.model import NOTHING

_LINES = re.compile(rb"\r\n|\n")
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})[^\r\n]*(?:\r\n|\n|\Z)", re.MULTILINE)
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})"?', re.IGNORECASE)
_NUMBER = re.compile(r"(\d{1,9})>?")


@dataclass(frozen=True, slots=True)
class PartRequest:
    """One request: method, path with query, headers; it has no body."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True)
class PartReply:
    """What became of one request: status, headers by lower-case name, and what else it said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def format_part(content_id: str, request: PartRequest, boundary: str) -> bytes:
    """One request of a body; `closing` ends it.

    Args:
        content_id: Names it, and its response; ends with a number.
        request: What it asks for.
        boundary: That does not occur in it.
    """
    lines = [
        f"--{boundary}",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        f"Content-ID: {content_id}",
        "",
        f"{request.method} {request.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def closing(boundary: str) -> bytes:
    """The end of a body."""
    return f"--{boundary}--\r\n".encode()


def parse_parts(content_type: str, body: bytes, *, ordered: int | None = None) -> dict[int, PartReply]:
    """The responses by the number of their request.

    Args:
        content_type: Names the boundary.
        body: All of it.
        ordered: Number of requests, where a server that leaves Content-ID out of every response is known to
            respond in their order.

    Raises:
        StorageIntegrityError: It is not such a response.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise _unreadable()
    found: dict[int, PartReply] = {}
    unnamed: list[PartReply] = []
    for piece in body.split(b"--" + boundary[1].encode())[1:]:
        if piece.startswith(b"--"):
            break
        number, reply = _reply(piece)
        if number is None:
            unnamed.append(reply)
        elif number in found:
            raise _unreadable()
        else:
            found[number] = reply
    if not unnamed:
        return found
    if found or len(unnamed) != ordered:
        raise _unreadable()
    return dict(enumerate(unnamed))


def _reply(piece: bytes) -> tuple[int | None, PartReply]:
    status = _STATUS.search(piece)
    if status is None:
        raise _unreadable()
    head, rest = _split(piece[status.end() :])
    named = _NUMBER.search(_headers(piece[: status.start()]).get("content-id", "").rpartition("-")[2])
    return None if named is None else int(named[1]), PartReply(int(status[1]), _headers(head), rest.strip())


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Head and body of a message."""
    ends = [(at, blank) for blank in (b"\r\n\r\n", b"\n\n") if (at := data.find(blank)) >= 0]
    if not ends:
        return data, b""
    at, blank = min(ends)
    return data[:at], data[at + len(blank) :]


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.decode("utf-8", "surrogateescape").partition(":") for line in _LINES.split(head))
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def _unreadable() -> StorageIntegrityError:
    return StorageIntegrityError(
        "the provider's response does not say what became of each key; check the endpoint, and that no proxy "
        "responds in its place",
        code=ErrorCode.NOT_S3,
        applied="maybe",
    )
