"""What happens below a user's call, for whoever counts it: wire requests, and what strategies and hedging do.

Rules of this file: it imports nothing of the wire, so that listening to it costs no HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from credstore.metrics import Counts

listeners: ContextVar[tuple[Callable[[str], None], ...]] = ContextVar("credstore_wire_listeners", default=())
"""Called with the operation's name at each attempt that is made in this context."""
noting: ContextVar[Counts | None] = ContextVar("credstore_noting", default=None)
"""Where what is noted in this context is counted."""


def note(what: str, count: int = 1) -> None:
    """Note something for the user's call that this is part of.

    Args:
        what: One word or two with an underscore: "hedge", "repair", "cache_hit".
        count: How many.
    """
    counts = noting.get()
    if counts is not None:
        counts.notes[what] += count
