"""A client that knows nothing of credstore: bytes over a socket, to see what an origin really does."""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.faults.origin import Origin


@dataclass(frozen=True)
class Got:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Raw:
    """One connection."""

    def __init__(self, origin: Origin, context: ssl.SSLContext | None = None) -> None:
        self._origin = origin
        self._context = context

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._origin.port, ssl=self._context
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.writer.transport.abort()

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Got:
        """One request and its whole answer."""
        await self.write(format_request(method, target, body, headers))
        return await self.answer(method)

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        pairs = (line.partition(": ")[::2] for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}

    async def answer(self, method: str = "GET") -> Got:
        status, headers = await self.head()
        size = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        return Got(status, headers, await self.reader.readexactly(size))

    async def end(self) -> bytes:
        """What comes until the FIN; a RST raises ConnectionResetError."""
        return await self.reader.read()


def format_request(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    found = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in found.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def signed(
    method: str,
    url: str,
    *,
    key_id: str,
    secret: str,
    region: str = "us-east-1",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers that botocore signs a request with, now."""
    request = AWSRequest(method, url, data=body, headers=dict(headers or {}))
    request.context["payload_signing_enabled"] = True
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    S3SigV4Auth(Credentials(key_id, secret), "s3", region).add_auth(request)
    found = dict(request.headers.items())
    found["Host"] = url.split("/")[2]
    return found


def stamp(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y%m%dT%H%M%SZ")
