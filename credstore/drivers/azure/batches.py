"""Blob Batch: up to 256 requests in one, each with credentials of its own, and what became of each.

Rules of this file: a response is matched with its request by the number in `Content-ID`; silence about one
does not count as success. The body has credentials in it, so nothing but the function that opens it holds it.

Source: "Blob Batch" of the REST API; RFC 2046 section 5.1.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex

from credstore.drivers.azure.container import Container
from credstore.drivers.azure.requests import AzureRequest, batch
from credstore.drivers.azure.responses import code_of
from credstore.errors import ErrorCode, StorageIntegrityError
from credstore.wire.transport import StreamBody
from credstore.wire.urls import encode_query

_LINES = re.compile(rb"\r\n|\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PartReply:
    """What became of one request: status, headers by lower-case name, Azure's code and text."""

    status: int
    headers: Mapping[str, str]
    code: str | None
    text: str


async def batched(container: Container, requests: Sequence[AzureRequest]) -> AzureRequest:
    """One request for all of these; they have no bodies.

    Raises:
        StorageError: There are no working credentials.
    """
    boundary = f"batch_{token_hex(16)}"
    parts = [await _part(container, number, request, boundary) for number, request in enumerate(requests)]
    parts.append(f"--{boundary}--\r\n".encode())

    async def opened() -> AsyncGenerator[bytes, None]:
        yield b"".join(parts)

    return batch(StreamBody(sum(map(len, parts)), opened), boundary)


async def _part(container: Container, number: int, request: AzureRequest, boundary: str) -> bytes:
    signed = await container.signed(request)
    query = "&".join([part for part in (encode_query(request.query), signed.query) if part])
    target = container.path(request.key) + (f"?{query}" if query else "")
    headers = {**request.headers, **signed.headers, "content-length": "0"}
    lines = [
        f"--{boundary}",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        f"Content-ID: {number}",
        "",
        f"{request.method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def parse_batch(content_type: str, body: bytes) -> dict[int, PartReply]:
    """The responses by the number of their request.

    Raises:
        StorageIntegrityError: It is not such a response.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise _unreadable()
    found: dict[int, PartReply] = {}
    pieces = body.split(b"--" + boundary[1].encode())
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        outer, inner = _split(piece.lstrip(b"\r\n"))
        number = _headers(outer).get("content-id", "")
        head, rest = _split(inner.lstrip(b"\r\n"))
        status = _STATUS.match(head)
        if status is None or not number.isdigit() or int(number) in found:
            raise _unreadable()
        headers = _headers(head)
        found[int(number)] = PartReply(int(status[1]), headers, *code_of(headers, rest.strip()))
    return found


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Head and body of a message."""
    for blank in (b"\r\n\r\n", b"\n\n"):
        head, found, rest = data.partition(blank)
        if found:
            return head, rest
    return data, b""


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
