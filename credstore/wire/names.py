"""Where a host is: addresses as they are written, names looked up once for everyone and kept for a moment.

Rules of this file: a name is looked up by one caller at a time, for all who want it; addresses that led
nowhere are forgotten, so that a host that has moved is found at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from socket import AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_TCP, SOCK_STREAM, inet_pton
from typing import TypeAlias

from credstore.concurrency import Joint

KEPT = 10.0
"""Seconds for which the addresses of a name are used, as other clients do; the system's own cache, where
there is one, knows the time to live that the name's owner has set."""
_MOST = 256

AddrInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]
"""As `socket.getaddrinfo` returns them."""


class Names:
    """What one client knows of hosts, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look nothing up yet."""
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, Sequence[AddrInfo]]] = {}
        self._asking: Joint[tuple[str, int], Sequence[AddrInfo]] = Joint()

    async def addresses(self, host: str, port: int) -> Sequence[AddrInfo]:
        """The addresses of a host; does not wait for a literal one, nor for a name that is known.

        Raises:
            OSError: The name cannot be resolved.
        """
        place = (host, port)
        known = self._known.get(place)
        if known is not None and self._loop.time() < known[0]:
            return known[1]
        found = literal(host, port)
        return found if found is not None else await self._asking.result(place, partial(self._ask, place))

    async def _ask(self, place: tuple[str, int]) -> Sequence[AddrInfo]:
        host, port = place
        found = await self._loop.getaddrinfo(host, port, family=AF_UNSPEC, type=SOCK_STREAM)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[place] = self._loop.time() + KEPT, found
        return found

    def forget(self, host: str, port: int) -> None:
        """Look a name up again: nothing could be reached at its addresses."""
        self._known.pop((host, port), None)


def literal(host: str, port: int) -> Sequence[AddrInfo] | None:
    """The one address of a host that is written as an address; None for a name.

    >>> literal("127.0.0.1", 9000)[0][4], literal("::1", 443)[0][4], literal("localhost", 80)
    (('127.0.0.1', 9000), ('::1', 443, 0, 0), None)
    """
    for family, place in ((AF_INET, (host, port)), (AF_INET6, (host, port, 0, 0))):
        try:
            inet_pton(family, host)
        except (OSError, UnicodeEncodeError):
            continue
        return [(family, SOCK_STREAM, IPPROTO_TCP, "", place)]
    return None
