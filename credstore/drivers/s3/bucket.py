"""`Bucket`, the driver's one way to the wire: where requests go, and what their failures mean.

Rules of this file: every request of the driver passes `Bucket.call`. It finds the place, hands the
request to the exchange (which signs, sends and retries), and follows a bucket to its region once
(N21). Nobody else knows hosts, regions or credentials.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Mapping
from typing import TypeVar

from credstore.config.stores import S3FamilyConfig
from credstore.driver.guard import Guard
from credstore.drivers.s3.address import Place, corrected_place, place_of
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.requests import S3Request
from credstore.drivers.s3.responses import WrongRegionError, classify, is_of_s3
from credstore.drivers.s3.xml import MAX_XML
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageError,
    StorageInvalidKeyError,
)
from credstore.model import CircuitState
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.exchange import Exchange, Reply
from credstore.wire.retry import RetryPolicy
from credstore.wire.signer import WireCall
from credstore.wire.transport import Transport
from credstore.wire.waiting import Shared, within

T = TypeVar("T")
_PARSE_ON_LOOP = 8 * 1024
"""Bytes of XML that parse in under a millisecond; more goes to a thread."""


class Bucket:
    """One bucket at one cloud.

    Attributes:
        config: As given; once the place is known, with all of it.
        dialect: Of the cloud.
        name: The bucket's name.
        label: The provider's label.
        answered: Whether the bucket ever answered a request well, so that it is there.
    """

    def __init__(
        self,
        config: S3FamilyConfig,
        dialect: S3Dialect,
        *,
        signer: AwsSigner,
        transport: Transport,
        locate: Callable[[], S3FamilyConfig] | None = None,
    ) -> None:
        """Compute the place, if the configuration tells it; nothing is sent.

        Args:
            config: Of the store.
            dialect: Of the cloud.
            signer: Closed with the bucket.
            transport: Closed with the bucket.
            locate: Finds the configuration with all of the place, before the first request; it blocks, so
                it runs in a thread.
        """
        self.config = config
        self.dialect = dialect
        self.name = config.bucket
        self.label = config.provider
        self._signer = signer
        self._place = place_of(config)
        self._locating = None if locate is None else Shared(locate)
        self._hint = (
            f"{config.provider} also answers so for a bucket that does not exist"
            if dialect.forbidden_may_be_missing
            else ""
        )
        self._exchange = Exchange(
            transport,
            signer,
            classify=self._classify,
            recognize=is_of_s3,
            policy=RetryPolicy(max_attempts=config.max_retries + 1),
            hedge_reads=config.hedge_reads,
        )
        self._guard = Guard(self.label)
        self.answered = False

    @property
    def place(self) -> Place:
        """Where the bucket is, as far as is known; see `located`."""
        return self._place

    async def located(self, deadline: float | None) -> Place:
        """Where the bucket is, once whoever knows it has told.

        Raises:
            StorageConfigurationError: It cannot be told.
            StorageTimeoutError: It was not told in time.
        """
        if self._locating is None:
            return self._place
        try:
            config = await within(deadline, self._locating.result(), "the AWS configuration")
        except StorageError as error:
            error.bucket = self.name
            raise
        return self._settle(config)

    def _settle(self, config: S3FamilyConfig) -> Place:
        if self._locating is not None:  # Nobody else has done so meanwhile.
            self.config, self._place, self._locating = config, place_of(config), None
        return self._place

    def _classify(self, status: int, headers: Mapping[str, str], body: bytes) -> StorageError | None:
        return classify(status, headers, body, region=self._place.region, hint=self._hint)

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        return self._exchange.circuits()

    @property
    def signer(self) -> AwsSigner:
        """Signs links as it signs requests; the bucket must be open."""
        self.check_usable(None)
        return self._signer

    @property
    def clock_offset(self) -> float:
        """Seconds the server's clock is ahead (P14)."""
        return self._exchange.clock_offset(self._place.origin)

    def may_look(self) -> bool:
        """Whether the budget of retries allows one more request, to see what became of a write."""
        return self._exchange.spend()

    def looked(self) -> None:
        """Such a request was answered: what it took from the budget is given back."""
        self._exchange.earn()

    def check_key(self, key: str) -> None:
        """Refuse a key that the cloud would store under another name.

        Raises:
            StorageInvalidKeyError: Not in Unicode normal form C where the cloud rewrites keys to it.
        """
        if self.dialect.nfc_keys and not unicodedata.is_normalized("NFC", key):
            raise StorageInvalidKeyError(
                f"{self.label} rewrites keys to Unicode normal form C; normalise this one "
                'first: unicodedata.normalize("NFC", key)',
                key=key,
                bucket=self.name,
            )

    async def call(self, request: S3Request, *, deadline: float | None, stream: bool = False) -> Reply:
        """Send one request, at another region's host once if the bucket lives there.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()`, or None.
            stream: Leave the body of a success open in `Reply.response`; the caller closes it.

        Raises:
            StorageConfigurationError: The bucket is elsewhere and cannot be followed there.
            StorageError: Anything else; `applied` is about this request.
        """
        self.check_usable(deadline)
        if request.key is not None:
            self.check_key(request.key)
        place = await self.located(deadline)
        try:
            return await self._send(request, place, deadline=deadline, stream=stream)
        except WrongRegionError as error:
            better = (
                self._place if self._place != place else corrected_place(place, self.config, error.region)
            )
            if better is None:
                raise self._misplaced(error) from None
            self._place = better  # For the bucket's next requests too.
            if not request.replayable:
                raise self._misplaced(error) from None
            first = error
        try:
            return await self._send(request, better, deadline=deadline, stream=stream)
        except WrongRegionError as error:
            raise self._misplaced(error) from None
        except StorageError as error:
            if first.applied == "maybe":
                error.applied = "maybe"
            raise

    async def _send(self, request: S3Request, place: Place, *, deadline: float | None, stream: bool) -> Reply:
        call = WireCall(
            operation=request.operation,
            method=request.method,
            origin=place.origin,
            path=place.path(request.key),
            query=request.query,
            headers=request.headers,
            body=request.body,
            body_sha256=request.body_sha256,
            region=place.region,
            mutation=request.mutation,
            replayable=request.replayable,
            deadline=deadline,
            stream=stream,
            max_reply=MAX_XML,
            probe=request.probe,
        )
        try:
            reply = await self._exchange.call(call)
        except StorageError as error:
            error.bucket = self.name
            raise
        self.answered = True
        return reply

    def _misplaced(self, error: WrongRegionError) -> StorageConfigurationError:
        facts = error.facts()
        message = (
            f"{error.message}; the provider names region {error.region!r}" if error.region else error.message
        )
        facts["code"] = ErrorCode.WRONG_REGION
        return StorageConfigurationError(message, **facts)

    def check_usable(self, deadline: float | None) -> None:
        """Refuse a call that must not begin; see `Guard.check`."""
        self._guard.check(deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        if not self._guard.closed:
            self._guard.closed = True
            await self._exchange.aclose()


async def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed reply; a large one is parsed off the event loop."""
    return parse(body) if len(body) <= _PARSE_ON_LOOP else await asyncio.to_thread(parse, body)
