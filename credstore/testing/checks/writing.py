"""Checks of `put`: what is stored, what is refused, and what an interruption leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

from credstore.driver.contract import Driver
from credstore.driver.values import BytesBody, ContentHeaders, ObjectInfo, Precondition
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StorageInvalidKeyError,
    StoragePreconditionFailedError,
)
from credstore.testing.harness import (
    Harness,
    Stream,
    fail,
    fetched,
    keys,
    needed,
    put,
    refuses,
    request,
    require,
    same,
    unsupported,
)

BIG = bytes(range(256)) * 1200
_LOOKS = 8
ODD_KEYS = (
    "with space",
    "plus+percent%25&amp",
    "question?hash#quote'\"~*",
    "unicode/é/日本語/😀",
    "double//slash",
    "/leading",
    "trailing/",
    "dots/./and/../more",
    "back\\slash",
    "k" * 1024,
    "é" * 512,
)


async def stores_bytes_exactly(harness: Harness) -> None:
    """What `put` received is what `get` returns."""
    driver = harness.open()
    for data in (b"", b"x", BIG):
        result = await put(driver, "key", data)
        same(result.size, len(data), "size of the result")
        same(await fetched(driver, "key"), data, "bytes read back")
    await driver.aclose()


async def keeps_the_very_bytes(harness: Harness) -> None:
    """What `put` got is what lies in the store."""
    peek = needed(harness.peek, "`peek`")
    driver = harness.open()
    for data in (b"", b"x", BIG):
        await put(driver, "key", data)
        same(await peek("key"), data, "bytes in the store")
    await driver.aclose()


async def stores_streams(harness: Harness) -> None:
    """Bodies that are not in memory arrive complete, with and without a known length."""
    driver = harness.open()
    parts = (BIG, b"", b"tail")
    data = b"".join(parts)
    for length in (len(data), None):
        for replayable in (True, False):
            body = Stream(*parts, length=length, replayable=replayable)
            await driver.put(request("key", body=body, digest=sha256(data).digest()))
            same(await fetched(driver, "key"), data, f"a stream of length {length}")
            await driver.delete("key")
    await driver.aclose()


async def keeps_what_is_stored_beside(harness: Harness) -> None:
    """Headers, metadata, system metadata, write-id and digest come back as given."""
    driver = harness.open()
    given = request(
        "key",
        headers=ContentHeaders(
            content_type="text/plain; charset=utf-8",
            content_encoding="gzip",
            cache_control="no-store",
            content_disposition='attachment; filename="a b.txt"',
            content_language="de",
        ),
        metadata={"plain": "value", "unicode": "Ünï, 日本", "empty": ""},
        system={"x-compression": "gzip", "credstore-content-type": "text/plain"},
    )
    await driver.put(given)
    info = await driver.head("key")
    same(info.headers, given.headers, "content headers")
    same(dict(info.metadata or {}), dict(given.metadata), "metadata")
    same(dict(info.system or {}), dict(given.system), "system metadata")
    same(info.write_id, given.write_id, "write-id")
    same(info.digest, given.digest, "digest")
    same(info.size, 4, "size")
    got, info = await _of_one_store(driver, info)
    # Azure reports a blob's tier to a HEAD only.
    if got.storage_class is None:
        got = replace(got, storage_class=info.storage_class, extras=info.extras)
    same(replace(got, degraded=False), replace(info, degraded=False), "what `get` knows besides `head`")
    await driver.aclose()


async def _of_one_store(driver: Driver, first: ObjectInfo) -> tuple[ObjectInfo, ObjectInfo]:
    """What `get` and `head` know of "key" by the same of several stores, of which the last may be late."""
    heads, gets, looks = {first.served_by: first}, dict[str, ObjectInfo](), 0
    while not (both := heads.keys() & gets.keys()):
        looks += 1
        require(looks <= _LOOKS, "`head` and `get` are never served by the same store")
        async with await driver.get("key") as reader:
            gets[reader.info.served_by] = reader.info
        if reader.info.served_by not in heads:
            info = await driver.head("key")
            heads[info.served_by] = info
    label = both.pop()
    return gets[label], heads[label]


async def keeps_odd_keys(harness: Harness) -> None:
    """Every key is kept byte for byte and found by every operation, or refused where the store changes it."""
    driver = harness.open()
    names: list[str] = []
    for key in ODD_KEYS:
        if len(key.encode()) <= driver.capabilities.max_key_size:
            with suppress(StorageInvalidKeyError):
                await put(driver, key, key.encode())
                names.append(key)
    require(len(names) > len(ODD_KEYS) // 2, "most of the keys that others keep are refused")
    same(await keys(driver), sorted(names, key=str.encode), "keys listed")
    for key in names:
        same(await fetched(driver, key), key.encode(), f"bytes of {key!r}")
        same((await driver.head(key)).key, key, "key reported by head")
    outcomes = await driver.delete_many(names)
    same(set(outcomes), set(names), "keys with an outcome")
    same(await keys(driver), [], "keys left after deleting all")
    await driver.aclose()


async def keeps_similar_keys_apart(harness: Harness) -> None:
    """Keys that differ in case, in Unicode form or by a slash are different objects."""
    driver = harness.open()
    similar = ("Case", "case", "\u00e9", "e\u0301", "a", "a/", "a/b", "a//b")
    for key in similar:
        await put(driver, key, key.encode())
    for key in similar:
        same(await fetched(driver, key), key.encode(), f"bytes of {key!r}")
    await driver.delete("a")
    same(await keys(driver), sorted(set(similar) - {"a"}, key=str.encode), "keys left")
    await driver.aclose()


async def replaces_whole_versions(harness: Harness) -> None:
    """A reader sees one whole version while writers replace the object."""
    driver = harness.open()
    versions = [bytes([letter]) * 50_000 for letter in b"abcdefgh"]
    await put(driver, "key", versions[0])

    async def write() -> None:
        for data in versions:
            await put(driver, "key", data)

    async def read() -> None:
        for _ in versions:
            data = await fetched(driver, "key")
            require(data in versions, "a reader saw something that is not a version")

    await asyncio.gather(write(), read(), read())
    same(await fetched(driver, "key"), versions[-1], "the last version")
    await driver.aclose()


async def creates_once(harness: Harness) -> None:
    """Of many creators of one key, exactly one wins, and the others get an error."""
    driver = harness.open()
    create = Precondition("create")
    if not driver.capabilities.conditional_create:
        await unsupported(driver.put(request("key", precondition=create)), "if_absent", harness)
        await driver.aclose()
        return

    async def run(number: int) -> int | None:
        try:
            await driver.put(request("key", b"%d" % number, precondition=create))
        except StorageAlreadyExistsError:
            return None
        return number

    winners = [won for won in await asyncio.gather(*map(run, range(16))) if won is not None]
    same(len(winners), 1, "winners among 16 creators")
    same(await fetched(driver, "key"), b"%d" % winners[0], "bytes of the winner")
    await driver.aclose()


async def replaces_only_the_named_version(harness: Harness) -> None:
    """`if_match` replaces that version and no other."""
    driver = harness.open()
    first = await put(driver, "key", b"one")
    if not driver.capabilities.conditional_replace:
        condition = Precondition("replace", first.etag)
        await unsupported(driver.put(request("key", precondition=condition)), "if_match", harness)
        await driver.aclose()
        return
    await put(driver, "key", b"two")
    stale = request("key", b"three", precondition=Precondition("replace", first.etag))
    await refuses(driver.put(stale), StoragePreconditionFailedError, what="replacing an old version")
    same(await fetched(driver, "key"), b"two", "bytes after a refused replace")
    current = (await driver.head("key")).etag
    await driver.put(request("key", b"four", precondition=Precondition("replace", current)))
    same(await fetched(driver, "key"), b"four", "bytes after a replace")
    absent = request("absent", precondition=Precondition("replace", current))
    await refuses(driver.put(absent), StoragePreconditionFailedError, what="replacing nothing")
    same(await fetched(driver, "absent"), None, "bytes of what was never there")
    await driver.aclose()


class _Broken(Stream):
    """A stream whose source fails half way."""

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        yield BIG[offset:]
        raise _SourceError


class _SourceError(Exception):
    """Of the user's own stream."""


async def a_failing_source_changes_nothing(harness: Harness) -> None:
    """When the body's source fails, what was there remains, and the source's own error is raised."""
    driver = harness.open()
    await put(driver, "key", b"before")
    for length in (len(BIG) * 2, None):
        try:
            await driver.put(request("key", body=_Broken(length=length), digest=None))
        except (_SourceError, StorageError):
            pass
        else:
            fail("a body whose source failed was stored")
        same(await fetched(driver, "key"), b"before", "bytes after a failed source")
    same(await keys(driver), ["key"], "keys after a failed source")
    await driver.aclose()


async def a_short_body_is_refused(harness: Harness) -> None:
    """A body that ends before its announced length does not become an object."""
    driver = harness.open()
    body = Stream(b"short", length=4096)
    await refuses(
        driver.put(request("key", body=body, digest=None)), StorageError, what="a body shorter than announced"
    )
    same(await fetched(driver, "key"), None, "bytes after a short body")
    await driver.aclose()


class _Waiting(Stream):
    """A stream that stops half way until it is cancelled."""

    def __init__(self, **settings: int | None) -> None:
        super().__init__(length=settings.get("length"))
        self.reached = asyncio.Event()

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        yield BIG[offset:]
        self.reached.set()
        await asyncio.Event().wait()


async def a_cancelled_write_leaves_nothing(harness: Harness) -> None:
    """Cancelling a put half way leaves the old object, no new one, and no task."""
    driver = harness.open()
    await put(driver, "key", b"before")
    others = asyncio.all_tasks()
    for length in (len(BIG) * 4, None):
        body = _Waiting(length=length)
        task = asyncio.create_task(driver.put(request("key", body=body, digest=None)))
        await asyncio.wait({task, asyncio.create_task(body.reached.wait())}, return_when="FIRST_COMPLETED")
        require(not task.done(), "a put ended before its body did")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        require(task.cancelled(), "a cancelled put ended in a different way")
        same(await fetched(driver, "key"), b"before", "bytes after a cancelled put")
    same(await keys(driver), ["key"], "keys after a cancelled put")
    await driver.aclose()
    left = {task for task in asyncio.all_tasks() if not task.done()} - others
    same(left, set[object](), "tasks left by a cancelled put")


async def two_drivers_see_one_store(harness: Harness) -> None:
    """What one driver stored, another can read at once; closing twice is harmless."""
    first, second = harness.open(), harness.open()
    await put(first, "key", b"one")
    same(await fetched(second, "key"), b"one", "bytes through another driver")
    await second.put(request("key", b"two", body=BytesBody(b"two")))
    same(await fetched(first, "key"), b"two", "bytes after another driver replaced them")
    await first.ping()
    for driver in (first, second):
        await driver.aclose()
        await driver.aclose()
