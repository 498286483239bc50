"""`Bucket`, the driver's only way to the wire: where requests go, and what their failures mean.

Rules of this file: every request of the driver goes through `Bucket.call`. It finds the place, hands the
request to the exchange (which signs, sends and retries), and follows a bucket to its region once
(N21). No other module knows hosts, regions or credentials.
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from credstore.config.stores import S3FamilyConfig
from credstore.driver.guard import Guard
from credstore.drivers.s3.address import Place, corrected_place, is_elsewhere, place_of
from credstore.drivers.s3.checksums import Checksums, with_md5
from credstore.drivers.s3.customer_keys import (
    has_key,
    may_be_about_key,
    needs_key,
    needs_no_key,
    without_key,
    wrong_key,
)
from credstore.drivers.s3.dialect import S3Dialect
from credstore.drivers.s3.errors import NO_BUCKET
from credstore.drivers.s3.put_headers import PutHeaders
from credstore.drivers.s3.records import MAX_XML
from credstore.drivers.s3.requests import S3Request, asking, is_of_part, list_objects, without_range
from credstore.drivers.s3.responses import (
    WrongRegionError,
    as_of_head,
    check_answers,
    check_is_s3,
    classify,
    has_header_of_s3,
    is_of_s3,
    not_s3,
    says_nothing,
    speaks_s3,
)
from credstore.drivers.s3.xml import parse_list
from credstore.errors import (
    Applied,
    ErrorCode,
    StorageAccessDeniedError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageError,
    StorageInvalidKeyError,
    StorageObjectNotFoundError,
    StorageUnavailableError,
)
from credstore.model import CircuitState
from credstore.quick import made
from credstore.threads import in_pool
from credstore.wire.aws.signer import AwsSigner
from credstore.wire.exchange import Exchange, Reply
from credstore.wire.retry import RetryPolicy
from credstore.wire.signer import WireCall
from credstore.wire.transport import Transport
from credstore.wire.waiting import Shared, within

T = TypeVar("T")
_FRESH = 60.0
"""Seconds for which a bucket that was there is taken to be there."""
_PARSE_ON_LOOP = 8 * 1024
"""Bytes of XML that can be parsed in under a millisecond; more go to a thread."""
_WITHOUT_DOCUMENT = frozenset(
    {
        "GetObject",
        "HeadObject",
        "DeleteObject",
        "UploadPart",
        "AbortMultipartUpload",
        "PutObjectTagging",
        "DeleteObjectTagging",
        "PutObjectRetention",
        "PutObjectLegalHold",
        "GetObjectRetention",
        "GetObjectLegalHold",
        "GetBucketVersioning",
        "HeadBucket",
    }
)
"""Operations whose success has nothing that only a store can say. Of the others, a put is looked up by its
write-id where its response says no more (`writing.py`), and the rest have a document with certain fields."""


class Bucket:
    """One bucket at one cloud.

    Attributes:
        config: As given; once the place is known, with all of it.
        exchange: Makes its calls.
        dialect: Of the cloud.
        name: The bucket's name.
        label: The provider's label.
        is_elsewhere: Whether it is at another endpoint than the cloud's own.
        kept: Operations whose copies were seen to keep the metadata that was sent with them.
        reports_digests: Whether the SHA-256 of a copy is asked for: not once that was refused.
        put_headers: The headers of its writes.
        checksums: Which of its writes carry one in a header.
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
        """Compute the place, if the configuration says it; nothing is sent.

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
        self._said = config.request_headers
        self._place = place_of(config)
        self.is_elsewhere = is_elsewhere(config)
        self._locating = None if locate is None else Shared(locate)
        self._hint = (
            f"{config.provider} also responds in this way if the bucket does not exist"
            if dialect.forbidden_may_be_missing
            else ""
        )
        self.exchange = Exchange(
            transport,
            signer,
            classify=self._classify,
            recognize=is_of_s3,
            policy=RetryPolicy(max_attempts=config.max_retries + 1),
            hedge_reads=config.hedge_reads,
        )
        self.put_headers = PutHeaders(dialect)
        self.checksums = Checksums()
        self._guard = Guard(self.label)
        self._answered_at = -math.inf
        self._speaks_s3 = False
        self.kept: set[str] = set()
        self.reports_digests = dialect.capabilities.copy_digests

    @property
    def place(self) -> Place:
        """Where the bucket is, as far as is known; see `located`."""
        return self._place

    async def located(self, deadline: float | None) -> Place:
        """Where the bucket is, once that has been found out.

        Raises:
            StorageConfigurationError: It cannot be found out.
            StorageTimeoutError: It was not found out in time.
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
        if self._locating is not None:  # No other call has done so meanwhile.
            self.config, self._place, self._locating = config, place_of(config), None
            self.is_elsewhere = is_elsewhere(config)
        return self._place

    def _classify(self, status: int, headers: Mapping[str, str], body: bytes) -> StorageError | None:
        if not self._speaks_s3:
            self._speaks_s3 = speaks_s3(headers, body)
        if not body and 200 <= status < 300:  # noqa: PLR2004 - HTTP's class of success
            return None
        return classify(
            status, headers, body, region=self._place.region, hint=self._hint, anybody=self.is_elsewhere
        )

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        return self.exchange.circuits()

    @property
    def signer(self) -> AwsSigner:
        """Signs links in the same way as requests; the bucket must be open."""
        self.check_usable(None)
        return self._signer

    @property
    def clock_offset(self) -> float:
        """Seconds by which the server's clock is ahead (P14)."""
        return self.exchange.clock_offset(self._place.origin)

    async def warm(self, connections: int, deadline: float | None) -> None:
        """Have that many connections to the bucket's place ready, and what signs requests.

        Raises:
            StorageError: They could not be had; nothing was sent.
        """
        self.check_usable(deadline)
        place = await self.located(deadline)
        try:
            await self.exchange.warm(place.origin, connections, deadline)
        except StorageError as error:
            error.bucket = self.name
            raise

    def may_look(self) -> bool:
        """Whether the retry budget permits one more request, to see what became of a write."""
        return self.exchange.spend()

    def looked(self) -> None:
        """Such a request got a response: return what it took from the budget."""
        self.exchange.earn()

    def check_key(self, key: str) -> None:
        """Refuse a key that the cloud would store under a different name.

        Raises:
            StorageInvalidKeyError: The key is not in Unicode normal form C, and the cloud rewrites keys to
                it.
        """
        if self.dialect.nfc_keys and not unicodedata.is_normalized("NFC", key):
            raise StorageInvalidKeyError(
                f"{self.label} rewrites keys to Unicode normal form C; normalise this one "
                'first: unicodedata.normalize("NFC", key)',
                key=key,
                bucket=self.name,
            )

    async def call(self, request: S3Request, *, deadline: float | None, stream: bool = False) -> Reply:
        """Send one request, once again to another region's host if the bucket is there.

        The refusal of a HEAD has no body to say why: clock, session, region, bucket or object. So the reason
        is asked for with a GET of one byte, which also lets the exchange correct what it can; then the HEAD
        goes out once more, and if it is refused again, what the GET said stands. "No such object" is believed
        without that only where it comes from an S3 server and the bucket is known to be there. A success that
        any web server could give is believed only of a server that has shown that it speaks S3.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()`, or None.
            stream: Leave the body of a successful response open in `Reply.response`; the caller closes it.

        Raises:
            StorageConfigurationError: The bucket is elsewhere and cannot be followed there.
            StorageError: Anything else; `applied` is about this request.
        """
        self._guard.check(deadline)
        if request.key is not None and self.dialect.nfc_keys:
            self.check_key(request.key)
        place: Place = self._place
        reply: Reply | StorageError
        try:
            try:
                if self._locating is not None:
                    place = await self.located(deadline)
                reply = await self._send(request, place, deadline, stream=stream)
            except StorageError as error:
                reply = error
            if isinstance(reply, StorageError):
                reply = await self._answered(request, deadline, stream=stream, first=(place, reply))
            if request.operation not in _WITHOUT_DOCUMENT:
                return reply
            if not self.is_s3:
                return await self._of_a_store(request, reply, deadline)
            check_answers(request.operation, reply, anybody=self.is_elsewhere)
            return reply
        except StorageError as error:
            if not may_be_about_key(request, error):
                raise
            failure = error
        raise await self._about_key(request, failure, deadline) from None

    async def _of_a_store(self, request: S3Request, reply: Reply, deadline: float | None) -> Reply:
        """The reply, or the one to the request sent again where the connection was needed, if S3 answers."""
        if reply.response is not None:
            await reply.response.aclose()  # It may hold the only connection.
        await self._check_speaks_s3(request, reply, deadline)
        if reply.response is None:
            check_answers(request.operation, reply, anybody=self.is_elsewhere)
            return reply
        return await self._answered(request, deadline, stream=True)

    async def _check_speaks_s3(self, request: S3Request, reply: Reply, deadline: float | None) -> None:
        """Refuse a success of a server that does not list the bucket either, as only a store can.

        Raises:
            StorageConfigurationError: It does not speak S3 (code "NOT_S3").
            StorageError: It could not be asked.
        """
        if request.key is not None and not request.mutation:
            check_is_s3(reply.status, reply.headers)
        try:
            await self._list_one(deadline)
        except StorageError as error:
            if self.is_s3:
                return  # The refusal was S3's: whoever may not list may still read and write.
            applied: Applied = "maybe" if request.mutation else "no"
            if error.retryable:
                error.applied = applied
                raise
            raise not_s3(reply.status, applied) from None

    @property
    def is_s3(self) -> bool:
        """Whether S3 answers: the host is the cloud's own, or a response has shown it."""
        return self._speaks_s3 or not self.is_elsewhere

    def shown(self) -> None:
        """Take note that a response has shown that it comes from a store."""
        self._speaks_s3 = True

    @property
    def answered(self) -> bool:
        """Whether the bucket was there a short while ago."""
        return time.monotonic() - self._answered_at < _FRESH

    async def _about_key(
        self, request: S3Request, error: StorageError, deadline: float | None
    ) -> StorageError:
        """What a refused read says of its customer-provided key, found out by one request without it.

        A refusal that gives no reason is about a key only where other requests are not refused too.
        """
        if not has_key(request):
            if error.provider_code is None and not self.answered:
                try:
                    await self._list_one(deadline)
                except StorageAccessDeniedError:
                    return needs_key(error)
                except StorageError:
                    return error
            return needs_key(error)
        try:
            reply = await self._followed(without_key(request), deadline=deadline, stream=True)
        except StorageError as other:
            return needs_no_key(error) if other.code == ErrorCode.INVALID_RANGE else wrong_key(error, other)
        if reply.response is not None:
            await reply.response.aclose()
        return needs_no_key(error)

    async def _answered(
        self,
        request: S3Request,
        deadline: float | None,
        *,
        stream: bool,
        first: tuple[Place, StorageError] | None = None,
    ) -> Reply:
        """The reply to a request; `first` is its refusal, where it was sent to a place already."""
        try:
            return await self._followed(request, deadline=deadline, stream=stream, first=first)
        except StorageError as error:
            if not says_nothing(error):
                raise
            if request.method != "HEAD":
                if isinstance(error, StorageObjectNotFoundError):
                    await self._check_there(deadline, error, mutation=request.mutation)
                raise
            if isinstance(error, StorageObjectNotFoundError) and self.answered:
                raise
            given = await self._ask(request, deadline)
        try:
            return await self._followed(request, deadline=deadline, stream=stream)
        except StorageObjectNotFoundError as error:
            if given is None:
                raise
            facts = error.facts()
            facts["code"], facts["retryable"] = ErrorCode.NOT_S3, True
        except StorageError as error:
            if given is None or not says_nothing(error) or is_of_part(request):
                raise
            return given
        raise StorageUnavailableError(
            "the server gives the object to a GET, and says to a HEAD that there is none; check `endpoint`, "
            "and whether a cache or proxy stands in between",
            **facts,
        )

    async def _ask(self, request: S3Request, deadline: float | None) -> Reply | None:
        """Raise the reason of a refused HEAD, or return what a GET says of the object it was about."""
        asked = asking(request)
        try:
            reply = await self._followed(asked, deadline=deadline, stream=True)
        except StorageError as error:
            if isinstance(error, StorageObjectNotFoundError) and says_nothing(error):
                await self._check_there(deadline, error, mutation=False)
            if error.code != ErrorCode.INVALID_RANGE:
                raise
            # It is empty, and can be read whole.
            reply = await self._followed(without_range(asked), deadline=deadline, stream=True)
        if reply.response is not None:
            await reply.response.aclose()  # Of a server that ignores ranges it may be long.
        if request.key is None:
            return None
        return replace(reply, status=200, headers=as_of_head(reply.status, reply.headers), response=None)

    async def _check_there(self, deadline: float | None, absent: StorageError, *, mutation: bool) -> None:
        """Refuse a bucket that is not there; one that may not be listed may be there.

        Args:
            deadline: Instant of `time.monotonic()`, or None.
            absent: What was said of an object in it.
            mutation: Whether that was to be changed.
        """
        if self.answered:
            return
        try:
            await self._list_one(deadline)
        except StorageAccessDeniedError:
            return
        except StorageError as error:
            missing = isinstance(error, StorageBucketNotFoundError)
            error.applied = "maybe" if mutation and not missing else absent.applied
            raise

    async def _list_one(self, deadline: float | None) -> None:
        """List one key, which only a store can answer."""
        request = list_objects("", None, 1, self.dialect)
        reply = await self._followed(request, deadline=deadline, stream=False)
        await parsed(parse_list, reply.body)
        self.shown()
        self._answered_at = time.monotonic()

    async def _followed(
        self,
        request: S3Request,
        *,
        deadline: float | None,
        stream: bool,
        first: tuple[Place, StorageError] | None = None,
    ) -> Reply:
        """The reply from where the bucket is; `first` is what became of the request at a place already."""
        place = await self.located(deadline) if first is None else first[0]
        try:
            if first is not None:
                raise first[1]
            return await self._send(request, place, deadline, stream=stream)
        except WrongRegionError as error:
            better = (
                self._place if self._place != place else corrected_place(place, self.config, error.region)
            )
            if better is None:
                raise self._misplaced(error) from None
            self._place = better  # Used for the bucket's next requests too.
            if not request.replayable:
                raise self._misplaced(error) from None
            misplaced = error
        try:
            return await self._send(request, better, deadline, stream=stream)
        except WrongRegionError as error:
            raise self._misplaced(error) from None
        except StorageError as error:
            if misplaced.applied == "maybe":
                error.applied = "maybe"
            raise

    async def _send(self, request: S3Request, place: Place, deadline: float | None, *, stream: bool) -> Reply:
        """The reply, with the checksum in the request that the bucket is known to want, or wants now."""
        if self.checksums.lacks(request):
            request = await with_md5(request)
        call = made(
            WireCall,
            # A request has the fields of a call, but for where it goes and when.
            request.__dict__
            | {
                "origin": place.origin,
                "path": place.path(request.key),
                "headers": {**request.headers, **self._said} if self._said else request.headers,
                "region": place.region,
                "mutation": request.mutation,
                "deadline": deadline,
                "stream": stream,
                "max_reply": MAX_XML,
            },
        )
        try:
            reply = await self.exchange.call(call)
        except StorageError as error:
            error.bucket = self.name
            if request.key is None and isinstance(error, StorageObjectNotFoundError):
                facts = error.facts()
                facts["code"] = ErrorCode.BUCKET_NOT_FOUND
                raise StorageBucketNotFoundError(NO_BUCKET.message, **facts) from None
            if isinstance(error, StorageObjectNotFoundError) and error.provider_code is not None:
                self._answered_at = time.monotonic()  # Of a bucket that is not there it would have said so.
            if not self.checksums.wants(error, request):
                raise
            refusal = error
        else:
            if has_header_of_s3(reply.headers) or (self.is_s3 and "etag" in reply.headers):
                self._answered_at = time.monotonic()
            return reply
        request = await self.checksums.after(refusal, request)
        try:
            return await self._send(request, place, deadline, stream=stream)
        except StorageError as error:
            if refusal.applied == "maybe":
                error.applied = "maybe"
            raise

    def _misplaced(self, error: WrongRegionError) -> StorageConfigurationError:
        facts = error.facts()
        message = (
            f"{error.message}; the provider names region {error.region!r}" if error.region else error.message
        )
        facts["code"] = ErrorCode.WRONG_REGION
        return StorageConfigurationError(message, **facts)

    def check_usable(self, deadline: float | None) -> None:
        """Refuse a call that must not start; see `Guard.check`."""
        self._guard.check(deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        if not self._guard.closed:
            self._guard.closed = True
            await self.exchange.aclose()


async def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed response; a large one is parsed off the event loop."""
    return parse(body) if len(body) <= _PARSE_ON_LOOP else await in_pool(parse, body)
