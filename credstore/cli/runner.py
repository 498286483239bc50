"""From a command's coroutine to its result: the event loop, its signals, and the store."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from credstore.cli.exits import Terminated
from credstore.cli.options import Invocation

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

T = TypeVar("T")


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

        with contextlib.suppress(NotImplementedError):  # Windows has no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await work
        except asyncio.CancelledError:
            if terminated:
                raise Terminated from None
            raise

    return asyncio.run(guarded())


def with_store(invocation: Invocation, action: Callable[[StorageProvider], Awaitable[T]]) -> T:
    """Open the store that the global options or the environment name, act on it, close it.

    Raises:
        StorageConfigurationError: No store is named, or its settings are wrong.
        StorageError: As `action`.
    """

    async def work() -> T:
        async with open_store(invocation) as provider:
            return await action(provider)

    return run_loop(work())


def open_store(invocation: Invocation) -> StorageProvider:
    """The store that the global options or the environment name; close it after use.

    Raises:
        StorageConfigurationError: No store is named, or its settings are wrong.
    """
    # Here, since these load every driver and the wire, which `--help` does without.
    from credstore.factory import StorageFactory

    factory = StorageFactory()
    config = factory.configure(invocation.store)
    if invocation.timeout is not None:
        config = replace(config, timeout=invocation.timeout)
    return factory.create(config)
