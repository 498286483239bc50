"""A transport that responds from a script: requests of an exchange or a driver without a socket.

Rules of this file: it keeps the promises of `Transport` as `HttpClient` does, so that what is shown with it
also holds over sockets: a request that was not sent opens no body, a deadline ends the wait, and a response
is longer than allowed or cut short where the script says so.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

from credstore.arguments import typed_class
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.model import NOTHING
from credstore.wire.transport import HttpRequest, HttpResponse, StreamBody, Transport, WireError

_AT_ONCE = 256 * 1024
"""Bytes of a body that arrive with its head, and in one chunk; as many as `HttpClient` reads ahead."""


@typed_class
@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """One response.

    Attributes:
        status: HTTP status.
        body: What arrives of the body; nothing for a HEAD.
        headers: By name, in any case.
        cut: What ends the body after these bytes; None for a regular end.
        proxy: The proxy that may have made the response itself; see `HttpResponse.proxy`.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default=NOTHING)
    cut: WireError | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request as it was sent, with its body read to the end.

    Attributes:
        method: HTTP method.
        url: Absolute and percent-encoded.
        headers: By lower-case name.
        body: All of it.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def target(self) -> str:
        """Path and query, as in the request's first line."""
        return "/" + self.url.partition("://")[2].partition("/")[2]


Outcome: TypeAlias = ScriptedAnswer | Exception
"""A response, or what the request ends with, above all a `WireError`."""
Step: TypeAlias = Outcome | Callable[[SentRequest], Outcome | Awaitable[Outcome]]
"""An outcome, or a function that returns it; an async one is awaited until the call's deadline."""


@typed_class
class ScriptedTransport(Transport):
    """Performs one step of its script for each request, and repeats the last one for all that follow.

    transport = ScriptedTransport(WireError("broken", sent=True), ScriptedAnswer(200, b"data"))
    driver = S3Driver(config, public_url=str, transport=transport)
    ...
    assert [request.method for request in transport.requests] == ["GET", "GET"]

    A step that is a `WireError` with `sent=False` is a request that was never sent: it is not in `requests`,
    and its body was not opened.

    Attributes:
        requests: All that were sent, in order.
        unread: Responses that were neither read to the end nor closed.
        closed: Whether `aclose` was called.
    """

    def __init__(self, *steps: Step) -> None:
        """Start with `steps`; without any, each request gets an empty 200."""
        self.requests: list[SentRequest] = []
        self.unread = 0
        self.closed = False
        self._steps = list(steps) or [ScriptedAnswer()]

    def then(self, *steps: Step) -> None:
        """Perform these from now on, instead of the steps that are left."""
        self._steps = list(steps)

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        """See `Transport.send`."""
        if self.closed:
            raise StorageInvalidRequestError(
                "this transport is closed; make a new one", code=ErrorCode.CLOSED
            )
        if deadline is not None and deadline <= time.monotonic():
            raise WireError("timeout", sent=False)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, WireError) and not step.sent:
            raise _copy(step)
        sent = SentRequest(request.method, request.url, dict(request.headers), await _whole(request.body))
        self.requests.append(sent)
        outcome = await _outcome(step, sent, deadline) if callable(step) else step
        if isinstance(outcome, WireError):
            raise _copy(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        self.unread += 1
        return _Response(outcome, bodyless=sent.method == "HEAD", done=self._done)

    async def warm(self, origin: str, connections: int, *, deadline: float | None) -> None:
        """Do nothing, as there are no connections; see `Transport.warm`."""

    def _done(self) -> None:
        self.unread -= 1

    async def aclose(self) -> None:
        """Stop responding; safe to call again."""
        self.closed = True


class _Response:
    """The response of one step, as an `HttpResponse`."""

    def __init__(self, answer: ScriptedAnswer, *, bodyless: bool, done: Callable[[], None]) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in answer.headers.items()}
        self.proxy = answer.proxy
        self._body = b"" if bodyless else answer.body
        self._cut = None if bodyless else answer.cut
        self._done: Callable[[], None] | None = done

    async def read(self, limit: int) -> bytes:
        await self.aclose()
        if len(self._body) > limit:
            raise WireError("protocol", sent=True, detail=f"more than {limit} bytes")
        if self._cut is not None:
            raise _copy(self._cut)
        return self._body

    def take_whole(self, limit: int | None = None) -> bytes | None:
        size = len(self._body)
        if self._cut is not None or size > _AT_ONCE or (limit is not None and size > limit):
            return None
        self._close()
        return self._body

    async def read_start(self, limit: int) -> bytes:
        await self.aclose()
        return self._body[:limit]

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(self._body), _AT_ONCE):
            yield self._body[start : start + _AT_ONCE]
        await self.aclose()
        if self._cut is not None:
            raise _copy(self._cut)

    async def aclose(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._done is not None:
            self._done()
            self._done = None


async def _whole(body: bytes | StreamBody | None) -> bytes:
    if not isinstance(body, StreamBody):
        return body or b""
    async with AsyncExitStack() as stack:
        source = body.open()
        if isinstance(source, AsyncGenerator):
            stack.push_async_callback(source.aclose)
        whole = b"".join([bytes(chunk) async for chunk in source])
    if body.length not in {None, len(whole)}:
        raise StorageInvalidRequestError(
            f"the body did not have the {body.length} bytes it announced", code=ErrorCode.BODY_LENGTH
        )
    return whole


async def _outcome(
    step: Callable[[SentRequest], Outcome | Awaitable[Outcome]], sent: SentRequest, deadline: float | None
) -> Outcome:
    found = step(sent)
    if not inspect.isawaitable(found):
        return found
    limit = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
    try:
        async with limit:
            return await found
    except TimeoutError:
        if not limit.expired():
            raise
    return WireError("timeout", sent=True)


def _copy(error: WireError) -> WireError:
    """An error to raise, so that the script's own keeps no traceback."""
    return WireError(error.kind, sent=error.sent, detail=error.detail)
