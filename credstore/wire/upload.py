"""A request's body on its way out: in pieces, bounded in time, closed whatever happens.

Rules of this file: each piece must leave within the idle time (N08); the time the source takes to
make a chunk is the caller's and is not counted. A source that gives more or less than it announced, or
fails after its last byte, never leaves a request that looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.wire.connection import Answer, Connection, Throttle

_PIECE = 128 * 1024
"""Bytes that must be sent within the idle time; more than a socket's buffers hold, so that waiting for them
means waiting for the peer."""


async def send_body(
    connection: Connection,
    answer: Answer,
    source: AsyncIterator[bytes | memoryview],
    *,
    length: int | None,
    idle: float,
    throttle: Throttle | None,
) -> None:
    """Send a body, and end the response with what went wrong; closes the source if it can be closed.

    Args:
        connection: That the head went over.
        answer: Gets a failure: a `WireError`, or whatever the source raised, of any class.
        source: The body.
        length: Total number of bytes, or None for chunked framing.
        idle: Seconds that a piece may take.
        throttle: Asked before each piece, or None.
    """
    try:
        async with AsyncExitStack() as stack:
            close = getattr(source, "aclose", None)
            if close is not None:
                stack.push_async_callback(close)
            await _send(connection, source, length, idle, throttle)
    except BaseException as error:
        answer.fail(error)  # It is raised where the response is awaited, which would wait in vain otherwise.
        if isinstance(error, asyncio.CancelledError):
            raise
    else:
        connection.sent_all()
        answer.wake()


async def _send(
    connection: Connection,
    source: AsyncIterator[bytes | memoryview],
    length: int | None,
    idle: float,
    throttle: Throttle | None,
) -> None:
    async def send(piece: memoryview, *, last: bool = False) -> None:
        if throttle is not None:
            await throttle(len(piece))
        framed = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if length is None else piece
        await connection.send(framed, idle, last=last)

    done = 0
    held: memoryview | None = None
    async for chunk in source:
        done += len(chunk)
        if length is not None and done > length:
            break
        rest = memoryview(chunk)
        if held is not None and rest:
            await send(held)
            held = None
        while rest:
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            if done == length and not rest:
                held = piece  # The end is not sent before the source has ended well.
            else:
                await send(piece)
    if length is None:
        await connection.send(b"0\r\n\r\n", idle, last=True)
    elif done != length:
        raise StorageInvalidRequestError(
            f"the body did not have the {length} bytes it announced", code=ErrorCode.BODY_LENGTH
        )
    else:
        await send(held or memoryview(b""), last=True)
