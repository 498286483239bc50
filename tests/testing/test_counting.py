"""Counted wire requests are those that the server saw, and those of nobody else."""

import asyncio
import subprocess
import sys

import pytest

from credstore import MemoryConfig, MemoryStorageProvider
from credstore.errors import StorageError
from credstore.testing import WireRequests, count_requests
from tests.faults.messages import error
from tests.faults.script import Respond
from tests.faults.stores import PART, open_store, serving


def with_store(check):
    async def main():
        async with serving() as origin, open_store(origin) as store:
            await check(store, origin)

    asyncio.run(main())


def test_a_store_is_one_request():
    async def check(store, origin):
        with count_requests() as wire:
            await store.store("key", b"data")
        assert (wire.total, wire.by_operation, str(wire)) == (1, {"PutObject": 1}, "1 PutObject")
        await store.delete("key")
        assert wire.total == 1
        assert len(origin.log) == 2

    with_store(check)


def test_retries_and_the_requests_of_tasks_count():
    async def check(store, origin):
        origin.plan("before-apply", Respond(error(503, "SlowDown")), operation="UploadPart", times=2)
        with count_requests() as wire:
            await store.store("key", b"x" * 3 * PART)
        assert wire.by_operation == {
            "CreateMultipartUpload": 1,
            "UploadPart": 5,
            "CompleteMultipartUpload": 1,
        }
        assert wire.total == len(origin.log)

    with_store(check)


def test_blocks_may_be_nested_and_failures_count():
    async def check(store, origin):
        origin.plan(
            "before-apply", Respond(error(500, "InternalError")), operation="DeleteObject", times=None
        )
        with count_requests() as outer:
            await store.health_check()
            with count_requests() as inner:
                with pytest.raises(StorageError):
                    await store.delete("key")
                await store.retrieve("key")
        assert str(inner) == f"{store.config.max_retries + 1} DeleteObject, 1 GetObject"
        assert outer.total == inner.total + 1 == len(origin.log)

    with_store(check)


def test_blocks_beside_each_other_count_apart():
    async def check(store, origin):
        async def stores(number: int) -> WireRequests:
            with count_requests() as wire:
                for each in range(number):
                    await store.store(f"{number}/{each}", b"data")
            return wire

        counted = await asyncio.gather(*map(stores, range(1, 5)))
        assert [each.total for each in counted] == [1, 2, 3, 4]

    with_store(check)


def test_what_has_no_wire_has_no_requests():
    async def check():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            with count_requests() as wire:
                await store.store("key", b"data")
            assert (wire.total, str(wire)) == (0, "no wire request")

    asyncio.run(check())


def test_a_block_around_a_whole_run_counts_it():
    async def check():
        async with serving() as origin, open_store(origin) as store:
            await store.store("key", b"data")

    with count_requests() as wire:
        asyncio.run(check())
    assert wire.total == 1


def test_counting_loads_no_http_client():
    code = "import credstore.testing, sys; assert 'credstore.wire.connection' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
