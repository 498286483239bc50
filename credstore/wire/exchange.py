"""One call over the wire: sign, send, classify, decide. The only retry loop.

Rules of this file: every attempt is signed anew; a write is called not applied only where that is
proved (P0); 3xx answers are errors like any other and never followed. What a cloud's answers mean is
its driver's knowledge and comes in as `classify`; how long to wait is `retry.py`'s.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.model import NOTHING, CircuitState
from credstore.reader import sha256
from credstore.wire.aws.credentials import Credentials, CredentialSource
from credstore.wire.aws.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD, encode_query, sign_headers
from credstore.wire.breaker import Breaker
from credstore.wire.connection import HttpResponse, WireError, WireKind
from credstore.wire.hedge import Hedging
from credstore.wire.http import HttpClient, HttpRequest, StreamBody
from credstore.wire.retry import Budget, Failure, RetryPolicy, Stop, decide, parse_date, parse_retry_after
from credstore.wire.tally import listeners

_SUCCESSES = range(200, 300)
_REFUSALS = frozenset({301, 307, 308, *range(400, 500)})
"""Statuses of answers that say that nothing was done; 302 and 303 may follow on something that was."""
_DOWN = (StorageConnectionError, StorageTimeoutError, StorageUnavailableError)
"""Errors that say of an endpoint that it cannot be used, whatever is asked of it."""
_SMALLEST_SKEW = 4 * 60.0
"""Seconds of difference below which the clock is not to blame (P14)."""
_LARGEST_SKEW = 24 * 3600.0
_LONGEST_ERROR = 64 * 1024
"""Bytes of an error's body that are looked at (L18)."""

Classify = Callable[[int, Mapping[str, str], bytes], StorageError | None]
"""(status, headers by lower-case name, body) to the error they mean, or None for a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCall:
    """One operation of a driver, as one HTTP request that may take several attempts.

    Attributes:
        operation: The provider's name of it, such as "PutObject".
        method: HTTP method.
        origin: `https://host[:port]`; signature and Host are made for exactly this origin.
        path: Percent-encoded, signed and sent as it is; starts with "/".
        query: Decoded pairs, encoded once for signing and sending.
        headers: By lower-case name.
        body: What to send.
        body_sha256: Its SHA-256 in hex; None to compute it, or for a stream to leave it unsigned.
        region: To sign for.
        mutation: Whether an attempt without a definite answer leaves the outcome open.
        replayable: Whether the body may be opened again.
        deadline: Instant of `time.monotonic()` for all attempts, or None.
        stream: Leave the body of a success open in `Reply.response`; the caller closes it.
        max_reply: Most bytes of a success that is not streamed.
        probe: Go out even to an endpoint that is left alone for now, to see how it is.
    """

    operation: str
    method: str
    origin: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    body: bytes | StreamBody | None = field(default=None, repr=False)
    body_sha256: str | None = None
    region: str
    mutation: bool
    replayable: bool = True
    deadline: float | None = None
    stream: bool = False
    max_reply: int = 16 * 1024 * 1024
    probe: bool = False


@dataclass(slots=True, kw_only=True)
class Reply:
    """The successful answer to a call.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: All of it; empty where it is left open.
        response: To read and close, if the call asked for a stream.
        attempts: Wire requests it took.
        unclear: Whether an earlier attempt of this mutation may have been applied.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    response: HttpResponse | None
    attempts: int
    unclear: bool


@dataclass(slots=True)
class _Progress:
    """What one call has been through."""

    payload_hash: str
    attempts: int = 0
    retries: int = 0
    cost: int = 0
    unclear: bool = False
    body_opened: bool = False
    resynced: bool = False
    renewed: bool = False
    date: float | None = None


class Exchange:
    """Makes calls to one cloud with one set of credentials.

    Cancellation: at once, leaving nothing open; what was sent may have been applied.
    """

    def __init__(
        self,
        http: HttpClient,
        credentials: CredentialSource,
        *,
        classify: Classify,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        hedge_reads: bool = False,
    ) -> None:
        """Own `http` and `credentials`, which are closed with the exchange.

        Args:
            http: Sends.
            credentials: Asked before each attempt.
            classify: What an answer means.
            policy: Of retries.
            clock: Unix seconds, for signatures.
            monotonic: Seconds, for deadlines.
            sleep: Waits so many seconds.
            rng: Uniform over [0, 1).
            hedge_reads: Ask a second time for reads that take longer than most.
        """
        self.credentials = credentials
        self._http = http
        self._classify = classify
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng
        self._budget = Budget()
        self._breakers: dict[str, Breaker] = {}
        self._hedging = Hedging() if hedge_reads else None
        self._offsets: dict[str, float] = {}
        self._renewing = asyncio.Lock()

    def clock_offset(self, origin: str) -> float:
        """Seconds the origin's clock is ahead of this machine's, as far as it mattered (P14)."""
        return self._offsets.get(origin, 0.0)

    def circuits(self) -> dict[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        now = self._monotonic()
        return {_host(origin): breaker.state(now) for origin, breaker in self._breakers.items()}

    def spend(self) -> bool:
        """Take what one retry costs for a request that only tells what became of another (P12)."""
        return self._budget.spend(self._budget.RETRY_COST)

    def earn(self) -> None:
        """Give back what `spend` took."""
        self._budget.earn(self._budget.RETRY_COST)

    async def call(self, call: WireCall) -> Reply:
        """Make attempts until one succeeds or none should follow.

        Raises:
            StorageError: As classified, or about the connection; `applied` is "no" for reads, and
                for mutations where nothing was sent or each attempt got a definite refusal.
            Exception: Whatever the body's source raised.
        """
        if self._hedging is None or call.mutation:
            return await self._attempts(call)
        return await self._hedged(call, self._hedging)

    async def _attempts(self, call: WireCall) -> Reply:
        breaker = self._breakers.get(call.origin)
        if breaker is None:
            breaker = self._breakers[call.origin] = Breaker()
        elif breaker.tripped and not call.probe:
            self._check_circuit(breaker)
        progress = _Progress(await _payload_hash(call))
        while True:
            try:
                credentials = await self.credentials.get()
                outcome = await self._attempt(call, credentials, progress)
            except StorageError as error:  # Of the credentials, the body's source or the client itself.
                _judged(error, call, progress, definite=True)
                raise
            if isinstance(outcome, Reply):
                if breaker.failures:
                    breaker.succeeded()
                self._budget.earn(progress.cost)
                return outcome
            if isinstance(outcome, _DOWN) and outcome.retryable:
                breaker.failed(self._monotonic())
            else:
                breaker.succeeded()
            if not await self._corrected(call, outcome, credentials, progress):
                await self._wait(call, outcome, progress)

    def _check_circuit(self, breaker: Breaker) -> None:
        wait = breaker.refusal(self._monotonic())
        if wait is not None:
            raise StorageUnavailableError(
                f"the last {breaker.failures} requests to this endpoint failed; it is tried again in "
                f"{wait:.1f} s, and nothing is sent before",
                code=ErrorCode.CIRCUIT_OPEN,
                applied="no",
                retry_after=wait,
            )

    async def _hedged(self, call: WireCall, hedging: Hedging) -> Reply:
        """The first good answer to a read, of one request or of two."""
        start = self._monotonic()
        running = [asyncio.ensure_future(self._attempts(call))]
        won: asyncio.Task[Reply] | None = None
        try:
            delay = hedging.delay()
            done, waiting = await asyncio.wait(running, timeout=delay)
            if not done and hedging.spend():
                running.append(asyncio.ensure_future(self._attempts(call)))
                waiting = set(running)
            while not any(_answered(task) for task in done) and waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            won = next((task for task in done if _answered(task)), next(iter(done)))
            reply = won.result()
            hedging.seen(self._monotonic() - start)
            return reply
        finally:
            await _dropped(running, won)

    async def _attempt(
        self, call: WireCall, credentials: Credentials, progress: _Progress
    ) -> Reply | StorageError:
        """One wire request."""
        progress.attempts += 1
        for listen in listeners.get():
            listen(call.operation)
        request = self._signed(call, credentials, progress.payload_hash)
        try:
            answer = await self._http.send(request, deadline=call.deadline)
            progress.body_opened = True
            return await self._received(call, answer, progress)
        except WireError as error:
            failure = error
        progress.body_opened |= failure.sent
        return _judged(_connection_error(failure), call, progress, definite=not failure.sent)

    def _signed(self, call: WireCall, credentials: Credentials, payload_hash: str) -> HttpRequest:
        now = datetime.fromtimestamp(self._clock() + self.clock_offset(call.origin), UTC)
        host = _host(call.origin)
        signed = sign_headers(
            method=call.method,
            host=host,
            path=call.path,
            query=call.query,
            headers=call.headers,
            payload_hash=payload_hash,
            credentials=credentials,
            region=call.region,
            service="s3",
            now=now,
        )
        url = call.origin + call.path
        if call.query:
            url += "?" + encode_query(call.query)
        return HttpRequest(
            method=call.method, url=url, headers={"host": host, **call.headers, **signed}, body=call.body
        )

    async def _received(
        self, call: WireCall, answer: HttpResponse, progress: _Progress
    ) -> Reply | StorageError:
        """Read as much of the answer as its status deserves, and say what it means."""
        success = answer.status in _SUCCESSES
        stream = call.stream and success
        try:
            if stream:
                body = b""
            elif success:
                body = await answer.read(call.max_reply)
            else:
                body = await answer.read_start(_LONGEST_ERROR)
            error = self._classify(answer.status, answer.headers, body)
        except BaseException:
            await answer.aclose()
            raise
        if error is None:
            return Reply(
                status=answer.status,
                headers=answer.headers,
                body=body,
                response=answer if stream else None,
                attempts=progress.attempts,
                unclear=progress.unclear,
            )
        await answer.aclose()
        progress.date = parse_date(answer.headers.get("date"))
        if error.retry_after is None:
            error.retry_after = parse_retry_after(answer.headers, self._clock())
        # A timeout of the provider or a proxy is no definite answer, whatever its status.
        definite = answer.status in _REFUSALS and not isinstance(error, StorageTimeoutError)
        return _judged(error, call, progress, definite=definite)

    async def _corrected(
        self, call: WireCall, error: StorageError, used: Credentials, progress: _Progress
    ) -> bool:
        """Whether the cause of the failure has been put right, so that the request can go out anew."""
        if not _can_send_again(call, progress):
            return False
        if error.code == ErrorCode.CLOCK_SKEW and not progress.resynced:
            progress.resynced = True
            return self._resync(call.origin, progress.date)
        if error.code == ErrorCode.CREDENTIALS_EXPIRED and not progress.renewed:
            progress.renewed = True
            try:
                await self._renew(used)
            except StorageError as failure:
                _judged(failure, call, progress, definite=True)
                raise
            return True
        return False

    def _resync(self, origin: str, date: float | None) -> bool:
        if date is None:
            return False
        offset = date - self._clock()
        if abs(offset) > _LARGEST_SKEW or abs(offset - self.clock_offset(origin)) <= _SMALLEST_SKEW:
            return False
        self._offsets[origin] = offset
        return True

    async def _renew(self, used: Credentials) -> None:
        """Renew the credentials unless that has happened since they were used; one at a time."""
        async with self._renewing:
            if await self.credentials.get() == used:
                await self.credentials.refresh()

    async def _wait(self, call: WireCall, error: StorageError, progress: _Progress) -> None:
        """Wait for the next attempt, or raise if there should be none."""
        failure = Failure(
            retryable=error.retryable and _can_send_again(call, progress),
            throttled=isinstance(error, StorageRateLimitedError),
            retry_after=error.retry_after,
        )
        decision = decide(
            self._policy,
            self._budget,
            failure,
            attempt=progress.retries + 1,
            now=self._monotonic(),
            deadline=call.deadline,
            rng=self._rng,
        )
        if isinstance(decision, Stop):
            raise error
        progress.retries += 1
        progress.cost = decision.cost
        await self._sleep(decision.seconds)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        try:
            await self._http.aclose()
        finally:
            await self.credentials.aclose()


async def _payload_hash(call: WireCall) -> str:
    if call.body_sha256 is not None:
        return call.body_sha256
    if isinstance(call.body, StreamBody):
        return UNSIGNED_PAYLOAD
    return (await sha256(call.body)).hex() if call.body else EMPTY_SHA256


def _host(origin: str) -> str:
    """The Host header of an origin: clients leave out a scheme's own port."""
    scheme, _, host = origin.partition("://")
    return host.removesuffix(":443" if scheme == "https" else ":80")


def _answered(task: asyncio.Task[Reply]) -> bool:
    """Whether a read has ended with an answer that another request would not change."""
    error = task.exception()
    return error is None or not (isinstance(error, StorageError) and error.retryable)


async def _dropped(tasks: Sequence[asyncio.Task[Reply]], won: asyncio.Task[Reply] | None) -> None:
    """End all but the one that won, and give back what they hold."""
    for task in tasks:
        task.cancel()
    for outcome, task in zip(await asyncio.gather(*tasks, return_exceptions=True), tasks, strict=True):
        if task is not won and isinstance(outcome, Reply) and outcome.response is not None:
            await outcome.response.aclose()


def _can_send_again(call: WireCall, progress: _Progress) -> bool:
    return call.replayable or not isinstance(call.body, StreamBody) or not progress.body_opened


def _judged(error: StorageError, call: WireCall, progress: _Progress, *, definite: bool) -> StorageError:
    """Set `applied` after an attempt; one without a definite answer leaves a mutation open for good."""
    if call.mutation and not definite:
        progress.unclear = True
    error.applied = "maybe" if progress.unclear else "no"
    return error


_MEANINGS: Mapping[WireKind, tuple[type[StorageError], ErrorCode, str]] = {
    "dns": (
        StorageConnectionError,
        ErrorCode.NAME_NOT_FOUND,
        "the host's name could not be resolved; check the endpoint",
    ),
    "connect": (
        StorageConnectionError,
        ErrorCode.CONNECTION_FAILED,
        "no connection could be made; check the endpoint",
    ),
    "tls": (
        StorageConfigurationError,
        ErrorCode.TLS,
        "no trusted TLS connection could be made; check `endpoint` and `ca_file`",
    ),
    "timeout": (StorageTimeoutError, ErrorCode.TIMEOUT, "there was no answer in time"),
    "broken": (
        StorageConnectionError,
        ErrorCode.CONNECTION_BROKEN,
        "the connection broke before the answer was complete",
    ),
    "protocol": (
        StorageConnectionError,
        ErrorCode.BAD_ANSWER,
        "the answer is not HTTP as it should be, or is too large",
    ),
}


def _connection_error(failure: WireError) -> StorageError:
    kind, code, message = _MEANINGS[failure.kind]
    return kind(f"{message} ({failure.detail})" if failure.detail else message, code=code)
