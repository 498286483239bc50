"""The end of a server of a test, on the loop of the test itself, with all that it has accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

_TURNS = 8
"""Turns of the loop in which it gets to know what was accepted last, and transports come to their end."""


async def close_server(
    listening: asyncio.Server,
    tasks: Iterable[asyncio.Task[None]],
    writers: Callable[[], Iterable[asyncio.StreamWriter]],
) -> None:
    """Accept no more, and leave no connection for the garbage collector, which would complain.

    Args:
        listening: The server.
        tasks: Those that serve its connections, so far.
        writers: The connections, asked for once their tasks have ended.
    """
    # A closed server takes no connection that it has just accepted, and asyncio leaves that one open.
    for accepting in listening.sockets:
        asyncio.get_running_loop().remove_reader(accepting.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    listening.close()
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    for writer in writers():
        writer.transport.abort()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    await listening.wait_closed()
