"""A store in memory that calls a hook before each request, and managers on it."""

import asyncio
import secrets
from pathlib import Path

from credstore import MemoryConfig, StorageProvider
from credstore.artifacts import StorageManager
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from tests.proofs.material import SIGNER, TRUST


class Died(BaseException):
    """The process is gone: nothing is sent any more."""


class HookedDriver(MemoryDriver):
    """Calls `before(number)` before its `number`th request."""

    def __init__(self, store, before=None):
        super().__init__(MemoryConfig(), objects=store.objects)
        self.store = store
        self.before = before
        self.number = 0

    async def _step(self):
        self.number += 1
        if self.before is not None:
            await self.before(self.number)

    async def put(self, request):
        await self._step()
        self.store.puts.append(request.key)
        return await super().put(request)

    async def get(self, key, *args, **options):
        await self._step()
        return await super().get(key, *args, **options)

    async def head(self, key, *args, **options):
        await self._step()
        return await super().head(key, *args, **options)

    async def delete(self, key, **options):
        await self._step()
        return await super().delete(key, **options)

    async def delete_many(self, keys, **options):
        await self._step()
        return await super().delete_many(keys, **options)

    async def list(self, *args, **options):
        await self._step()
        return await super().list(*args, **options)


class Store:
    """Objects that outlive the processes that use them."""

    def __init__(self):
        self.objects = MemoryObjects()
        self.puts = []

    def manager(self, before=None, **options):
        return manager_on(StorageProvider(HookedDriver(self, before), MemoryConfig()), **options)

    def names(self):
        return set(self.objects.by_key)


def manager_on(provider, **options):
    return StorageManager(provider, **{"trust": TRUST, "signer": SIGNER, **options})


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def noise(size: int) -> bytes:
    return secrets.token_bytes(size)


def run(work):
    return asyncio.run(work)
