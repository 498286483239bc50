"""Checks of what goes in parts: large bodies, uploads that are cut off or resumed, copies, tags, conditions.

`Harness.large` says from which size on. A driver without parts has to do the same with bodies of any size.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from secrets import token_hex

from credstore.driver.contract import Driver, TaggedDriver
from credstore.driver.values import (
    Body,
    BytesBody,
    ContentHeaders,
    CopyRequest,
    ObjectInfo,
    Precondition,
    PutRequest,
    ResumeToken,
)
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
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
)

_ANY = 100_000
"""Bytes of a large body where no size makes a difference."""
TAGS = {"a": "1", "größe": "x = y+z"}


def _large(harness: Harness, driver: Driver) -> int:
    if harness.large is None and not driver.capabilities.multipart:
        return _ANY
    return needed(harness.large, "`large`, the bytes from which this driver sends parts,")


def _data(size: int) -> bytes:
    """Bytes of which no two parts are alike: their period is a prime."""
    period = bytes(range(251))
    return (period * (size // len(period) + 1))[:size]


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


async def sends_bodies_in_parts(harness: Harness) -> None:
    """Bodies around the size from which parts are sent arrive whole, with and without a known length."""
    driver = harness.open()
    large = _large(harness, driver)
    await driver.ping()  # Whatever a first contact costs.
    for size in (large - 1, large, 3 * large + 1):
        data = _data(size)
        chunks = _chunks(data, large // 3 + 7)
        bodies: dict[str, Body] = {
            "in memory": BytesBody(data),
            "streamed": Stream(*chunks, length=size),
            "without length": Stream(*chunks),
        }
        for how, body in bodies.items():
            digest = sha256(data).digest() if body.length is not None else None
            order = request(how, body=body, digest=digest, metadata={"kind": "Größe"})
            before = harness.requests() if harness.requests is not None else 0
            result = await driver.put(order)
            if harness.requests is not None and driver.capabilities.multipart and size >= large:
                sent = harness.requests() - before
                require(sent > 1, f"{size} bytes {how} went in one request, where `large` promises parts")
            await _holds(driver, order, data, f"{size} bytes {how}")
            same(result.size, size, f"size of the result of {size} bytes {how}")
    await driver.aclose()


async def _holds(driver: Driver, order: PutRequest, data: bytes, what: str) -> None:
    info = await driver.head(order.key)
    same((info.size, info.write_id), (len(data), order.write_id), f"size and write-id of {what}")
    same(dict(info.metadata or {}), dict(order.metadata), f"metadata of {what}")
    if order.digest is not None:
        same(info.digest, order.digest, f"digest of {what}")
    require(await fetched(driver, order.key) == data, f"{what} came back as other bytes")


class _SourceError(Exception):
    """Of the user's own stream."""


class _CutOff(Stream):
    """A stream that ends half way: its source fails, or it waits until it is cancelled."""

    def __init__(self, data: bytes, length: int | None, *, fails: bool) -> None:
        super().__init__(*_chunks(data, len(data) // 5 + 1), length=length)
        self._fails = fails
        self.reached = asyncio.Event()

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        async for chunk in super().open(offset):
            yield chunk
        self.reached.set()
        if self._fails:
            raise _SourceError
        await asyncio.Event().wait()


async def _cut_off(driver: Driver, key: str, large: int) -> None:
    """Begin four uploads that never end: with and without length, failing and cancelled."""
    for length in (4 * large, None):
        body = _CutOff(_data(2 * large + 1), length, fails=True)
        try:
            await driver.put(request(key, body=body, digest=None))
        except _SourceError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever else comes out is the finding
            fail(f"the source's own error came out as {type(error).__name__}: {error}")
        else:
            fail("a body whose source failed was stored")
        body = _CutOff(_data(2 * large + 1), length, fails=False)
        await _cancelled(driver, request(key, body=body, digest=None), body.reached)


async def _cancelled(driver: Driver, order: PutRequest, reached: asyncio.Event) -> None:
    """Begin a write and cancel it when its body is half sent."""
    task = asyncio.ensure_future(driver.put(order))
    waiting = asyncio.ensure_future(reached.wait())
    await asyncio.wait({task, waiting}, return_when="FIRST_COMPLETED")
    waiting.cancel()
    require(not task.done(), "a put ended before its body did")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    require(task.cancelled(), "a cancelled put ended in another way")


async def an_upload_cut_off_changes_nothing(harness: Harness) -> None:
    """A large body that fails or is cancelled half way leaves what was there, and raises what it raised."""
    driver = harness.open()
    large = _large(harness, driver)
    await put(driver, "key", b"before")
    await _cut_off(driver, "key", large)
    same(await fetched(driver, "key"), b"before", "bytes after uploads that were cut off")
    same(await keys(driver), ["key"], "keys after uploads that were cut off")
    await driver.aclose()


async def an_upload_cut_off_leaves_no_parts(harness: Harness) -> None:
    """No part of a large body that fails or is cancelled half way is kept and paid for.

    A store that cannot drop parts says so in `drops_parts`, and is not looked at.
    """
    driver = harness.open()
    if not (driver.capabilities.multipart and driver.capabilities.drops_parts):
        await driver.aclose()
        return
    uploads = needed(harness.uploads, "`uploads`")
    await _cut_off(driver, "key", _large(harness, driver))
    same(list(await uploads("")), [], "uploads that have not ended")
    await driver.aclose()


class _Remembered:
    """A journal in memory."""

    def __init__(self) -> None:
        self.token: ResumeToken | None = None
        self.ids: set[str] = set()

    async def load(self) -> ResumeToken | None:
        return self.token

    async def save(self, token: ResumeToken) -> None:
        self.token = token
        self.ids.add(token.upload_id)

    async def clear(self) -> None:
        self.token = None


class _Stalling(Stream):
    """A body that can be sent again, and stops halfway for as long as `stalls` is set."""

    def __init__(self, data: bytes, large: int) -> None:
        super().__init__(*_chunks(data, large), length=len(data), replayable=True)
        self.stalls = True
        self.reached = asyncio.Event()

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        async for number, chunk in _numbered(super().open(offset)):
            if self.stalls and number == len(self.chunks) - 1:
                self.reached.set()
                await asyncio.Event().wait()
            yield chunk


async def _numbered(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for chunk in chunks:
        yield number, chunk
        number += 1


async def resumes_an_upload(harness: Harness) -> None:
    """What was cut off is continued by another driver from its journal, by the same body and no other."""
    driver = harness.open()
    if not driver.capabilities.resumable:
        await driver.aclose()
        return
    large = _large(harness, driver)
    data, journal = _data(3 * large + 1), _Remembered()
    body = _Stalling(data, large)
    begun = request("key", body=body, digest=sha256(data).digest(), metadata={"kind": "resumed"})
    begun = replace(begun, journal=journal)
    await _cancelled(driver, begun, body.reached)
    await driver.aclose()
    require(journal.token is not None, "a large write that was cut off left nothing in its journal")
    driver = harness.open()
    same(await fetched(driver, "key"), None, "bytes of an upload that was cut off")
    changed = data[:-1] + b"!"
    other = request("key", changed, metadata={"kind": "resumed"})
    call = driver.put(replace(other, journal=journal))
    await refuses(call, StorageInvalidRequestError, what="continuing an upload with other bytes")
    body.stalls = False
    resumed = replace(begun, write_id=token_hex(16))
    result = await driver.put(resumed)
    same(result.size, len(data), "size of the result of a resumed upload")
    await _holds(driver, begun, data, "a resumed upload")
    same(len(journal.ids), 1, "uploads that were started to store one object")
    same(journal.token, None, "what the journal has after the upload ended")
    await driver.aclose()


async def _stored(driver: Driver, key: str, size: int) -> tuple[bytes, ObjectInfo]:
    """A large object with something stored besides its bytes."""
    data = _data(size)
    body = Stream(*_chunks(data, size // 5 + 1), length=size, replayable=True)
    order = request(
        key,
        body=body,
        digest=sha256(data).digest(),
        headers=ContentHeaders(content_type="image/png", cache_control="no-store"),
        metadata={"author": "Ünï"},
        system={"x-compression": "none"},
        tags=TAGS if _has_tags(driver) else {},
    )
    await driver.put(order)
    return data, await driver.head(key)


def _has_tags(driver: Driver) -> bool:
    return isinstance(driver, TaggedDriver) and driver.capabilities.tags


async def copies_in_parts(harness: Harness) -> None:
    """A large object is copied whole with what is stored with it, and not if it was replaced since."""
    driver = harness.open()
    large = _large(harness, driver)
    data, source = await _stored(driver, "quelle/é +%", 3 * large + 1)
    order = CopyRequest(source=source, destination="ziel/日本 語", write_id=token_hex(16))
    before = harness.requests() if harness.requests is not None else 0
    same((await driver.copy(order)).size, source.size, "size of the copy")
    if harness.requests is not None and driver.capabilities.multipart:
        require(harness.requests() - before > 1, "it was copied at once, where `large` promises parts")
    copied = await driver.head(order.destination)
    same(_beside(copied), _beside(source), "what is stored with the copy")
    same(copied.write_id, order.write_id, "write-id of the copy")
    require(await fetched(driver, order.destination) == data, "a copy has other bytes than its source")
    await _copies_onto_itself(driver, source, data)
    if source.version_id is None:
        await put(driver, source.key, _data(3 * large + 1)[::-1])
        stale = replace(order, destination="stale", write_id=token_hex(16))
        await refuses(driver.copy(stale), StoragePreconditionFailedError, what="copying a replaced source")
        same(await fetched(driver, "stale"), None, "bytes of a refused copy")
    await driver.aclose()


async def _copies_onto_itself(driver: Driver, source: ObjectInfo, data: bytes) -> None:
    """It rewrites credstore's own metadata, or says that it cannot and leaves all as it is."""
    system = {"x-compression": "none", "credstore-after": "2"}
    order = CopyRequest(source=source, destination=source.key, write_id=token_hex(16), system=system)
    try:
        await driver.copy(order)
    except StorageUnsupportedError:
        system = dict(source.system or {})
    found = await driver.head(source.key)
    same(
        _beside(found),
        _beside(replace(source, system=system)),
        "what is stored with an object copied onto itself",
    )
    require(
        await fetched(driver, source.key) == data, "an object that was copied onto itself has other bytes"
    )


def _beside(info: ObjectInfo) -> tuple[object, ...]:
    return (info.size, info.headers, dict(info.metadata or {}), dict(info.system or {}), info.digest)


async def keeps_tags_in_parts(harness: Harness) -> None:
    """Tags come with an object that is stored in parts, and go with it when it is copied so."""
    driver = harness.open()
    if not isinstance(driver, TaggedDriver) or not driver.capabilities.tags:
        await driver.aclose()
        return  # `refuses_what_it_has_not` asks those without tags.
    _, source = await _stored(driver, "key", _large(harness, driver))
    same(dict(await driver.get_tags("key")), TAGS, "tags of an object stored in parts")
    await driver.copy(CopyRequest(source=source, destination="copy", write_id=token_hex(16)))
    same(dict(await driver.get_tags("copy")), TAGS, "tags of a copy in parts")
    await driver.aclose()


async def keeps_conditions_in_parts(harness: Harness) -> None:
    """A condition holds for a large body and a large copy too, or is refused and nothing changes."""
    driver = harness.open()
    large = _large(harness, driver)
    able = driver.capabilities
    first = await put(driver, "taken", b"first")
    await put(driver, "taken", b"second")
    data, source = await _stored(driver, "key", large)
    for condition, has, refusal in (
        (Precondition("create"), able.conditional_create, StorageAlreadyExistsError),
        (
            Precondition("replace", first.etag or "x"),
            able.conditional_replace,
            StoragePreconditionFailedError,
        ),
    ):
        order = request("taken", data, precondition=condition)
        copy = CopyRequest(source=source, destination="taken", write_id=token_hex(16), precondition=condition)
        what = f"a large {{}} with {condition.mode!r}"
        # Some stores have the condition for single requests only.
        kinds = (refusal, StorageUnsupportedError) if has else (StorageUnsupportedError,)
        unasked = None if has else harness
        await refuses(driver.put(order), *kinds, what=what.format("write"), harness=unasked)
        await refuses(driver.copy(copy), *kinds, what=what.format("copy"), harness=unasked)
        same(await fetched(driver, "taken"), b"second", f"bytes after both with {condition.mode!r}")
    for condition, key in (
        (Precondition("create"), "free"),
        (Precondition("replace", (await driver.head("taken")).etag or "x"), "taken"),
    ):
        before = await fetched(driver, key)
        try:
            await driver.put(request(key, data, precondition=condition))
        except StorageUnsupportedError:
            same(await fetched(driver, key), before, f"bytes after a refused {condition.mode!r}")
        else:
            require(await fetched(driver, key) == data, f"a large body with {condition.mode!r} is not there")
    await driver.aclose()
