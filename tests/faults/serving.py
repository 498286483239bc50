"""The life of one connection: requests in, the store's answers out, and the script's faults on the way."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

from tests.faults.messages import Answer, Request, error, parse_head
from tests.faults.script import (
    Action,
    Close,
    Flip,
    Hold,
    Late,
    Reset,
    Respond,
    Rewrite,
    Rule,
    Script,
    Send,
    Slice,
    Stall,
    Trickle,
    Twice,
)
from tests.faults.store import Store
from tests.faults.wire import Incoming, Peer, format_head

_BODYLESS = {204, 304}


class _EndedError(Exception):
    """The connection has ended."""


@dataclass(eq=False)
class Entry:
    """One request in the log: `applied` times it took effect, `status` of its answer once begun."""

    connection: int
    request: Request
    operation: str
    method: str
    key: str
    headers: Mapping[str, str]
    body_size: int | None = None
    applied: int = 0
    status: int | None = None


class Serving:
    """What all connections of one origin share."""

    def __init__(
        self,
        store: Store,
        script: Script,
        *,
        log: list[Entry],
        spawn: Callable[[Coroutine[None, None, None]], None],
        clock: Callable[[], float],
        tls: ssl.SSLContext | None,
        domain: str,
        continues: bool,
    ) -> None:
        self.store = store
        self.script = script
        self.log = log
        self.open: set[Peer] = set()
        self.deaf = 0
        self._spawn = spawn
        self._clock = clock
        self._tls = tls
        self._domain = domain
        self._continues = continues

    async def serve(self, peer: Peer) -> None:
        self.open.add(peer)
        try:
            for rule in self.script.due("accept", None):
                await self._interrupt(peer, rule.action)
            if self._tls is not None:
                await self._before_handshake(peer)
            await peer.start(self._tls)
            while True:
                await self._exchange(peer)
        except (_EndedError, OSError, asyncio.IncompleteReadError):
            return  # The client went away, or the script says that it is over.
        finally:
            self.open.discard(peer)
            peer.close()

    async def _before_handshake(self, peer: Peer) -> None:
        rules = self.script.due("tls", None)
        if any(not isinstance(rule.action, Hold) for rule in rules):
            await peer.first_bytes()
        for rule in rules:
            await self._interrupt(peer, rule.action)

    async def _interrupt(self, peer: Peer, action: Action, *, reading: bool = False) -> None:
        if isinstance(action, Hold):
            await action.gate.wait()
            return
        if isinstance(action, Send):
            await peer.send(action.data)
            return
        if isinstance(action, Stall) and reading:
            peer.deafen()
            self.deaf += 1  # Whether the client has gone cannot be seen any more.
            await asyncio.Event().wait()
        elif isinstance(action, Stall):
            await peer.gone()
        elif isinstance(action, Reset):
            peer.reset()
        elif not isinstance(action, Close):
            raise TypeError(f"{action} does not end a connection")
        raise _EndedError

    async def _exchange(self, peer: Peer) -> None:
        """One request and its answer."""
        head = await peer.reader.readuntil(b"\r\n\r\n")
        try:
            request = parse_head(head, peer.number, self._domain)
        except ValueError:
            await self._answer_early(peer, None, error(400, "InvalidRequest"))
        entry = Entry(peer.number, request, request.operation, request.method, request.key, request.headers)
        self.log.append(entry)
        request = await self._receive(peer, request, entry)
        answer = await self._decide(peer, request, entry)
        await self._send(peer, request, answer, entry)
        for rule in self.script.due("idle", request):
            await self._interrupt(peer, rule.action)

    async def _receive(self, peer: Peer, request: Request, entry: Entry) -> Request:
        for rule in self.script.due("head", request):
            await self._while_reading(peer, request, rule, entry)
        if self._continues and request.headers.get("expect", "").lower() == "100-continue":
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        incoming = Incoming(peer, dict(request.headers))
        flips: list[int] = []
        for rule in self.script.due("body", request, incoming.size):
            await incoming.read_to(rule.offset)
            entry.body_size = len(incoming.data)
            if isinstance(rule.action, Flip):
                flips.append(rule.offset)
            else:
                await self._while_reading(peer, request, rule, entry)
        await incoming.read_to(incoming.size)
        for offset in flips:
            incoming.data[offset] ^= 1
        entry.body_size = len(incoming.data)
        entry.request = replace(request, body=bytes(incoming.data))
        return entry.request

    async def _while_reading(self, peer: Peer, request: Request, rule: Rule, entry: Entry) -> None:
        if isinstance(rule.action, Respond):
            await self._answer_early(peer, entry, rule.action.to(request))
        await self._interrupt(peer, rule.action, reading=True)

    async def _answer_early(self, peer: Peer, entry: Entry | None, answer: Answer) -> None:
        """Answer before the request was read to its end, which ends the connection."""
        complete = self._completed(answer, "GET").with_headers(connection="close")
        if entry is not None:
            entry.status = answer.status
            complete = replace(complete, body=b"" if entry.method == "HEAD" else complete.body)
        await peer.send(_head_of(complete) + complete.body)
        await peer.finish_early()
        raise _EndedError

    async def _decide(self, peer: Peer, request: Request, entry: Entry) -> Answer:
        answer: Answer | None = None
        times = 1
        # What applies late comes last: another rule's refusal in its place would be a lie about it.
        due = self.script.due("before-apply", request)
        for rule in sorted(due, key=lambda rule: isinstance(rule.action, Late)):
            action = rule.action
            if isinstance(action, Late):
                self._spawn(self._apply_late(action.gate, request, entry))
                action = action.then
            if isinstance(action, Twice):
                times = 2
            elif isinstance(action, Respond):
                answer = action.to(request)
            else:
                await self._interrupt(peer, action)
        if answer is not None:
            return answer
        for _ in range(times):
            answer = self._apply(request, entry)
        assert answer is not None
        for rule in self.script.due("after-apply", request):
            if isinstance(rule.action, Respond):
                answer = rule.action.to(request)
            else:
                await self._interrupt(peer, rule.action)
        return answer

    def _apply(self, request: Request, entry: Entry) -> Answer:
        answer = self.store.apply(request)
        entry.applied += answer.status < 300
        return answer

    async def _apply_late(self, gate: asyncio.Event, request: Request, entry: Entry) -> None:
        await gate.wait()
        self._apply(request, entry)

    def _completed(self, answer: Answer, method: str) -> Answer:
        headers = {
            "x-amz-request-id": f"REQUEST{len(self.log)}",
            "date": formatdate(self._clock(), usegmt=True),
            "server": "origin",
            **({} if answer.status in _BODYLESS else {"content-length": str(len(answer.body))}),
            **{name.lower(): value for name, value in answer.headers.items()},
        }
        bodyless = answer.status in _BODYLESS or (method == "HEAD" and answer.status >= 300)
        if bodyless and method == "HEAD":
            headers["content-length"] = "0"
        return replace(answer, headers=headers, body=b"" if bodyless else answer.body)

    async def _send(self, peer: Peer, request: Request, answer: Answer, entry: Entry) -> None:
        complete = self._completed(answer, request.method)
        rules = self.script.due("response-head", request, 2**31)
        for rule in rules:
            if isinstance(rule.action, Rewrite):
                complete = rule.action.change(complete)
        entry.status = complete.status
        head, at = _head_of(complete), 0
        for rule in rules:
            if not isinstance(rule.action, Rewrite):
                await peer.send(head[at : rule.offset])
                at = max(at, rule.offset)
                await self._interrupt(peer, rule.action)
        body = b"" if request.method == "HEAD" else complete.body
        rest = head[at:]
        if self._calm(request, body):
            await peer.send(rest + body)
        else:
            await peer.send(rest)
            await self._send_body(peer, request, body)
        framed = complete.headers.keys() & {"content-length", "transfer-encoding"}
        ends = "close" in {request.headers.get("connection"), complete.headers.get("connection")}
        if ends or not (framed or complete.status in _BODYLESS):
            raise _EndedError

    def _calm(self, request: Request, body: bytes) -> bool:
        return not any(rule.phase == "response-body" and rule.matches(request) for rule in self.script.rules)

    async def _send_body(self, peer: Peer, request: Request, body: bytes) -> None:
        rules = self.script.due("response-body", request, len(body))
        data = bytearray(body)
        for rule in rules:
            if isinstance(rule.action, Flip):
                data[rule.offset] ^= 1
        at = 0
        pace: Trickle | Slice | None = None
        for rule in rules:
            action = rule.action
            if isinstance(action, Flip):
                continue
            await _paced(peer, bytes(data[at : rule.offset]), pace)
            at = max(at, rule.offset)
            if isinstance(action, (Trickle, Slice)):
                pace = action
            else:
                await self._interrupt(peer, action)
        await _paced(peer, bytes(data[at:]), pace)


def _head_of(answer: Answer) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    return format_head(answer.status, phrase, dict(answer.headers))


async def _paced(peer: Peer, data: bytes, pace: Trickle | Slice | None) -> None:
    step = 1 if isinstance(pace, Trickle) else pace.size if pace is not None else max(len(data), 1)
    for start in range(0, len(data), step):
        await peer.send(data[start : start + step])
        if pace is not None:
            await asyncio.sleep(pace.interval if isinstance(pace, Trickle) else 0)
