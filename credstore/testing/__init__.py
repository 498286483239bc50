"""The contract of a driver as checks, and wire requests counted, for packages here and elsewhere."""

from credstore.testing.counting import WireRequests, count_requests

__all__ = ["WireRequests", "count_requests"]
