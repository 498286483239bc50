"""Leases: how a save and a prune that run at once, in any processes, keep out of each other's way.

A save writes its lease before it looks for chunks that it could reuse, and removes it after its version is
there. A prune first removes versions, then looks for leases, and removes no pack while there is one.
Whichever comes second sees the first, on any store where a write is seen by every later read and listing; no
clock is asked. Only a save that died leaves its lease; a prune ends that after `abandoned_after`, judged by
the store's own times, and a save that was not dead then finds its lease gone and does not become a version.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.layout import PRUNE, is_session
from credstore.errors import StorageAlreadyExistsError, StorageConflictError
from credstore.model import StorageItem

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


async def take_prune_lease(catalog: Catalog, abandoned_after: timedelta) -> datetime:
    """Announce a prune: when that was, by the store's clock.

    Raises:
        StorageConflictError: Another prune of this artifact is running.
    """
    key = catalog.layout.leases + PRUNE
    for last in (False, True):
        try:
            await catalog.provider.store(key, b"", content_type="text/plain", compress=False, if_absent=True)
        except StorageAlreadyExistsError:
            if last or not await _is_abandoned(catalog, abandoned_after):
                raise prune_runs(catalog) from None
            await catalog.provider.delete(key)
        else:
            break
    return await _store_time(catalog)


async def _is_abandoned(catalog: Catalog, abandoned_after: timedelta) -> bool:
    """Whether the prune that is announced is dead: it is older than a probe, written now, by so much."""
    there = await catalog.provider.get_metadata(catalog.layout.leases + PRUNE)
    if there is None or there.last_modified is None:
        return there is None
    probe = f"{catalog.layout.leases}probe"
    await catalog.provider.store(probe, b"", content_type="text/plain", compress=False)
    now = await catalog.provider.get_metadata(probe)
    await catalog.provider.delete(probe)
    if now is None or now.last_modified is None:
        return False
    return now.last_modified - there.last_modified >= abandoned_after


async def _store_time(catalog: Catalog) -> datetime:
    item = await catalog.provider.get_metadata(catalog.layout.leases + PRUNE)
    if item is None or item.last_modified is None:
        raise prune_runs(catalog)
    return item.last_modified


def prune_runs(catalog: Catalog) -> StorageConflictError:
    """The error for whoever must wait for a prune."""
    return StorageConflictError(
        f"a prune of the {catalog.kind} {catalog.name!r} is running; try again when it has ended",
        retryable=True,
    )


async def prune_is_running(catalog: Catalog) -> bool:
    """Whether a prune is announced."""
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
    if await prune_is_running(catalog):
        raise prune_runs(catalog)
    yield
    if await prune_is_running(catalog):
        error = prune_runs(catalog)
        error.applied = "maybe"
        raise error
