"""A request's body on its way out: in pieces, bounded in time, closed whatever happens.

Rules of this file: each piece must be sent within the idle time (N08); the time the source takes to make a
chunk is the caller's and is not counted. A source that yields more or less than it announced never results in
a request that looks complete.
"""

from __future__ import annotations

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
        connection: The connection that the head was sent on.
        answer: Gets any failure: a `WireError`, or whatever the source raised.
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
    except Exception as error:  # noqa: BLE001 - it is raised where the response is awaited
        answer.fail(error)
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
    done = 0
    async for chunk in source:
        done += len(chunk)
        if length is not None and done > length:
            break
        rest = memoryview(chunk)
        while rest:
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            if throttle is not None:
                await throttle(len(piece))
            framed = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if length is None else piece
            await connection.send(framed, idle)
    if length is None:
        await connection.send(b"0\r\n\r\n", idle)
    elif done != length:
        raise StorageInvalidRequestError(
            f"the body did not have the {length} bytes it announced", code=ErrorCode.BODY_LENGTH
        )
