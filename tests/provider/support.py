"""Providers over memory, with the driver in sight."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from credstore import MemoryConfig, StorageProvider
from credstore.drivers.memory import MemoryDriver, MemoryObjects

T = TypeVar("T")


class Spy(MemoryDriver):
    """Notes the operations it is asked for."""

    def __init__(self, objects: MemoryObjects | None = None) -> None:
        super().__init__(MemoryConfig(), objects=objects)
        self.calls: list[str] = []
        self.requests = []

    async def put(self, request):
        self.calls.append("put")
        self.requests.append(request)
        return await super().put(request)

    async def get(self, key, options):
        self.calls.append("get")
        return await super().get(key, options)

    async def head(self, key, options):
        self.calls.append("head")
        return await super().head(key, options)

    async def delete(self, key, **options):
        self.calls.append("delete")
        return await super().delete(key, **options)

    async def delete_many(self, keys, **options):
        self.calls.append("delete_many")
        return await super().delete_many(keys, **options)

    async def copy(self, request):
        self.calls.append("copy")
        return await super().copy(request)

    @property
    def objects(self) -> MemoryObjects:
        """What is stored."""
        return self._objects


def over(driver, config: MemoryConfig | None = None, **options) -> StorageProvider:
    """A provider over one driver."""
    config = config or MemoryConfig()
    return StorageProvider(driver, config, **options)


def run(action: Callable[[StorageProvider], Awaitable[T]], driver=None, config=None, **options) -> T:
    """Run `action(provider)` over a driver, and close."""

    async def main() -> T:
        async with over(driver or Spy(), config, **options) as provider:
            return await action(provider)

    return asyncio.run(main())
