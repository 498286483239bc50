"""Leases: how a save and a prune that run at once, in any processes, keep out of each other's way.

A save writes its lease before it looks for chunks that it could reuse, and removes it after its version is
there. A prune first removes versions, then looks for leases, and removes no pack while there is one.
Whichever comes second sees the first, on any store where a write is seen by every later read and listing; no
clock is asked. Only a save that died leaves its lease; a prune ends that after `abandoned_after`, judged by
the store's own times, and a save that was not dead then finds its lease gone and does not become a version.

A prune has a lease too, so that no tag and no other prune comes between. One that was killed leaves it; it
counts as dead by the same times, for tags and changes of stage after `ABANDONED`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.layout import PRUNE, is_session
from credstore.errors import Applied, StorageAlreadyExistsError, StorageConflictError, StorageError
from credstore.model import StorageItem
from credstore.proofs.format.fields import format_time

ABANDONED = timedelta(days=7)
"""How long a save or prune may take before it counts as dead."""


async def take_lease(catalog: Catalog, session: str) -> None:
    """Announce a save."""
    await catalog.provider.store(
        catalog.layout.leases + session, b"", content_type="text/plain", compress=False, if_absent=True
    )


async def is_leased(catalog: Catalog, session: str) -> bool:
    """Whether the lease of a save is still there."""
    return await catalog.provider.exists(catalog.layout.leases + session)


async def drop_lease(catalog: Catalog, session: str) -> None:
    """End a save or prune."""
    await catalog.provider.delete(catalog.layout.leases + session)


@asynccontextmanager
async def pruning(catalog: Catalog, abandoned_after: timedelta) -> AsyncGenerator[datetime]:
    """Announce a prune while the body runs; yields when that was, by the store's clock.

    Raises:
        StorageConflictError: Another prune of this artifact is running.
        StorageError: With `applied` "yes", the body is done, and only the announcement could not be removed.
    """
    key = catalog.layout.leases + PRUNE
    for last in (False, True):
        try:
            await catalog.provider.store(key, b"", content_type="text/plain", compress=False, if_absent=True)
        except StorageAlreadyExistsError:
            running = await _running(catalog, abandoned_after)
            if last or running is not None:
                raise running or _prune_runs(catalog) from None
            await catalog.provider.delete(key)
        else:
            break
    try:
        began = await _store_time(catalog)
        yield began
    except _LeaseLostError:
        raise _prune_runs(catalog) from None
    except BaseException:
        with suppress(StorageError):  # Why the prune failed is what the caller needs to know.
            await drop_lease(catalog, PRUNE)
        raise
    with _done("yes"):
        await drop_lease(catalog, PRUNE)


class _LeaseLostError(Exception):
    """Another prune took this one for dead; the lease that is there is its own."""


async def _store_time(catalog: Catalog) -> datetime:
    item = await catalog.provider.get_metadata(catalog.layout.leases + PRUNE)
    if item is None or item.last_modified is None:
        raise _LeaseLostError
    return item.last_modified


async def _running(catalog: Catalog, abandoned_after: timedelta) -> StorageConflictError | None:
    """The error for whoever must wait for the prune that is announced; None for none, or a dead one.

    It is dead if it is older than a probe, written now, by so much.
    """
    there = await catalog.provider.get_metadata(catalog.layout.leases + PRUNE)
    if there is None:
        return None
    began = there.last_modified
    if began is not None and (now := await _now(catalog)) is not None and now - began >= abandoned_after:
        return None
    return _prune_runs(catalog, began, abandoned_after)


async def _now(catalog: Catalog) -> datetime | None:
    """The store's time; None if it has none, or another process asks at once."""
    probe = f"{catalog.layout.leases}probe"
    await catalog.provider.store(probe, b"", content_type="text/plain", compress=False)
    written = await catalog.provider.get_metadata(probe)
    await catalog.provider.delete(probe)
    return None if written is None else written.last_modified


def _prune_runs(
    catalog: Catalog, since: datetime | None = None, abandoned_after: timedelta = ABANDONED
) -> StorageConflictError:
    """The error for whoever must wait for a prune."""
    until = ""
    if since is not None:
        with suppress(OverflowError):  # Beyond the calendar is never.
            until = f", at the latest at {format_time(since + abandoned_after)}, when it counts as dead"
        until += "; if it was killed, `prune` with a shorter `abandoned_after` ends it earlier"
    return StorageConflictError(
        f"a prune of the {catalog.kind} {catalog.name!r} is running; try again when it has ended{until}",
        retryable=True,
    )


async def prune_is_announced(catalog: Catalog) -> bool:
    """Whether a prune is running, or one has died."""
    return await catalog.provider.exists(catalog.layout.leases + PRUNE)


async def save_leases(catalog: Catalog) -> list[StorageItem]:
    """The leases of saves."""
    prefix = catalog.layout.leases
    return [item async for item in catalog.provider.scan(prefix) if is_session(item.key.removeprefix(prefix))]


async def end_abandoned(
    catalog: Catalog, leases: Sequence[StorageItem], now: datetime, abandoned_after: timedelta
) -> bool:
    """End the leases of dead saves; whether others remain."""
    alive = False
    for item in leases:
        if item.last_modified is not None and now - item.last_modified >= abandoned_after:
            await catalog.provider.delete(item.key)
        else:
            alive = True
    return alive


@asynccontextmanager
async def between_prunes(catalog: Catalog) -> AsyncGenerator[None]:
    """Pin a version: what is written in here, a later prune sees.

    Raises:
        StorageConflictError: A prune is running; with `applied` "maybe", it may not have seen what was
            written.
    """
    if (running := await _running(catalog, ABANDONED)) is not None:
        raise running
    yield
    with _done("maybe"):
        if (running := await _running(catalog, ABANDONED)) is not None:
            raise running


async def check_pinned(catalog: Catalog, number: int) -> None:
    """Whether the version that was pinned is still there.

    Raises:
        StorageNotFoundError: A prune had removed it; `applied` is "maybe", as what was written is there.
    """
    with _done("maybe"):
        await catalog.statement(number)


@contextmanager
def _done(applied: Applied) -> Generator[None]:
    """Whatever fails in here, what was asked for has been written."""
    try:
        yield
    except StorageError as error:
        error.applied = applied
        raise
