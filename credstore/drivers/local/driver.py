"""`LocalDriver`: the driver contract over plain files, every blocking call in a thread."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

from credstore.config.local import LocalConfig
from credstore.driver import refusals
from credstore.driver.contract import Driver
from credstore.driver.guard import Guard
from credstore.driver.reader import known_reader
from credstore.driver.retention import changed
from credstore.driver.signed_links import check_link, sign_link
from credstore.driver.values import (
    READ_ALL,
    Capabilities,
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
)
from credstore.drivers.local.atomic import Temporary, Token
from credstore.drivers.local.attributes import Attributes
from credstore.drivers.local.descriptions import (
    LABEL,
    attributes_of,
    capabilities_of,
    copied,
    info_of,
    result_of,
)
from credstore.drivers.local.failures import translate
from credstore.drivers.local.gathering import Gathering
from credstore.drivers.local.listing import Asked
from credstore.drivers.local.lookup import OpenObject
from credstore.drivers.local.objects import Objects
from credstore.drivers.local.root import Root
from credstore.drivers.local.scans import Scan, Scans, Turned
from credstore.drivers.local.streams import (
    CHUNK,
    SMALL,
    batches,
    check_body,
    check_copy,
    closer,
    copy_piece,
    read_piece,
)
from credstore.drivers.local.together import GROUPED, Together, Write
from credstore.drivers.local.workers import Workers
from credstore.errors import RetentionMode, StorageError, StoragePreconditionFailedError
from credstore.model import LinkGrant, Retention

T = TypeVar("T")
P = ParamSpec("P")


class LocalDriver(Driver):
    """Objects as plain files below `config.root`; opened by its first operation.

    Cancellation: after the thread at work has stopped; nothing becomes visible afterwards (P15).
    """

    def __init__(
        self,
        config: LocalConfig,
        *,
        threads: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the settings; nothing is touched yet.

        Args:
            config: The root and how to use it.
            threads: Number of file operations at once.
            clock: Unix seconds, for links and retention.

        Raises:
            StorageConfigurationError: `capabilities` has an unknown name, or names a report that does not
                count.
        """
        self._config = config
        self._clock = clock
        self._workers = Workers(threads)
        self._opening = threading.Lock()
        self._opened: tuple[Root, Objects] | None = None
        self._scans = Scans()
        self._together: Together | None = None
        self._gathering = Gathering(lambda group: self._run(self._publish_together, group))
        self._guard = Guard(LABEL)
        self._capabilities = capabilities_of(config)
        self._secret: bytes | None = None

    @property
    def name(self) -> str:
        """Always "local"."""
        return LABEL

    @property
    def capabilities(self) -> Capabilities:
        """Everything conditional is atomic; there are no versions, classes or encryption."""
        return self._capabilities

    async def put(self, request: PutRequest) -> PutResult:
        """Write one object, durable on return; see `Driver.put`.

        Raises:
            StorageIntegrityError: The body does not match `request.digest`; nothing was stored.
            StorageInvalidRequestError: Code "BODY_LENGTH"; nothing was stored.
            StorageQuotaExceededError: The disk is full; what was there is intact.
            StorageAccessDeniedError: The root cannot be written to.
            StorageUnavailableError: Code "WRITES_DISABLED", after a failed fsync (P3).
        """
        refusals.check_put(request, self._capabilities, self.name)
        if self.name in request.driver_options:
            raise refusals.OPTIONS.of(self.name)
        data = request.body.data
        if data is not None and request.progress is not None:
            self._guard.check(request.deadline)
            request.progress(len(data), len(data))  # First: what it raises ends the write.
        if data is not None and self._config.group_commit and len(data) <= GROUPED:
            digest = hashlib.sha256(data).hexdigest()
            check_body(request, len(data), digest)
            self._guard.check(request.deadline)
            write = Write(data, attributes_of(request, digest), request.precondition, request.deadline)
            token = await self._gathering.store(write)
            return result_of(request, token, digest)
        if data is not None:
            token, digest = await self._run(
                self._put_bytes, request, data, deadline=request.deadline, quick=not self._config.fsync
            )
            return result_of(request, token, digest)
        file = await self._run(self._temporary, request.key, deadline=request.deadline)
        try:
            size, digest = await self._receive(request, file)
            check_body(request, size, digest)
            token = await self._run(self._publish, request, file, digest, deadline=request.deadline)
        finally:
            await self._workers.finish(file.discard)
        return result_of(request, token, digest)

    def _temporary(self, key: str) -> Temporary:
        """A file for what comes in pieces, which takes long: worth checking first where it goes."""
        self._root().check_there()
        return self._objects().temporary(key)

    def _put_bytes(self, request: PutRequest, data: bytes) -> tuple[Token, str]:
        digest = hashlib.sha256(data).hexdigest()
        check_body(request, len(data), digest)
        with contextlib.closing(self._objects().temporary(request.key)) as file:
            file.write(data)
            return self._publish(request, file, digest), digest

    def _publish(self, request: PutRequest, file: Temporary, digest: str) -> Token:
        attributes = attributes_of(request, digest)
        return self._objects().publish(file, attributes, request.precondition, request.deadline)

    def _publish_together(self, group: Sequence[Write]) -> None:
        if self._together is None:
            self._together = Together(*self._store())
        self._together.publish(group)

    async def _receive(self, request: PutRequest, file: Temporary) -> tuple[int, str]:
        """Write the body chunk by chunk with bounded memory; its size and SHA-256 in hex."""
        digest = hashlib.sha256()
        size = 0

        def take(parts: list[bytes]) -> None:
            for part in parts:
                digest.update(part)
                file.write(part)

        async for parts in batches(request.body.open()):
            size += sum(map(len, parts))
            if request.body.length is not None and size > request.body.length:
                break
            await self._run(take, parts, deadline=request.deadline)
            if request.progress is not None:
                request.progress(size, request.body.length)
        return size, digest.hexdigest()

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes; see `Driver.get`. Later writes do not change what this reader returns."""
        refusals.check_read(options, self._capabilities, self.name)
        opened = await self._run(self._open_and_read, key, options, deadline=options.deadline, quick=True)
        start, end = options.span(opened.token.size)
        whole = end - start == opened.token.size
        info = info_of(key, opened.token, opened.etag, opened.attributes)
        chunks = self._chunks(opened, start, end) if opened.content is None else opened.content
        return known_reader(
            info, chunks, length=end - start, digest=info.digest if whole else None, close=closer(opened)
        )

    def _open_and_read(self, key: str, options: ReadOptions) -> OpenObject:
        opened = self._open(key, options)
        try:
            start, end = options.span(opened.token.size)
            if end - start <= SMALL:
                proved = opened.attributes.digest is not None and end - start == opened.token.size
                opened.content = read_piece(opened, start, end - start, proved=proved)
        except BaseException:
            opened.close()
            raise
        if opened.content is not None:
            opened.close()
        return opened

    def _open(self, key: str, options: ReadOptions) -> OpenObject:
        opened = self._objects().lookup.open(key)
        if options.if_match is not None and options.if_match != opened.etag:
            opened.close()
            raise StoragePreconditionFailedError("the object's version is not the one that was asked for")
        return opened

    async def _chunks(self, opened: OpenObject, start: int, end: int) -> AsyncIterator[bytes]:
        proved = opened.attributes.digest is not None and end - start == opened.token.size
        read = partial(read_piece, opened, proved=proved)
        while start < end:
            chunk = await self._run(read, start, min(CHUNK, end - start))
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        refusals.check_read(options, self._capabilities, self.name)

        def look() -> tuple[Token, str, Attributes]:
            with contextlib.closing(self._open(key, options)) as opened:
                return opened.token, opened.etag, opened.attributes

        return info_of(key, *await self._run(look, deadline=options.deadline, quick=True))

    async def delete(
        self,
        key: str,
        *,
        if_match: str | None = None,
        version_id: str | None = None,
        deadline: float | None = None,
    ) -> DeleteOutcome:
        """Remove one object, durable on return; see `Driver.delete`."""
        refusals.check_delete(if_match, version_id, self._capabilities, self.name)

        def remove() -> bool:
            return self._objects().delete(key, if_match=if_match, deadline=deadline)

        return DeleteOutcome(existed=await self._run(remove, deadline=deadline))

    async def delete_many(
        self, keys: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, DeleteOutcome | StorageError]:
        """Remove keys one after the other; see `Driver.delete_many`."""
        self._guard.check(deadline)
        outcomes: dict[str, DeleteOutcome | StorageError] = {}
        for key in keys:
            try:
                outcomes[key] = await self.delete(key, deadline=deadline)
            except StorageError as error:
                outcomes[key] = error
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
        """One page; the cursor is the last name. See `Driver.list`.

        With the delimiter "/", only the directory that the prefix names is read; with another one, or
        without one, directories below it are read too.
        """
        after = max(cursor or "", start_after or "", key=str.encode)
        asked = Asked(prefix, after, delimiter or "", limit)
        self._guard.check(deadline)
        kept = self._scans.take(asked)
        try:
            turned = await self._run(self._turn, kept, asked, deadline=deadline)
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        if turned.page.cursor is not None:
            self._scans.keep(turned.scan, turned.page.cursor)
        return turned.page

    def _turn(self, kept: Scan | None, asked: Asked) -> Turned:
        scan = Scan(self._root(), self._objects().lookup, asked) if kept is None else kept
        return scan.turn(asked.first)

    async def copy(self, request: CopyRequest) -> PutResult:
        """Copy one object inside the store, by reference where the file system can.

        What the copy has is read back and compared with the source's recorded SHA-256 before it is shown.

        Raises:
            StorageNotFoundError: The source is gone.
            StoragePreconditionFailedError: The source or the destination has another version.
            StorageIntegrityError: The source was damaged on the disk (code "DIGEST_MISMATCH"); it stays.
            StorageError: As for `put`.
        """
        refusals.check_copy(request, self._capabilities, self.name)
        pinned = ReadOptions(if_match=request.source.etag)
        deadline = request.deadline
        source = await self._run(self._open, request.source.key, pinned, deadline=deadline)
        try:
            file = await self._run(self._temporary, request.destination, deadline=deadline)
            try:
                done, digest = 0, hashlib.sha256()
                while done < source.token.size:
                    done += await self._run(copy_piece, source, file, done, digest, deadline=deadline)
                seen = digest.hexdigest()
                token = await self._run(self._publish_copy, request, source, file, seen, deadline=deadline)
            finally:
                await self._workers.finish(file.discard)
        finally:
            source.close()
        return result_of(request, token, seen)

    def _publish_copy(
        self,
        request: CopyRequest,
        source: OpenObject,
        file: Temporary,
        digest: str,
    ) -> Token:
        check_copy(source, digest)
        attributes = copied(request, source.attributes, digest)
        return self._objects().publish(file, attributes, request.precondition, request.deadline)

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags; see `TaggedDriver`."""
        opened = await self._run(self._open, key, READ_ALL, deadline=deadline)
        opened.close()
        return opened.attributes.tags

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object; see `TaggedDriver`."""
        await self._amend(key, lambda now: replace(now, tags=dict(tags)), deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps the object; see `RetainingDriver`."""
        refusals.check_version(version_id, self._capabilities, self.name)
        opened = await self._run(self._open, key, READ_ALL, deadline=deadline)
        opened.close()
        return opened.attributes.retention

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
        """Put the object under retention, which credstore respects; see `LockingDriver.set_retention`.

        Raises:
            StorageRetainedError: It would be shortened or weakened.
        """
        refusals.check_retention_mode(mode, self._capabilities, self.name)
        refusals.check_version(version_id, self._capabilities, self.name)

        def retain(now: Attributes) -> Attributes:
            instant = datetime.fromtimestamp(self._clock(), UTC)
            kept = changed(
                now.retention, retain_until, mode, now=instant, bypass_governance=bypass_governance
            )
            return replace(now, retention=kept)

        await self._amend(key, retain, deadline)

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Hold the object or release it; see `LockingDriver.set_legal_hold`."""
        refusals.check_legal_holds(self._capabilities, self.name)
        refusals.check_version(version_id, self._capabilities, self.name)
        await self._amend(
            key, lambda now: replace(now, retention=replace(now.retention, legal_hold=held)), deadline
        )

    async def _amend(
        self, key: str, change: Callable[[Attributes], Attributes], deadline: float | None
    ) -> None:
        await self._run(lambda: self._objects().amend(key, change, deadline), deadline=deadline)

    async def sign(self, request: SignRequest) -> SignedRequest:
        """Make a link that `verify_link` accepts; see `Driver.sign`."""
        refusals.check_sign(request, self._capabilities, self.name)
        secret = await self._run(self._link_secret, deadline=request.deadline)
        expires = int(self._clock() + request.expires_in)
        url = sign_link(
            self._config.link_url,
            secret,
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
        base = self._config.link_url
        return check_link(base, self._link_secret(), method=method, path=path, query=query, now=now)

    def _link_secret(self) -> bytes:
        if self._secret is None:
            try:
                self._secret = self._root().link_secret(make=not self._config.read_only)
            except StorageError:
                raise
            except OSError as error:
                raise translate(error) from error
        return self._secret

    async def ping(self, *, deadline: float | None = None) -> None:
        """Prove that the root is there and, unless it is only read, can be written to.

        Raises:
            StorageConfigurationError: It is missing, replaced, or not a directory.
            StorageAccessDeniedError: It cannot be read or written.
        """
        writing = not self._config.read_only
        await self._run(lambda: self._root().check(writing=writing), deadline=deadline)

    async def aclose(self) -> None:
        """Release the directories and threads; safe to call again."""
        if self._guard.closed:
            return
        self._guard.closed = True
        self._scans.close()
        opened, self._opened = self._opened, None
        try:
            await self._gathering.close()
            if self._together is not None:
                await self._workers.finish(self._together.close)
            if opened is not None:
                await self._workers.finish(opened[0].close)
        finally:
            self._workers.close()  # Also if this is cancelled meanwhile: a second call finds nothing to do.

    async def _run(
        self, work: Callable[..., T], *args: object, deadline: float | None = None, quick: bool = False
    ) -> T:
        """Call `work` in a thread, with the operating system's refusals as credstore's errors."""
        self._guard.check(deadline)
        try:
            return await self._workers.run(work, *args, quick=quick)
        except StorageError:
            raise  # Some are themselves an `OSError`.
        except OSError as error:
            if self._opened is not None:
                self._opened[0].check_there()
            raise translate(error) from error

    def _store(self) -> tuple[Root, Objects]:
        with self._opening:
            if self._opened is None:
                config = self._config
                create = config.create and not config.read_only
                root = Root(config.root, create=create, fsync=config.fsync)
                self._opened = root, Objects(root, self._clock)
            return self._opened

    def _root(self) -> Root:
        return self._store()[0]

    def _objects(self) -> Objects:
        return self._store()[1]
