"""`SoftBindingApp`: C2PA's Soft Binding Resolution API over the proofs of a store, as an ASGI application.

Rules of this file: whoever asks is a stranger. Bodies and queries are bounded before they are read, requests
of one address are limited, and an error has a text that names no key, no store and nothing that was sent.
What is found has verified before it is named. Browsers of any origin may ask: everything here is public.

Sources: C2PA Soft Binding Resolution API 1.0; ASGI 3.0; Fetch standard, "CORS protocol".
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from credstore.errors import ErrorCode, StorageError, StorageInvalidRequestError, StorageNotFoundError
from credstore.proofs.bindings import ISCC, BindingIndex, BindingMatch, fingerprint_of
from credstore.proofs.bindings.names import check_alg, decode_value
from credstore.proofs.format.manifest_links import MANIFEST_TYPE
from credstore.web.app import Answer, Receive, Scope, Send
from credstore.web.soft_binding_api import LARGEST_BODY, LONGEST_QUERY, MOST_RESULTS, PICTURES, document

_logger = logging.getLogger("credstore.web")
_JSON = "application/json"
_LARGEST_QUERY_BODY = 16 * 1024
_LONGEST_LABEL = 512
_MOST_ADDRESSES = 10_000
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "retry-after, etag",
    "cross-origin-resource-policy": "cross-origin",
}
_PREFLIGHT = {
    **_CORS,
    "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "86400",
}
_OPENAPI = "/openapi.json"
# Errors about what was asked; every other is about the store, and not for strangers.
_STATUSES: Mapping[str, int] = {ErrorCode.INVALID_REQUEST: 400, ErrorCode.TOO_LARGE: 413}


class _Refused(Exception):  # noqa: N818 - it becomes a response
    """A status with words for the asking side."""

    def __init__(self, status: int, words: str, **headers: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = headers


class SoftBindingApp:
    """An ASGI application; give it to any ASGI server, mount it, or run `credstore serve --soft-binding`."""

    def __init__(
        self,
        index: BindingIndex,
        *,
        watermarks: Iterable[str] = (),
        endpoint: str | None = None,
        rate: float = 10.0,
        burst: int = 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from an index.

        Args:
            index: Over an open store, which is not closed.
            watermarks: Names of algorithms whose ids are looked up, besides the fingerprint `io.iscc.v0`.
            endpoint: URL of this API or of the CDN in front of its manifests, for matches; None leaves it
                out.
            rate: Requests per second of one address, in the long run.
            burst: Requests of one address at once.
            clock: Seconds, monotonic.

        Raises:
            StorageInvalidRequestError: A name cannot be one of an algorithm, or a limit is not positive.
        """
        self._index = index
        self._watermarks = tuple(check_alg(each) for each in watermarks)
        self._endpoint = endpoint
        if rate <= 0 or burst < 1:
            raise StorageInvalidRequestError("rate and burst are positive")
        self._rate, self._burst, self._clock = rate, burst, clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one connection, as ASGI says."""
        if scope["type"] == "lifespan":
            while True:
                what = (await receive())["type"]
                await send({"type": f"{what}.complete"})
                if what == "lifespan.shutdown":
                    return
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        client = scope.get("client")
        answer = await self.respond(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            headers=headers,
            body=_received(receive),
            address=client[0] if client else "",
        )
        shown = {**headers_of(answer), "content-length": str(len(answer.body))}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in shown.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def respond(
        self,
        method: str,
        path: str,
        query: str,
        *,
        headers: Mapping[str, str],
        body: AsyncIterable[bytes],
        address: str,
    ) -> Answer:
        """The response to a request; never raises.

        Args:
            method: HTTP method.
            path: Decoded.
            query: As sent.
            headers: By lower-case name.
            body: Read only as far as it is needed.
            address: Of whoever asks, for the limit.
        """
        try:
            self._count(address, method)
            return await self._respond(method, path, query, headers, body)
        except _Refused as refused:
            return _error(refused.status, refused.words, refused.headers)
        except StorageNotFoundError:
            return _error(404, "there is no manifest with this id")
        except StorageError as error:
            if (status := _STATUSES.get(error.code)) is not None:
                return _error(status, error.message)
            _logger.warning("a soft binding could not be looked up: %s", error.code)
            return _error(503, "the store does not respond; try again later", {"retry-after": "30"})
        except Exception as error:  # noqa: BLE001 - whatever happens, the server lives on
            _logger.error("a soft binding could not be looked up: %s", type(error).__name__)  # noqa: TRY400 - no frames
            return _error(503, "this cannot be looked up now", {"retry-after": "30"})

    async def _respond(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: AsyncIterable[bytes],
    ) -> Answer:
        if method == "OPTIONS":
            return Answer(status=204, headers=_PREFLIGHT)
        if len(query) > LONGEST_QUERY:
            raise _Refused(414, "the query is too long; POST the value")
        asked = _parameters(query)
        if path == "/matches/byBinding":
            _allow(method, "GET", "HEAD", "POST")
            if method == "POST":
                return await self._by_body(asked, headers, body)
            return await self._by_binding(_needed(asked, "alg"), _needed(asked, "value"), _most(asked))
        if path == "/matches/byContent":
            _allow(method, "POST")
            return await self._by_content(asked, headers, body)
        _allow(method, "GET", "HEAD")
        if path.startswith("/manifests/"):
            return await self._manifest(path.removeprefix("/manifests/"), asked)
        if path == "/services/supportedAlgorithms":
            return _answer(
                {
                    "watermarks": [{"alg": each} for each in self._watermarks],
                    "fingerprints": [{"alg": ISCC}],
                },
                cached=True,
            )
        if path == _OPENAPI:
            return _answer(document(), cached=True)
        raise _Refused(404, "there is nothing here")

    async def _by_body(
        self, asked: Mapping[str, str], headers: Mapping[str, str], body: AsyncIterable[bytes]
    ) -> Answer:
        if _type(headers) != _JSON:
            raise _Refused(415, "the body is application/json")
        data = await _whole(body, headers, _LARGEST_QUERY_BODY)
        try:
            found: Any = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _Refused(400, "the body is a JSON object with alg and value")
        alg, value = found.get("alg"), found.get("value")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if not isinstance(alg, str) or not isinstance(value, str):
            raise _Refused(400, "the body has alg and value, both text")
        return await self._by_binding(alg, value, _most(asked))

    async def _by_binding(self, alg: str, value: str, most: int) -> Answer:
        decode_value(value)
        if check_alg(alg) not in {ISCC, *self._watermarks}:
            return _answer({"matches": []})
        return self._matches(await self._index.find(alg, value, most=most))

    async def _by_content(
        self, asked: Mapping[str, str], headers: Mapping[str, str], body: AsyncIterable[bytes]
    ) -> Answer:
        most = _most(asked)
        if "alg" in asked and check_alg(asked["alg"]) != ISCC:
            raise _Refused(400, f"what can be computed here is {ISCC}")
        if ("hintAlg" in asked) is not ("hintValue" in asked):
            raise _Refused(400, "hintAlg and hintValue come together")
        hint = None
        if "hintAlg" in asked:
            decode_value(asked["hintValue"])
            hint = check_alg(asked["hintAlg"]), asked["hintValue"]
        if _type(headers) not in {*PICTURES, "application/octet-stream"}:
            raise _Refused(415, f"the body is a picture: {', '.join(PICTURES)}")
        data = await _whole(body, headers, LARGEST_BODY)
        try:
            binding = await fingerprint_of(data)
        except StorageInvalidRequestError as error:
            if error.code == ErrorCode.TOO_LARGE:
                raise
            raise _Refused(415, "the body is not a picture that can be recognised") from None
        found: list[BindingMatch] = []
        if hint is not None and hint[0] in {ISCC, *self._watermarks}:
            found += await self._index.find(*hint, most=most)
        found += await self._index.find(binding.alg, binding.value, most=most)
        return self._matches(found[:most])

    def _matches(self, found: Iterable[BindingMatch]) -> Answer:
        best: dict[str, int] = {}
        for match in found:
            if match.label is not None:
                best[match.label] = max(match.score, best.get(match.label, 0))
        extra = {} if self._endpoint is None else {"endpoint": self._endpoint}
        matches = [{"manifestId": label, **extra, "similarityScore": best[label]} for label in best]
        return _answer({"matches": matches})

    async def _manifest(self, label: str, asked: Mapping[str, str]) -> Answer:
        active_only = asked.get("returnActiveManifest", "false")
        if active_only not in {"true", "false"}:
            raise _Refused(400, "returnActiveManifest is true or false")
        if not 0 < len(label) <= _LONGEST_LABEL:
            raise _Refused(400, f"a manifest's id has 1 to {_LONGEST_LABEL} characters")
        data = await self._index.manifest(label, active_only=active_only == "true")
        return Answer(
            body=data, content_type=MANIFEST_TYPE, headers={"cache-control": "public, max-age=3600"}
        )

    def _count(self, address: str, method: str) -> None:
        """Let a request in, or say when the next one of its address may come; a preflight is not counted."""
        if method == "OPTIONS":
            return
        now = self._clock()
        tokens, last = self._spent.pop(address, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - last) * self._rate)
        allowed = tokens >= 1
        self._spent[address] = (tokens - 1 if allowed else tokens, now)
        if len(self._spent) > _MOST_ADDRESSES:
            self._spent.popitem(last=False)
        if not allowed:
            wait = str(max(1, round((1 - tokens) / self._rate)))
            raise _Refused(429, "too many requests", **{"retry-after": wait})


async def _received(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _whole(body: AsyncIterable[bytes], headers: Mapping[str, str], most: int) -> bytes:
    too_large = _Refused(413, f"the body has at most {most} bytes")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > 20 or int(length) > most:  # noqa: PLR2004 - 64 bits
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in body:
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _parameters(query: str) -> dict[str, str]:
    try:
        # A plus sign in base64 that was not escaped is not a space.
        pairs = parse_qsl(
            query.replace("+", "%2B"), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError:
        raise _Refused(400, "the query is not one") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused(400, "a parameter is given twice")
    return found


def _needed(asked: Mapping[str, str], name: str) -> str:
    if not asked.get(name):
        raise _Refused(400, f"the parameter {name} is missing")
    return asked[name]


def _most(asked: Mapping[str, str]) -> int:
    text = asked.get("maxResults", "10")
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= MOST_RESULTS:  # noqa: PLR2004 - digits of 100
        raise _Refused(400, f"maxResults is 1 to {MOST_RESULTS}")
    return int(text)


def _type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _allow(method: str, *methods: str) -> None:
    if method not in methods:
        allowed = ", ".join((*methods, "OPTIONS"))
        raise _Refused(405, f"only {allowed}", allow=allowed)


def _answer(value: object, *, cached: bool = False) -> Answer:
    headers = {"cache-control": "public, max-age=3600" if cached else "no-store"}
    return Answer(body=json.dumps(value).encode(), content_type=_JSON, headers=headers)


def _error(status: int, words: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(
        status=status,
        body=json.dumps({"error": words}).encode(),
        content_type=_JSON,
        headers={"cache-control": "no-store", **(headers or {})},
    )


def headers_of(answer: Answer) -> dict[str, str]:
    """All headers of a response but its length."""
    own = {"content-type": answer.content_type, "x-content-type-options": "nosniff"}
    return {**own, **_CORS, **(answer.headers or {})}
