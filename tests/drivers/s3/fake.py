"""A small S3 of one bucket behind a scripted transport, without a socket, which misbehaves on request.

It keeps objects, honours `If-None-Match: *`, `If-Match` and `Range`, and logs every request. A
planned fault replaces the answer to the next request that matches, before or after it was applied.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from credstore.testing import ScriptedAnswer, ScriptedTransport, SentRequest, WireError

KEPT = ("x-amz-meta-", "x-amz-object-lock-")
CONTENT = frozenset({"content-type", "content-encoding", "cache-control"})
DATE = "Fri, 20 Nov 2026 12:00:00 GMT"


@dataclass(frozen=True)
class Seen:
    """One request as it was sent; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return unquote(self.path).split("/", 2)[2] if self.path.count("/") > 1 else ""


@dataclass(frozen=True)
class Answer:
    """What goes back. `declared` is the Content-Length if it is to differ from the body's."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None


RESET = Answer(status=0)
"""Break the connection instead of answering."""


@dataclass
class Fault:
    matches: Callable[[Seen], bool]
    answer: Answer | Callable[[Seen], Answer]
    applied: bool
    times: int


@dataclass(frozen=True)
class Stored:
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


class FakeS3:
    """The bucket `bucket`, path-style at `url`; `transport` is a way to it."""

    url = "http://127.0.0.1:9"

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.log: list[Seen] = []
        self.faults: list[Fault] = []

    def plan(self, method: str, answer, *, applied: bool = False, times: int = 1, query: str | None = None):
        """Answer the next `times` requests of `method` (with that query name) in this way."""

        def matches(seen: Seen) -> bool:
            return seen.method == method and (query is None or query in seen.query)

        self.faults.append(Fault(matches, answer, applied, times))

    def transport(self) -> ScriptedTransport:
        return ScriptedTransport(self.respond)

    def respond(self, sent: SentRequest) -> ScriptedAnswer | WireError:
        path, _, query = sent.target.partition("?")
        seen = Seen(
            sent.method, path, dict(parse_qsl(query, keep_blank_values=True)), sent.headers, sent.body
        )
        answer = self.answer(seen)
        broken = WireError("broken", sent=True)
        if answer is RESET:
            return broken
        declared = len(answer.body) if answer.declared is None else answer.declared
        headers = {**answer.headers, "Content-Length": str(declared)}
        return ScriptedAnswer(
            answer.status, answer.body, headers, None if answer.declared is None else broken
        )

    def sent(self, method: str) -> list[Seen]:
        return [seen for seen in self.log if seen.method == method]

    def answer(self, seen: Seen) -> Answer:
        self.log.append(seen)
        fault = next((each for each in self.faults if each.times and each.matches(seen)), None)
        if fault is None:
            return self.apply(seen)
        fault.times -= 1
        if fault.applied:
            self.apply(seen)
        return fault.answer(seen) if callable(fault.answer) else fault.answer

    def apply(self, seen: Seen) -> Answer:
        """What a server of S3 answers, which always names the request."""
        given = self._applied(seen)
        return replace(given, headers={"x-amz-request-id": "REQUEST1", **given.headers})

    def _applied(self, seen: Seen) -> Answer:
        there = self.objects.get(seen.key)
        if "x-amz-copy-source" in seen.headers:
            return self.copy(seen)
        if seen.method == "PUT":
            if seen.headers.get("if-none-match") == "*" and there is not None:
                return error(412, "PreconditionFailed")
            if "if-match" in seen.headers and there is None:
                return error(404, "NoSuchKey")
            if "if-match" in seen.headers and seen.headers["if-match"].strip('"') != there.etag.strip('"'):
                return error(412, "PreconditionFailed")
            kept = {
                name: value
                for name, value in seen.headers.items()
                if name.startswith(KEPT) or name in {"content-type", "content-encoding"}
            }
            self.objects[seen.key] = Stored(kept, seen.body)
            return Answer(headers={"ETag": self.objects[seen.key].etag})
        if seen.method == "DELETE":
            self.objects.pop(seen.key, None)
            return Answer(status=204)
        if there is None:
            return error(404, "NoSuchKey")
        return self.read(seen, there)

    def copy(self, seen: Seen) -> Answer:
        source = self.objects.get(unquote(seen.headers["x-amz-copy-source"]).split("/", 2)[2])
        if source is None:
            return error(404, "NoSuchKey")
        if seen.headers.get("x-amz-copy-source-if-match", source.etag) != source.etag:
            return error(412, "PreconditionFailed")
        if seen.headers.get("if-none-match") == "*" and seen.key in self.objects:
            return error(412, "PreconditionFailed")
        if "partNumber" not in seen.query:
            kept = {
                name: value
                for name, value in seen.headers.items()
                if name.startswith(KEPT) or name in CONTENT
            }
            self.objects[seen.key] = Stored(kept, source.body)
        return xml(f"<CopyObjectResult><ETag>{source.etag}</ETag></CopyObjectResult>")

    def read(self, seen: Seen, there: Stored) -> Answer:
        headers = {"ETag": there.etag, "Last-Modified": DATE, **there.headers}
        if seen.headers.get("if-match", there.etag) != there.etag:
            return error(412, "PreconditionFailed")
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
        if found is None:
            return Answer(headers=headers, body=there.body)
        start, end = int(found[1]), min(int(found[2] or len(there.body)) + 1, len(there.body))
        if start >= len(there.body):
            return error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(there.body)}"
        return Answer(206, there.body[start:end], headers)


def error(status: int, code: str, **fields: str) -> Answer:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in {"Code": code, **fields}.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()
    return Answer(status, body, {"Content-Type": "application/xml", "x-amz-request-id": "REQUEST1"})


def xml(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})
