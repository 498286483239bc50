"""The strategies over one store that its settings ask for, or that users put around an open provider.

Rules of this file: from the store up, the order is always prefix, dedup, cache, read-only. Each knows the
contract alone, so none knows what is above or below it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

from credstore.arguments import typed
from credstore.config.settings import GIB, CommonConfig
from credstore.driver.contract import CollectsGarbage, Driver
from credstore.driver.refusals import COLLECT
from credstore.driver.values import Collected
from credstore.errors import StorageConfigurationError, StorageInvalidRequestError
from credstore.provider.homes import Site, meet
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of

_IN_STORE = "the cache is in the directory of the store itself, or has it inside; give the cache another one"


def layered(driver: Driver, config: CommonConfig) -> Driver:
    """A store as its settings say that it is seen.

    Args:
        driver: Of the whole store; owned by the result.
        config: Its settings.

    Raises:
        StorageConfigurationError: The prefix leaves too little of the store's keys, or the cache is in the
            store itself.
    """
    # Each is loaded where it is asked for: most stores are used as they are.
    if config.prefix:
        from credstore.strategies.prefixed import prefixed

        driver = prefixed(driver, config.prefix)
    if config.dedup:
        from credstore.strategies.dedup.driver import dedup_driver

        driver = dedup_driver(driver)
    if config.cache is not None:
        from credstore.strategies.cached.driver import cached_driver

        if _is_in_store(config, config.cache):
            raise StorageConfigurationError(_IN_STORE)
        driver = cached_driver(
            driver,
            Path(config.cache),
            space=_space(config, driver.name),
            max_size=config.cache_size,
            max_age=config.cache_max_age,
        )
    if config.read_only:
        from credstore.strategies.read_only import only_read

        driver = only_read(driver)
    return driver


@typed
def cached(
    provider: StorageProvider,
    local: str | os.PathLike[str],
    *,
    max_size: int = 10 * GIB,
    max_age: float = 0.0,
) -> StorageProvider:
    """The same store, of which whole objects that were read are kept in a local directory.

    They are served from there, ranges too, while the store confirms that they are current: one HEAD in place
    of the bytes. What is kept is what is stored, so encrypted objects stay encrypted. A range of what is not
    there, a kept version, and what needs a customer's key are read from the store.

    Args:
        provider: Open; closed with the result, and not to be used along with it, for then the result would
            not learn what changes.
        local: Directory of this machine, for this user alone; made if it is missing. Processes may share it.
        max_size: Bytes that everything in it may have together, 1 MiB or more.
        max_age: Seconds for which an object counts as current once the store has confirmed it. With 0, the
            store is asked at each read; with more, changes by others are seen that much later.

    Raises:
        StorageInvalidRequestError: A number is out of range, or the directory is in the store, or has it
            inside.
    """
    if max_size < 1024 * 1024 or not max_age >= 0:
        raise StorageInvalidRequestError("max_size is 1 MiB or more, and max_age 0 seconds or more")
    session = session_of(provider)
    if any(_is_in_store(each.config, local) for each in session.homes):
        raise StorageInvalidRequestError(_IN_STORE)
    space = _space(session.config, session.name)
    if session.members:  # Which stores they are is part of what is cached.
        space += "".join(_space(each, label) for label, each in session.members.items())
    from credstore.strategies.cached.driver import cached_driver

    driver = cached_driver(
        session.driver, Path(local), space=space, max_size=max_size, max_age=float(max_age)
    )
    config = replace(session.config, cache=local, cache_size=max_size, cache_max_age=float(max_age))
    found = StorageProvider(driver, config, members=session.members, meters=session.meters, **session.options)
    session_of(found).homes += session.homes
    return found


@typed
async def collect(provider: StorageProvider, *, grace: timedelta = timedelta(days=1)) -> Collected:
    """Remove the shared bodies of a store with `dedup=True` that no object refers to any more.

    Call it from time to time, from any process, also while others write. A body that is found to be unused is
    marked, and removed by a later call that finds it unused when the mark is older than the grace. A process
    that is killed at any point, here or while it writes, leaves no object without its body.

    Args:
        provider: The store.
        grace: 30 minutes or more.

    Raises:
        StorageUnsupportedError: The store was not opened with `dedup=True`.
        StorageReadOnlyError: It was opened read-only.
        StorageInvalidRequestError: The grace is too short.
        StorageError: The store could not be read whole; the next call continues.

    Cost: 3 requests, a listing of everything, 1 for each reference, and 1 for each body that is marked or
        removed.
    """
    session = session_of(provider)
    with session.call("collect", None, mutation=True) as call:
        if not isinstance(session.driver, CollectsGarbage):
            raise COLLECT.of(session.name)
        found = await session.driver.collect(grace)
        call.attributes.update(marked=found.marked, removed=found.removed)
        return found


def _is_in_store(config: CommonConfig, cache: str | os.PathLike[str]) -> bool:
    """Whether a cache's directory and the root of a local store are one, or one is inside the other."""
    place = config.place
    return isinstance(place, Path) and meet(Site(place), Site(Path(os.path.realpath(cache)), kind="cache"))


def _space(config: CommonConfig, label: str) -> str:
    """What a store is called in a cache; nothing else has this name, unless it is the same store."""
    place = config.place
    # A store that its settings do not name, as one in memory, is another one in each process.
    named = token_hex(16) if isinstance(place, CommonConfig) else repr(place)
    return f"{label}\n{named}\n{config.prefix}\n{config.dedup}\n"
