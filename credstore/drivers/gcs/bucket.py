"""`Bucket`, the driver's only way to the wire: where requests go, and what their failures mean.

Rules of this file: every request of the driver goes through `Bucket.call`. It hands the request to the
exchange (which signs, sends and retries). No other module knows hosts or credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

from credstore.config.gcs import GcsConfig
from credstore.driver.guard import Guard
from credstore.driver.values import Capabilities, ObjectInfo
from credstore.drivers.gcs.capabilities import capabilities_of, without_conditions
from credstore.drivers.gcs.errors import NO_BUCKET, NO_UPLOAD
from credstore.drivers.gcs.requests import MULTIPART, Described, GcsRequest
from credstore.drivers.gcs.resources import Resource, info_in, info_of
from credstore.drivers.gcs.responses import INCOMPLETE, classify, is_of_google, not_google
from credstore.errors import (
    ErrorCode,
    StorageBucketNotFoundError,
    StorageError,
    StorageInvalidKeyError,
    StorageObjectNotFoundError,
)
from credstore.model import NOTHING, CircuitState
from credstore.quick import made
from credstore.threads import in_pool
from credstore.wire.exchange import Exchange, Reply
from credstore.wire.retry import RetryPolicy
from credstore.wire.signer import Signer, WireCall
from credstore.wire.transport import Transport
from credstore.wire.urls import encode, encode_path, encode_query

T = TypeVar("T")
_PARSE_ON_LOOP = 32 * 1024
"""Bytes of JSON that can be parsed in under a millisecond; more go to a thread."""
_MAX_REPLY = 32 * 1024 * 1024
_RESOLVED = frozenset({"", ".", ".."})
_ACME = ".well-known/acme-challenge/"


class Bucket:
    """One bucket.

    Attributes:
        config: As given.
        able: What the store can do; conditions are taken away where the server turns out to ignore them.
        name: The bucket's name.
        label: The provider's label.
        origin: Scheme, host and port.
        described: The properties of its new objects.
        paying: The header that says which project pays, of every request.
        proved: Whether the server is known to keep conditions: Google does, another one is asked once.
        versioned: Whether the bucket is known to keep versions.
        keeps_locks: Whether the server is Google's own, or was seen to keep retention or a hold.
        emulated: Whether an emulator responds, which says less than Google.
        keeps_generations: Whether one may be named in requests; emulators know only the last.
    """

    def __init__(self, config: GcsConfig, *, signer: Signer, transport: Transport) -> None:
        """Compute the place; nothing is sent.

        Args:
            config: Of the store.
            signer: Closed with the bucket.
            transport: Closed with the bucket.
        """
        self.config = config
        self.able: Capabilities = capabilities_of(config)
        self.name = config.bucket
        self.label = config.provider
        self.origin = config.resolved_endpoint
        self.described = Described()
        self.proved = not config.is_elsewhere
        self.versioned = config.versioning
        self.keeps_locks = not config.is_elsewhere
        self.emulated = config.emulator_host is not None
        self.keeps_generations = not self.emulated
        name = encode(config.bucket)
        self._of_objects, self._of_media = f"/storage/v1/b/{name}/o/", f"/{name}/"
        self._paths = {
            "objects": f"/storage/v1/b/{name}/o",
            "bucket": f"/storage/v1/b/{name}",
            "upload": f"/upload/storage/v1/b/{name}/o",
            "batch": "/batch/storage/v1",
        }
        self._multipart = f"{self._paths['upload']}?{encode_query(MULTIPART)}"
        payer = config.user_project
        self.paying: Mapping[str, str] = NOTHING if payer is None else {"x-goog-user-project": payer}
        self._exchange = Exchange(
            transport,
            signer,
            classify=partial(classify, emulated=self.emulated, anonymous=config.is_anonymous),
            recognize=is_of_google,
            policy=RetryPolicy(max_attempts=config.max_retries + 1),
            hedge_reads=config.hedge_reads,
        )
        self._guard = Guard(self.label)

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """Whether calls go to each endpoint that was used."""
        return self._exchange.circuits()

    @property
    def requests(self) -> Mapping[str, int]:
        """What was sent so far, by the provider's name."""
        return self._exchange.sent

    @property
    def clock_offset(self) -> float:
        """Seconds by which the server's clock is ahead (P14)."""
        return self._exchange.clock_offset(self.origin)

    def may_look(self) -> bool:
        """Whether the retry budget permits one more request, to see what became of a write."""
        return self._exchange.spend()

    def looked(self) -> None:
        """Such a request got a response: return what it took from the budget."""
        self._exchange.earn()

    def ignores_conditions(self) -> None:
        """Take conditions away, as the server was seen to ignore them."""
        self.able = without_conditions(self.able)

    def check_key(self, key: str) -> None:
        """Refuse a key that Google cannot keep, or that names a service of its own.

        Raises:
            StorageInvalidKeyError: It is "." or "..", or is where Google keeps certificates' challenges.
        """
        if key in {".", ".."} or key.startswith(_ACME):
            raise StorageInvalidKeyError(
                f'Google Cloud Storage keeps no object that is called ".", "..", or {_ACME}...',
                key=key,
                bucket=self.name,
            )

    def path_of(self, key: str) -> str:
        """Percent-encoded path of an object, in which its slashes are encoded too."""
        return self._of_objects + encode(key)

    def media_path(self, key: str) -> str:
        """Percent-encoded path of an object at the XML API.

        Where a segment is empty, "." or "..", the slashes are encoded too, so that nothing on the way
        resolves it.
        """
        plain = _RESOLVED.isdisjoint(key.split("/"))
        return self._of_media + (encode_path(key) if plain else encode(key))

    def _path(self, request: GcsRequest) -> str:
        if request.place == "object":
            return self.path_of(request.key or "") + request.tail
        if request.place == "media":
            return self.media_path(request.key or "")
        if request.place != "session":
            return self._paths[request.place]
        return request.target.partition("?")[0]

    def _query(self, request: GcsRequest) -> tuple[tuple[str, str], ...]:
        if request.place == "session":
            return tuple(parse_qsl(request.target.partition("?")[2], keep_blank_values=True))
        return request.query

    def info(self, resource: Resource, *, named: bool = False) -> ObjectInfo:
        """What the store says about an object.

        Every object has a generation. It is a version, which is still there after the next one, only where
        the bucket keeps versions, or where it was asked for by name.
        """
        return info_of(resource, served_by=self.label, versioned=named or self.shows_versions)

    def info_in(self, key: str, headers: Mapping[str, str], size: int, *, named: bool) -> ObjectInfo:
        """The same from the headers of a response with the object's bytes."""
        shown = named or self.shows_versions
        return info_in(key, headers, size, served_by=self.label, versioned=shown)

    @property
    def shows_versions(self) -> bool:
        """Whether results name versions."""
        return self.versioned and self.able.versions

    async def call(self, request: GcsRequest, *, deadline: float | None, stream: bool = False) -> Reply:
        """Send one request.

        Args:
            request: What to send.
            deadline: Instant of `time.monotonic()`, or None.
            stream: Leave the body of a successful response open in `Reply.response`; the caller closes it.

        Raises:
            StorageError: `applied` is about this request.
        """
        self.check_usable(deadline)
        if request.key is not None:
            self.check_key(request.key)
        try:
            reply = await self._exchange.call(self._wire(request, deadline, stream=stream))
        except StorageError as error:
            failure = self._explained(request, error)
        else:
            if reply.status != INCOMPLETE or request.place == "session":
                return reply
            failure = not_google(reply.status, "maybe" if request.mutation else "no")
            failure.bucket = self.name
        raise failure

    async def renew(self, request: GcsRequest, deadline: float | None) -> None:
        """Get a newer token than such a request has now; see `Exchange.renew`."""
        await self._exchange.renew(self._wire(request, deadline, stream=False))

    def _wire(self, request: GcsRequest, deadline: float | None, *, stream: bool) -> WireCall:
        # No local variable for the query: it may name a session, and a traceback shows locals.
        at_once = request.query is MULTIPART
        return made(
            WireCall,
            {
                "operation": request.operation,
                "method": request.method,
                "origin": self.origin,
                "path": self._multipart if at_once else self._path(request),
                "query": () if at_once else self._query(request),
                "headers": {**request.headers, **self.paying} if self.paying else request.headers,
                "body": request.body,
                "mutation": request.mutation,
                "replayable": request.replayable,
                "deadline": deadline,
                "stream": stream,
                "max_reply": _MAX_REPLY,
                "probe": request.probe,
            },
        )

    def _explained(self, request: GcsRequest, error: StorageError) -> StorageError:
        """The error with what only the bucket knows."""
        error.bucket = self.name
        # An upload names no object that has to exist, so what is absent is the bucket.
        of_bucket = request.place in {"objects", "bucket", "upload", "batch"}
        absent = isinstance(error, StorageObjectNotFoundError)
        if absent and request.place == "session":
            facts = error.facts()
            facts["code"] = ErrorCode.UPLOAD_NOT_FOUND
            return NO_UPLOAD.error(NO_UPLOAD.message, **facts)
        if absent and of_bucket:
            facts = error.facts()
            facts["code"] = ErrorCode.BUCKET_NOT_FOUND
            return StorageBucketNotFoundError(NO_BUCKET.message, **facts)
        return error

    def check_usable(self, deadline: float | None) -> None:
        """Refuse a call that must not start; see `Guard.check`."""
        self._guard.check(deadline)

    async def aclose(self) -> None:
        """Close connections and credentials; safe to call again."""
        if not self._guard.closed:
            self._guard.closed = True
            await self._exchange.aclose()


async def outcome(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed response to a change; one that cannot be read leaves open whether it was made."""
    try:
        return await parsed(parse, body)
    except StorageError as error:
        error.applied = "maybe"
        raise


async def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed response; a large one is parsed off the event loop."""
    return parse(body) if len(body) <= _PARSE_ON_LOOP else await in_pool(parse, body)
