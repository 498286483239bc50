"""Pruning: versions that no rule and no tag keeps, then the packs that no version needs.

The order makes it safe next to saves (see `leases`): packs are listed first, then versions are removed, then
leases are looked at, and only then is it read which packs the remaining versions need. Whatever cannot be
verified ends it before a pack is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from credstore.artifacts.catalog import Catalog
from credstore.artifacts.layout import is_session, pack_session
from credstore.artifacts.leases import end_abandoned, pruning, save_leases
from credstore.artifacts.statements import ArtifactVersion
from credstore.errors import StorageInvalidRequestError
from credstore.model import BatchDeleteResult


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a prune did.

    Attributes:
        kept: Numbers of the versions that are there, ascending.
        removed: Numbers of those that were removed.
        objects: Number of packs and indexes that were removed.
        freed: Stored bytes of those.
        deferred: Whether packs were left for the next prune, since a save is running or died lately.
    """

    kept: tuple[int, ...]
    removed: tuple[int, ...]
    objects: int
    freed: int
    deferred: bool


async def prune_versions(
    catalog: Catalog,
    choose: Callable[[Sequence[ArtifactVersion]], frozenset[int]],
    abandoned_after: timedelta,
) -> PruneReport:
    """Remove the versions that neither `choose` keeps nor a tag or stage; the last one stays in any case.

    Args:
        catalog: The artifact.
        choose: Numbers of those to keep, of all versions, ascending.
        abandoned_after: When a save counts as dead.

    Raises:
        StorageConflictError: Another prune is running.
        StorageError: Anything else; what was not removed yet is there.
    """
    async with pruning(catalog, abandoned_after) as now:
        objects = {
            item.key: item.size
            for prefix in (catalog.layout.packs, catalog.layout.indexes)
            async for item in catalog.provider.scan(prefix)
        }
        versions = await catalog.versions(await catalog.numbers())
        # The largest number is never removed, so that no number is given twice.
        keeping = choose(versions) | frozenset(each.version for each in versions[-1:])
        keeping |= await catalog.pinned()
        removed = tuple(each.version for each in versions if each.version not in keeping)
        _check(await catalog.provider.batch_delete([catalog.layout.version(each) for each in removed]))
        leases = await save_leases(catalog)
        deferred = await end_abandoned(catalog, leases, now, abandoned_after)
        # Asked again: a save whose lease was not seen any more has become one of these.
        left = await catalog.versions(await catalog.numbers())
        unneeded = () if deferred else await _unneeded(catalog, objects, left)
        _check(await catalog.provider.batch_delete(unneeded))
        return PruneReport(
            tuple(each.version for each in left),
            removed,
            len(unneeded),
            sum(objects[key] for key in unneeded),
            deferred,
        )


async def remove_version(catalog: Catalog, number: int, abandoned_after: timedelta) -> None:
    """Remove a version by its number, whether its statement counts or not; the next prune frees its space.

    Raises:
        StorageNotFoundError: It does not exist.
        StorageInvalidRequestError: It is the last one, or pinned.
        StorageConflictError: A prune is running.
        StorageError: Anything else.
    """
    what = f"version {number} of the {catalog.kind} {catalog.name!r}"
    async with pruning(catalog, abandoned_after):
        numbers = await catalog.numbers()
        if number not in numbers:
            raise catalog.missing(f"version {number}")
        if number == numbers[-1]:
            raise StorageInvalidRequestError(
                f"{what} is the last one, and no number may be given twice; save the next version first"
            )
        if number in await catalog.pinned():
            raise StorageInvalidRequestError(f"{what} has a tag or is in a stage, which keeps it")
        await catalog.provider.delete(catalog.layout.version(number))


async def _unneeded(
    catalog: Catalog, objects: dict[str, int], versions: list[ArtifactVersion]
) -> tuple[str, ...]:
    layout = catalog.layout
    needed = {layout.indexes + version.index for version in versions}
    for version in versions:
        for file in await catalog.files(version):
            needed.update(layout.packs + chunk.pack for chunk in file.chunks)
    return tuple(key for key in objects if key not in needed and _is_ours(catalog, key))


def _is_ours(catalog: Catalog, key: str) -> bool:
    """Whether a save has written this; anything else is not touched."""
    layout = catalog.layout
    return (
        is_session(key.removeprefix(layout.indexes))
        or pack_session(key.removeprefix(layout.packs)) is not None
    )


def _check(result: BatchDeleteResult) -> None:
    for error in result.failed.values():
        raise error
