"""Memory stores that list in an order of their own, as some stores do: `Capabilities.ordered` is False."""

import hashlib
from dataclasses import replace

from credstore.driver.values import Page
from credstore.drivers.memory import MemoryDriver


def _reversed(name):
    return bytes(255 - each for each in name.encode()) + b"\xff"


def _shuffled(name):
    return hashlib.sha256(name.encode()).digest()


ORDERS = {
    "reverse": (_reversed, 7),
    "one by one": (_reversed, 1),
    "shuffled": (_shuffled, 7),
    "alone": (_shuffled, 1),
}
"""What the names are sorted by, and how many are on a page; only those of one page ascend."""


def odd_members(order):
    """What a memory driver with one of `ORDERS` has instead of its own, by name.

    It keeps its place by what it sorts by, so that removing what was listed moves nothing.
    """
    rank, most = ORDERS[order]
    listed, able = MemoryDriver.list, MemoryDriver.capabilities

    async def odd(
        self, prefix="", cursor=None, *, delimiter=None, start_after=None, limit=1000, deadline=None
    ):
        names, following = {}, None
        while True:
            page = await listed(
                self, prefix, following, delimiter=delimiter, start_after=start_after, deadline=deadline
            )
            names |= {each.key: each for each in page.entries} | dict.fromkeys(page.prefixes)
            following = page.cursor
            if following is None:
                break
        after = b"" if cursor is None else bytes.fromhex(cursor)
        left = sorted((name for name in names if rank(name) > after), key=rank)
        shown = sorted(left[: min(most, limit)], key=str.encode)
        return Page(
            entries=[names[name] for name in shown if names[name] is not None],
            prefixes=[name for name in shown if names[name] is None],
            cursor=max(map(rank, shown)).hex() if len(left) > len(shown) else None,
        )

    return {"list": odd, "capabilities": property(lambda self: replace(able.fget(self), ordered=False))}


def odd_order(order):
    """A class of memory drivers with one of `ORDERS`."""
    return type("OddOrder", (MemoryDriver,), odd_members(order))
