"""What a driver's author provides to the conformance checks, and how a check reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import NoReturn, TypeVar, Unpack

from credstore.driver.contract import Driver
from credstore.driver.values import BytesBody, PutRequest, PutResult, ReadOptions
from credstore.errors import (
    StorageError,
    StorageObjectNotFoundError,
    StorageUnsupportedError,
)
from credstore.testing.fields import PutFields
from credstore.testing.links import Fetch, fetch_link

T = TypeVar("T")


class ConformanceError(Exception):
    """A driver breaks the contract; the message says which sentence of it, and how."""


class NotRunError(Exception):
    """A check could not be carried out with what the harness gives; the message says what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A check that is known to fail with this server, and accepted. It must keep failing in that way.

    Attributes:
        check: Name of the check.
        shows: A part of what it then says; with another failure the check fails.
        reason: Why that is accepted, and of which server and release.
    """

    check: str
    shows: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """A store for the checks, and ways past the driver to what is in it.

    A check that needs something that is None here is reported as not run.

    Attributes:
        open: Makes a driver; two of them see the same storage.
        peek: The raw stored bytes of a key, bypassing the driver; None if there is no object.
        poke: Replaces the raw stored bytes of a key, bypassing the driver, as damage would: what is stored
            with them remains.
        requests: Number of wire requests so far; None for a driver without a wire, where nothing is counted.
        large: Size in bytes of the smallest body that is sent in parts, and of the smallest object that is
            copied in parts: one more than the driver's thresholds. The checks send up to three times that.
        uploads: Keys below a prefix that have an unfinished upload in parts.
        fetch: Opens a link; None if no server responds to the links of this store.
        prefix: If the store has other things in it: each check then keeps to a random prefix below this
            one ("" is the whole store), and what it stored is removed however it ends. None means that
            the store is empty and used for one check.
        deviations: What is known to fail here, and accepted.
    """

    open: Callable[[], Driver]
    peek: Callable[[str], Awaitable[bytes | None]] | None = None
    poke: Callable[[str, bytes], Awaitable[None]] | None = None
    requests: Callable[[], int] | None = None
    large: int | None = None
    uploads: Callable[[str], Awaitable[Sequence[str]]] | None = None
    fetch: Fetch | None = fetch_link
    prefix: str | None = None
    deviations: Sequence[Deviation] = ()


def needed(given: T | None, what: str) -> T:
    """What a check cannot do without.

    Raises:
        NotRunError: The harness does not give it.
    """
    if given is None:
        raise NotRunError(f"needs {what}, which this harness does not give")
    return given


class Stream:
    """A body that is not in memory: chunks, with or without a known length, replayable or not."""

    data: None = None

    def __init__(self, *chunks: bytes, length: int | None = None, replayable: bool = False) -> None:
        """Yield these chunks."""
        self.chunks = chunks
        self.length = length
        self.replayable = replayable

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        """The chunks from `offset` onwards."""
        for chunk in self.chunks:
            yield chunk[offset:]
            offset = max(0, offset - len(chunk))


def fail(message: str) -> NoReturn:
    """Say what is wrong.

    Raises:
        ConformanceError: Always.
    """
    raise ConformanceError(message)


def require(condition: object, message: str) -> None:
    """Continue only if `condition` holds.

    Raises:
        ConformanceError: It does not.
    """
    if not condition:
        fail(message)


def same(found: object, wanted: object, what: str) -> None:
    """Continue only if both are equal.

    Raises:
        ConformanceError: They are not equal.
    """
    if found != wanted:
        fail(f"{what}: {_short(found)}, where {_short(wanted)} is right")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"  # noqa: PLR2004 - a readable line


async def refuses(
    call: Awaitable[object], *kinds: type[StorageError], what: str, harness: Harness | None = None
) -> StorageError:
    """Continue only if the call raises one of these errors.

    Args:
        call: To await.
        kinds: Accepted classes.
        what: For the message.
        harness: If given, the call must be refused without any wire request.

    Raises:
        ConformanceError: It succeeds, raises something else, or asks the server first.
    """
    before = harness.requests() if harness is not None and harness.requests is not None else 0
    try:
        await call
    except kinds as error:
        if harness is not None and harness.requests is not None:
            same(harness.requests() - before, 0, f"wire requests before refusing: {what}")
        return error
    except Exception as error:  # noqa: BLE001 - whatever it raises instead is the finding
        fail(f"{what}: raises {type(error).__name__} ({error}), not {_names(kinds)}")
    fail(f"{what}: is accepted, where {_names(kinds)} is right")


def _names(kinds: tuple[type[StorageError], ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


async def unsupported(call: Awaitable[object], what: str, harness: Harness) -> None:
    """Continue only if the call is refused as unsupported before anything is sent.

    Raises:
        ConformanceError: It is not.
    """
    await refuses(call, StorageUnsupportedError, what=what, harness=harness)


def request(key: str, data: bytes = b"data", **fields: Unpack[PutFields]) -> PutRequest:
    """A put of `data` with a new write-id and its digest."""
    given: PutFields = {"body": BytesBody(data), "digest": sha256(data).digest(), **fields}
    return PutRequest(key=key, write_id=token_hex(16), **given)


async def put(driver: Driver, key: str, data: bytes = b"data") -> PutResult:
    """Write `data` and nothing special."""
    return await driver.put(request(key, data))


async def fetched(driver: Driver, key: str, options: ReadOptions | None = None) -> bytes | None:
    """The bytes of an object, or None where there is none."""
    try:
        async with await driver.get(key, ReadOptions() if options is None else options) as reader:
            return await reader.read()
    except StorageObjectNotFoundError:
        return None


async def fill(driver: Driver, names: Iterable[str]) -> None:
    """Write a small object under each name."""
    gate = asyncio.Semaphore(32)

    async def one(name: str) -> None:
        async with gate:
            await put(driver, name, b"x")

    await asyncio.gather(*map(one, names))


async def keys(driver: Driver, prefix: str = "", limit: int = 1000) -> list[str]:
    """All keys of a listing, page by page."""
    return await names(driver, prefix, limit=limit)


async def names(
    driver: Driver,
    prefix: str = "",
    *,
    delimiter: str | None = None,
    start_after: str | None = None,
    limit: int = 1000,
) -> list[str]:
    """All keys and common prefixes of a listing, as received: each page's in order, page by page.

    Those of a driver whose listings have an order of their own (`Capabilities.ordered`) are sorted here.
    """
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await driver.list(prefix, cursor, delimiter=delimiter, start_after=start_after, limit=limit)
        size = len(page.entries) + len(page.prefixes)
        require(size <= limit, f"a page has {size} keys and prefixes, more than {limit}")
        entries = [entry.key for entry in page.entries]
        for each in (entries, list(page.prefixes)):
            same(each, sorted(each, key=str.encode), "order of a page")
        found += sorted([*entries, *page.prefixes], key=str.encode)
        if page.cursor is None:
            return found if driver.capabilities.ordered else sorted(found, key=str.encode)
        require(page.cursor != cursor, "a listing returns the same cursor twice")
        cursor = page.cursor
