"""Logs over a memory driver that fails as it is told to, and what must hold of them whatever happened."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from credstore import MemoryConfig
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageConnectionError, StorageError
from credstore.proofs.log.checkpoint import open_checkpoint
from credstore.proofs.log.entry import Admission
from credstore.proofs.log.lock import open_lock
from credstore.proofs.log.merkle import EMPTY_ROOT
from credstore.proofs.log.note import LocalNoteSigner
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.sequencer import LogSequencer
from credstore.provider.provider import StorageProvider

ORIGIN = "log.example/test"
SIGNER = LocalNoteSigner(ORIGIN, bytes(range(32)))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PREFIX = "log/v1/"


class Plain(Admission):
    """Takes any bytes: the identity is the entry."""

    def __call__(self, data):
        return data, data


class Killed(BaseException):
    """The process ends here."""


class Unsteady(MemoryDriver):
    """A memory driver that fails at the nth write, or at random, before or after it is made.

    Attributes:
        writes: Keys of the writes so far.
        plan: "unsent" and "lost" fail once at the `nth` write; "killed-before" and "killed-after" end the process.
        losing: How often an answer is lost, of 1.
    """

    def __init__(self, objects, seed=0):
        super().__init__(MemoryConfig(), objects=objects)
        self.writes = []
        self.nth = None
        self.plan = ""
        self.losing = 0.0
        self.random = random.Random(seed)
        self.dead = False
        self.hook = None
        self.history = None

    async def _write(self, key, action):
        if self.dead:
            raise Killed
        await asyncio.sleep(0)  # Others may act in between, as with any store.
        self.writes.append(key)
        hit = len(self.writes) - 1 == self.nth
        if self.hook is not None:
            await self.hook(key)
        if hit and self.plan in {"unsent", "killed-before"}:
            self._strike()
        result = await action()
        if self.history is not None:
            self.history(key)
        if hit:
            self._strike()
        if self.losing and self.random.random() < self.losing:
            raise StorageConnectionError("the answer was lost", applied="maybe")
        return result

    def _strike(self):
        self.nth = None
        if self.plan.startswith("killed"):
            self.dead = True
            # Whoever is dead reports nothing, also not later, when its tasks are collected.
            asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
            raise Killed
        raise StorageConnectionError("the answer was lost", applied="maybe")

    async def put(self, request):
        return await self._write(request.key, lambda: MemoryDriver.put(self, request))

    async def delete_many(self, keys, **options):
        return await self._write(keys[0], lambda: MemoryDriver.delete_many(self, keys, **options))

    async def get(self, key, options=None):
        if self.dead:
            raise Killed
        await asyncio.sleep(0)
        return await (super().get(key) if options is None else super().get(key, options))


class Shop:
    """One bucket that several sequencers may write a log in, with every checkpoint and lock that ever was there."""

    def __init__(self):
        self.objects = MemoryObjects()
        self.checkpoints = {}
        self.locks = {}
        self.sizes = []
        self.drivers = []

    def open(self, *, seed=0, driver=None, **options):
        driver = driver or Unsteady(self.objects, seed)
        driver.history = self._look
        self.drivers.append(driver)
        provider = StorageProvider(driver, MemoryConfig())
        options = {
            "signer": SIGNER, "admission": Plain(), "clock": lambda: NOW, "randomness": bytes, "max_wait": 0.0, **options,
        }  # fmt: skip
        sequencer = LogSequencer(provider, **options)
        sequencer.driver = driver
        return sequencer

    def _look(self, key):
        """Note each checkpoint and lock, and that no path of a tile gets other bytes."""
        stored = self.objects.by_key.get(key)
        if stored is None:
            return
        if key == f"{PREFIX}checkpoint":
            state = open_checkpoint(stored.data, [SIGNER.key]).checkpoint
            assert self.checkpoints.setdefault(state.size, state.root) == state.root, "two roots for one size"
            self.sizes.append(state.size)
            lock = open_lock(self.objects.by_key[f"{PREFIX}lock"].data, SIGNER.key)
            assert state.size <= lock.size, "a checkpoint ahead of its lock"
        elif key == f"{PREFIX}lock":
            lock = open_lock(stored.data, SIGNER.key)
            assert self.locks.setdefault(lock.size, lock.root) == lock.root, "two roots for one size"

    def copy(self):
        """The bucket as it is now, for a restore."""
        kept = MemoryObjects()
        for stored in self.objects.by_key.values():
            kept.put(replace(stored))
        return kept

    def provider(self):
        return StorageProvider(MemoryDriver(MemoryConfig(), objects=self.objects), MemoryConfig())

    @property
    def checkpoint(self):
        return open_checkpoint(self.objects.by_key[f"{PREFIX}checkpoint"].data, [SIGNER.key]).checkpoint

    async def entries(self):
        """All entries of the published log, verified."""
        state = self.checkpoint
        tiles = LogTiles(LogObjects(self.provider(), PREFIX).fetch, state.size, state.root)
        found = []
        for bundle in range(-(-state.size // 256)):
            found += await tiles.entries(bundle)
        return found

    async def invariant(self, acknowledged):
        """Every acknowledged entry is at its index, each published state continues the ones before, sizes only grow."""
        found = await self.entries()
        for entry, index in acknowledged.items():
            assert found[index] == entry
        state = self.checkpoint
        tiles = LogTiles(LogObjects(self.provider(), PREFIX).fetch, state.size, state.root)
        for size, root_hash in self.checkpoints.items():
            assert size <= state.size
            assert await tiles.continues(size, root_hash)
        assert self.sizes == sorted(self.sizes)
        assert self.locks.items() >= {size: root for size, root in self.checkpoints.items() if size}.items()
        return found


async def made(shop, **options):
    """A sequencer of a new log."""
    sequencer = shop.open(**options)
    await sequencer.create()
    return sequencer


async def quietly(work):
    """What a program that ends in the middle leaves to see: nothing."""
    with suppress(Killed, StorageError, asyncio.CancelledError):
        await work
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        with suppress(Killed, StorageError, asyncio.CancelledError):
            await task


__all__ = [
    "EMPTY_ROOT",
    "NOW",
    "ORIGIN",
    "PREFIX",
    "SIGNER",
    "Killed",
    "Plain",
    "Shop",
    "Unsteady",
    "made",
    "quietly",
]
