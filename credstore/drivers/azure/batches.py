"""Blob Batch: up to 256 requests in one, each with credentials of its own, and what became of each.

Rules of this file: the body has credentials in it, so nothing but the function that opens it holds it. The
form is that of `wire/multipart.py`.

Source: "Blob Batch" of the REST API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from secrets import token_hex

from credstore.drivers.azure.container import Container
from credstore.drivers.azure.requests import AzureRequest, batch
from credstore.wire.multipart import PartRequest, closing, format_part
from credstore.wire.transport import StreamBody
from credstore.wire.urls import encode_query


async def batched(container: Container, requests: Sequence[AzureRequest]) -> AzureRequest:
    """One request for all of these; they have no bodies.

    Raises:
        StorageError: There are no working credentials.
    """
    boundary = f"batch_{token_hex(16)}"
    parts = [await _part(container, number, request, boundary) for number, request in enumerate(requests)]
    parts.append(closing(boundary))

    async def opened() -> AsyncGenerator[bytes, None]:
        yield b"".join(parts)

    return batch(StreamBody(sum(map(len, parts)), opened), boundary)


async def _part(container: Container, number: int, request: AzureRequest, boundary: str) -> bytes:
    signed = await container.signed(request)
    query = "&".join([part for part in (encode_query(request.query), signed.query) if part])
    target = container.path(request.key) + (f"?{query}" if query else "")
    headers = {**request.headers, **signed.headers, "content-length": "0"}
    return format_part(str(number), PartRequest(request.method, target, headers), boundary)
