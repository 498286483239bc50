"""`CachedDriver`: what is read from a store is kept on a local disk, and served from there while current.

What it promises: bytes that are served are those of the version that the store confirmed, at most `max_age`
seconds ago (with 0, now), and each block of them was compared with its SHA-256 before it is yielded. What is
written, copied over or deleted through this driver is forgotten, and a read that was under way meanwhile is
not kept. A damaged entry is read from the store again, and a disk that is full or cannot be written to only
makes reads slower; both are logged as warnings and counted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from credstore.concurrency import in_thread, joined, opened_in_thread
from credstore.driver.contract import Driver
from credstore.driver.guard import Guard
from credstore.driver.pinning import get_same
from credstore.driver.reader import ObjectReader
from credstore.driver.values import READ_ALL, ObjectInfo, ReadOptions, StoredReader
from credstore.strategies.abilities import able_as
from credstore.strategies.cached import plan
from credstore.strategies.cached.disk import CacheDirectory, OpenEntry, PendingEntry
from credstore.strategies.passing import PASSED, PassingDriver
from credstore.threads import in_daemon
from credstore.wire.tally import note

T = TypeVar("T")
_logger = logging.getLogger("credstore")


class _Fetch:
    """A read whose bytes are to be kept, unless the object is changed meanwhile."""

    def __init__(self) -> None:
        self.spoiled = False


class CachedDriver(PassingDriver):
    """A store, and a directory with copies of what was read from it."""

    def __init__(
        self,
        inner: Driver,
        directory: Path,
        *,
        space: str,
        max_size: int,
        max_age: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Own the store; the directory is shared with other processes, and stays. Nothing is touched yet.

        Args:
            inner: The store.
            directory: Local, for this user alone.
            space: What the store is called in the directory; stores with different objects have different
                ones.
            max_size: Bytes that all entries in the directory may have together.
            max_age: Seconds for which a version counts as current once the store has confirmed it; 0 asks
                the store at each read.
            clock: Unix seconds.
        """
        super().__init__(inner)
        self._disk = CacheDirectory(directory, max_size)
        self._space = space
        self._max_age = max_age
        self._clock = clock
        self._fetches: dict[str, set[_Fetch]] = {}
        self._guard = Guard(inner.name)
        self._warned: set[str] = set()
        self.counts: Counter[str] = Counter()
        """How often: "hit", "miss", "changed", "damaged", "not_kept"."""

    @asynccontextmanager
    async def changing(self, *keys: str) -> AsyncGenerator[None, None]:
        """Forget these objects, before and after they change."""
        self._guard.check()
        await self._forget(keys)
        try:
            yield
        finally:
            await self._forget(keys)

    async def _forget(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            for fetch in self._fetches.get(key, ()):
                fetch.spoiled = True
        await in_thread(self._disk.remove, *(plan.name_of(self._space, key) for key in keys))

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        """What `get` would serve; see `Driver.head`."""
        if self._max_age > 0 and plan.may_serve(options):
            self._guard.check(options.deadline)
            entry = await self._entry(key)
            if entry is not None:
                entry.close()
                if self._is_current(entry, options):
                    return entry.entry.info
        return await self._inner.head(key, options)

    async def get(self, key: str, options: ReadOptions = READ_ALL) -> StoredReader:
        """Open the stored bytes, here or at the store; see `Driver.get`."""
        self._guard.check(options.deadline)
        if not plan.may_serve(options):
            return await self._inner.get(key, options)
        entry = await self._entry(key)
        if entry is None:
            return await self._fetch(key, options)
        try:
            info = await self._confirmed(entry, key, options)
            if info is not None:
                start, end = options.span(info.size)
                self._note("hit")
                note("cache_hit_bytes", end - start)
                return self._reader(entry, info, options, start, end)
        except BaseException:
            entry.close()
            raise
        entry.close()
        self._note("changed")
        return await self._fetch(key, options, counted=True)

    async def _entry(self, key: str) -> OpenEntry | None:
        try:
            entry = await opened_in_thread(self._disk.open, plan.name_of(self._space, key))
        except ValueError as error:
            self._report_damage(str(error))
            return None
        if entry is not None and entry.entry.info.key != key:
            entry.close()
            return None
        return entry

    def _is_current(self, entry: OpenEntry, options: ReadOptions) -> bool:
        """Whether it may be served without asking the store."""
        return plan.is_fresh(self._clock() - entry.confirmed, self._max_age) and options.if_match in {
            None,
            entry.entry.info.etag,
        }

    async def _confirmed(self, entry: OpenEntry, key: str, options: ReadOptions) -> ObjectInfo | None:
        """What is known of the object that the entry is of; None where the store has another one by now.

        Raises:
            StorageError: The store has no such object, or could not be asked.
        """
        if self._is_current(entry, options):
            entry.touch(self._clock(), confirmed=False)
            return entry.entry.info
        asked = self._clock()
        info = await self._inner.head(key, options)
        if not plan.confirms(info, entry.entry):
            return None
        entry.touch(asked, confirmed=True)
        return info

    def _reader(
        self, entry: OpenEntry, info: ObjectInfo, options: ReadOptions, start: int, end: int
    ) -> StoredReader:
        whole = (start, end) == (0, info.size)

        async def close() -> None:
            entry.close()

        chunks = self._served(entry, info, options, start, end)
        digest = (info.digest or None) if whole else None
        return ObjectReader(info, chunks, length=end - start, digest=digest, close=close)

    async def _served(
        self, entry: OpenEntry, info: ObjectInfo, options: ReadOptions, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `end`, block by block; from the store where a block is damaged."""
        while start < end:
            number, skip = divmod(start, plan.BLOCK)
            data = await in_thread(entry.block, number)
            if data is None:
                self._report_damage(str(entry.path))
                await in_thread(self._disk.remove, plan.name_of(self._space, info.key))
                rest = replace(options, start=start, end=end, suffix=None, deadline=None)
                async with await get_same(self._inner, info.key, rest, info) as reader:
                    async for chunk in reader:
                        yield chunk
                return
            part = data[skip : skip + end - start]
            start += len(part)
            yield part

    async def _fetch(self, key: str, options: ReadOptions, *, counted: bool = False) -> StoredReader:
        """Open the bytes at the store, and keep them as they pass if they are all of an object."""
        if not counted:
            self._note("miss")
        if not options.whole:
            return await self._inner.get(key, options)
        fetch = _Fetch()
        self._fetches.setdefault(key, set()).add(fetch)
        try:
            asked = self._clock()
            reader = await self._inner.get(key, options)
        except BaseException:
            self._ended(key, fetch)
            raise
        if not plan.may_keep(reader.info, options, self._disk.limit):
            self._ended(key, fetch)
            return reader
        return self._kept(key, fetch, reader, asked)

    def _ended(self, key: str, fetch: _Fetch) -> None:
        under_way = self._fetches[key]
        under_way.discard(fetch)
        if not under_way:
            del self._fetches[key]

    def _kept(self, key: str, fetch: _Fetch, reader: StoredReader, asked: float) -> StoredReader:
        """The same bytes, of which a copy is kept once all have arrived and been verified."""
        ended = False
        pending: PendingEntry | None = None

        async def close() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._ended(key, fetch)
            if pending is not None:
                await in_thread(pending.close)
            await reader.aclose()

        def begin() -> None:  # It is known here even if this is cancelled while the thread is at work.
            nonlocal pending
            pending = self._disk.begin(plan.name_of(self._space, key), reader.info)

        async def passing() -> AsyncIterator[bytes]:
            nonlocal pending
            await self._attempt(begin)
            async for chunk in reader:
                if pending is not None and await self._attempt(_wrote, pending, chunk) is None:
                    await in_thread(pending.close)
                    pending = None
                yield chunk
            if pending is not None and not fetch.spoiled:
                await self._attempt(pending.publish, asked)
                if fetch.spoiled:  # While the thread was at work.
                    await in_thread(self._disk.remove, plan.name_of(self._space, key))

        return ObjectReader(reader.info, passing(), length=reader.length, digest=None, close=close)

    def _note(self, what: str) -> None:
        self.counts[what] += 1
        note(f"cache_{what}")

    async def _attempt(self, work: Callable[..., T], *args: object) -> T | None:
        """Do something on the disk; without it, reads are passed on."""
        try:
            return await joined(in_daemon(partial(work, *args)))  # Another process may have the lock.
        except OSError as error:
            self._note("not_kept")
            if type(error).__name__ not in self._warned:
                self._warned.add(type(error).__name__)
                _logger.warning("the cache %s cannot keep what is read: %s", self._disk.path, error)
            return None

    def _report_damage(self, path: str) -> None:
        self._note("damaged")
        _logger.warning("the cached file %s was damaged; it is read from the store again", path)

    async def aclose(self) -> None:
        """Close the store; the cached files stay."""
        self._guard.closed = True
        await self._inner.aclose()


def _wrote(pending: PendingEntry, data: bytes) -> bool:
    pending.write(data)
    return True


def cached_driver(
    inner: Driver, directory: Path, *, space: str, max_size: int, max_age: float = 0.0
) -> Driver:
    """A cached store with the same abilities; see `CachedDriver`."""
    kind = able_as(inner, CachedDriver, PASSED)
    directory = directory.absolute()  # Whatever the working directory is later.
    return kind(inner, directory, space=space, max_size=max_size, max_age=max_age)
