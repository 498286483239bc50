"""One call over the wire: sign, send, classify, decide. The only retry loop.

Rules of this file: every attempt is signed again; a write counts as not applied only where that is proved
(P0); 3xx responses are errors like any other and never followed. The driver knows what its cloud's responses
mean and passes that in as `classify`; `retry.py` decides how long to wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from credstore.errors import (
    ErrorCode,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.hashing import sha256
from credstore.model import CircuitState
from credstore.quick import made
from credstore.wire.breaker import Breaker
from credstore.wire.failures import PASSWORD_WANTED, connection_error, proxy_failure
from credstore.wire.hedge import Hedging
from credstore.wire.retry import Budget, Failure, RetryPolicy, Stop, decide, parse_date, parse_retry_after
from credstore.wire.signer import Signed, Signer, WireCall
from credstore.wire.tally import listeners, note
from credstore.wire.transport import HttpRequest, HttpResponse, StreamBody, Transport, WireError
from credstore.wire.urls import encode_query, host_of
from credstore.wire.waiting import within

CREDENTIALS = "the credentials"
"""What a signer waits for, in words."""
_REFUSALS = frozenset({301, 307, 308, *range(400, 500), 501, 505})
"""Statuses of answers that say that nothing was done; 302 and 303 may follow on something that was. Who
does not know a method, header or version of HTTP (501, 505) has not acted on it."""
_DOWN = (StorageConnectionError, StorageTimeoutError, StorageUnavailableError)
"""Errors that say that an endpoint cannot be used at all, whatever the request."""
_SMALLEST_SKEW = 4 * 60.0
"""Seconds of difference below which the clock is not to blame (P14)."""
_LARGEST_SKEW = 24 * 3600.0
_LONGEST_ERROR = 64 * 1024
"""Bytes of an error's body that are read (L18)."""
_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()

Classify = Callable[[int, Mapping[str, str], bytes], StorageError | None]
"""(status, headers by lower-case name, body) to the error they mean, or None for success."""
Recognize = Callable[[Mapping[str, str], bytes], bool]
"""(headers by lower-case name, body) of a failure to whether it comes from the cloud itself and not from a
proxy."""


@dataclass(slots=True)
class Reply:
    """The successful response to a call.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: All of it; empty if it is left open.
        response: The response to read and close, if the call asked for a stream.
        attempts: Number of wire requests it took.
        unclear: Whether an earlier attempt of this mutation may have been applied.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    response: HttpResponse | None
    attempts: int
    unclear: bool


class _Progress:
    """What one call has been through."""

    attempts = 0
    retries = 0
    cost = 0
    unclear = False
    body_opened = False
    resynced = False
    renewed = False
    date: float | None = None
    offset = 0.0


class Exchange:
    """Makes calls to one cloud on behalf of one user.

    Cancellation: at once, leaving nothing open; what was sent may have been applied.

    Attributes:
        sent: Attempts so far, by the operation's name.
    """

    def __init__(
        self,
        transport: Transport,
        signer: Signer,
        *,
        classify: Classify,
        recognize: Recognize,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        hedge_reads: bool = False,
    ) -> None:
        """Own `transport` and `signer`, which are closed with the exchange.

        Args:
            transport: Sends.
            signer: Asked before each attempt.
            classify: What a response of the cloud means.
            recognize: Whether a failure that came through a proxy is the cloud's; only then is it classified.
            policy: The retry policy.
            clock: Unix seconds, for signatures.
            monotonic: Seconds, for deadlines.
            sleep: Waits that many seconds.
            rng: Uniform over [0, 1).
            hedge_reads: Request reads a second time if they take longer than most.
        """
        self._transport = transport
        self._signer = signer
        self._classify = classify
        self._recognize = recognize
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng
        self._budget = Budget()
        self._breakers: dict[str, Breaker] = {}
        self.sent: Counter[str] = Counter()
        self._hedging = Hedging() if hedge_reads else None
        self._offsets: dict[str, float] = {}

    def clock_offset(self, origin: str) -> float:
        """Seconds by which the origin's clock is ahead of this machine's, as far as it mattered (P14)."""
        return self._offsets.get(origin, 0.0)

    def circuits(self) -> dict[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        now = self._monotonic()
        return {host_of(origin): breaker.state(now) for origin, breaker in self._breakers.items()}

    def spend(self) -> bool:
        """Take the cost of one retry for a request that only finds out what became of another (P12)."""
        return self._budget.spend(self._budget.RETRY_COST)

    def earn(self) -> None:
        """Return what `spend` took."""
        self._budget.earn(self._budget.RETRY_COST)

    def call(self, call: WireCall) -> Coroutine[Any, Any, Reply]:
        """Make attempts until one succeeds or none should follow.

        Raises:
            StorageError: As classified, or about the connection; `applied` is "no" for reads, and for
                mutations where nothing was sent or every attempt was definitely refused.
            Exception: Whatever the body's source raised.
        """
        if self._hedging is None or call.mutation:
            return self._attempts(call)
        return self._hedged(call, self._hedging)

    async def _attempts(self, call: WireCall) -> Reply:
        breaker = self._breakers.get(call.origin)
        if breaker is None:
            breaker = self._breakers[call.origin] = Breaker()
        elif breaker.tripped and not call.probe:
            self._check_circuit(breaker)
        signer, digest = self._signer, call.body_sha256
        if digest is None and signer.signs_body and not isinstance(call.body, StreamBody):
            digest = (await sha256(call.body)).hex() if call.body else _SHA256_OF_NOTHING
        progress = _Progress()
        while True:
            try:
                progress.offset = self._offsets.get(call.origin, 0.0)
                now = self._clock() + progress.offset
                signed = signer.sign_now(call, digest, now)
                if signed is None:
                    signed = await within(call.deadline, signer.sign(call, digest, now), CREDENTIALS)
                progress.attempts += 1
                self.sent[call.operation] += 1
                for listen in listeners.get():
                    listen(call.operation)
                try:
                    answer = await self._transport.send(_request(call, signed), deadline=call.deadline)
                    progress.body_opened = True
                    outcome = self._at_hand(call, answer, progress)
                    if outcome is None:
                        outcome = await self._received(call, answer, progress)
                except WireError as error:
                    progress.body_opened |= error.sent
                    outcome = _judged(connection_error(error), call, progress, definite=not error.sent)
            except StorageError as error:  # From the credentials, the body's source or the client itself.
                _judged(error, call, progress, definite=True)
                raise
            if isinstance(outcome, Reply):
                if breaker.failures:
                    breaker.succeeded()
                if self._budget.tokens < self._budget.CAPACITY:
                    self._budget.earn(progress.cost)
                return outcome
            if isinstance(outcome, _DOWN) and outcome.retryable:
                breaker.failed(self._monotonic())
            else:
                breaker.succeeded()
            if not await self._corrected(call, outcome, signed, progress):
                await self._wait(call, outcome, progress)

    def _check_circuit(self, breaker: Breaker) -> None:
        wait = breaker.refusal(self._monotonic())
        if wait is not None:
            raise StorageUnavailableError(
                f"the last {breaker.failures} requests to this endpoint failed; it is tried again in "
                f"{wait:.1f} s, and nothing is sent until then",
                code=ErrorCode.CIRCUIT_OPEN,
                applied="no",
                retry_after=wait,
            )

    async def _hedged(self, call: WireCall, hedging: Hedging) -> Reply:
        """The first good response to a read, from one request or two."""
        start = self._monotonic()
        running = [asyncio.ensure_future(self._attempts(call))]
        won: asyncio.Task[Reply] | None = None
        try:
            delay = hedging.delay()
            done, waiting = await asyncio.wait(running, timeout=delay)
            if not done and hedging.spend():
                note("hedge")
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

    def _at_hand(
        self, call: WireCall, answer: HttpResponse, progress: _Progress
    ) -> Reply | StorageError | None:
        """What a success means that is here as far as it is wanted, as most are; None if more has to come."""
        status, headers, stream = answer.status, answer.headers, call.stream
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's class of success
            return None
        body = b"" if stream else answer.take_whole(call.max_reply)
        if body is None:
            return None
        error = self._classify(status, headers, body)
        if error is not None:
            return self._refusal(call, answer, error, progress, definite=False)
        return Reply(status, headers, body, answer if stream else None, progress.attempts, progress.unclear)

    async def _received(
        self, call: WireCall, answer: HttpResponse, progress: _Progress
    ) -> Reply | StorageError:
        """Read as much of a response as its status requires, and say what it means; see `_at_hand`."""
        success = 200 <= answer.status < 300  # noqa: PLR2004 - HTTP's class of success
        try:
            if success:
                body = await answer.read(call.max_reply)
            else:
                body = await answer.read_start(_LONGEST_ERROR)
            if answer.proxy is None or success or self._recognize(answer.headers, body):
                error = self._classify(answer.status, answer.headers, body)
                definite = answer.status in _REFUSALS
            else:
                error = _of_proxy(answer.proxy, answer.status)
                # What a proxy refuses may have been forwarded before, as by one that inspects responses.
                definite = answer.status == PASSWORD_WANTED
        except BaseException:
            await answer.aclose()
            raise
        if error is None:
            return Reply(answer.status, answer.headers, body, None, progress.attempts, progress.unclear)
        await answer.aclose()
        return self._refusal(call, answer, error, progress, definite=definite)

    def _refusal(
        self,
        call: WireCall,
        answer: HttpResponse,
        error: StorageError,
        progress: _Progress,
        *,
        definite: bool,
    ) -> StorageError:
        """The error of a response, with what its headers add."""
        progress.date = parse_date(answer.headers.get("date"))
        if error.retry_after is None:
            error.retry_after = parse_retry_after(answer.headers, self._clock())
        # A timeout of the provider or a proxy is not a definite result, whatever its status.
        definite = definite and not isinstance(error, StorageTimeoutError)
        return _judged(error, call, progress, definite=definite)

    async def _corrected(
        self, call: WireCall, error: StorageError, used: Signed, progress: _Progress
    ) -> bool:
        """Whether the cause of the failure has been fixed, so that the request can be sent again."""
        if not _can_send_again(call, progress):
            return False
        if error.code == ErrorCode.CLOCK_SKEW and not progress.resynced:
            progress.resynced = True
            return self._resync(call.origin, progress)
        if error.code == ErrorCode.CREDENTIALS_EXPIRED and not progress.renewed:
            progress.renewed = True
            try:
                await within(call.deadline, self._signer.renew(used), CREDENTIALS)
            except StorageError as failure:
                _judged(failure, call, progress, definite=True)
                raise
            return True
        return False

    def _resync(self, origin: str, progress: _Progress) -> bool:
        # Of calls that begin together only one sets the clock; the others were signed before that.
        if abs(self.clock_offset(origin) - progress.offset) > _SMALLEST_SKEW:
            return True
        if progress.date is None:
            return False
        offset = progress.date - self._clock()
        if abs(offset) > _LARGEST_SKEW or abs(offset - progress.offset) <= _SMALLEST_SKEW:
            return False
        self._offsets[origin] = offset
        return True

    async def _wait(self, call: WireCall, error: StorageError, progress: _Progress) -> None:
        """Wait for the next attempt, or raise if there should not be one."""
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

    async def renew(self, call: WireCall) -> None:
        """Ask for newer credentials than such a call has now, as parts of one were refused for theirs.

        Raises:
            StorageError: They could not be had.
        """
        now = self._clock() + self.clock_offset(call.origin)
        used = await within(call.deadline, self._signer.sign(call, None, now), CREDENTIALS)
        await within(call.deadline, self._signer.renew(used), CREDENTIALS)

    async def warm(self, origin: str, connections: int, deadline: float | None) -> None:
        """Have connections and credentials ready for calls to an origin; see `Transport.warm`.

        Raises:
            StorageError: They could not be had; `applied` is "no".
        """
        failure: StorageError
        try:
            await within(deadline, self._signer.expires_at(), CREDENTIALS)
            await self._transport.warm(origin, connections, deadline=deadline)
        except WireError as error:
            failure = connection_error(error)
        else:
            return
        failure.applied = "no"
        raise failure

    async def aclose(self) -> None:
        """Close transport and signer; safe to call again."""
        try:
            await self._transport.aclose()
        finally:
            await self._signer.aclose()


def _request(call: WireCall, signed: Signed) -> HttpRequest:
    """What goes over the wire for one attempt."""
    url = call.origin + call.path
    if call.query or signed.query:
        url += "?" + "&".join([part for part in (encode_query(call.query), signed.query) if part])
    headers = {"host": host_of(call.origin), **call.headers, **signed.headers}
    return made(HttpRequest, {"method": call.method, "url": url, "headers": headers, "body": call.body})


def _of_proxy(proxy: str, status: int) -> StorageError:
    """A response that a proxy sent instead of the cloud."""
    error = connection_error(
        WireError(proxy_failure(status), sent=True, detail=f"{proxy} responded {status}")
    )
    error.status_code = status
    return error


def _answered(task: asyncio.Task[Reply]) -> bool:
    """Whether a read has ended with a response that another request would not change."""
    error = task.exception()
    return error is None or not (isinstance(error, StorageError) and error.retryable)


async def _dropped(tasks: Sequence[asyncio.Task[Reply]], won: asyncio.Task[Reply] | None) -> None:
    """End all but the winner and release what they hold; if cancelled in the meantime, the winner too."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        lost = task is not won or cancelled is not None
        if not task.cancelled() and task.exception() is None and lost:
            response = task.result().response
            if response is not None:
                await response.aclose()
    if cancelled is not None:
        raise cancelled


def _can_send_again(call: WireCall, progress: _Progress) -> bool:
    return call.replayable or not isinstance(call.body, StreamBody) or not progress.body_opened


def _judged(error: StorageError, call: WireCall, progress: _Progress, *, definite: bool) -> StorageError:
    """Set `applied` after an attempt; without a definite response, a mutation stays open for good."""
    if call.mutation and not definite:
        progress.unclear = True
    error.applied = "maybe" if progress.unclear else "no"
    return error
