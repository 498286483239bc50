"""Faults that chance may plan: by name, so that a failing run reads well."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from hypothesis import strategies as st

from tests.faults.messages import Answer, Request, error
from tests.faults.origin import Origin
from tests.faults.script import Action, Close, Flip, Late, Phase, Reset, Respond, Rule, Twice

BROKEN = Respond(error(500, "InternalError"))
BUSY = Respond(error(503, "SlowDown"))
LATE = "late"

SIMPLE: dict[str, tuple[Phase, Action]] = {
    "reset at the head": ("head", Reset()),
    "reset within the body": ("body", Reset()),
    "reset before it is applied": ("before-apply", Reset()),
    "closed before it is applied": ("before-apply", Close()),
    "500 before it is applied": ("before-apply", BROKEN),
    "slow down": ("before-apply", BUSY),
    "access denied": ("before-apply", Respond(error(403, "AccessDenied"))),
    "too slow": ("before-apply", Respond(error(400, "RequestTimeout"))),
    "reset after it was applied": ("after-apply", Reset()),
    "closed after it was applied": ("after-apply", Close()),
    "500 after it was applied": ("after-apply", BROKEN),
    "503 after it was applied": ("after-apply", BUSY),
    "504 of a proxy": ("after-apply", Respond(Answer(504, b"<html>gateway</html>"))),
    "cut within the head": ("response-head", Close()),
    "cut within the answer": ("response-body", Close()),
    "reset within the answer": ("response-body", Reset()),
    "closed while idle": ("idle", Close()),
    "reset while idle": ("idle", Reset()),
}
_CONDITIONS = ("if-match", "if-none-match")
_INSIDE = {"CopyObject", "CompleteMultipartUpload"}
_ERROR_INSIDE = Respond(Answer(200, error(500, "InternalError").body, {"content-type": "application/xml"}))


def _conditional(request: Request) -> bool:
    return any(name in request.headers for name in _CONDITIONS)


def _twice(request: Request) -> bool:
    # The answer to the second delivery of a conditional request is a definite refusal. The write-id tells
    # of a write of our own, but not once another has replaced it or where another fault hides it, and then
    # P0 lets a client believe the refusal; nothing on the wire tells that a proxy sent it twice.
    return not _conditional(request) and request.operation != "CompleteMultipartUpload"


def _has_digest(request: Request, origin: Origin) -> bool:
    # A bit of an object that was stored as an unsized stream has nothing to be compared with.
    stored = origin.store.buckets[request.bucket].get(request.key)
    return stored is not None and "x-amz-meta-credstore-sha256" in stored.attributes


INSIDE = ("error inside a success", "error inside a success, applied")
FLIPPED = "bit flipped"
OF_WRITES = ("conflict", "twice", LATE, LATE)
NAMES = (*SIMPLE, *OF_WRITES, *INSIDE, FLIPPED)


@dataclass(frozen=True)
class Fault:
    """One fault to plan: it hits the `nth` request that it can happen to, and the next `times - 1`."""

    name: str
    nth: int = 1
    times: int = 1
    offset: int = 0

    def plan(self, origin: Origin, gate: asyncio.Event) -> Rule:
        """Plan it; one that is late lands when `gate` opens."""
        counted = {"nth": self.nth, "times": self.times}
        if self.name in SIMPLE:
            phase, action = SIMPLE[self.name]
            inside = phase in {"body", "response-head", "response-body"}
            return origin.plan(phase, action, offset=self.offset if inside else 0, **counted)
        if self.name == "conflict":
            refusal = Respond(error(409, "ConditionalRequestConflict"))
            return origin.plan("before-apply", refusal, where=_conditional, **counted)
        if self.name in INSIDE:
            phase = "after-apply" if self.name == INSIDE[1] else "before-apply"
            return origin.plan(
                phase, _ERROR_INSIDE, where=lambda request: request.operation in _INSIDE, **counted
            )
        if self.name == "twice":
            return origin.plan("before-apply", Twice(), where=_twice, **counted)
        if self.name == FLIPPED:
            return origin.plan(
                "response-body",
                Flip(),
                operation="GetObject",
                where=lambda request: _has_digest(request, origin),
                **counted,
            )
        assert self.name == LATE, self.name
        return origin.plan(
            "before-apply",
            Late(gate, Reset() if self.offset % 2 else BROKEN),
            where=lambda request: request.method not in {"GET", "HEAD"},
            **counted,
        )


def weather(*special: str) -> st.SearchStrategy[list[Fault]]:
    """Up to two of the faults that any request can meet and these."""
    fault = st.builds(
        Fault,
        name=st.sampled_from((*SIMPLE, *special, *special)),
        nth=st.sampled_from([1, 1, 1, 2, 3]),
        times=st.sampled_from([1, 1, 2, 5]),
        offset=st.sampled_from([0, 1, 20, 100]),
    )
    return st.lists(fault, max_size=2)


@dataclass
class Weather:
    """The faults of one operation while it runs, and whether any of them came to pass."""

    origin: Origin
    faults: list[Fault]
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    rules: list[tuple[Fault, Rule]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.rules = [(fault, fault.plan(self.origin, self.gate)) for fault in self.faults]
        return self

    def __exit__(self, *_error: object) -> None:
        for _, rule in self.rules:
            self.origin.script.rules.remove(rule)

    @property
    def struck(self) -> bool:
        """Whether a fault happened."""
        return any(rule.fired for _, rule in self.rules)

    @property
    def late(self) -> bool:
        """Whether a request was held back that lands when the gate opens."""
        return any(fault.name == LATE and rule.fired for fault, rule in self.rules)
