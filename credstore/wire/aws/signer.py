"""AWS Signature Version 4 as a signer of the exchange, with credentials from any source.

Rules of this file: credentials are requested for each attempt and never kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from credstore.wire.aws.credentials import Credentials, CredentialSource
from credstore.wire.aws.sigv4 import UNSIGNED_PAYLOAD, added_headers, form_fields, presign_query, stamp_of
from credstore.wire.signer import Signed, Signer, WireCall
from credstore.wire.urls import host_of


class AwsSigner(Signer):
    """Signs for an AWS service, or for a server that checks the same kind of signature."""

    signs_body = True

    def __init__(self, source: CredentialSource, *, service: str = "s3") -> None:
        """Own `source`, which is closed with the signer.

        Args:
            source: Where the credentials of each signature come from.
            service: AWS's name for it, as used in the signature's scope.
        """
        self._source = source
        self._service = service
        self._renewing = asyncio.Lock()

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:
        """Sign with headers; see `Signer.sign`."""
        return self._signed(call, body_sha256, now, await self._source.get())

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed | None:
        """Sign with headers where the credentials are available; see `Signer.sign_now`."""
        credentials = self._source.ready()
        return None if credentials is None else self._signed(call, body_sha256, now, credentials)

    def _signed(
        self, call: WireCall, body_sha256: str | None, now: float, credentials: Credentials
    ) -> Signed:
        headers = added_headers(
            call.method,
            host_of(call.origin),
            call.path,
            call.query,
            call.headers,
            UNSIGNED_PAYLOAD if body_sha256 is None else body_sha256,
            credentials,
            call.region,
            self._service,
            stamp_of(int(now)),
        )
        return Signed(headers, "", credentials)

    async def presign(
        self,
        *,
        method: str,
        origin: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        expires_in: int,
        region: str,
        now: datetime,
    ) -> str:
        """The query string of a URL that grants access on its own; arguments as for `presign_query`.

        Raises:
            StorageError: There are no working credentials.
        """
        return presign_query(
            method=method,
            host=host_of(origin),
            path=path,
            query=query,
            headers=headers,
            expires_in=expires_in,
            credentials=await self._source.get(),
            region=region,
            service=self._service,
            now=now,
        )

    async def sign_form(
        self, *, conditions: Sequence[object], expires_at: datetime, region: str, now: datetime
    ) -> dict[str, str]:
        """The fields of a form that grants access on its own; arguments as for `form_fields`.

        Raises:
            StorageError: There are no working credentials.
        """
        return form_fields(
            conditions=conditions,
            expires_at=expires_at,
            credentials=await self._source.get(),
            region=region,
            service=self._service,
            now=now,
        )

    async def renew(self, used: Signed) -> None:
        """Ask the source for newer ones, unless it already has some; see `Signer.renew`."""
        async with self._renewing:
            if await self._source.get() == used.credentials:
                await self._source.refresh()

    async def expires_at(self) -> datetime | None:
        """When the credentials expire; see `Signer.expires_at`."""
        return (await self._source.get()).expires_at

    async def aclose(self) -> None:
        """Close the source; safe to call again."""
        await self._source.aclose()
