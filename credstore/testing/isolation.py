"""One check in a store that has other things in it: below a prefix of its own, and gone afterwards.

Rules of this file: what is removed was listed below that prefix and is looked at again before it is; it
is removed however the check ends, cancelled too, within `PATIENCE`, and what stays is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Any, Protocol, TypeVar, runtime_checkable

from credstore.concurrency import until_done
from credstore.driver.contract import Driver, VersionedDriver
from credstore.driver.values import DeleteOutcome
from credstore.errors import StorageError, StorageUnsupportedError
from credstore.strategies.prefixed import prefixed
from credstore.testing.harness import Harness, fail, needed

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds for removing what a check stored."""
_GRACE = 10.0
"""Seconds for what was cancelled to end; then it is left to itself."""


class _Upload(Protocol):
    @property
    def key(self) -> str: ...

    @property
    def upload_id(self) -> str: ...


@runtime_checkable
class EndsUploads(Protocol):
    """A driver that knows uploads in parts which have not ended, and can end them, as `S3Driver`."""

    def list_uploads(self, prefix: str = "") -> AsyncIterator[_Upload]:
        """Those of keys below a prefix."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """End one and drop its parts."""
        ...


async def within(seconds: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """The result of `work`, which is cancelled and in the end left to itself if it takes longer.

    Args:
        seconds: That it may take.
        work: Done in a task of its own.
        what: For the message.

    Raises:
        TimeoutError: It took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            again = await until_done([asyncio.ensure_future(asyncio.wait({task}, timeout=_GRACE))])
            if again is not None:
                raise again
    if task.done() and not task.cancelled():
        task.exception()  # Looked at: that it took too long is what is reported.
    raise TimeoutError(f"{what} took longer than {seconds:g} seconds")


@asynccontextmanager
async def isolated(harness: Harness) -> AsyncGenerator[Harness, None]:
    """The harness of one check that sees an empty store below a random prefix of `harness.prefix`.

    Drivers that the check leaves open are closed, and objects, versions and unfinished uploads below the
    prefix are removed, when the block ends.

    Raises:
        ConformanceError: Something stays; where the block failed, that is a note of its error.
    """
    above = harness.prefix or ""
    below = f"{above.rstrip('/') + '/' if above else ''}{token_hex(8)}/"
    opened: list[Driver] = []

    def opens() -> Driver:
        opened.append(prefixed(harness.open(), below))
        return opened[-1]

    async with swept(harness, below, opened):
        yield _seen_from(harness, below, opens)


@asynccontextmanager
async def swept(harness: Harness, below: str, opened: Sequence[Driver] = ()) -> AsyncGenerator[None, None]:
    """When the block ends, drivers are closed, and all is removed that is stored below a prefix.

    Args:
        harness: Of the store.
        below: The prefix; all that is stored below it is the block's.
        opened: The drivers.

    Raises:
        ConformanceError: Something stays; where the block failed, that is a note of its error.
    """
    try:
        yield
    except BaseException as error:
        for left in await _put_away(harness, below, opened):
            error.add_note(left)
        raise
    if stays := await _put_away(harness, below, opened):
        fail("; ".join(stays))


def _seen_from(harness: Harness, below: str, opens: Callable[[], Driver]) -> Harness:
    ways = _Ways(harness, below)
    return replace(
        harness,
        open=opens,
        peek=harness.peek and ways.peek,
        poke=harness.poke and ways.poke,
        uploads=harness.uploads and ways.uploads,
        prefix=None,
    )


class _Ways:
    """The ways past the driver that a harness has, for keys below a prefix."""

    def __init__(self, harness: Harness, below: str) -> None:
        self._harness = harness
        self._below = below

    async def peek(self, key: str) -> bytes | None:
        return await needed(self._harness.peek, "`peek`")(self._below + key)

    async def poke(self, key: str, data: bytes) -> None:
        await needed(self._harness.poke, "`poke`")(self._below + key, data)

    async def uploads(self, prefix: str) -> list[str]:
        names = await needed(self._harness.uploads, "`uploads`")(self._below + prefix)
        return [name.removeprefix(self._below) for name in names if name.startswith(self._below)]


async def _put_away(harness: Harness, below: str, opened: Sequence[Driver]) -> list[str]:
    """Close and remove everything, whatever cancellations come meanwhile; what did not work.

    Raises:
        asyncio.CancelledError: One came meanwhile; what did not work is a note of it.
    """

    async def work() -> list[str]:
        told: list[str] = []
        steps = {
            "its drivers could not be closed": partial(_close, opened),
            f"what it stored below {below!r} could not be removed": partial(_remove, harness.open, below),
        }
        for what, step in steps.items():
            try:
                await within(PATIENCE, step(), "it")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and the rest is done
                told.append(f"{what}: {type(error).__name__}: {error}")
        return told

    task = asyncio.ensure_future(work())
    cancelled = await until_done([task])
    if task.cancelled():  # As by a second Ctrl-C, which ends every task.
        told = [f"removing what it stored below {below!r} was interrupted, so some of it may still be there"]
    else:
        told = task.result()
    if cancelled is not None:
        for left in told:
            cancelled.add_note(left)
        raise cancelled
    return told


async def _close(opened: Sequence[Driver]) -> None:
    for driver in opened:
        await driver.aclose()


async def _remove(opens: Callable[[], Driver], below: str) -> None:
    """Remove everything below a prefix, and nothing else.

    Raises:
        ConformanceError: Something stays, or the driver lists what is not below the prefix.
        StorageError: The store cannot be asked.
    """
    driver = opens()
    try:
        if isinstance(driver, EndsUploads):
            await _end_uploads(driver, below)
        await _remove_objects(driver, below)
        if isinstance(driver, VersionedDriver):
            await _remove_versions(driver, below, driver.capabilities.max_delete_batch)
    finally:
        await driver.aclose()


async def _end_uploads(driver: EndsUploads, below: str) -> None:
    try:
        found = [each async for each in driver.list_uploads(below) if each.key.startswith(below)]
    except StorageUnsupportedError:
        return  # A server without such a listing; `an_upload_cut_off_leaves_no_parts` reports it.
    for upload in found:
        await driver.abort_upload(upload.key, upload.upload_id)


async def _remove_objects(driver: Driver, below: str) -> None:
    async def page() -> list[str]:
        found = [entry.key for entry in (await driver.list(below)).entries]
        _check_below(found, below)
        return found

    most = driver.capabilities.max_delete_batch
    found = await page()
    while found:
        for start in range(0, len(found), most):
            batch = found[start : start + most]
            outcomes = await driver.delete_many(batch)
            _check_gone([outcomes.get(key) for key in batch])
        left = await page()
        if left == found:
            fail(f"{len(found)} objects are there after they were deleted")
        found = left


async def _remove_versions(driver: VersionedDriver, below: str, most: int) -> None:
    async def page() -> list[tuple[str, str]]:
        found = [(each.key, each.version_id) for each in (await driver.list_versions(below)).entries]
        _check_below([key for key, _ in found], below)
        return found

    try:
        if not await driver.keeps_versions():
            return
        found = await page()
    except StorageUnsupportedError:
        return  # A store that keeps none.
    while found:
        for start in range(0, len(found), most):
            batch = found[start : start + most]
            outcomes = await driver.delete_versions(batch)
            _check_gone([outcomes.get(each) for each in batch])
        left = await page()
        if left == found:
            fail(f"{len(found)} versions are there after they were removed")
        found = left


def _check_below(found: Sequence[str], below: str) -> None:
    foreign = sum(not key.startswith(below) for key in found)
    if foreign:
        fail(f"a listing of what is below it has {foreign} keys that are not; nothing more is deleted")


def _check_gone(outcomes: Sequence[DeleteOutcome | StorageError | None]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, StorageError):
            raise outcome
