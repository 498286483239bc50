"""`Container`, the driver's only way to the wire: where requests go, and what their failures mean.

Rules of this file: every request of the driver goes through `Container.call`. It hands the request to the
exchange (which signs, sends and retries). No other module knows hosts or credentials.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from credstore.config.azure import AzureConfig
from credstore.driver.guard import Guard
from credstore.driver.meaning import WRONG_KEY
from credstore.driver.values import Capabilities
from credstore.drivers.azure.capabilities import MAX_SEGMENTS, capabilities_of
from credstore.drivers.azure.encryption import PREFIX
from credstore.drivers.azure.errors import NEEDING_KEY, NO_CONTAINER
from credstore.drivers.azure.put_headers import PutHeaders
from credstore.drivers.azure.requests import AzureRequest, list_blobs, set_tier
from credstore.drivers.azure.responses import check_is_azure, classify, is_of_azure, version_of
from credstore.drivers.azure.xml import MAX_XML
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidKeyError,
    StorageObjectNotFoundError,
)
from credstore.model import CircuitState
from credstore.quick import made
from credstore.threads import in_pool
from credstore.wire.azure.sas import VERSION
from credstore.wire.azure.signer import AzureSigner
from credstore.wire.exchange import Exchange, Reply
from credstore.wire.retry import RetryPolicy
from credstore.wire.signer import Signed, WireCall
from credstore.wire.transport import Transport
from credstore.wire.urls import encode_path

T = TypeVar("T")
_FRESH = 60.0
"""Seconds for which an account that made no version of a write is taken to make none."""
_PARSE_ON_LOOP = 8 * 1024
"""Bytes of XML that can be parsed in under a millisecond; more go to a thread."""
_PRIORITIES = {"standard": "Standard", "high": "High"}
_RESOURCE = "ResourceNotFound"
"""Code of what is absent: the object, its container, or the account."""
_VERSIONING = frozenset({"PutBlob", "PutBlockList", "PutBlobFromURL", "CopyBlob"})
"""Operations that make a version where the account keeps them."""
_REFUSALS = frozenset({400, 401, 403, 404, 409})
"""Statuses that stand for several things, so that it takes a code to know which."""
_DOTS = frozenset({".", ".."})


class Container:
    """One container of one account.

    Attributes:
        config: As given.
        able: What the account can do.
        name: The container's name.
        label: The provider's label.
        origin: Scheme, host and port.
        signer: Signs requests and links.
        put_headers: The headers of its writes.
        lacks_from_url: Whether the server was found not to copy from URLs, as Azurite.
        soft_deletes: Whether a deletion was found to keep what it deletes.
        keeps_locks: Whether the server is Azure's own, or was seen to keep retention or a legal hold.
    """

    def __init__(self, config: AzureConfig, *, signer: AzureSigner, transport: Transport) -> None:
        """Compute the place; nothing is sent.

        Args:
            config: Of the store.
            signer: Closed with the container.
            transport: Closed with the container.
        """
        self.config = config
        self.able: Capabilities = capabilities_of(config)
        self.name = config.bucket
        self.label = config.provider
        endpoint = urlsplit(config.resolved_endpoint)
        self.origin = f"{endpoint.scheme}://{endpoint.netloc}"
        self._base = endpoint.path
        self._path = f"{endpoint.path}/{config.bucket}"
        self.signer = signer
        self.put_headers = PutHeaders()
        self.lacks_from_url = False
        self.soft_deletes = False
        self.keeps_locks = not config.is_elsewhere
        self._versioned: bool | None = None
        self._versioned_at = -math.inf
        self._exchange = Exchange(
            transport,
            signer,
            classify=classify,
            recognize=is_of_azure,
            policy=RetryPolicy(max_attempts=config.max_retries + 1),
            hedge_reads=config.hedge_reads,
        )
        self._guard = Guard(self.label)

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        return self._exchange.circuits()

    @property
    def requests(self) -> Mapping[str, int]:
        """What was sent so far, by the provider's name."""
        return self._exchange.sent

    @property
    def clock_offset(self) -> float:
        """Seconds by which the server's clock is ahead (P14)."""
        return self._exchange.clock_offset(self.origin)

    @property
    def versioned(self) -> bool | None:
        """Whether a write made a version a short while ago; None if that is not known."""
        fresh = self._versioned or time.monotonic() - self._versioned_at < _FRESH
        return self._versioned if fresh else None

    def may_look(self) -> bool:
        """Whether the retry budget permits one more request, to see what became of a write."""
        return self._exchange.spend()

    def looked(self) -> None:
        """Such a request got a response: return what it took from the budget."""
        self._exchange.earn()

    def check_key(self, key: str) -> None:
        """Refuse a key that Azure cannot keep.

        Raises:
            StorageInvalidKeyError: It has a backslash, or too many segments.
        """
        if "\\" in key:
            raise StorageInvalidKeyError(
                "Azure keeps a backslash in a key as a slash, so it would name another object",
                key=key,
                bucket=self.name,
            )
        if key.count("/") >= MAX_SEGMENTS:
            raise StorageInvalidKeyError(
                f"Azure keeps keys of at most {MAX_SEGMENTS} segments", key=key, bucket=self.name
            )

    def path(self, key: str | None) -> str:
        """Percent-encoded path of an object, or of the container for None.

        Where a segment is "." or "..", the slashes are encoded too, so that nothing on the way resolves it.
        """
        if key is None:
            return self._path
        encoded = encode_path(key)
        if not _DOTS.isdisjoint(key.split("/")):
            encoded = encoded.replace("/", "%2F")
        return f"{self._path}/{encoded}"

    def url(self, key: str) -> str:
        """Address of an object, as the source of a copy."""
        return self.origin + self.path(key)

    async def call(self, request: AzureRequest, *, deadline: float | None, stream: bool = False) -> Reply:
        """Send one request.

        The refusal of a HEAD has no body to say why credentials were refused: clock, expiry or signature; and
        whatever is in between may have dropped the header that has its code. So the reason is asked for with
        a GET of one byte, which also lets the exchange correct what it can; then the HEAD goes out once more.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()`, or None.
            stream: Leave the body of a successful response open in `Reply.response`; the caller closes it.

        Raises:
            StorageError: `applied` is about this request.
        """
        self.check_usable(deadline)
        if request.key is not None:
            self.check_key(request.key)
        try:
            return await self._sent(request, deadline, stream=stream)
        except StorageError as error:
            if request.method != "HEAD" or not _is_unexplained(error):
                raise
        await self._ask(request, deadline)
        return await self._sent(request, deadline, stream=stream)

    async def renew(self, request: AzureRequest, deadline: float | None) -> None:
        """Get a newer token than such a request has now; see `Exchange.renew`."""
        await self._exchange.renew(self._wire(request, deadline, stream=False))

    async def _ask(self, request: AzureRequest, deadline: float | None) -> None:
        """Raise the reason of a HEAD whose credentials were refused, or return where a GET is accepted."""
        asking = AzureRequest(
            operation="GetBlob",
            method="GET",
            key=request.key,
            query=request.query,
            headers={"x-ms-range": "bytes=0-0", **_sealing(request)},
        )
        try:
            reply = await self._sent(asking, deadline, stream=True)
        except StorageError as error:
            if error.code == ErrorCode.INVALID_RANGE or isinstance(error, StorageObjectNotFoundError):
                return
            raise
        if reply.response is not None:
            await reply.response.aclose()

    async def _sent(self, request: AzureRequest, deadline: float | None, *, stream: bool) -> Reply:
        try:
            reply = await self._exchange.call(self._wire(request, deadline, stream=stream))
        except StorageError as error:
            failure = self._explained(request, error)
            if failure.code == ErrorCode.ARCHIVED and request.method == "GET":
                await self._rehydrate(request, failure, deadline)
            if failure.provider_code == _RESOURCE and request.key is not None:
                await self._look(failure, deadline)
            raise failure from None
        if request.whole_account:
            return reply  # Its body says whose it is; Azurite sends no headers of Azure's with it.
        try:
            check_is_azure(reply.status, reply.headers, "maybe" if request.mutation else "no")
        except BaseException:
            if reply.response is not None:
                await reply.response.aclose()
            raise
        if request.operation in _VERSIONING:
            self._versioned = version_of(reply.headers) is not None
            self._versioned_at = time.monotonic()
        return reply

    async def _look(self, failure: StorageError, deadline: float | None) -> None:
        """Raise what is wrong with the container, if something is; credentials need not permit a listing.

        Raises:
            StorageError: There is no such account or container, or it cannot be asked.
        """
        try:
            await self._sent(list_blobs("", None, 1), deadline, stream=False)
        except StorageAccessDeniedError:
            return
        except StorageError as error:
            error.applied = failure.applied
            raise

    def _wire(self, request: AzureRequest, deadline: float | None, *, stream: bool) -> WireCall:
        path = (self._base or "/") if request.whole_account else self.path(request.key)
        return made(
            WireCall,
            {
                "operation": request.operation,
                "method": request.method,
                "origin": self.origin,
                "path": path,
                "query": request.query,
                "headers": {"x-ms-version": VERSION, **request.headers},
                "body": request.body,
                "mutation": request.mutation,
                "replayable": request.replayable,
                "deadline": deadline,
                "stream": stream,
                "max_reply": MAX_XML,
                "probe": request.probe,
            },
        )

    def _explained(self, request: AzureRequest, error: StorageError) -> StorageError:
        """The error with what only the container knows."""
        error.bucket = self.name
        facts = error.facts()
        if error.provider_code == NEEDING_KEY and f"{PREFIX}key" in request.headers:
            return WRONG_KEY.error(WRONG_KEY.message, **facts)
        if request.key is None and isinstance(error, StorageObjectNotFoundError):
            facts["code"] = ErrorCode.BUCKET_NOT_FOUND
            return StorageBucketNotFoundError(NO_CONTAINER.message, **facts)
        if error.code == ErrorCode.NAME_NOT_FOUND and not self.config.is_elsewhere:
            message = f"there is no storage account {self.config.account!r}, or its name does not resolve"
            return type(error)(message, **facts)
        return error

    async def _rehydrate(self, request: AzureRequest, error: StorageError, deadline: float | None) -> None:
        """Begin to restore an archived blob if that is wanted, and say so in the error."""
        priority = self.config.rehydrate
        if priority is None or request.key is None:
            return
        version_id = dict(request.query).get("versionid")
        wire = set_tier(request.key, "Hot", _PRIORITIES[priority], version_id)
        try:
            await self._exchange.call(self._wire(wire, deadline, stream=False))
        except StorageError as failure:
            if failure.provider_code != "BlobBeingRehydrated":
                error.message += f" (starting to restore it failed: {failure.message})"
                return
        hours = "1 hour, if it is under 10 GB" if priority == "high" else "15 hours"
        error.message = (
            f"the object was archived and is being restored with priority {priority}; read it again after up "
            f"to {hours}"
        )

    async def signed(self, request: AzureRequest) -> Signed:
        """What would be sent with a request besides itself now, for one that is part of another.

        Raises:
            StorageError: There are no working credentials.
        """
        now = time.time() + self.clock_offset
        # The version of the whole is for all parts, which must not name one.
        call = replace(self._wire(request, None, stream=False), headers=request.headers)
        return await self.signer.sign(call, None, now)

    def check_usable(self, deadline: float | None) -> None:
        """Refuse a call that must not start; see `Guard.check`."""
        self._guard.check(deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        if not self._guard.closed:
            self._guard.closed = True
            await self._exchange.aclose()


def _is_unexplained(error: StorageError) -> bool:
    """Whether a GET may say more of the refusal of a HEAD."""
    unnamed = error.provider_code is None and error.status_code in _REFUSALS
    azures = not isinstance(error, StorageConfigurationError)
    return (unnamed and azures) or isinstance(error, StorageAuthenticationError)


def _sealing(request: AzureRequest) -> dict[str, str]:
    """The customer-provided key that a request carries."""
    return {name: value for name, value in request.headers.items() if name.startswith(PREFIX)}


async def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed response; a large one is parsed off the event loop."""
    return parse(body) if len(body) <= _PARSE_ON_LOOP else await in_pool(parse, body)
