"""The contract of a driver as checks, wire requests counted or scripted, for packages here and elsewhere."""

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
