"""Removing the bodies that nothing refers to; safe with any number of writers and other collections.

Rules of this file: nothing is removed unless every reference could be read; an error ends a collection, and
the next one continues, wherever this one was killed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from secrets import token_hex

from credstore.concurrency import map_all
from credstore.driver.contract import Driver
from credstore.driver.internal import is_internal
from credstore.driver.values import BytesBody, Collected, ObjectInfo, PutRequest, ReadOptions
from credstore.errors import ErrorCode, StorageIntegrityError, StorageObjectNotFoundError, StorageTimeoutError
from credstore.strategies.dedup import plan

_AT_ONCE = 16


async def collect(
    store: Driver, grace: timedelta, *, clock: Callable[[], float], deadline: float | None
) -> Collected:
    """Mark bodies that nothing refers to, and remove those that were marked long enough ago.

    Args:
        store: Keeps references and bodies.
        grace: See `CollectsGarbage.collect`.
        clock: Seconds, ascending.
        deadline: Instant of `time.monotonic()`, or None.

    Raises:
        StorageError: The store could not be read whole; nothing was removed that something refers to.
    """
    began = clock()
    now = await _store_time(store, deadline)
    referred, count = await _referred(store, deadline)
    bodies = [info async for info in _all(store, plan.BODIES, deadline)]
    todo = plan.sweep(bodies, referred, now, grace)

    async def mark(body: plan.Body) -> None:
        await store.put(_empty(body.mark, deadline))

    async def remove(key: str) -> None:
        if clock() - began > plan.USED_AGAIN / 2 * grace.total_seconds():
            raise StorageTimeoutError("this collection took so long that what it found is no longer certain")
        await store.delete(key, deadline=deadline)

    await map_all(todo.mark, mark, at_once=_AT_ONCE)
    await map_all([body.key for body, _ in todo.remove], remove, at_once=_AT_ONCE)
    await map_all([body.mark for body in todo.forget], remove, at_once=_AT_ONCE)
    async with aclosing(_all(store, plan.INCOMING, deadline)) as arrived:
        async for info in arrived:
            if info.last_modified is not None and info.last_modified + 7 * grace <= now:
                await remove(info.key)
    return Collected(
        references=count,
        bodies=len({found[0] for info in bodies if (found := plan.body_of(info.key)) and not found[1]}),
        marked=len(todo.mark),
        removed=len(todo.remove),
        removed_bytes=sum(size for _, size in todo.remove),
    )


async def _store_time(store: Driver, deadline: float | None) -> datetime:
    """The store's own clock.

    Raises:
        StorageIntegrityError: It does not say when objects were written.
    """
    await store.put(_empty(plan.CLOCK, deadline))
    info = await store.head(plan.CLOCK, ReadOptions(deadline=deadline))
    await store.delete(plan.CLOCK, deadline=deadline)
    if info.last_modified is None:
        raise StorageIntegrityError("this store does not say when an object was written")
    return info.last_modified


async def _referred(store: Driver, deadline: float | None) -> tuple[frozenset[plan.Body], int]:
    """Every body that a reference is made to, and the number of references."""

    async def body(entry: ObjectInfo) -> plan.Body | None:
        try:
            info = await store.head(entry.key, ReadOptions(deadline=deadline))
        except StorageObjectNotFoundError:
            return None  # Deleted since it was listed.
        found = plan.target_of(info)
        return None if found is None else found[0]

    async def likely() -> AsyncGenerator[ObjectInfo, None]:
        async with aclosing(_all(store, "", deadline)) as entries:
            async for entry in entries:
                if entry.size == plan.REFERENCE and not is_internal(entry.key):
                    yield entry

    async with aclosing(likely()) as entries:
        found = await map_all(entries, body, at_once=_AT_ONCE)
    referred = [each for each in found if each is not None]
    return frozenset(referred), len(referred)


async def _all(store: Driver, prefix: str, deadline: float | None) -> AsyncGenerator[ObjectInfo, None]:
    """Every object under a prefix.

    Raises:
        StorageIntegrityError: The listing leaves out, or may leave out, some of them (code "LISTING").
    """
    cursor: str | None = None
    while True:
        page = await store.list(prefix, cursor, deadline=deadline)
        if page.refused or page.degraded or (page.cursor is not None and page.cursor == cursor):
            raise StorageIntegrityError(
                "not all objects could be listed, so nothing can be collected", code=ErrorCode.LISTING
            )
        for entry in page.entries:
            yield entry
        if page.cursor is None:
            return
        cursor = page.cursor


def _empty(key: str, deadline: float | None) -> PutRequest:
    return PutRequest(key=key, body=BytesBody(b""), write_id=token_hex(16), deadline=deadline)
