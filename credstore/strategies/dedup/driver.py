"""`DedupDriver`: equal bodies are stored once.

What it promises: an object that was stored can be read for as long as it is not deleted, whatever else is
stored, deleted or collected meanwhile, and whichever process is killed. Deleting an object removes its
reference only; `collect` removes the bodies that nothing refers to. See `plan.py` for why that is safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

from credstore.concurrency import map_all
from credstore.driver.contract import (
    BreaksCircuits,
    CountsRequests,
    Driver,
    KeepsConnections,
    TaggedDriver,
    VerifiesLinks,
)
from credstore.driver.guard import Guard
from credstore.driver.internal import is_internal
from credstore.driver.refusals import (
    OPTIONS,
    SHARED_BODIES,
    check_condition,
    check_delete,
    check_encryption,
    check_put,
    check_read,
    check_retention,
    check_sign,
)
from credstore.driver.values import (
    BODY,
    OVERWRITE,
    READ_ALL,
    BytesBody,
    Capabilities,
    Collected,
    CopyRequest,
    DeleteOutcome,
    ObjectInfo,
    Page,
    PutRequest,
    PutResult,
    ReadOptions,
    SignedRequest,
    SignRequest,
    StoredReader,
    VersionPage,
)
from credstore.driver.values import Body as PutBody
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.hashing import sha256
from credstore.model import NOTHING
from credstore.strategies.abilities import able_as
from credstore.strategies.dedup import plan
from credstore.strategies.dedup.bodies import (
    body_missing,
    body_request,
    collected_meanwhile,
    mismatch,
    read_through,
)
from credstore.strategies.dedup.collecting import collect
from credstore.strategies.passing import PASSED, PassingDriver

_AT_ONCE = 16
"""Requests at once for the references of one page."""
_TRIES = 3


class DedupDriver(PassingDriver):
    """A store whose objects share their bodies."""

    def __init__(
        self,
        inner: Driver,
        *,
        smallest: int = plan.SMALLEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Own the store.

        Args:
            inner: Keeps references and bodies.
            smallest: Bytes from which a body is shared; smaller ones are stored as they are.
            clock: Seconds, ascending.
        """
        super().__init__(inner)
        self._smallest = smallest
        self._clock = clock
        self._guard = Guard(inner.name)
        self._able = inner.capabilities
        self._left = plan.able_with(self._able)

    @property
    def capabilities(self) -> Capabilities:
        """The store's, without what one of several owners of a body cannot decide."""
        able = self._inner.capabilities
        if able is not self._able and able != self._able:  # A strategy may compute them each time.
            self._able, self._left = able, plan.able_with(able)
        return self._left

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object: its body, unless that is there, and then its reference; see `Driver.put`."""
        self._guard.check(request.deadline)
        check_put(request, self.capabilities, self.name)
        if request.driver_options:
            raise OPTIONS.of(self.name)
        size = request.body.length
        if is_internal(request.key) or (size is not None and size < self._smallest):
            return await self._inner.put(request)
        digest, size, body = await self._received(request)
        for attempt in range(_TRIES):
            with _after(referred=attempt > 0):
                looked, chosen = await self._placed(request, digest, size, body)
                result = await self._refer(request, chosen, size, looked)
            if self._clock() - looked <= plan.HURRY or await self._is_usable(chosen, request.deadline):
                return replace(result, size=size, digest=bytes.fromhex(digest))
        raise collected_meanwhile(applied="maybe")

    async def _refer(self, request: PutRequest, chosen: plan.Body, size: int, looked: float) -> PutResult:
        data = plan.reference(chosen.digest, size)
        left = time.monotonic() + max(0.0, looked + plan.HURRY - self._clock())
        return await self._inner.put(
            replace(
                request,
                body=BytesBody(data),
                digest=await sha256(data),
                parts=None,
                system={**request.system, BODY: plan.target(chosen, size)},
                deadline=left if request.deadline is None else min(left, request.deadline),
                progress=None,
                journal=None,
            )
        )

    async def _received(self, request: PutRequest) -> tuple[str, int, PutBody | None]:
        """SHA-256 in hex and size of a body, and the body; None where it is in the store already.

        Raises:
            StorageIntegrityError: It is not the one that the request names.
            StorageError: It could not be stored.
        """
        data = request.body.data
        if data is not None:
            digest = await sha256(data)
            if request.digest is not None and digest != request.digest:
                raise mismatch()
            return digest.hex(), len(data), request.body
        if request.digest is not None and request.body.length is not None:
            return request.digest.hex(), request.body.length, request.body
        arrived = replace(
            request,
            key=plan.INCOMING + request.write_id,
            precondition=OVERWRITE,
            metadata=NOTHING,
            system=NOTHING,
            tags=NOTHING,
            journal=None,
        )
        result = await self._inner.put(arrived)
        try:
            info = await self._inner.head(arrived.key, ReadOptions(deadline=request.deadline))
            if not info.digest:
                raise StorageIntegrityError(
                    "the store did not record what it received", code=ErrorCode.INTEGRITY
                )
            await self._adopt(info, request)
        finally:
            await self._inner.delete(arrived.key)
        return info.digest.hex(), result.size, None

    async def _adopt(self, info: ObjectInfo, request: PutRequest) -> None:
        """Make what arrived without a digest the body of its digest, unless there is one."""
        digest = (info.digest or b"").hex()
        choice = await self._look(digest, request.deadline)
        if not choice.there:
            await self._copy_body(info, choice.body, request.deadline)

    async def _copy_body(self, info: ObjectInfo, body: plan.Body, deadline: float | None) -> None:
        await self._inner.copy(
            CopyRequest(source=info, destination=body.key, write_id=token_hex(16), deadline=deadline)
        )

    async def _look(self, digest: str, deadline: float | None) -> plan.Choice:
        page = await self._inner.list(f"{plan.BODIES}{digest}/", deadline=deadline)
        return plan.choose(digest, [entry.key for entry in page.entries])

    async def _is_usable(self, body: plan.Body, deadline: float | None) -> bool:
        """Whether a body is there and may be referred to."""
        page = await self._inner.list(f"{plan.BODIES}{body.digest}/", deadline=deadline)
        keys = {entry.key for entry in page.entries}
        return body.key in keys and body.mark not in keys

    async def _placed(
        self, request: PutRequest, digest: str, size: int, body: PutBody | None
    ) -> tuple[float, plan.Body]:
        """The body to refer to, and when it was seen to be usable.

        Raises:
            StorageConflictError: It was collected meanwhile, again and again.
        """
        read = False
        for _ in range(_TRIES):
            looked = self._clock()
            choice = await self._look(digest, request.deadline)
            if choice.there:
                if body is not None and body.data is None and not read:
                    await read_through(request, body, bytes.fromhex(digest), size)
                    read = True
                    continue  # That may have taken long.
                return looked, choice.body
            if body is None or (read and not body.replayable):
                break
            await self._inner.put(body_request(request, choice.body, body))
            read = True
        raise collected_meanwhile(applied="no")

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes, of the body where the object is a reference; see `Driver.get`."""
        self._guard.check(options.deadline)
        check_read(options, self.capabilities, self.name)
        options.check_range()
        missing: plan.Body | None = None
        while True:
            info: ObjectInfo
            if options.whole:
                reader = await self._inner.get(key, options)
                if plan.target_of(reader.info) is None:
                    return reader
                await reader.aclose()
                info = reader.info
            else:
                info = await self._inner.head(key, options)
            found = plan.target_of(info)
            if found is None:
                reader = await self._inner.get(key, options)
                if plan.target_of(reader.info) is None:
                    return reader
                await reader.aclose()  # It was replaced by a reference just now.
                continue
            body, size = found
            try:
                reader = await self._inner.get(body.key, replace(options, if_match=None))
            except StorageObjectNotFoundError:
                if missing == body:
                    raise body_missing(body) from None
                missing = body  # The object was replaced long enough ago for its body to be gone, or deleted.
                continue
            reader.info = plan.shown(info, body, size)
            return reader

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        check_read(options, self.capabilities, self.name)
        return _seen(await self._inner.head(key, options))

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object; its body stays until it is collected. See `Driver.delete`."""
        check_delete(if_match, version_id, self.capabilities, self.name)
        return await super().delete(key, if_match=if_match, deadline=deadline)

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
        """One page, with the sizes of the objects; see `Driver.list`.

        Cost: 1 request more for each reference.
        """
        below, behind = plan.cursor_of(cursor)
        page = await self._inner.list(
            prefix,
            below,
            delimiter=delimiter,
            start_after=max(plan.BEHIND, start_after or "", key=str.encode) if behind else start_after,
            limit=limit,
            deadline=deadline,
        )
        shown = [entry for entry in page.entries if not _is_own(entry.key)]
        found = await map_all(shown, lambda entry: self._measured(entry, deadline), at_once=_AT_ONCE)
        prefixes = [each for each in page.prefixes if await self._has_more(each, deadline)]
        following = plan.cursor_text(page.cursor, behind=behind)
        last = page.entries[-1].key if page.entries else ""
        if following is not None and not behind and last.startswith(plan.BODIES) and self._able.ordered:
            following = plan.JUMP  # Past all the other bodies.
        entries = [each for each in found if each is not None]
        return replace(page, entries=entries, prefixes=prefixes, cursor=following)

    async def _measured(self, entry: ObjectInfo, deadline: float | None) -> ObjectInfo | None:
        """An object of a listing with its size; None for one that is gone."""
        if entry.size != plan.REFERENCE:
            return entry
        try:
            info = await self._inner.head(entry.key, ReadOptions(deadline=deadline))
        except StorageObjectNotFoundError:
            return None
        found = plan.target_of(info)
        if found is None:
            return entry
        return replace(entry, size=found[1], etag=info.etag, last_modified=info.last_modified)

    async def _has_more(self, prefix: str, deadline: float | None) -> bool:
        """Whether there is anything besides bodies under a prefix."""
        own = (plan.BODIES, plan.INCOMING, plan.CLOCK)
        if not any(each.startswith(prefix) or prefix.startswith(each) for each in own):
            return True
        page = Page(entries=(), cursor=None)
        cursor: str | None = None
        while True:
            page = await self.list(prefix, cursor, deadline=deadline)
            if page.entries:
                return True
            if page.cursor is None:
                return False
            cursor = page.cursor

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object: its reference, as its body is shared anyway; see `Driver.copy`."""
        self._guard.check(request.deadline)
        check_condition(request.precondition, self.capabilities, self.name)
        check_encryption(request.encryption, self.capabilities, self.name)
        check_encryption(request.source_customer_key, self.capabilities, self.name)
        check_retention(request.retention, self.capabilities, self.name)
        source = request.source
        info = await self._inner.head(source.key, ReadOptions(deadline=request.deadline))
        found = plan.target_of(info)
        if info.etag != source.etag:
            raise StoragePreconditionFailedError("the source was replaced since it was looked at")
        if found is None:
            return await self._inner.copy(request)
        body, size = found
        system = {
            **((info.system if request.system is None else request.system) or NOTHING),
            BODY: plan.target(body, size),
        }
        referred = False
        for _ in range(_TRIES):
            looked = self._clock()
            with _after(referred=referred):
                if not await self._is_usable(body, request.deadline):
                    body = await self._renewed(body, request.deadline)
                    system[BODY] = plan.target(body, size)
                    continue
                result = await self._inner.copy(replace(request, source=info, system=system))
            referred = True
            if self._clock() - looked <= plan.HURRY or await self._is_usable(body, request.deadline):
                return replace(result, size=size, digest=bytes.fromhex(body.digest))
        raise collected_meanwhile(applied="maybe")

    async def _renewed(self, body: plan.Body, deadline: float | None) -> plan.Body:
        """Another body with the same bytes, for one that gets no more references."""
        choice = await self._look(body.digest, deadline)
        if not choice.there:
            info = await self._inner.head(body.key, ReadOptions(deadline=deadline))
            await self._copy_body(info, choice.body, deadline)
        return choice.body

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link to the body of an object, with the object's headers; see `Driver.sign`."""
        self._guard.check(request.deadline)
        check_sign(request, self.capabilities, self.name)
        if isinstance(self._inner, VerifiesLinks):  # Whoever serves it asks this driver for the object.
            return await self._inner.sign(request)
        try:
            info = await self._inner.head(request.key, ReadOptions(deadline=request.deadline))
        except StorageObjectNotFoundError:
            return await self._inner.sign(request)
        found = plan.target_of(info)
        if found is None:
            return await self._inner.sign(request)
        told = info.headers
        own = {
            "content-type": told and told.content_type,
            "content-encoding": told and told.content_encoding,
            "content-disposition": told and told.content_disposition,
            "content-language": told and told.content_language,
            "cache-control": told and told.cache_control,
        }
        overrides = {name: value for name, value in own.items() if value} | dict(request.overrides)
        return await self._inner.sign(replace(request, key=found[0].key, overrides=overrides))

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Always: what is deleted may leave its body behind, until that is collected."""
        return True

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """Refused: what remains of an object is not its own.

        Raises:
            StorageUnsupportedError: Always.
        """
        raise SHARED_BODIES.of(self.name)

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Refused, as `list_versions`.

        Raises:
            StorageUnsupportedError: Always.
        """
        raise SHARED_BODIES.of(self.name)

    async def collect(self, grace: timedelta, *, deadline: float | None = None) -> Collected:
        """Remove what nothing refers to; see `CollectsGarbage.collect`."""
        self._guard.check(deadline)
        if grace < plan.LEAST_GRACE:
            raise StorageInvalidRequestError(f"a grace is {plan.LEAST_GRACE} or more")
        return await collect(self._inner, grace, clock=self._clock, deadline=deadline)

    async def aclose(self) -> None:
        """Close the store; safe to call again."""
        self._guard.closed = True
        await self._inner.aclose()


@contextmanager
def _after(*, referred: bool) -> Generator[None]:
    """What fails after a reference was made may have had an effect, whatever it says of itself."""
    try:
        yield
    except StorageError as error:
        if referred and error.applied == "no":
            error.applied = "maybe"
        raise


ABILITIES: Mapping[type, type[PassingDriver]] = {
    each: PASSED[each]
    for each in (TaggedDriver, VerifiesLinks, BreaksCircuits, CountsRequests, KeepsConnections)
}


def dedup_driver(inner: Driver) -> Driver:
    """A store whose objects share their bodies; see `DedupDriver`."""
    return able_as(inner, DedupDriver, ABILITIES)(inner)


def _is_own(key: str) -> bool:
    return key.startswith((plan.BODIES, plan.INCOMING)) or key == plan.CLOCK


def _seen(info: ObjectInfo) -> ObjectInfo:
    found = plan.target_of(info)
    return info if found is None else plan.shown(info, *found)
