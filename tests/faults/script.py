"""Which fault happens to which request, where, and how often: rules, exact and in order.

A rule is due when its phase is reached by a request that matches; the first `nth - 1` of those pass,
the next `times` are hit. A rule that names an action its phase cannot do is refused, and a test can
ask which rules never came to pass, so that no test passes for want of its fault.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.faults.messages import Answer, Request

Phase = Literal[
    "accept", "tls", "head", "body", "before-apply", "after-apply", "response-head", "response-body", "idle"
]


@dataclass(frozen=True)
class Hold:
    """Wait until the gate opens, then go on: a delay of the test's choosing."""

    gate: asyncio.Event


@dataclass(frozen=True)
class Stall:
    """Do nothing more until the client has gone; while a request comes in, do not even read."""


@dataclass(frozen=True)
class Reset:
    """Break the connection with a RST."""


@dataclass(frozen=True)
class Close:
    """End the connection with a FIN; within a body that is a cut."""


@dataclass(frozen=True)
class Send:
    """Put these bytes on the wire, then go on."""

    data: bytes


@dataclass(frozen=True)
class Respond:
    """Answer this instead; before a body has been read, without reading it."""

    answer: Answer | Callable[[Request], Answer]

    def to(self, request: Request) -> Answer:
        return self.answer(request) if callable(self.answer) else self.answer


@dataclass(frozen=True)
class Rewrite:
    """Change the complete answer, its framing included, before it goes out."""

    change: Callable[[Answer], Answer]


@dataclass(frozen=True)
class Flip:
    """Flip one bit of the byte at the rule's offset."""


@dataclass(frozen=True)
class Trickle:
    """Send one byte at a time from the offset on, with so many seconds in between."""

    interval: float


@dataclass(frozen=True)
class Slice:
    """Send pieces of so many bytes from the offset on, each by itself."""

    size: int


@dataclass(frozen=True)
class Twice:
    """Apply the request twice, as a network does that delivers it again; answer the second time."""


@dataclass(frozen=True)
class Late:
    """Apply the request when the gate opens; for now do `then`."""

    gate: asyncio.Event
    then: "Respond | Reset | Close | Stall"


Action: TypeAlias = (
    Hold | Stall | Reset | Close | Send | Respond | Rewrite | Flip | Trickle | Slice | Twice | Late
)
_EVERYWHERE = (Hold, Stall, Reset, Close, Send)
_POSSIBLE: dict[Phase, tuple[type, ...]] = {
    "accept": _EVERYWHERE,
    "tls": _EVERYWHERE,
    "head": (Hold, Stall, Reset, Close, Respond),
    "body": (Hold, Stall, Reset, Close, Respond, Flip),
    "before-apply": (Hold, Stall, Reset, Close, Respond, Twice, Late),
    "after-apply": (Hold, Stall, Reset, Close, Respond),
    "response-head": (*_EVERYWHERE, Rewrite),
    "response-body": (Hold, Stall, Reset, Close, Flip, Trickle, Slice),
    "idle": (Hold, Stall, Reset, Close, Send),
}


@dataclass(eq=False)
class Rule:
    """One planned fault; `seen` matching requests so far, `fired` of them hit; `reached` once one is."""

    phase: Phase
    action: Action
    operation: str | None = None
    method: str | None = None
    key: str | None = None
    where: Callable[[Request], bool] | None = None
    nth: int = 1
    times: int | None = 1
    offset: int = 0
    seen: int = 0
    fired: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if not isinstance(self.action, _POSSIBLE[self.phase]):
            raise TypeError(f"{type(self.action).__name__} cannot happen at {self.phase}")
        if self.phase in {"accept", "tls"} and (self.operation or self.method or self.key or self.where):
            raise TypeError(f"at {self.phase} there is no request to match yet")

    def matches(self, request: Request | None) -> bool:
        if request is None:
            return True
        return (
            self.operation in {None, request.operation}
            and self.method in {None, request.method}
            and self.key in {None, request.key}
            and (self.where is None or self.where(request))
        )


class Script:
    """The rules of one origin, in the order they were planned."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def due(self, phase: Phase, request: Request | None, size: int = 0) -> list[Rule]:
        """The rules that hit this request now, counted; `size` is how many bytes the phase has."""
        found: list[Rule] = []
        for rule in self.rules:
            if rule.phase != phase or rule.offset > size or not rule.matches(request):
                continue
            rule.seen += 1
            past = rule.seen - rule.nth
            if past >= 0 and (rule.times is None or past < rule.times):
                rule.fired += 1
                rule.reached.set()
                found.append(rule)
        return sorted(found, key=lambda rule: rule.offset)


def redirect(location: str, *, status: int = 307, region: str | None = None) -> Respond:
    """Send the client elsewhere."""
    headers = {"location": location, "content-type": "application/xml"}
    if region is not None:
        headers["x-amz-bucket-region"] = region
    code = "PermanentRedirect" if status == 301 else "TemporaryRedirect"
    body = f"<Error><Code>{code}</Code><Message>elsewhere</Message></Error>".encode()
    return Respond(Answer(status, body, headers))


def set_headers(**changes: str | None) -> Rewrite:
    """Set headers of the answer, or drop them for None; `_` stands for `-`."""
    return Rewrite(lambda answer: answer.with_headers(**changes))
