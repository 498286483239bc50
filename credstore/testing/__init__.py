"""A driver's contract as checks, and counted or scripted wire requests, for this package and others.

Names are loaded when they are used, so that the pytest plugin (`plugin`) costs nothing when pytest starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.testing.counting import WireRequests, count_requests
    from credstore.testing.faults import Fault
    from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport, SentRequest
    from credstore.wire.transport import WireError

_HOMES = {
    "Fault": "credstore.testing.faults",
    "ScriptedAnswer": "credstore.testing.scripted",
    "ScriptedTransport": "credstore.testing.scripted",
    "SentRequest": "credstore.testing.scripted",
    "WireError": "credstore.wire.transport",
    "WireRequests": "credstore.testing.counting",
    "count_requests": "credstore.testing.counting",
}

__all__ = [
    "Fault",
    "ScriptedAnswer",
    "ScriptedTransport",
    "SentRequest",
    "WireError",
    "WireRequests",
    "count_requests",
]

if not TYPE_CHECKING:  # So that a wrong name is an error for type checkers too.

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'credstore.testing' has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
