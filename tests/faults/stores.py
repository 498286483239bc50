"""Stores of ours before an origin, for the harnesses: they wait for nothing and draw no lots of their own."""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any

from credstore import S3Config, S3StorageProvider, Secret
from credstore.model import NOTHING
from credstore.provider.provider import StorageProvider
from tests.faults.objects import Stored
from tests.faults.origin import Origin

BUCKET = "bucket"
PART = 4096
"""Bytes of a part: small, so that many bodies have several."""


def open_store(
    origin: Origin, *, seed: int = 0, options: Mapping[str, Any] = NOTHING, **settings: Any
) -> StorageProvider:
    """A store in AWS's dialect whose retries come at once; its clock stands, so no circuit ever opens."""
    given: dict[str, Any] = {
        "bucket": BUCKET,
        "endpoint": origin.url,
        "addressing": "path",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": Secret("canary-secret-access-key"),
        "multipart_threshold": PART,
        "part_size": PART,
        "copy_part_size": PART,
        "single_copy_limit": 4 * PART,
        **settings,
    }
    store = S3StorageProvider(S3Config(**given), **options)
    exchange = store._session.driver._bucket.exchange
    start = time.monotonic()
    exchange._sleep = _at_once
    exchange._rng = random.Random(seed).random
    exchange._monotonic = lambda: start
    return store


async def _at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def serving():
    """An origin with one empty bucket that takes parts of any size."""
    async with Origin(least_part=1) as origin:
        origin.store.buckets[BUCKET] = {}
        yield origin


def objects_of(origin: Origin) -> dict[str, Stored]:
    """What the origin really holds."""
    return origin.store.buckets[BUCKET]


def body_of(origin: Origin, key: str) -> bytes | None:
    """The bytes the origin really holds under a key, or None."""
    stored = objects_of(origin).get(key)
    return None if stored is None else stored.body
