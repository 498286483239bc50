"""Past the S3 driver to a server's bytes, with botocore; and a client that counts."""

import asyncio
from typing import Any

import botocore.session

from credstore.wire.http import HttpClient
from credstore.wire.transport import HttpRequest, HttpResponse
from tests.conftest import S3Server


class RawS3:
    """One bucket through a foreign client."""

    def __init__(self, server: S3Server) -> None:
        self._bucket = server.bucket
        self._client: Any = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id="raw",
            aws_secret_access_key="raw",
            region_name="us-east-1",
        )

    async def peek(self, key: str) -> bytes | None:
        """The object's bytes, or None."""
        try:
            answer = await asyncio.to_thread(self._client.get_object, Bucket=self._bucket, Key=key)
        except self._client.exceptions.NoSuchKey:
            return None
        return await asyncio.to_thread(answer["Body"].read)

    async def poke(self, key: str, data: bytes) -> None:
        """Other bytes beside the same metadata and headers."""

        def replace() -> None:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                Metadata=found["Metadata"],
                ContentType=found["ContentType"],
            )

        await asyncio.to_thread(replace)


class CountingClient(HttpClient):
    """The real client, which notes what it sends."""

    def __init__(self, sent: list[str]) -> None:
        super().__init__()
        self._sent = sent

    @staticmethod
    def counter() -> list[str]:
        """What several clients note into."""
        return []

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        self._sent.append(request.method)
        return await super().send(request, deadline=deadline)
