"""How many requests an operation costs, whatever driver makes them over credstore's wire layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from credstore.wire.tally import listeners


@dataclass(slots=True)
class WireRequests:
    """The wire requests that were made, including retries.

    Attributes:
        by_operation: How many there were of each, by the provider's name for it, such as "PutObject".
    """

    by_operation: Counter[str] = field(default_factory=Counter[str])

    @property
    def total(self) -> int:
        """All of them."""
        return self.by_operation.total()

    def __str__(self) -> str:
        each = ", ".join(f"{count} {name}" for name, count in sorted(self.by_operation.items()))
        return each or "no wire request"


@contextmanager
def count_requests() -> Generator[WireRequests, None, None]:
    """Count the wire requests made inside the block, by any provider, driver or strategy.

    with count_requests() as wire:
        await provider.store("key", b"data")
    assert wire.total == 1, wire
    assert wire.by_operation == {"PutObject": 1}

    Requests of the block's own task and of tasks started in it count; others in progress do not, so tests
    that run in parallel count separately. Blocks may be nested. A request counts when it is handed to the
    HTTP client, so an attempt that finds no connection counts too. For requests to count, a driver must make
    them with `credstore.wire.exchange.Exchange`.
    """
    counted = WireRequests()

    def count(operation: str) -> None:
        counted.by_operation[operation] += 1

    token = listeners.set((*listeners.get(), count))
    try:
        yield counted
    finally:
        listeners.reset(token)
