"""A memory driver over which the weather changes."""

import asyncio
from dataclasses import replace
from enum import Enum
from hashlib import sha256

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, ReadOptions
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    StorageConnectionError,
    StorageError,
    StorageTimeoutError,
    StorageUnavailableError,
)


class Weather(Enum):
    """How a member fares."""

    WELL = "well"
    DOWN = "down"
    """Nothing is applied."""
    LOST = "lost"
    """Changes are applied, their answers lost."""
    SLOW = "slow"
    """Every call takes longer than anyone's patience."""
    LAGGING = "lagging"
    """The outcome of changes is unclear, and they are applied when the weather changes."""
    CORRUPT = "corrupt"
    """What is read has a wrong bit."""


class Weathered(MemoryDriver):
    """Three of these make a store.

    Attributes:
        weather: How it fares now.
        calls: Names of the operations so far.
        takes: Seconds that a slow call takes; None for some turns of the loop, however long those are.
    """

    takes: float | None = None

    def __init__(self, label: str) -> None:
        super().__init__(MemoryConfig())
        self.label = label
        self.weather = Weather.WELL
        self.calls: list[str] = []
        self._late = []

    @property
    def name(self) -> str:
        return self.label

    def version(self, key: str) -> str | None:
        """Id of the write that made what is stored."""
        found = self._objects.by_key.get(key)
        return found and found.info.write_id

    def is_rotten(self, key: str) -> bool:
        """Whether what is stored is not what was written."""
        found = self._objects.by_key.get(key)
        return found is not None and sha256(found.data).digest() != found.info.digest

    def rot(self, key: str) -> None:
        """Flip a bit of what is stored."""
        found = self._objects.by_key[key]
        data = bytes([found.data[0] ^ 1]) + found.data[1:]
        self._objects.by_key[key] = replace(found, data=data)

    async def land(self) -> None:
        """Apply what is late, in the order of its calls."""
        late, self._late = self._late, []
        for call in late:
            try:
                await call()
            except StorageError:
                continue

    async def _weather(self, operation: str) -> None:
        self.calls.append(operation)
        if self.weather is Weather.DOWN:
            raise StorageUnavailableError(f"{self.label} is down", applied="no")
        if self.weather is Weather.SLOW and self.takes is not None:
            await asyncio.sleep(self.takes)
        elif self.weather is Weather.SLOW:
            for _ in range(30):
                await asyncio.sleep(0)

    async def _change(self, operation: str, call):
        await self._weather(operation)
        if self.weather is Weather.LAGGING:
            self._late.append(call)
            raise StorageTimeoutError(f"{self.label} did not respond", applied="maybe")
        result = await call()
        if self.weather is Weather.LOST:
            raise StorageConnectionError(f"{self.label} lost the answer", applied="maybe")
        return result

    async def put(self, request):
        return await self._change("put", lambda: super(Weathered, self).put(request))

    async def copy(self, request):
        return await self._change("copy", lambda: super(Weathered, self).copy(request))

    async def delete(self, key, *, if_match=None, version_id=None, deadline=None):
        return await self._change("delete", lambda: super(Weathered, self).delete(key, if_match=if_match))

    async def head(self, key: str, options: ReadOptions = READ_ALL):
        await self._weather("head")
        return await super().head(key, options)

    async def get(self, key: str, options: ReadOptions = READ_ALL):
        await self._weather("get")
        reader = await super().get(key, options)
        if self.weather is Weather.CORRUPT and reader._content:
            reader._content = bytes([reader._content[0] ^ 1]) + reader._content[1:]
        return reader

    async def list(self, prefix="", cursor=None, **options):
        await self._weather("list")
        return await super().list(prefix, cursor, **options)

    async def ping(self, *, deadline=None):
        await self._weather("ping")
        await super().ping(deadline=deadline)

    async def aclose(self):
        """Outlive the drivers over it, as a cloud does."""
