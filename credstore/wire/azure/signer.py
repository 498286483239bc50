"""The three ways of Azure Storage as signers of the exchange: Shared Key, a given signature, Entra ID.

Rules of this file: secrets are revealed where a request is signed and nowhere else. What copies from a URL
names its source without any signature; the signer adds what the service needs to read it, for sources of
the same account only.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs, unquote

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError
from credstore.wire.azure.sas import Grant, service_sas
from credstore.wire.azure.shared_key import sign, string_to_sign
from credstore.wire.signer import Signed, Signer, WireCall
from credstore.wire.tokens import BearerSigner, Token

COPY_SOURCE: Final = "x-ms-copy-source"
SOURCE_AUTHORIZATION: Final = "x-ms-copy-source-authorization"
FROM_URL = frozenset({"PutBlobFromURL", "PutBlockFromURL"})
"""Operations whose source is read with an authorization of its own; CopyBlob uses that of the request."""
_WHILE_COPIED = timedelta(hours=1)


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    """A second of Unix time as HTTP has it; many requests have the same."""
    return formatdate(second, usegmt=True)


class KeySigner(Signer):
    """Shared Key: a signature with the account's key over each request."""

    signs_body = False
    waits = False

    def __init__(self, account: str, key: Secret, *, base: str = "") -> None:
        """Take the key.

        Args:
            account: Name of the storage account.
            key: In base64.
            base: Path before the container's: the account's, where it is not in the host.
        """
        self.account = account
        self._key = key
        self._base = base

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:
        """Sign with headers; see `Signer.sign`."""
        return self.sign_now(call, body_sha256, now)

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:  # noqa: ARG002
        """Sign with headers; see `Signer.sign_now`."""
        added = {"x-ms-date": _date(int(now))}
        if COPY_SOURCE in call.headers and call.operation in FROM_URL:
            added[COPY_SOURCE] = self._readable(call.headers[COPY_SOURCE], call.origin, now)
        text = string_to_sign(
            method=call.method,
            account=self.account,
            path=call.path,
            query=call.query,
            headers={**call.headers, **added},
            length=call.length,
        )
        signature = sign(base64.b64decode(self._key.reveal()), text)
        return Signed({**added, "authorization": f"SharedKey {self.account}:{signature}"})

    def _readable(self, source: str, origin: str, now: float) -> str:
        """The source's URL with a signature that lets the service read it for an hour."""
        path, _, query = source.removeprefix(origin + self._base).partition("?")
        container, _, blob = path.removeprefix("/").partition("/")
        grant = Grant(
            container=unquote(container),
            blob=unquote(blob),
            permissions="r",
            expires=datetime.fromtimestamp(now, UTC) + _WHILE_COPIED,
            version_id=parse_qs(query).get("versionid", [None])[0],
            https_only=origin.startswith("https:"),
        )
        return f"{source}{'&' if query else '?'}{self.link(grant)}"

    def link(self, grant: Grant) -> str:
        """The query string of a service SAS."""
        return service_sas(self.account, self._key, grant)

    async def renew(self, used: Signed) -> None:
        """Do nothing, as the key does not change."""

    async def expires_at(self) -> datetime | None:
        """Never."""
        return None

    async def aclose(self) -> None:
        """Do nothing, as there is nothing to release."""


class SasSigner(Signer):
    """A shared access signature that somebody else made: a query string for every request."""

    signs_body = False
    waits = False

    def __init__(self, token: Secret, ends: datetime | None) -> None:
        """Take the signature.

        Args:
            token: The query string, percent-encoded, without `?`.
            ends: When it ends, UTC, if it says so.
        """
        self._token = token
        self._ends = ends

    async def sign(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:
        """Append it; see `Signer.sign`.

        Raises:
            StorageAuthenticationError: It has ended (code "CREDENTIALS_EXPIRED").
        """
        return self.sign_now(call, body_sha256, now)

    def sign_now(self, call: WireCall, body_sha256: str | None, now: float) -> Signed:  # noqa: ARG002
        """Append it; see `sign`."""
        if self._ends is not None and self._ends.timestamp() <= now:
            raise StorageAuthenticationError(
                f"the shared access signature ended at {self._ends.isoformat()}; give a new one",
                code=ErrorCode.CREDENTIALS_EXPIRED,
            )
        if COPY_SOURCE not in call.headers:
            return Signed({}, self._token.reveal())
        joint = "&" if "?" in call.headers[COPY_SOURCE] else "?"
        return Signed(
            {COPY_SOURCE: f"{call.headers[COPY_SOURCE]}{joint}{self._token.reveal()}"}, self._token.reveal()
        )

    async def renew(self, used: Signed) -> None:
        """Do nothing, as only its maker can renew it."""

    async def expires_at(self) -> datetime | None:
        """When it says that it ends."""
        return self._ends

    async def aclose(self) -> None:
        """Do nothing, as there is nothing to release."""


class TokenSigner(BearerSigner):
    """A token of Entra ID for every request."""

    def _with(self, call: WireCall, token: Token) -> Signed:
        """The token, also for the source of a copy."""
        signed = super()._with(call, token)
        if COPY_SOURCE in call.headers and call.operation in FROM_URL:
            signed.headers = {**signed.headers, SOURCE_AUTHORIZATION: signed.headers["authorization"]}
        return signed


AzureSigner = KeySigner | SasSigner | TokenSigner
