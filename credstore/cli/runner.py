"""From a command's coroutine to its result: the event loop, its signals, and the store."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation
from credstore.cli.output import note, printable

if TYPE_CHECKING:
    from credstore.config.settings import CommonConfig
    from credstore.factory import StorageFactory, StoreSpec
    from credstore.observe import Event
    from credstore.provider.provider import StorageProvider

T = TypeVar("T")
LOG = "CREDSTORE_LOG"
_LEVELS = ("debug", "info", "warning", "error")
SHORT = 0.25
"""Seconds that a command runs before it looks for garbage, of which loading makes none; see `__main__`."""


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGINT and SIGTERM cancel the work, which then cleans up after itself.

    Raises:
        KeyboardInterrupt: SIGINT came.
        Terminated: SIGTERM came.
    """

    async def guarded() -> T:
        task = asyncio.current_task()
        terminated = False

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        if not gc.isenabled():
            asyncio.get_running_loop().call_later(SHORT, _collect_again)
        with contextlib.suppress(NotImplementedError):  # Windows has no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await work
        except asyncio.CancelledError:
            if terminated:
                raise Terminated from None
            raise

    return asyncio.run(guarded())


def _collect_again() -> None:
    """Look for garbage from now on, but not among what was loaded."""
    gc.freeze()
    gc.enable()


def with_store(
    invocation: Invocation, action: Callable[[StorageProvider], Awaitable[T]], *, reading: bool = False
) -> T:
    """Open the store that the global options or the environment name, act on it, close it.

    Args:
        invocation: The global options.
        action: What to do with it.
        reading: Nothing is stored in it, so nothing is made where it is missing.

    Raises:
        StorageConfigurationError: No store is named, or its settings are wrong.
        StorageError: As `action`.
    """

    async def work() -> T:
        async with open_store(invocation, reading=reading) as provider:
            return await action(provider)

    return run_loop(work())


def open_store(invocation: Invocation, *, reading: bool = False) -> StorageProvider:
    """The store that the global options or the environment name; close it after use.

    Args:
        invocation: The global options.
        reading: Nothing is stored in it, so nothing is made where it is missing.

    Raises:
        StorageConfigurationError: No store is named, or its settings are wrong.
    """
    several = several_stores(invocation)
    if several is not None:
        return opened_together(invocation, several)
    return opened(invocation, settings(invocation), reading=reading)


def opened_together(invocation: Invocation, url: str) -> StorageProvider:
    """Several stores as one; close it after use.

    Args:
        invocation: The global options.
        url: `multi://...`, or the name of such stores.

    Raises:
        StorageConfigurationError: It is not written like that, or the settings of a store are wrong.
    """
    from credstore.config.multi import multi_of
    from credstore.config.named import is_name, named_store

    factory = _factory(invocation)
    if invocation.timeout is None and not invocation.wrapping:
        return factory.create(url)
    named: StoreSpec = url
    if is_name(url):
        from credstore.factory import StorageFactory

        named, environ = named_store(url, os.environ)
        factory = StorageFactory(environ=environ, observers=_observers(invocation))
    spec = multi_of(named)
    if spec is None:
        return factory.create(named)
    stores = [_as_asked(invocation, factory.configure(store)) for store in spec.stores]
    return factory.create_multi(stores, spec.strategy, **cast("Any", spec.options))


def several_stores(invocation: Invocation) -> str | None:
    """The URL of several stores as one (`multi://...`) where one is set or named, else None."""
    from credstore.config.multi import multi_of
    from credstore.config.named import is_name, named_store
    from credstore.config.variables import URL

    url = invocation.store or os.environ.get(URL)
    if url is not None and is_name(url):
        named, _ = named_store(url, os.environ)
        return None if multi_of(named) is None else url
    return url if url is not None and multi_of(url) is not None else None


def settings(invocation: Invocation, url: str | None = None) -> CommonConfig:
    """The settings of a store.

    Args:
        invocation: The global options.
        url: Of the store; the one that the global options or the environment name unless given.

    Raises:
        StorageConfigurationError: No store is named, or its settings are wrong.
    """
    config = _factory(invocation).configure(invocation.store if url is None else url)
    return _as_asked(invocation, config, wrapping=url is None)


def _as_asked(invocation: Invocation, config: CommonConfig, *, wrapping: bool = True) -> CommonConfig:
    """Settings with what options say in place of them; a place's own URL says for itself how it encrypts."""
    asked: dict[str, Any] = dict(invocation.wrapping) if wrapping else {}
    if invocation.timeout is not None:
        asked["timeout"] = invocation.timeout
    return replace(config, **asked) if asked else config


def opened(invocation: Invocation, config: CommonConfig, *, reading: bool = False) -> StorageProvider:
    """The store of these settings; close it after use.

    Raises:
        StorageConfigurationError: They are wrong.
    """
    if reading and getattr(config, "create", False):  # Of a store that makes its root.
        config = replace(cast("Any", config), create=False)
    return _factory(invocation).create(config)


def _factory(invocation: Invocation) -> StorageFactory:
    """The one of this run, which knows the plug-ins that it has loaded."""
    if invocation.factory is None:
        # Here, since it loads every driver and the wire, which `--help` does without.
        from credstore.factory import StorageFactory

        invocation.factory = StorageFactory(observers=_observers(invocation))
    return invocation.factory


def _observers(invocation: Invocation) -> list[Callable[[Event], None]]:
    """Who learns of each call: `--verbose`, and the log where `CREDSTORE_LOG` says how much goes into it.

    Raises:
        StorageConfigurationError: It says something else than a level.
    """
    found: list[Callable[[Event], None]] = [tell] if invocation.verbose else []
    level = os.environ.get(LOG, "")
    if level:
        import logging
        import time

        from credstore.errors import StorageConfigurationError
        from credstore.observe import LoggingObserver

        if level.lower() not in _LEVELS:
            raise StorageConfigurationError(f"{LOG} is one of {', '.join(_LEVELS)}, not {level!r}")
        form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime
        handler = logging.StreamHandler()
        handler.setFormatter(form)
        logger = logging.getLogger("credstore")
        logger.handlers[:] = [handler]  # Of a command line before in this process, there is one already.
        logger.setLevel(level.upper())
        found.append(LoggingObserver(level=logging.INFO))
    return found


def tell(event: Event) -> None:
    """One line about a call, for `--verbose`."""
    key = "" if event.key is None else f" {printable(event.key)}"
    outcome = "" if event.error is None else f"  {event.error}"
    note(f"{event.name.removeprefix('credstore.')}{key}  {event.duration * 1000:.1f} ms{outcome}")
