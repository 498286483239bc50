"""One connection and the responses that arrive on it: bytes in, `Answer` out.

Rules of this file: a connection carries one request at a time and is reused only if its last response ended
exactly where HTTP says it does and its request had been sent in full; anything unsolicited ends it (N14).
Every wait is bounded. The parser is llhttp's; nothing is decompressed, no header is interpreted. Neither
errors nor their chains contain a URL or header.

Source: RFC 9110 and RFC 9112 (sections 6.3, 9.3).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast

import httptools

from credstore.model import NOTHING
from credstore.wire.proxy import Proxy
from credstore.wire.transport import REMEMBERED, WireError

AT_ONCE = 256 * 1024
"""Bytes read from a socket at once."""
READ_AHEAD = 2 * AT_ONCE
"""Bytes of a body read from a socket before its reader has asked for them; after each single read, pausing
would cost two system calls more than the read itself."""
_LONGEST_HEAD = 64 * 1024
_SLOWEST = 1024
"""Bytes per second of waiting below which a body is given up (P20, N08)."""
_LONGEST_LIFE = 3600.0
"""Seconds that a response may take which sends blanks as a sign of life, where no deadline ends it."""


Throttle = Callable[[int], Awaitable[None]]
"""Called with a number of bytes; returns once they are permitted to move."""


def _read(names: list[bytes], values: list[bytes]) -> dict[str, str]:
    """Headers by lower-case name, without the blanks around their values; repeated ones are joined."""
    known = _lower(tuple(names)) if len(names) <= REMEMBERED else _lower.__wrapped__(tuple(names))
    # In one step: what is not UTF-8 stays in its value, since the line breaks between them are ASCII.
    text = b"\n".join(values).decode("utf-8", "surrogateescape")
    texts = text.split("\n") if values else []
    if "\n " in text or " \n" in text or "\t" in text or text[:1] == " " or text[-1:] == " ":
        texts = [each.strip(" \t") for each in texts]
    headers = dict(zip(known, texts, strict=True))
    return headers if len(headers) == len(known) else _joined(known, texts)


@lru_cache(maxsize=64)
def _lower(names: tuple[bytes, ...]) -> tuple[str, ...]:
    """The names of a response's headers in lower case: nearly all responses of a server have the same."""
    return tuple([name.decode("latin-1").lower() for name in names])


def _joined(names: Sequence[str], texts: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, text in zip(names, texts, strict=True):
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


class Answer:
    """An `HttpResponse`, from before its first byte arrives until after its last.

    Attributes:
        status: HTTP status; 0 until the head has arrived.
        headers: By lower-case name; repeated ones joined by ", ".
    """

    status = 0
    headers: Mapping[str, str] = NOTHING
    _buffered = 0
    _taken = 0
    _waited = 0.0
    _complete = False
    _failure: BaseException | None = None
    _waiter: asyncio.Future[None] | None = None
    _throttle: Throttle | None = None

    def __init__(self, connection: Connection, end: float | None, idle: float) -> None:
        """Expect a response; `end` is an instant of the loop's clock, `idle` seconds."""
        self._connection = connection
        self._end = end
        self._idle = idle
        self._parts: deque[bytes] = deque()

    @property
    def proxy(self) -> str | None:
        """See `HttpResponse.proxy`."""
        proxy = self._connection.proxy
        return None if proxy is None else proxy.name

    def throttled(self, throttle: Throttle) -> None:
        """Let `throttle` delay whoever reads the body."""
        self._throttle = throttle

    async def head(self, until: float | None) -> None:
        """Wait for status and headers, or until someone calls `wake`: then `status` is still 0.

        Args:
            until: Instant of the loop's clock by which they must arrive, or None.

        Raises:
            Exception: Why they did not arrive: a `WireError`, or what was passed to `fail`.
        """
        if not self.status and self._failure is None:
            await self._wait(until)
        self.check()

    def check(self) -> None:
        """See whether it has started, or its maker was woken for another reason.

        Raises:
            Exception: As `head`.
        """
        if not self.status and self._failure is not None:
            raise self._failure

    async def read(self, limit: int) -> bytes:
        """The whole body, within the request's deadline; closes the response.

        Args:
            limit: Maximum number of bytes to accept.

        Raises:
            WireError: It is longer, was cut short, or did not arrive in time.
        """
        body, failure = await self._take(limit)
        if failure is not None:
            raise failure
        return body

    def take_whole(self, limit: int | None = None) -> bytes | None:
        """See `HttpResponse.take_whole`; None too where reading it has to be delayed."""
        if not self._complete or self._throttle is not None or (limit is not None and self._buffered > limit):
            return None
        return self._joined()

    async def read_start(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or as many as arrived; closes the response."""
        body, _ = await self._take(limit)
        return body

    async def _take(self, limit: int) -> tuple[bytes, BaseException | None]:
        """Up to `limit` bytes, and why they are not all."""
        if self._complete:
            whole = self._joined()
            if self._throttle is not None:
                await self._throttle(len(whole))
            return whole[:limit], _too_long(limit) if len(whole) > limit else None
        end = self._end
        paced = end is None  # With a deadline, that alone is the measure of how slow the body may come.
        if end is None:
            end = self._connection.now() + _LONGEST_LIFE
        taken: list[bytes] = []
        room = limit
        failure: BaseException | None = None
        try:
            while room >= 0 and (self._parts or not self._complete):
                if self._parts:
                    part = self._next()
                    taken.append(part[:room])
                    room -= len(part)
                    if not part.strip():
                        self._waited = 0.0  # Blanks are how S3 says that it is still at work.
                elif self._failure is not None:
                    failure = self._failure
                    break
                else:
                    await self._more(end, paced=paced)
        finally:
            await self.aclose()
        if room < 0:
            failure = _too_long(limit)
        if self._throttle is not None:
            await self._throttle(limit - max(0, room))
        return b"".join(taken), failure

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, undecoded; close the response when done with it.

        Raises:
            WireError: It was cut short, or nothing or too little arrived within the idle time.
        """
        while True:
            while self._parts:
                part = self._next()
                if self._throttle is not None:
                    await self._throttle(len(part))
                yield part
            if self._complete:
                return
            if self._failure is not None:
                raise self._failure
            await self._more()

    async def _more(self, end: float | None = None, *, paced: bool = True) -> None:
        """Wait for bytes as long as they come, until `end`, and if `paced` not too slowly."""
        start = self._connection.now()
        until = start + self._idle
        await self._wait(until if end is None or until < end else end)
        now = self._connection.now()
        self._waited += now - start
        if end is not None and now >= end:
            self.give_up()
        if paced and self._waited > self._idle:
            if self._taken + self._buffered < _SLOWEST * self._waited and not self._complete:
                self.give_up()
            self._waited, self._taken = 0.0, -self._buffered

    async def _wait(self, until: float | None) -> None:
        """Wait until something has happened; at `until` the response fails."""
        waiter = self.waiter(until)
        try:
            await waiter
        finally:
            self.unwatch()

    def waiter(self, until: float | None) -> asyncio.Future[None]:
        """What is done once something has happened; call `unwatch` then.

        Args:
            until: Instant of the loop's clock at which the response fails, or None.
        """
        connection = self._connection
        self._waiter = waiter = connection.loop.create_future()
        if until is not None:
            connection.watch(until)
        return waiter

    def unwatch(self) -> None:
        """No one waits any longer."""
        self._waiter = None
        self._connection.until = None

    def give_up(self) -> None:
        """It has not come in time."""
        self.drop(WireError("timeout", sent=True))

    def drop(self, error: WireError) -> None:
        """End it and its connection; one that has arrived in full no longer has a connection."""
        if not self._complete:
            self.fail(error)
            self._connection.abort()

    def _joined(self) -> bytes:
        parts = self._parts
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return whole

    def _next(self) -> bytes:
        part = self._parts.popleft()
        self._taken += len(part)
        self._buffered -= len(part)
        if not self._complete and self._buffered < READ_AHEAD:
            self._connection.resume_reading()
        return part

    def begun(self, status: int, headers: Mapping[str, str]) -> None:
        """The head has arrived; called by the connection, which then calls `wake`."""
        self.status, self.headers = status, headers

    def grow(self, data: bytes) -> None:
        """More of the body has arrived; called by the connection, which then calls `wake`."""
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered >= READ_AHEAD:
            self._connection.pause_reading()

    def ended(self) -> None:
        """All of it has arrived; called by the connection, which then calls `wake`."""
        self._complete = True

    def fail(self, error: BaseException) -> None:
        """End it with an error, unless it has ended."""
        if not self._complete and self._failure is None:
            self._failure = error
            self.wake()

    def wake(self) -> None:
        """Make whoever waits look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def aclose(self) -> None:
        """Drop the connection if the body has not ended; safe to call again."""
        self.cut()

    def cut(self) -> None:
        """The same at once."""
        if not self._complete:
            self.drop(WireError("broken", sent=True))


def _too_long(limit: int) -> WireError:
    return WireError("protocol", sent=True, detail=f"more than {limit} bytes")


def _adding(names: list[bytes], values: list[bytes]) -> Callable[[bytes, bytes], None]:
    """What takes in one header: called for each of them, so nothing else is looked at."""
    add_name, add_value = names.append, values.append

    def on_header(name: bytes, value: bytes) -> None:
        add_name(name)
        add_value(value)

    return on_header


class Connection(asyncio.BufferedProtocol):
    """One connection of a pool, from when it is made until it is lost."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        *,
        free: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        """Wait for the transport.

        Args:
            loop: That it runs on.
            buffer: Where bytes are received, shared by all connections, since they are parsed at once.
            free: Called when the next request may be sent.
            lost: Called once, when it has ended.
        """
        self.loop = loop
        self.now = loop.time
        self.idle_since = 0.0
        self.proxy: Proxy | None = None
        """The proxy that forwards its requests and may respond itself; None where only the origin can."""
        self._buffer = buffer
        self._free = free
        self._lost = lost
        self._transport: asyncio.Transport  # Set from `connection_made` on; until then it is broken.
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self.on_header = _adding(self._names, self._values)
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._bodyless = self._sending = self._headed = self._ended = False
        self._paused = self._choked = self._keep = self._early = False
        self._handed = True
        self._broken = True
        self._spent = False
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._drained: asyncio.Future[None] | None = None
        self.until: float | None = None
        """Instant of the loop's clock at which the response fails that somebody waits for."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request may be sent; asked only while none is under way."""
        return not self._broken

    def start(
        self, method: str, data: bytes, end: float | None, idle: float, *, more: bool = False
    ) -> Answer:
        """Send the head of a request with what is available of its body, and expect the response.

        Args:
            method: A response to HEAD has no body.
            data: Bytes to send.
            end: Instant of the loop's clock for a response that is read at once, or None.
            idle: Seconds without progress.
            more: Whether `send` follows, and `sent_all` after it.
        """
        self._answer = answer = Answer(self, end, idle)
        self._bodyless = method == "HEAD"
        self._sending = more
        self._handed = not more
        self._headed = self._ended = False
        self._head_size = 0
        self._transport.write(data)
        return answer

    async def send(self, data: bytes | memoryview, idle: float, *, last: bool = False) -> None:
        """More of a request's body; returns when the peer takes further bytes.

        Args:
            data: Bytes to send.
            idle: Seconds that they may take.
            last: Whether the body ends with them.

        Raises:
            WireError: The connection was lost, or the peer accepted nothing for `idle` seconds.
        """
        if self._broken:
            raise WireError("broken", sent=True)
        self._transport.write(data)
        self._handed = last
        if not self._choked:
            return
        self._drained = self.loop.create_future()
        try:
            async with asyncio.timeout(idle):
                await self._drained
        except TimeoutError:
            raise WireError("timeout", sent=True) from None
        finally:
            self._drained = None
        if self._broken:
            raise WireError("broken", sent=True)

    def sent_all(self) -> None:
        """The request has been sent in full."""
        self._sending = False

    def watch(self, until: float) -> None:
        """Let the response fail at an instant of the loop's clock, unless `until` is changed before.

        Nearly every response comes long before it would fail, so one timer is set and left for many of them:
        when it goes off, it looks whether anybody has waited for long enough.
        """
        self.until = until
        if self._timer is None or self._due > until:
            self._set_timer(until)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = self.loop.call_at(due, self._look), due

    def _look(self) -> None:
        self._timer = None
        if self.until is None:
            return
        if self.until > self._due:
            self._set_timer(self.until)
        elif self._answer is not None:
            self._answer.give_up()

    def abort(self) -> None:
        """End the connection at once; safe to call again."""
        if not self._broken:
            self._broken = True
            self._transport.abort()

    def pause_reading(self) -> None:
        """Stop reading from the socket."""
        if not self._paused and not self._broken:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the socket."""
        if self._paused and not self._broken:
            self._paused = False
            self._transport.resume_reading()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; in a tunnel, bytes or the end may have arrived before."""
        self._transport = cast("asyncio.Transport", transport)
        self._broken = False
        if self._spent:
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what has arrived."""
        answer = self._answer
        if answer is None or self._broken:
            self._spent = True
            self.abort()
            return
        if not self._headed:
            self._head_size += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._ended:
                self._refuse(answer)
                return
            self._keep = False  # More than the response arrived: the connection can no longer be trusted.
        if self._names and self._headed:
            self._forget_fields()  # Trailers, which are ignored.
        if self._ended:
            self._finish(answer)
        elif not self._headed and self._head_size > _LONGEST_HEAD:
            self._refuse(answer)
        if answer.status:  # Part of a head, or an interim response, is nothing to look at yet.
            answer.wake()

    def _refuse(self, answer: Answer) -> None:
        early = "a success came before the request had been sent" if self._early else ""
        answer.fail(WireError("protocol", sent=True, detail=early))
        self.abort()

    def _finish(self, answer: Answer) -> None:
        """The response has arrived in full: reuse the connection if that is safe."""
        self._answer = None
        if self._sending or not self._keep:
            self.abort()
        else:
            if self._bodyless:
                self._parser = httptools.HttpResponseParser(self)  # llhttp waits for the announced body.
            if self._paused:
                self.resume_reading()
            self._free(self)
        answer.ended()

    def eof_received(self) -> None:
        """The peer sends no more: let the transport close, and send nothing that will not be answered."""
        if self._answer is not None:
            self.abort()

    def _has_left(self) -> bool:
        """Whether the request was handed to the operating system, but for what its buffers hold at most."""
        return self._handed and not self._choked

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was in progress."""
        self._broken = self._spent = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        if answer is not None:
            framed = "content-length" in self._headers or "transfer-encoding" in self._headers
            if exc is None and self._headed and not framed:
                answer.ended()
                answer.wake()
            else:
                answer.fail(WireError("broken", sent=True))
        self.resume_writing()
        self._lost(self)

    def pause_writing(self) -> None:
        """The peer accepts the body too slowly."""
        self._choked = True

    def resume_writing(self) -> None:
        """The peer accepts more, or the connection was lost."""
        self._choked = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser calls; an exception ends the parsing as a protocol error.

    def on_message_begin(self) -> None:
        """A response starts; a second one was not requested."""
        if self._ended:
            raise ValueError

    def on_headers_complete(self) -> None:
        """The head has arrived, unless it is an interim one (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        if status < 200:  # noqa: PLR2004 - HTTP's class of interim responses
            self._forget_fields()
            return
        self._headers = _read(self._names, self._values)
        self._forget_fields()
        if status < 300 and not self._has_left():  # noqa: PLR2004 - who has not got it cannot have done it
            self._early = True
            raise ValueError
        self._headed = True
        self._ended = self._bodyless
        self._keep = self._parser.should_keep_alive() or (self._bodyless and self._persists())
        if self.proxy is not None and self._keep:
            # Some servers close after each response without saying so, which would break the next request.
            self._keep = "keep-alive" in self._headers.get("connection", "").lower()
        if self._head_size > _LONGEST_HEAD and sum(map(len, self._headers.values())) > _LONGEST_HEAD:
            raise ValueError
        if self._answer is not None:
            self._answer.begun(status, self._headers)

    def _forget_fields(self) -> None:
        self._names.clear()
        self._values.clear()

    def _persists(self) -> bool:
        """Whether the connection survives a response without a body (RFC 9112 section 9.3)."""
        closes = "close" in self._headers.get("connection", "").lower()
        return self._parser.get_http_version() == "1.1" and not closes

    def on_body(self, data: bytes) -> None:
        """Bytes of the body; for HEAD there are none."""
        if self._ended:
            raise ValueError
        if self._answer is not None:
            self._answer.grow(data)

    def on_message_complete(self) -> None:
        """The response has ended, unless it was an interim one."""
        self._ended = self._headed
