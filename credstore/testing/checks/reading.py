"""Checks of `get` and `head`."""

from __future__ import annotations

from hashlib import sha256

from credstore.driver.values import ReadOptions
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
)
from credstore.testing.harness import Harness, fetched, needed, put, refuses, require, same

DATA = bytes(range(200))


async def what_is_absent_is_not_found(harness: Harness) -> None:
    """`get` and `head` of nothing raise with the code of an absent object, even if a version was named."""
    driver = harness.open()
    for options in (ReadOptions(), ReadOptions(if_match="etag"), ReadOptions(suffix=5)):
        for read in (driver.get, driver.head):
            call = read("absent", options)
            await refuses(call, StorageObjectNotFoundError, what="reading what is not there")
    await driver.aclose()


async def reads_ranges(harness: Harness) -> None:
    """A range returns exactly its bytes; beyond the end it is cut off or refused."""
    driver = harness.open()
    await put(driver, "key", DATA)
    await put(driver, "empty", b"")
    for start, end in ((0, 1), (0, 200), (10, 20), (199, None), (50, 10_000), (0, None)):
        found = await fetched(driver, "key", ReadOptions(start=start, end=end))
        same(found, DATA[start:end], f"bytes {start} to {end}")
    for start in (200, 5000):
        call = fetched(driver, "key", ReadOptions(start=start))
        error = await refuses(call, StorageInvalidRequestError, what=f"a range from byte {start} of 200")
        same(error.code, ErrorCode.INVALID_RANGE, "code of a range beyond the end")
    same(await fetched(driver, "empty"), b"", "all of an empty object")
    async with await driver.get("key", ReadOptions(start=10, end=20)) as reader:
        same(reader.info.size, 200, "size of the whole object, reported with a range")
    await driver.aclose()


async def reads_the_last_bytes(harness: Harness) -> None:
    """A suffix returns the last bytes, or all there are, and costs what `suffix_at_once` says."""
    driver = harness.open()
    await put(driver, "key", DATA)
    await put(driver, "empty", b"")
    etag = (await driver.head("key")).etag
    for count in (1, 64, 199, 200, 201, 1 << 40):
        before = harness.requests() if harness.requests is not None else 0
        async with await driver.get("key", ReadOptions(suffix=count, if_match=etag)) as reader:
            same(
                (reader.length, reader.info.size),
                (min(count, 200), 200),
                f"length of {count} last bytes, size",
            )
            same(await reader.read(), DATA[-count:], f"the last {count} bytes of 200")
        if harness.requests is not None:
            most = 1 if driver.capabilities.suffix_at_once else 2
            cost = harness.requests() - before
            require(cost <= most, f"the last {count} bytes cost {cost} wire requests, where {most} is right")
    same(await fetched(driver, "empty", ReadOptions(suffix=10)), b"", "the last bytes of an empty object")
    for wrong in (
        ReadOptions(suffix=0),
        ReadOptions(suffix=-1),
        ReadOptions(suffix=5, start=1),
        ReadOptions(suffix=5, end=9),
    ):
        call = fetched(driver, "key", wrong)
        error = await refuses(call, StorageInvalidRequestError, what=f"{wrong}", harness=harness)
        same(error.code, ErrorCode.INVALID_RANGE, "code of an invalid range")
    await driver.aclose()


async def reads_only_the_named_version(harness: Harness) -> None:
    """`if_match` reads that version or nothing."""
    driver = harness.open()
    await put(driver, "key", b"one")
    first = (await driver.head("key")).etag
    require(first, "head reports no etag")
    same(await fetched(driver, "key", ReadOptions(if_match=first)), b"one", "bytes of the named version")
    await put(driver, "key", b"two, which is longer")
    call = fetched(driver, "key", ReadOptions(if_match=first))
    await refuses(call, StoragePreconditionFailedError, what="reading a version that was replaced")
    await driver.aclose()


async def notices_changed_bytes(harness: Harness) -> None:
    """Bytes that differ from those that were stored are never passed off as the object, nor by a suffix."""
    poke = needed(harness.poke, "`poke`")
    driver = harness.open()
    flipped = bytearray(DATA)
    flipped[50] ^= 1
    for what, changed in (("one bit", bytes(flipped)), ("the end", DATA[:-1]), ("more", DATA + b"!")):
        await put(driver, "key", DATA)
        same((await driver.head("key")).digest, sha256(DATA).digest(), "digest recorded")
        await poke("key", changed)
        call = fetched(driver, "key")
        await refuses(call, StorageIntegrityError, what=f"reading bytes that differ in {what}")
        call = fetched(driver, "key", ReadOptions(suffix=len(changed)))
        await refuses(call, StorageIntegrityError, what=f"reading all by a suffix, which differs in {what}")
    await driver.aclose()


async def costs_one_request_each(harness: Harness) -> None:
    """A small put, get, head, delete and listing are one wire request each."""
    if harness.requests is None:
        return
    driver = harness.open()
    await driver.ping()  # Whatever the first contact costs.
    for name, call in (
        ("put", lambda: put(driver, "key")),
        ("get", lambda: fetched(driver, "key")),
        ("head", lambda: driver.head("key")),
        ("list", driver.list),
        ("delete", lambda: driver.delete("key")),
    ):
        before = harness.requests()
        await call()
        same(harness.requests() - before, 1, f"wire requests of a small {name}")
    await driver.aclose()
