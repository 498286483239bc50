"""A callback for each wire request: None, unless a test counts them.

Rules of this file: it imports nothing of the wire, so that listening to it costs no HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

listeners: ContextVar[tuple[Callable[[str], None], ...]] = ContextVar("credstore_wire_listeners", default=())
"""Called with the operation's name at each attempt that is made in this context."""
