"""`MemoryDriver`: the driver contract in its plainest form, and thus its executable specification.

Rules of this file: it shows what a driver must do, without the detail that a cloud or a disk brings with it.
Every change to the table is one step without an `await`, and therefore atomic.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256 as new_sha256
from secrets import token_bytes
from typing import Any

from credstore.config.local import MemoryConfig
from credstore.config.reports import said_of
from credstore.driver.contract import Driver
from credstore.driver.guard import Guard
from credstore.driver.reader import known_reader
from credstore.driver.refusals import (
    OPTIONS,
    check_copy,
    check_delete,
    check_legal_holds,
    check_put,
    check_read,
    check_retention_mode,
    check_sign,
)
from credstore.driver.retention import NOT_RETAINED, changed, check_removable
from credstore.driver.signed_links import METHODS, check_link, sign_link
from credstore.driver.stated import MAY_LACK, restated
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    Precondition,
    PutRequest,
    PutResult,
    ReadOptions,
    SignedRequest,
    SignRequest,
    StoredReader,
)
from credstore.errors import (
    ErrorCode,
    RetentionMode,
    StorageAlreadyExistsError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.hashing import LOOP_BUDGET, hash_into, joined, sha256
from credstore.model import NOTHING, LinkGrant, Retention
from credstore.quick import made

CHUNK = 512 * 1024
MANY = 100
"""From this number of new keys on, they are sorted in together, not one by one."""
BEYOND = b"\xff"
"""Sorts after anything that UTF-8 can continue with."""
_CAPABILITIES = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    delete_tells_existence=True,
    durable=False,
    multipart=False,
    presign=METHODS,
    response_overrides=True,
    links_decode=True,
    tags=True,
    versions=False,
    retention_modes=frozenset({"governance", "compliance"}),
    legal_holds=True,
    storage_classes=frozenset(),
    sse_s3=False,
    sse_s3_implied=False,
    sse_kms=False,
    sse_c=False,
)


@dataclass(frozen=True, slots=True)
class MemoryObject:
    """One stored object: its bytes, and what is known about it."""

    data: bytes
    info: ObjectInfo
    tags: Mapping[str, str] = NOTHING
    retention: Retention = NOT_RETAINED


@dataclass(slots=True)
class MemoryObjects:
    """The objects of one memory store; several drivers may share it, on one event loop.

    Attributes:
        by_key: The objects.
        link_secret: What links to them are signed with; random, so links stop working when the process ends.
    """

    by_key: dict[str, MemoryObject] = field(default_factory=dict[str, MemoryObject])
    _order: list[bytes] = field(default_factory=list[bytes], repr=False)
    _new: list[bytes] = field(default_factory=list[bytes], repr=False)
    link_secret: bytes = field(default_factory=lambda: token_bytes(32), repr=False)

    def put(self, stored: MemoryObject) -> None:
        """Let a key name this object from now on."""
        key = stored.info.key
        if key not in self.by_key:
            self._new.append(key.encode())
        self.by_key[key] = stored

    def remove(self, key: str) -> bool:
        """Forget a key and return whether it was there."""
        if self.by_key.pop(key, None) is None:
            return False
        order = self.ordered()
        del order[bisect_left(order, key.encode())]
        return True

    def ordered(self) -> list[bytes]:
        """The keys as UTF-8, ascending; sorted only when needed, as doing so at every write costs more."""
        if len(self._new) > MANY:
            self._order += self._new
            self._order.sort()
        else:
            for name in self._new:
                insort(self._order, name)
        self._new.clear()
        return self._order

    def names(self, prefix: bytes, after: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bool]]:
        """The names of a listing, ascending, each with whether it stands for keys beyond the delimiter.

        Args:
            prefix: What the names start with.
            after: Only names after this one; empty for all.
            delimiter: Or empty for none.
        """
        order = self.ordered()
        at = bisect_left(order, prefix) if after < prefix else bisect_right(order, after)
        while at < len(order) and order[at].startswith(prefix):
            name = order[at]
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                yield name, False
                at += 1
                continue
            name = name[: cut + len(delimiter)]
            if name > after:
                yield name, True
            at = bisect_left(order, name + BEYOND, at)


class MemoryDriver(Driver):
    """Objects in the memory of this process, gone when it ends."""

    def __init__(
        self,
        config: MemoryConfig,
        *,
        objects: MemoryObjects | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty, or with the objects of another driver.

        Args:
            config: The store's settings.
            objects: Shared with other drivers; a table of its own unless given.
            clock: Unix seconds, for links and retention.

        Raises:
            StorageConfigurationError: `capabilities` has an unknown name, or names a report that does not
                count.
        """
        self.config = config
        self._objects = MemoryObjects() if objects is None else objects
        self._clock = clock
        self._guard = Guard("memory")
        self._capabilities = restated(_CAPABILITIES, said_of(config), MAY_LACK, most=_CAPABILITIES)

    @property
    def name(self) -> str:
        """Always "memory"."""
        return "memory"

    @property
    def capabilities(self) -> Capabilities:
        """Every condition is atomic; nothing outlives the process."""
        return self._capabilities

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object; see `Driver.put`.

        Raises:
            StorageIntegrityError: The body is not what `request.digest` names; nothing was stored.
            StorageInvalidRequestError: Code "BODY_LENGTH"; nothing was stored.
        """
        name = self.name
        self._guard.check(request.deadline)
        check_put(request, self._capabilities, name)
        if name in request.driver_options:
            raise OPTIONS.of(name)
        data, digest = await _received(request)
        self._guard.check(request.deadline)
        fields: dict[str, Any] = {
            "key": request.key,
            "size": len(data),
            "etag": _new_etag(),
            "last_modified": datetime.now(UTC),
            "headers": request.headers,
            "metadata": _kept(request.metadata),
            "system": _kept(request.system),
            "write_id": request.write_id,
            "digest": digest,
            "served_by": name,
        }
        info = made(ObjectInfo, fields)
        retention = request.retention or NOT_RETAINED
        stored = MemoryObject(data, info, _kept(request.tags), retention)
        return self._publish(stored, request.precondition)

    def _publish(self, stored: MemoryObject, precondition: Precondition) -> PutResult:
        """Check the condition and make the object visible, in one step."""
        info, name = stored.info, self.name
        now = self._objects.by_key.get(info.key)
        if precondition.mode == "create" and now is not None:
            raise StorageAlreadyExistsError("there is already an object with this key")
        if precondition.mode == "replace" and (now is None or now.info.etag != precondition.etag):
            raise StoragePreconditionFailedError("the object is gone or a different version")
        self._check_removable(now)
        self._objects.put(stored)
        result: dict[str, Any] = {
            "key": info.key,
            "size": info.size,
            "etag": info.etag,
            "digest": info.digest,
            "served_by": name,
            "replicas": (name,),
        }
        return made(PutResult, result)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _check_removable(self, found: MemoryObject | None) -> None:
        """Refuse to replace or remove what is kept; without versions nothing of it would be left."""
        if found is not None:
            check_removable(found.retention, self._now())

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes as they are now; see `Driver.get`."""
        found = self._find(key, options)
        size = len(found.data)
        start, end = options.span(size)
        whole = (start, end) == (0, size)
        return known_reader(
            found.info,
            found.data if whole and size <= CHUNK else _pieces(found.data, start, end),
            length=end - start,
            digest=found.info.digest if whole else None,
        )

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        return self._find(key, options).info

    def _find(self, key: str, options: ReadOptions) -> MemoryObject:
        self._guard.check(options.deadline)
        if options.version_id is not None or options.customer_key is not None:
            check_read(options, self._capabilities, self.name)
        found = self._objects.by_key.get(key)
        if found is None:
            raise StorageObjectNotFoundError("there is no such object")
        if options.if_match is not None and options.if_match != found.info.etag:
            raise StoragePreconditionFailedError("the object is not the version asked for")
        return found

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; see `Driver.delete`."""
        self._guard.check(deadline)
        check_delete(if_match, version_id, self._capabilities, self.name)
        found = self._objects.by_key.get(key)
        if if_match is not None and (found is None or found.info.etag != if_match):
            raise StoragePreconditionFailedError("the object is gone, or is not the version to delete")
        self._check_removable(found)
        return DeleteOutcome(existed=self._objects.remove(key))

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove keys one after the other; see `Driver.delete_many`."""
        self._guard.check(deadline)
        outcomes: dict[str, DeleteOutcome | StorageError] = {}
        for key in keys:
            try:
                self._check_removable(self._objects.by_key.get(key))
            except StorageError as error:
                outcomes[key] = error
            else:
                outcomes[key] = DeleteOutcome(existed=self._objects.remove(key))
        return outcomes

    async def list(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> Page:
        """One page; the cursor is the last name. See `Driver.list`."""
        self._guard.check(deadline)
        begin = prefix.encode()
        after = max((cursor or "").encode(), (start_after or "").encode())
        entries: list[ObjectInfo] = []
        prefixes: list[str] = []
        last: str | None = None
        for name, beyond in self._objects.names(begin, after, (delimiter or "").encode()):
            if len(entries) + len(prefixes) == limit:
                return Page(entries=entries, cursor=last, prefixes=prefixes)
            last = name.decode()
            if beyond:
                prefixes.append(last)
            else:
                entries.append(_listed(self._objects.by_key[last].info))
        return Page(entries=entries, cursor=None, prefixes=prefixes)

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object; see `Driver.copy`.

        Raises:
            StorageIntegrityError: The source's bytes do not match its digest; the source is kept.
        """
        check_copy(request, self._capabilities, self.name)
        options = ReadOptions(
            if_match=request.source.etag,
            version_id=request.source.version_id,
            customer_key=request.source_customer_key,
            deadline=request.deadline,
        )
        source = self._find(request.source.key, options)
        digest = source.info.digest
        if digest is not None and await sha256(source.data) != digest:
            text = (
                "the source's bytes do not match its recorded SHA-256; nothing was copied, the source is kept"
            )
            raise StorageIntegrityError(text, code=ErrorCode.DIGEST_MISMATCH, applied="no")
        source = self._find(request.source.key, options)  # It may have been replaced in the meantime.
        system = source.info.system if request.system is None else dict(request.system)
        info = replace(
            source.info,
            key=request.destination,
            etag=_new_etag(),
            last_modified=datetime.now(UTC),
            write_id=request.write_id,
            system=system,
        )
        copied = replace(source, info=info, retention=request.retention or NOT_RETAINED)
        return self._publish(copied, request.precondition)

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags; see `TaggedDriver`."""
        return self._find(key, ReadOptions(deadline=deadline)).tags

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; see `TaggedDriver`."""
        found = self._find(key, ReadOptions(deadline=deadline))
        self._objects.put(replace(found, tags=dict(tags)))

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps the object; see `RetainingDriver`."""
        return self._find(key, ReadOptions(version_id=version_id, deadline=deadline)).retention

    async def set_retention(
        self,
        key: str,
        retain_until: datetime | None,
        mode: RetentionMode,
        *,
        version_id: str | None = None,
        bypass_governance: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Put the object under retention; see `LockingDriver.set_retention`.

        Raises:
            StorageRetainedError: It would be shortened or weakened.
        """
        check_retention_mode(mode, self._capabilities, self.name)
        found = self._find(key, ReadOptions(version_id=version_id, deadline=deadline))
        retention = changed(
            found.retention, retain_until, mode, now=self._now(), bypass_governance=bypass_governance
        )
        self._keep(found, retention)

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Hold the object or release it; see `LockingDriver.set_legal_hold`."""
        check_legal_holds(self._capabilities, self.name)
        found = self._find(key, ReadOptions(version_id=version_id, deadline=deadline))
        self._keep(found, replace(found.retention, legal_hold=held))

    def _keep(self, found: MemoryObject, retention: Retention) -> None:
        self._objects.put(replace(found, retention=retention))

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link that `verify_link` accepts; see `Driver.sign`."""
        self._guard.check(request.deadline)
        check_sign(request, self._capabilities, self.name)
        expires = int(self._clock() + request.expires_in)
        url = sign_link(
            self.config.link_url,
            self._objects.link_secret,
            method=request.method,
            key=request.key,
            expires=expires,
            overrides=request.overrides,
        )
        return SignedRequest(
            url=url,
            method=request.method,
            expires_at=datetime.fromtimestamp(expires, UTC),
            served_by=self.name,
        )

    def verify_link(self, method: str, path: str, query: Mapping[str, str], now: float) -> LinkGrant:
        """What a request for `link_url` grants; see `VerifiesLinks.verify_link`.

        Raises:
            StorageAccessDeniedError: Code "LINK_EXPIRED" or "LINK_INVALID".
        """
        secret = self._objects.link_secret
        return check_link(self.config.link_url, secret, method=method, path=path, query=query, now=now)

    async def ping(self, *, deadline: float | None = None) -> None:
        """Refuse only when closed or past the deadline."""
        self._guard.check(deadline)

    async def aclose(self) -> None:
        """Refuse calls from now on; safe to call again."""
        self._guard.closed = True


async def _received(request: PutRequest) -> tuple[bytes, bytes]:
    """All bytes of the body, checked against its length and digest, and their SHA-256."""
    data = request.body.data
    if data is not None:
        digest = new_sha256(data).digest() if len(data) <= LOOP_BUDGET else await sha256(data)
    else:
        data, digest = await _drained(request)
    length = request.body.length
    if length is not None and length != len(data):
        raise StorageInvalidRequestError(
            f"the body has {len(data)} bytes, but {length} were announced", code=ErrorCode.BODY_LENGTH
        )
    if request.digest is not None and request.digest != digest:
        raise StorageIntegrityError("the body does not match its SHA-256", code=ErrorCode.DIGEST_MISMATCH)
    if request.body.data is not None and request.progress is not None:
        request.progress(len(data), len(data))
    return data, digest


async def _drained(request: PutRequest) -> tuple[bytes, bytes]:
    parts: list[bytes] = []
    digest = new_sha256()
    done = 0
    async for chunk in request.body.open():
        await hash_into(digest, chunk)
        parts.append(chunk)
        done += len(chunk)
        if request.progress is not None:
            request.progress(done, request.body.length)
    return await joined(parts), digest.digest()


async def _pieces(data: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    for offset in range(start, end, CHUNK):
        yield data[offset : min(offset + CHUNK, end)]


def _new_etag() -> str:
    return os.urandom(16).hex()


def _kept(given: Mapping[str, str]) -> Mapping[str, str]:
    """A copy that the caller can no longer change."""
    return dict(given) if given else NOTHING


def _listed(info: ObjectInfo) -> ObjectInfo:
    """As much of it as a listing shows."""
    return ObjectInfo(
        key=info.key,
        size=info.size,
        etag=info.etag,
        last_modified=info.last_modified,
        served_by=info.served_by,
    )
