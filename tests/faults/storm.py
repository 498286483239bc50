"""Thousands of calls cancelled at any turn of the loop, what they leave behind, and ways to leave something."""

import asyncio
import gc
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider
from credstore.drivers.local.workers import Workers
from credstore.drivers.s3 import multipart
from credstore.threads import in_pool
from credstore.wire.connecting import Connector
from credstore.wire.connection import Answer
from credstore.wire.pool import Pool
from tests.faults.stores import PART, open_store, serving

KEYS = [f"k{number}" for number in range(6)]
SMALL, LARGE = b"small" * 20, bytes(range(256)) * (3 * PART // 256) + b"end"
AT_ONCE = 12
STREAMED = b"".join(b"%d" % number * (PART // 2) for number in range(9))


async def stream(pieces=9):
    for number in range(pieces):
        await asyncio.sleep(0)
        yield b"%d" % number * (PART // 2)


async def read_some(store, key):
    async with store.open(key) as reader:
        async for _ in reader:
            await asyncio.sleep(0)


async def scan(store):
    async for _ in store.scan("k"):
        await asyncio.sleep(0)


def calls(store, path):
    """What users do, by name, on a key."""
    return {
        "store": lambda key: store.store(key, SMALL),
        "store parts": lambda key: store.store(key, LARGE),
        "store a stream": lambda key: store.store(key, stream()),
        "store a file": lambda key: store.store(key, path, compress="zstd"),
        "create": lambda key: store.store(key, LARGE, if_absent=True),
        "retrieve": store.retrieve,
        "open": lambda key: read_some(store, key),
        "delete": store.delete,
        "copy": lambda key: store.copy(key, "k0"),
        "move": lambda key: store.move(key, "k1"),
        "batch": lambda key: store.batch_delete([key, "none"]),
        "scan": lambda _: scan(store),
        "stats": lambda _: store.get_stats(),
        "ping": lambda _: store.health_check(),
    }


async def storm(store, path, cancels, seed):
    """Cancel so many calls, some of them twice; those that end before are no part of the count."""
    chance = random.Random(seed)
    deeds = calls(store, path)
    left, ended = [cancels], Counter()

    async def client():
        while left[0] > 0:
            name, key = chance.choice(list(deeds)), chance.choice(KEYS)
            task = asyncio.ensure_future(deeds[name](key))
            for _ in range(int(2 ** chance.uniform(0, 8))):
                await asyncio.sleep(0)
                if task.done():
                    break
            if task.cancel():
                left[0] -= 1
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
                    task.cancel()
            await asyncio.wait([task])
            ended[name, "cancelled" if task.cancelled() else type(task.exception()).__name__] += 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return ended


def descriptors(over, path):
    """What is open of the storm's, each with what it leads to; others in this process open and close as well."""
    gc.collect()
    kinds = (str(path.parent), "socket:") if over is over_s3 else (str(path.parent),)
    found = set()
    for each in Path("/dev/fd").iterdir():
        with suppress(OSError):  # That of this listing.
            found.add((each.name, str(each.readlink())))
    return {each for each in found if each[1].startswith(kinds)}


def left_open(over, path, before):
    """What is still open when the threads of the pool have done what they were at."""
    for _ in range(300):
        found = descriptors(over, path) - before
        if not found:
            break
        asyncio.run(asyncio.wait_for(_all_threads(), 60))
    return found


async def _all_threads():
    await asyncio.gather(*(in_pool(int) for _ in range(64)))


async def settled(others):
    """The tasks that are left; what is over shows within a few turns of the loop."""
    for _ in range(200):
        await asyncio.sleep(0)
        if asyncio.all_tasks() <= others:
            break
    return {
        task.get_coro().__qualname__ for task in asyncio.all_tasks() - others if "Origin" not in str(task)
    }


async def over_s3(path, cancels, seed):
    """A storm over the origin; how the calls ended and what they left behind."""
    async with serving() as origin:
        store = open_store(origin, max_connections=AT_ONCE)
        exchange = store._session.driver._bucket.exchange
        others = asyncio.all_tasks()
        ended = await storm(store, path, cancels, seed)
        tasks = await settled(others)
        pool = exchange._transport._pool
        left = {"uploads": origin.open_uploads, "tasks": tasks}
        left["connections"] = pool._leases - sum(map(len, pool._idle.values()))
        whole = {len(SMALL), len(LARGE), len(STREAMED), path.stat().st_size}
        for data in await asyncio.wait_for(asyncio.gather(*(store.retrieve(key) for key in KEYS * 4)), 30):
            assert data is None or len(data) in whole
        await store.aclose()
    return ended, left


async def over_local(path, cancels, seed):
    """The same over a directory."""
    root = path.parent / "store"
    async with LocalStorageProvider(LocalConfig(path=str(root))) as store:
        others = asyncio.all_tasks()
        ended = await storm(store, path, cancels, seed)
        left = {"tasks": await settled(others)}
        whole = {len(SMALL), len(LARGE), len(STREAMED), path.stat().st_size}
        for key in KEYS:
            data = await store.retrieve(key)
            assert data is None or len(data) in whole
    left["files"] = list((root / ".credstore" / "tmp").iterdir())
    return ended, left


def run(over, path, cancels, seed):
    """One storm, after which nothing may be left: AssertionError says what is; how its calls ended."""
    path.write_bytes(LARGE * 5)
    before = descriptors(over, path)
    ended, left = asyncio.run(over(path, cancels, seed))
    left["descriptors"] = left_open(over, path, before)
    found = {name: what for name, what in left.items() if what}
    assert not found, f"left behind: {found}"
    return ended


def no_abort(patch):
    """Uploads of cancelled writes stay open."""

    async def aborted(*_):
        pass

    patch.setattr(multipart, "_abort", aborted)


def leave_lost(patch):
    """Once, a cancelled attempt to connect keeps its place among the connections."""
    give, connect, lost = Pool._give_leave, Connector.connect, []

    async def connecting(connector, *arguments):
        try:
            return await connect(connector, *arguments)
        except asyncio.CancelledError:
            lost.append(True)
            raise

    def given(pool):
        if lost == [True]:
            lost.append(False)
        else:
            give(pool)

    patch.setattr(Connector, "connect", connecting)
    patch.setattr(Pool, "_give_leave", given)


def tasks_left(patch):
    """What watches over an answer goes on when nobody waits for that any more."""
    head, waiting = Answer.head, set()

    async def watched(answer, until):
        try:
            return await head(answer, until)
        except asyncio.CancelledError:
            waiting.add(asyncio.ensure_future(asyncio.Event().wait()))
            raise

    patch.setattr(Answer, "head", watched)


def temporary_files_kept(patch):
    """What a driver has to do at the end of a call is left undone."""

    async def finish(_workers, _work):
        pass

    patch.setattr(Workers, "finish", finish)


LEAKS = {
    "no-abort": (over_s3, no_abort),
    "leave-lost": (over_s3, leave_lost),
    "tasks-left": (over_s3, tasks_left),
    "temporary-files-kept": (over_local, temporary_files_kept),
}
"""Planted bugs: where each shows, and what plants it with a `pytest.MonkeyPatch`."""
