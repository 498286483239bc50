"""A driver's contract as checks, and counted or scripted wire requests, for this package and others."""

from credstore.testing.counting import WireRequests, count_requests
from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport, SentRequest
from credstore.wire.transport import WireError

__all__ = [
    "ScriptedAnswer",
    "ScriptedTransport",
    "SentRequest",
    "WireError",
    "WireRequests",
    "count_requests",
]
