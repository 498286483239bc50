"""Links that Azure itself checks: a blob's URL with a shared access signature, and its real expiry time.

Rules of this file: local computation only, apart from tokens and user delegation keys; a link never claims to
outlive the key it was signed with. With the account's key it is a service SAS, with Entra ID a user
delegation SAS, whose key is asked for once and used as long as the links that are made with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from credstore.driver.refusals import check_sign
from credstore.driver.values import SignedRequest, SignRequest
from credstore.drivers.azure.capabilities import NAME
from credstore.drivers.azure.container import Container, parsed
from credstore.drivers.azure.requests import delegation_key
from credstore.drivers.azure.xml import parse_delegation_key
from credstore.errors import StorageInvalidRequestError
from credstore.wire.azure.sas import OVERRIDES, DelegationKey, Grant, delegation_sas
from credstore.wire.azure.signer import KeySigner
from credstore.wire.exchange import CREDENTIALS
from credstore.wire.urls import encode
from credstore.wire.waiting import within

MAX_EXPIRES = 604_800
"""Seconds (7 days) that a user delegation key lasts; the contract's limit for all links."""
_PERMISSIONS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}
_KEY_LIFE = timedelta(seconds=MAX_EXPIRES)
_WORTH = timedelta(hours=1)
"""How much longer a new key has to last for a link that outlives the one there is."""
_UPLOAD = {"x-ms-blob-type": "BlockBlob"}
"""What whoever stores a blob by a link has to send."""


class LinkKeys:
    """The user delegation key of a container's links, asked for when it is first needed."""

    def __init__(self) -> None:
        """Ask for nothing yet."""
        self._key: DelegationKey | None = None
        self._asking = asyncio.Lock()

    async def get(
        self, container: Container, until: datetime, now: datetime, deadline: float | None
    ) -> DelegationKey:
        """A key that lasts until then, or as long as any.

        Args:
            container: Whose account it is of.
            until: The end of the link.
            now: By the server's clock.
            deadline: Instant of `time.monotonic()`, or None.

        Raises:
            StorageAccessDeniedError: The user may not delegate ("Storage Blob Delegator").
            StorageError: Anything else.
        """
        async with self._asking:
            key = self._key
            if key is None or (until > key.ends and now + _KEY_LIFE - key.ends > _WORTH):
                # Clocks differ, so a start in the past; the service makes none that lasts longer.
                start = now - timedelta(minutes=5)
                request = delegation_key(start, start + _KEY_LIFE)
                reply = await container.call(request, deadline=deadline)
                key = self._key = await parsed(parse_delegation_key, reply.body)
            return key


async def sign(
    container: Container, keys: LinkKeys, request: SignRequest, clock: Callable[[], float]
) -> SignedRequest:
    """Make a link; see `Driver.sign`. A PUT link works without the headers that its holder is asked to send.

    Args:
        container: Of the object.
        keys: Of links with Entra ID.
        request: The link.
        clock: Unix seconds.

    Raises:
        StorageUnsupportedError: Azure makes no such link.
        StorageInvalidRequestError: A header that no link can impose, or a time outside 1 s to 7 days.
        StorageError: The credentials are of no use.
    """
    container.check_key(request.key)
    container.check_usable(request.deadline)
    check_sign(request, container.able, NAME)
    if not 1 <= request.expires_in <= MAX_EXPIRES:
        raise StorageInvalidRequestError(
            f"expires_in is 1 to {MAX_EXPIRES} seconds (7 days), not {request.expires_in:g}"
        )
    unknown = request.overrides.keys() - OVERRIDES.keys()
    if unknown:
        raise StorageInvalidRequestError(
            f"a link cannot impose {', '.join(sorted(unknown))}; it can {', '.join(sorted(OVERRIDES))}"
        )
    now = datetime.fromtimestamp(int(clock() + container.clock_offset), UTC)
    return await within(request.deadline, _signed(container, keys, request, now), CREDENTIALS)


async def _signed(container: Container, keys: LinkKeys, request: SignRequest, now: datetime) -> SignedRequest:
    expires = now + timedelta(seconds=int(request.expires_in))
    key: DelegationKey | None = None
    if not isinstance(container.signer, KeySigner):
        key = await keys.get(container, expires, now, request.deadline)
        expires = min(expires, key.ends)
    grant = Grant(
        container=container.name,
        blob=request.key,
        permissions=_PERMISSIONS[request.method],
        expires=expires,
        version_id=request.version_id,
        overrides=request.overrides,
        https_only=container.origin.startswith("https:"),
    )
    account = container.config.account or ""
    version = f"versionid={encode(request.version_id)}&" if request.version_id is not None else ""
    signer = container.signer
    query = signer.link(grant) if isinstance(signer, KeySigner) else ""
    if key is not None:
        query = delegation_sas(account, key, grant)
    return SignedRequest(
        url=f"{container.url(request.key)}?{version}{query}",
        method=request.method,
        expires_at=expires,
        headers={**_UPLOAD, **request.headers} if request.method == "PUT" else dict(request.headers),
        served_by=container.label,
    )
