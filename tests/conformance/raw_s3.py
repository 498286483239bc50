"""Past the S3 driver to a server's bytes, with botocore; and a client that counts."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import botocore.session

from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport
from credstore.wire.http import HttpClient
from credstore.wire.transport import HttpRequest, HttpResponse
from tests.conftest import S3Server

IN_PARTS = {
    "multipart_threshold": 50_000,
    "part_size": 50_000,
    "single_copy_limit": 50_000,
    "copy_part_size": 50_000,
}
LARGE = 50_001
"""Bytes of what goes in parts with these settings."""


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

    def switch_versions(self, status: str) -> None:
        """ "Enabled" or "Suspended"."""
        self._client.put_bucket_versioning(Bucket=self._bucket, VersioningConfiguration={"Status": status})

    def names(self) -> set[str]:
        """Every key of which a version or a delete marker is left."""
        return {key for key, _ in self.versions()} | {key for key, _ in self.markers()}

    def versions(self) -> list[tuple[str, str]]:
        """Key and id of every version with content."""
        return [(each["Key"], each["VersionId"]) for each in self._listed("Versions")]

    def markers(self) -> list[tuple[str, str]]:
        """Key and id of every delete marker."""
        return [(each["Key"], each["VersionId"]) for each in self._listed("DeleteMarkers")]

    def _listed(self, what: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket)
        return [each for page in pages for each in page.get(what, [])]

    def retain_by_default(self) -> None:
        """Put every new version under a retention of one day; the bucket has Object Lock."""
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        self._client.put_object_lock_configuration(
            Bucket=self._bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )

    def retain(self, key: str, version_id: str, until: datetime, mode: str = "COMPLIANCE") -> None:
        """Put a version under retention."""
        self._client.put_object_retention(
            Bucket=self._bucket,
            Key=key,
            VersionId=version_id,
            Retention={"Mode": mode, "RetainUntilDate": until},
        )

    def hold(self, key: str, version_id: str, status: str = "ON") -> None:
        """Put a version under legal hold, or lift it."""
        self._client.put_object_legal_hold(
            Bucket=self._bucket, Key=key, VersionId=version_id, LegalHold={"Status": status}
        )

    def lock(self, key: str, version_id: str) -> tuple[str | None, datetime | None, str | None]:
        """Mode, end and legal hold of a version, as HEAD tells them."""
        found = self._client.head_object(Bucket=self._bucket, Key=key, VersionId=version_id)
        until = found.get("ObjectLockRetainUntilDate")
        return found.get("ObjectLockMode"), until, found.get("ObjectLockLegalHoldStatus")

    def tags(self, key: str) -> dict[str, str]:
        """The tags of an object."""
        found = self._client.get_object_tagging(Bucket=self._bucket, Key=key)["TagSet"]
        return {each["Key"]: each["Value"] for each in found}

    def read(self, key: str, version_id: str) -> bytes:
        """The bytes of a version."""
        answer = self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version_id)
        found: bytes = answer["Body"].read()
        return found

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """An object."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=content_type)

    def unfinished(self, prefix: str = "") -> list[str]:
        """Keys of the uploads that have not ended."""
        answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
        return [each["Key"] for each in answer.get("Uploads", [])]

    async def uploads(self, prefix: str) -> list[str]:
        """As `unfinished`, for a harness."""
        return await asyncio.to_thread(self.unfinished, prefix)

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


class LikeS3(CountingClient):
    """The same, to a server that lacks a rule of S3's, which is kept here: PutObjectRetention never shortens.

    moto 5.2 takes any date for a retention that has not ended. S3 refuses an earlier date, or none, unless the
    mode is governance and the request bypasses it; there the credentials are taken to have that permission.

    Source: "Using S3 Object Lock", docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html.
    """

    def __init__(self, sent: list[str], raw: RawS3) -> None:
        super().__init__(sent)
        self._raw = raw

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
        if request.method == "PUT" and "retention" in query and await self._is_forbidden(request, query):
            self._sent.append(request.method)
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            headers = {"content-type": "application/xml", "x-amz-request-id": "LIKES3"}
            answer = ScriptedTransport(ScriptedAnswer(403, body, headers))
            return await answer.send(request, deadline=deadline)
        return await super().send(request, deadline=deadline)

    async def _is_forbidden(self, request: HttpRequest, query: dict[str, list[str]]) -> bool:
        key = unquote(urlsplit(request.url).path).split("/", 2)[2]
        there = await asyncio.to_thread(self._raw.lock, key, query["versionId"][0])
        mode, until = there[0], there[1]
        assert isinstance(request.body, bytes)
        wanted = ET.fromstring(request.body).findtext("{*}RetainUntilDate")
        if mode is None or until is None or until <= datetime.now(UTC):
            return False
        if wanted is not None and datetime.fromisoformat(wanted) >= until:
            return False
        bypasses = request.headers.get("x-amz-bypass-governance-retention") == "true"
        return mode == "COMPLIANCE" or not bypasses
