"""The spans of one object, fetched a few at a time and yielded in order.

Rules of this file: at most `concurrency` spans are in memory or in flight; the first failure ends all;
whoever stops reading, even through a cancel, leaves no task behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

from credstore.concurrency import map_in_order

Span = tuple[int, int]
"""First byte, and one past the last."""


def cut_spans(start: int, end: int, size: int) -> list[Span]:
    """The bytes from `start` up to `end` in spans of `size`, the last one shorter."""
    return [(at, min(at + size, end)) for at in range(start, end, size)]


async def in_order(
    first: AsyncGenerator[bytes, None],
    spans: Sequence[Span],
    fetch: Callable[[int, int], Awaitable[list[bytes]]],
    *,
    concurrency: int,
) -> AsyncIterator[bytes]:
    """What `first` yields, then the bytes of each span.

    Args:
        first: The start, as it arrives; closed here.
        spans: The rest.
        fetch: All bytes of one span, in chunks.
        concurrency: Number of spans at once, including the one that is being yielded.
    """

    async def part(span: Span | None) -> AsyncGenerator[bytes, None] | list[bytes]:
        return first if span is None else await fetch(*span)

    async with (
        aclosing(first),
        aclosing(map_in_order((None, *spans), part, at_once=concurrency)) as parts,
    ):
        async for chunks in parts:
            if isinstance(chunks, list):
                for chunk in chunks:
                    yield chunk
            else:
                async for chunk in chunks:
                    yield chunk
            del chunks  # While the next part is waited for, this one's place is taken already.
