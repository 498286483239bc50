"""Whether one key was, for all its clients, a register that does one thing at a time. Pure.

A history is what clients saw: when each operation was called and when it returned, by a logical
clock, and what came of it. It is linearizable if each operation can be given one instant between
the two so that, done in that order by one after the other, all saw what they saw.

An operation of outcome "maybe" may take effect at any instant after its call, however late, or
never. One that was "refused" did nothing and tells that its condition did not hold. One that failed
without having done anything tells nothing; leave it out of the history.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for
Linearizability" (2017), for the memory of what was tried.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal

Kind = Literal["read", "write", "create", "replace", "delete"]
Outcome = Literal["ok", "refused", "maybe"]
ANY = object()
"""The `expected` of a delete without a condition."""


@dataclass(frozen=True)
class Operation:
    """One operation as its client saw it; absence is the value None.

    Attributes:
        kind: "write" takes effect on anything, "create" only on nothing, "replace" only on `expected`.
        called: Instant of the call.
        returned: Instant of the return.
        value: What was written, or read.
        expected: What a "replace" or a conditional "delete" must find; nothing there is refused.
        outcome: What came of it.
    """

    kind: Kind
    called: float
    returned: float
    value: Hashable = None
    expected: object = ANY
    outcome: Outcome = "ok"

    @property
    def end(self) -> float:
        """The instant by which it has taken effect if it ever does."""
        return inf if self.outcome == "maybe" else self.returned

    def after(self, state: Hashable) -> tuple[Hashable] | None:
        """What is there after it has met `state`; None if it could not have ended as it did."""
        if self.kind == "read":
            return (state,) if state == self.value else None
        if self.kind == "create":
            holds = state is None
        elif self.kind == "replace":
            holds = state is not None and state == self.expected
        elif self.kind == "delete" and self.expected is not ANY:
            if state is None:
                return (None,)  # Refused; or gone by another's delete while this one's answer was lost.
            holds = state == self.expected
        else:
            holds = True
        if holds:
            return None if self.outcome == "refused" else (self.value,)
        return None if self.outcome == "ok" else (state,)


def explain(history: Iterable[Operation], initial: Hashable = None) -> list[Operation] | None:
    """An order in which the operations of one key can have happened, or None if there is none.

    Operations of outcome "maybe" that never took effect are left out of it.
    """
    operations = sorted(history, key=lambda each: each.called)
    needed = sum(1 << number for number, each in enumerate(operations) if each.outcome != "maybe")
    tried: set[tuple[int, Hashable]] = set()
    path: list[tuple[int, Iterator[tuple[int, Hashable]]]] = [(0, _next(operations, 0, initial))]
    order: list[Operation] = []
    while path:
        done, choices = path[-1]
        if done & needed == needed:
            return order
        for number, state in choices:
            then = done | 1 << number
            if (then, state) not in tried:
                tried.add((then, state))
                path.append((then, _next(operations, then, state)))
                order.append(operations[number])
                break
        else:
            path.pop()
            if order:
                order.pop()
    return None


def _next(operations: list[Operation], done: int, state: Hashable) -> Iterator[tuple[int, Hashable]]:
    """What can be done now: nothing that was called after another has returned undone."""
    limit = inf
    optional: list[tuple[int, Hashable]] = []
    number = (~done & done + 1).bit_length() - 1  # The first that is not done.
    for each in operations[number:]:
        if each.called > limit:
            break
        if not done >> number & 1:
            limit = min(limit, each.end)
            found = each.after(state)
            if found is not None and each.outcome != "maybe":
                yield number, found[0]
            elif found is not None and found[0] != state:
                optional.append((number, found[0]))
        number += 1
    yield from optional
